"""The manifest: one row per clip, whatever the data set and its layout on disk."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from data_modules.files import write_whole

SPLITS = ("train", "inner", "test")
"""`test` is the reported split; `inner` is cut out of the training data for everything that is chosen."""


@dataclass(frozen=True)
class VideoRecord:
    """A clip: a video file, a folder of frames, or a still image (a clip of one frame).

    `path` and `truth` are relative to the data set's root. `emotion` is a name, never an index. `subject` and `group`
    (a film, say) are what folds and inner splits must be exclusive in; they are empty where the data set does not tell.
    `truth` is the file that holds what is known of each frame (`store.FrameTruth`), for the synthetic data set.
    """

    clip_id: str
    path: str
    emotion: str
    subject: str = ""
    group: str = ""
    split: str = "train"
    fold: str = "1"
    truth: str = ""


COLUMNS = tuple(field.name for field in fields(VideoRecord))


def write_manifest(path: Path, records: Sequence[VideoRecord]) -> None:
    """Writes the records as one CSV table with a header, whole or not at all."""
    text = io.StringIO()
    table = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    table.writeheader()
    table.writerows(asdict(record) for record in records)
    write_whole(path, text.getvalue().encode())


def read_manifest(path: Path) -> list[VideoRecord]:
    """Reads what `write_manifest` wrote.

    Raises:
        ValueError: a column is missing, a clip's id stands twice, or a path leaves the data set's root.
    """
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        missing = sorted({"clip_id", "path", "emotion"} - set(rows.fieldnames or ()))
        if missing:
            raise ValueError(f"{path}: no column {', '.join(missing)}; found {rows.fieldnames}, expected {COLUMNS}")
        records = [VideoRecord(**{key: value or "" for key, value in row.items() if key in COLUMNS}) for row in rows]
    check_records(records, str(path))
    return records


def check_records(records: Iterable[VideoRecord], source: str) -> None:
    """Refuses records that would make results wrong: double ids, unknown splits, paths outside the root.

    Raises:
        ValueError: naming the source and the first clip concerned.
    """
    seen: set[str] = set()
    for record in records:
        if record.clip_id in seen:
            raise ValueError(f"{source}: clip id {record.clip_id!r} stands twice; ids must be unique")
        if record.split not in SPLITS:
            raise ValueError(f"{source}: clip {record.clip_id!r} has split {record.split!r}; expected one of {SPLITS}")
        for path in (record.clip_id, record.path, record.truth):
            if Path(path).is_absolute() or ".." in Path(path).parts:
                raise ValueError(f"{source}: clip {record.clip_id!r} points outside the data set: {path!r}")
        seen.add(record.clip_id)
