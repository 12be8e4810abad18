"""The manifest: a table with one row for each clip of a data set, independent of the layout on disk."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from data_modules.labels import parse_votes
from data_modules.utils.csv_tables import write_csv
from data_modules.utils.paths import safe_relative

SPLITS = ("train", "inner", "test")
"""`test` is the reported split; `inner` is held out of the training data and used for model selection."""


@dataclass(frozen=True)
class VideoRecord:
    """A clip: a video file, a folder or archive of frames, or a still image, which is a clip of one frame.

    Attributes:
        clip_id: unique name of the clip within the data set.
        path: path of the video, relative to the root of the data set.
        emotion: name of the emotion, never an index.
        subject: person in the clip; empty if unknown. No subject is in two folds, or in both the training and the inner
            split.
        group: source of the clip, such as a film, kept together in the same way; empty if unknown.
        split: one of `SPLITS`.
        fold: name of the fold that the split belongs to.
        truth: file with the ground truth of each frame (`faces.ground_truth.FrameTruth`), relative to the root; empty
            if there is none.
        quarter_turns: clockwise quarter turns, 0 to 3, that bring the frames upright, in addition to the rotation that
            the file itself states. Pixel coordinates refer to the upright frames.
        votes: how many annotators chose each emotion, such as `anger=3 neutral=7`; empty if unknown.
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
    votes: str = ""


COLUMNS = tuple(field.name for field in fields(VideoRecord))
TURNS, OLD_TURNS = "quarter_turns", "turns"  # version 0.1.0 wrote the latter


def write_manifest(path: Path, records: Sequence[VideoRecord]) -> None:
    """Write the records as a CSV table with a header; the file is replaced atomically."""
    write_csv(path, COLUMNS, map(astuple, records), protect=False)


def read_manifest(path: Path) -> list[VideoRecord]:
    """Read a manifest that `write_manifest` has written.

    Raises:
        ValueError: a column is missing, a row has too few or too many fields, a clip id is not unique, a path leads
            outside the root of the data set, or `quarter_turns` is not a number from 0 to 3.
    """
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file)
        missing = sorted({"clip_id", "path", "emotion"} - set(rows.fieldnames or ()))
        if missing:
            raise ValueError(f"{path}: no column {', '.join(missing)}; found {rows.fieldnames}, expected {COLUMNS}")
        if {TURNS, OLD_TURNS} <= set(rows.fieldnames or ()):
            raise ValueError(f"{path}: found the columns {TURNS} and {OLD_TURNS}, its old name; expected one of them")
        try:
            records = [_parse_row(row, f"{path}, line {rows.line_num}") for row in rows]
        except csv.Error as error:  # such as a field over the size limit
            raise ValueError(f"{path}, line {rows.line_num}: {error}; expected a table of clips") from error
    check_records(records, str(path))
    return records


def manifest_columns(path: Path) -> frozenset[str]:
    """Return the columns of a manifest; missing ones take the default values of `VideoRecord`."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        return frozenset(csv.DictReader(file).fieldnames or ())


def _parse_row(row: Mapping[str | None, str | None], location: str) -> VideoRecord:
    if None in row or None in row.values():
        raise ValueError(f"{location}: the number of fields differs from that of the header; correct the row")
    values = {key: value for key, value in row.items() if key in COLUMNS and key != TURNS and value is not None}
    turns = (row.get(TURNS, row.get(OLD_TURNS)) or "0").strip()
    if not (turns.isascii() and turns.isdecimal()):
        raise ValueError(f"{location}: found {TURNS} {turns!r}; expected a number of clockwise quarter turns, 0 to 3")
    return VideoRecord(**values, quarter_turns=int(turns))


def outside_path(record: VideoRecord) -> str | None:
    """The first of a record's id and paths that leads outside the root of the data set; None if none does."""
    return next((p for p in (record.clip_id, record.path, record.truth) if p and not safe_relative(p)), None)


def check_records(records: Iterable[VideoRecord], source: str) -> None:
    """Check records for errors that would invalidate results.

    Args:
        records: the records to check.
        source: where they come from, for the error message.

    Raises:
        ValueError: a clip id is not unique, a file is in two splits, a split or number of turns is unknown, votes have
            another form, or a path leads outside the root.
    """
    seen: set[str] = set()
    split_of: dict[str, str] = {}
    for record in records:
        if record.clip_id in seen:
            raise ValueError(f"{source}: clip id {record.clip_id!r} occurs twice; ids must be unique")
        if record.split not in SPLITS:
            raise ValueError(f"{source}: clip {record.clip_id!r} has split {record.split!r}; expected one of {SPLITS}")
        if record.quarter_turns not in range(4):
            raise ValueError(
                f"{source}: clip {record.clip_id!r} has {TURNS} {record.quarter_turns}; expected 0 to 3, clockwise"
            )
        try:
            parse_votes(record.votes)
        except ValueError as error:
            raise ValueError(f"{source}: clip {record.clip_id!r}: {error}") from error
        outside = outside_path(record)
        if outside is not None:
            raise ValueError(f"{source}: clip {record.clip_id!r} points outside the data set: {outside!r}")
        if record.path and split_of.setdefault(record.path, record.split) != record.split:
            raise ValueError(
                f"{source}: {record.path!r} is in the splits {split_of[record.path]} and {record.split}; expected each "
                "file in one: accuracy on a clip that is trained or chosen on says nothing of others"
            )
        seen.add(record.clip_id)


def misnamed(record: VideoRecord) -> bool:
    """Tell whether the id or a path of a record is not valid UTF-8, so that no table could name the clip."""
    try:
        for name in (record.clip_id, record.path, record.truth):
            name.encode()
    except UnicodeEncodeError:
        return True
    return False


def printable(name: str) -> str:
    """Escape the bytes of a name that are not valid UTF-8, such as `\\xe9`, so that it can be printed and written."""
    return name.encode(errors="surrogateescape").decode(errors="backslashreplace")
