"""Create folds for data sets without official ones: subject-exclusive, stratified and the same on every machine."""

import hashlib
import re
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from data_modules.datasets.fold_files import FoldRow, read_folds
from data_modules.datasets.splits import inseparable
from data_modules.manifest import VideoRecord


def fold_number(fold: str, folds: int) -> int:
    """Returns the fold as a number.

    Raises:
        ValueError: the fold is not a number from 1 to `folds`.
    """
    if not (fold.isascii() and fold.isdecimal()) or not 1 <= int(fold) <= folds:
        expected = f"a number from 1 to {folds}" if folds > 1 else "1, the only one"
        raise ValueError(f"fold {fold!r} does not exist: expected {expected}")
    return int(fold)


def assign_folds(records: Sequence[VideoRecord], folds: int, name: str) -> list[int]:
    """Returns the fold, from 1 to `folds`, in which each of the records is tested.

    No two folds share a person or film; emotions and clips are spread evenly over the folds. The result depends only
    on the data set's name, its clips and the number of folds, not on the order of the records.

    Args:
        records: all clips that take part.
        folds: the number of folds.
        name: of the data set and, where it has several, the protocol.

    Raises:
        ValueError: there are fewer than two folds, fewer persons or films than folds, or fewer clips than folds in
            every emotion.
    """
    group_of = inseparable(records)
    groups = set(group_of)
    frequent = max(Counter(record.emotion for record in records).values(), default=0)
    if folds < 2 or min(len(groups), frequent) < folds:
        raise ValueError(
            f"{name}: {len(records)} clips of {len(groups)} subjects or films, at most {frequent} of an emotion, "
            f"cannot make {folds} folds; expected at least two folds, and no more than there are subjects or clips of "
            "the most frequent emotion; films with a subject in common count as one. Check that this copy is complete"
        )
    ranks = {group: rank for rank, group in enumerate(sorted(groups, key=lambda group: _digest(name, group)))}
    no_groups = len(groups) == len(records)  # the splitter for groups would take minutes with one clip per group
    order = sorted(range(len(records)), key=lambda index: records[index].clip_id)
    if no_groups:
        order.sort(key=lambda index: ranks[group_of[index]])
    emotions = [records[index].emotion for index in order]
    persons = [ranks[group_of[index]] for index in order]
    assigned = [0] * len(records)
    with warnings.catch_warnings():  # a class with fewer clips than folds is missing from some test splits
        warnings.filterwarnings("ignore", message="The least populated class")
        splitter = StratifiedKFold(folds) if no_groups else StratifiedGroupKFold(folds)
        parts = splitter.split(order, emotions, None if no_groups else persons)
        for number, (_, tested) in enumerate(parts, start=1):
            for index in tested:
                assigned[order[index]] = number
    return assigned


def _digest(name: str, group: str) -> bytes:
    """Returns a sort key that shuffles persons in the same way with every version of every library."""
    return hashlib.sha256(f"{name}/{group}".encode(errors="surrogateescape")).digest()


def exclusive_folds(records: Sequence[VideoRecord], shared: Mapping[str, str], folds: int, name: str) -> list[FoldRow]:
    """Returns folds that do not share what `shared` names, such as people found by their faces.

    The rows name neither people nor films, so that the table may be passed on.

    Args:
        records: all clips that take part.
        shared: id of a clip -> the name of what no two folds share; it depends on nothing but the clips.
        folds: the number of folds.
        name: of the data set.

    Raises:
        ValueError: there are too few clips or names for so many folds.
    """
    grouped = [replace(record, group=shared[record.clip_id], subject="") for record in records]
    assigned = assign_folds(grouped, folds, name)
    rows = (
        FoldRow(each.clip_id, each.emotion, "", str(number)) for each, number in zip(records, assigned, strict=True)
    )
    return sorted(rows, key=lambda row: row.clip_id)


def consecutive_folds(records: Sequence[VideoRecord], folds: int, people: int, name: str) -> list[int]:
    """Returns the fold, from 1 to `folds`, in which each of the records is tested: equally many people in a row.

    Args:
        records: all clips, whose subjects end in a person's number, such as `Actor_07`.
        folds: the number of folds.
        people: how many there are in a complete copy, numbered from 1.
        name: of the data set.

    Raises:
        ValueError: the folds do not divide the people, or a subject has no number from 1 to `people`.
    """
    if folds < 2 or people % folds:
        divisors = ", ".join(str(number) for number in range(2, people + 1) if people % number == 0)
        raise ValueError(f"{name}: {folds} folds of {people} people in a row are not equal; expected one of {divisors}")
    numbers = [int(re.sub(r"\D", "", record.subject) or 0) for record in records]
    for record, number in zip(records, numbers, strict=True):
        if not 1 <= number <= people:
            raise ValueError(
                f"{name}: found subject {record.subject!r} of {record.clip_id!r}; expected a number from 1 to {people}"
            )
    return [1 + (number - 1) * folds // people for number in numbers]


def split_by_fold(
    records: Sequence[VideoRecord], fold: str, folds: int, name: str, folds_file: Path | None = None
) -> list[VideoRecord]:
    """Returns the records with their split in `fold`: those assigned to it are for testing, the others for training.

    Args:
        records: all clips that take part.
        fold: the fold that is tested.
        folds: the number of folds.
        name: of the data set and, where it has several, the protocol.
        folds_file: a file of folds to use instead of `assign_folds`, see `fold_files.read_folds`.

    Raises:
        ValueError: the fold does not exist, there are fewer persons than folds, or the file does not match the clips.
    """
    fold_number(fold, folds)  # a fold that does not exist is refused before the work of making them
    assigned = assign_folds(records, folds, name) if folds_file is None else read_folds(folds_file, records, folds)
    return with_splits(records, assigned, fold, folds)


def with_splits(records: Sequence[VideoRecord], assigned: Sequence[int], fold: str, folds: int) -> list[VideoRecord]:
    """Returns the records with their split in `fold`: those assigned to it are for testing, the others for training.

    Args:
        records: all clips that take part.
        assigned: the fold, from 1 to `folds`, in which each of them is tested.
        fold: the fold that is tested.
        folds: the number of folds.

    Raises:
        ValueError: the fold does not exist.
    """
    tested = fold_number(fold, folds)
    return [
        replace(record, fold=fold, split="test" if number == tested else "train")
        for record, number in zip(records, assigned, strict=True)
    ]
