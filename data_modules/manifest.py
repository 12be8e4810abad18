"""The manifest: one row per clip, whatever the data set and its layout on disk."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from data_modules.utils.csv_tables import write_csv
from data_modules.utils.paths import safe_relative

SPLITS = ("train", "inner", "test")
"""`test` is the reported split; `inner` is cut out of the training data for everything that is chosen."""


@dataclass(frozen=True)
class VideoRecord:
    """A clip: a video file, a folder or archive of frames, or a still image (a clip of one frame).

    `path` and `truth` are relative to the data set's root. `emotion` is a name, never an index. `subject` and `group`
    (a film, say) are what folds and inner splits must be exclusive in; they are empty where the data set does not tell.
    `truth` is the file that holds what is known of each frame (`truth.FrameTruth`), for the synthetic data set.
    `quarter_turns` is how many of them, clockwise, bring the frames upright (0 to 3), beyond what the file itself asks
    of players; whatever is known of the frames' pixels is of the upright ones.
    """

    clip_id: str
    path: str
    emotion: str
    subject: str = ""
    group: str = ""
    split: str = "train"
    fold: str = "1"
    truth: str = ""
    quarter_turns: int = 0


COLUMNS = tuple(field.name for field in fields(VideoRecord))
TURNS, OLD_TURNS = "quarter_turns", "turns"  # version 0.1.0 wrote the latter


def write_manifest(path: Path, records: Sequence[VideoRecord]) -> None:
    """Writes the records as one CSV table with a header, whole or not at all."""
    write_csv(path, COLUMNS, map(astuple, records), protect=False)


def read_manifest(path: Path) -> list[VideoRecord]:
    """Reads what `write_manifest` wrote.

    Raises:
        ValueError: a column is missing, a row has too few or too many fields, a clip's id stands twice, a path leaves
            the data set's root, or a number of quarter turns is none.
    """
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file)
        missing = sorted({"clip_id", "path", "emotion"} - set(rows.fieldnames or ()))
        if missing:
            raise ValueError(f"{path}: no column {', '.join(missing)}; found {rows.fieldnames}, expected {COLUMNS}")
        if {TURNS, OLD_TURNS} <= set(rows.fieldnames or ()):
            raise ValueError(f"{path}: found the columns {TURNS} and {OLD_TURNS}, its old name; expected one of them")
        try:
            records = [_record(row, f"{path}, line {rows.line_num}") for row in rows]
        except csv.Error as error:  # such as a field of endless length
            raise ValueError(f"{path}, line {rows.line_num}: {error}; expected a table of clips") from error
    check_records(records, str(path))
    return records


def manifest_columns(path: Path) -> frozenset[str]:
    """The columns that a manifest has; those it lacks have the values of `VideoRecord`'s defaults."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        return frozenset(csv.DictReader(file).fieldnames or ())


def _record(row: Mapping[str | None, str | None], place: str) -> VideoRecord:
    if None in row or None in row.values():
        raise ValueError(f"{place}: found {len(row)} fields or another number than the header has; mend the row")
    values = {key: value for key, value in row.items() if key in COLUMNS and key != TURNS}
    turns = (row.get(TURNS, row.get(OLD_TURNS)) or "0").strip()
    if not (turns.isascii() and turns.isdecimal()):
        raise ValueError(f"{place}: found {TURNS} {turns!r}; expected a number of quarter turns clockwise, 0 to 3")
    return VideoRecord(**values, quarter_turns=int(turns))  # type: ignore[arg-type]


def outside_path(record: VideoRecord) -> str | None:
    """The first of a record's id and paths that leaves the data set's root; None where all stay in it."""
    return next((p for p in (record.clip_id, record.path, record.truth) if p and not safe_relative(p)), None)


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
        if record.quarter_turns not in range(4):
            raise ValueError(
                f"{source}: clip {record.clip_id!r} has {TURNS} {record.quarter_turns}; expected 0 to 3, clockwise"
            )
        outside = outside_path(record)
        if outside is not None:
            raise ValueError(f"{source}: clip {record.clip_id!r} points outside the data set: {outside!r}")
        seen.add(record.clip_id)


def misnamed(record: VideoRecord) -> bool:
    """Whether a record's id or a path of it is not UTF-8: no table that names the clip could be written."""
    try:
        for name in (record.clip_id, record.path, record.truth):
            name.encode()
    except UnicodeEncodeError:
        return True
    return False


def printable(name: str) -> str:
    """A name with its bytes that are not UTF-8 as `\\xe9`, to be shown and written."""
    return name.encode(errors="surrogateescape").decode(errors="backslashreplace")
