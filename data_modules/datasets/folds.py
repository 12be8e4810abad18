"""Create folds for data sets without official ones: subject-exclusive, stratified and the same on every machine."""

import hashlib
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from data_modules.datasets.fold_files import read_folds
from data_modules.datasets.splits import person_or_film
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
    groups = {person_or_film(record) for record in records}
    frequent = max(Counter(record.emotion for record in records).values(), default=0)
    if folds < 2 or min(len(groups), frequent) < folds:
        raise ValueError(
            f"{name}: {len(records)} clips of {len(groups)} subjects or films, at most {frequent} of an emotion, "
            f"cannot make {folds} folds; expected at least two folds, and no more than there "
            "are subjects or clips of the most frequent emotion. Check that this copy is complete"
        )
    ranks = {group: rank for rank, group in enumerate(sorted(groups, key=lambda group: _digest(name, group)))}
    no_groups = len(groups) == len(records)  # the splitter for groups would take minutes with one clip per group
    order = sorted(range(len(records)), key=lambda index: records[index].clip_id)
    if no_groups:
        order.sort(key=lambda index: ranks[person_or_film(records[index])])
    emotions = [records[index].emotion for index in order]
    persons = [ranks[person_or_film(records[index])] for index in order]
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
    tested = fold_number(fold, folds)
    assigned = assign_folds(records, folds, name) if folds_file is None else read_folds(folds_file, records, folds)
    return [
        replace(record, fold=fold, split="test" if number == tested else "train")
        for record, number in zip(records, assigned, strict=True)
    ]
