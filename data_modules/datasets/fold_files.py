"""Reads and writes folds as CSV files, to share ours and to use published ones."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from data_modules.labels import emotion_name
from data_modules.manifest import VideoRecord
from data_modules.utils.csv_tables import write_csv


@dataclass(frozen=True)
class FoldRow:
    """A clip and the fold in whose test split it is."""

    clip_id: str
    emotion: str
    subject: str  # empty if unknown
    fold: str


COLUMNS = tuple(field.name for field in fields(FoldRow))


def fold_rows(folds: Iterable[Sequence[VideoRecord]]) -> list[FoldRow]:
    """Returns the test clips of all folds, sorted by clip and fold."""
    rows = [FoldRow(r.clip_id, r.emotion, r.subject, r.fold) for records in folds for r in records if r.split == "test"]
    return sorted(rows, key=lambda row: (row.clip_id, len(row.fold), row.fold))


def write_folds(path: Path, rows: Iterable[FoldRow]) -> None:
    """Writes the rows as a CSV table with a header, atomically."""
    write_csv(path, COLUMNS, map(astuple, rows), protect=False)


def count_folds(path: Path) -> int:
    """Returns the number of folds in a file: the highest fold number.

    Raises:
        ValueError: a row is invalid; the message names file and line.
    """
    return max((int(row.fold) for row in _rows(path)), default=0)


def read_folds(path: Path, records: Sequence[VideoRecord], folds: int) -> list[int]:
    """The fold, from 1 to `folds`, in which each of the records is tested, as a file says.

    Args:
        path: a table with the columns `clip_id` and `fold`, such as `write_folds` writes; a column `emotion` must agree
            with the data set.
        records: all clips that take part, and no others.
        folds: how many.

    Raises:
        ValueError: a row is invalid, a clip is missing, unknown or listed twice, a fold is empty or above `folds`, or
            folds share persons or films.
    """
    emotions, found = {record.clip_id: record.emotion for record in records}, dict[str, int]()
    for line, row in enumerate(_rows(path), start=2):
        if row.clip_id not in emotions or row.clip_id in found:
            problem = "is listed twice" if row.clip_id in found else f"is not among the {len(emotions)} clips here"
            raise ValueError(f"{path}, line {line}: clip {row.clip_id!r} {problem}; expected each of them once")
        if row.emotion and emotion_name(row.emotion) != emotions[row.clip_id]:
            raise ValueError(
                f"{path}, line {line}: clip {row.clip_id!r} is labelled {row.emotion!r}, here {emotions[row.clip_id]!r}"
            )
        found[row.clip_id] = int(row.fold)
    missing = sorted(emotions.keys() - found.keys())
    if missing:
        raise ValueError(f"{path}: {len(missing)} clips have no fold, such as {missing[0]!r}; expected all of them")
    if set(found.values()) != set(range(1, folds + 1)):
        numbers = ", ".join(map(str, sorted(set(found.values()))[:20]))
        raise ValueError(
            f"{path}: found clips in the folds {numbers}; expected 1 to {folds}, none of them empty. "
            "If the file is right, give the number of its folds (--dataset.folds)"
        )
    return check_exclusive(records, [found[record.clip_id] for record in records], str(path))


def check_exclusive(records: Sequence[VideoRecord], folds: list[int], source: str) -> list[int]:
    """The folds of the records, once no two share a person or film.

    Raises:
        ValueError: naming the first one that is shared.
    """
    fold_of: dict[tuple[str, str], int] = {}
    for record, fold in zip(records, folds, strict=True):
        for kind, name in (("subject", record.subject), ("film", record.group)):
            if name and fold_of.setdefault((kind, name), fold) != fold:
                raise ValueError(
                    f"{source}: {kind} {name!r} is in the folds {fold_of[kind, name]} and {fold}; expected folds that "
                    "share nobody: accuracy on people seen in training says nothing of others"
                )
    return folds


def _rows(path: Path) -> Iterator[FoldRow]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        table = csv.DictReader(file)
        try:
            if not {"clip_id", "fold"} <= set(table.fieldnames or ()):
                raise ValueError(f"{path}: found the columns {table.fieldnames}; expected {', '.join(COLUMNS)}")
            for row in table:
                clip_id, emotion, subject, fold = ((row.get(name) or "").strip() for name in COLUMNS)
                if not clip_id or not (fold.isascii() and fold.isdecimal() and len(fold) < 6 and int(fold)):
                    place = f"{path}, line {table.line_num}"
                    raise ValueError(f"{place}: found clip {clip_id!r} and fold {fold!r}; expected a number from 1 on")
                yield FoldRow(clip_id, emotion, subject, fold)
        except csv.Error as error:
            raise ValueError(f"{path}, line {table.line_num}: {error}; expected a table of clips") from error
