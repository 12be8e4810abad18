"""Creates folds for data sets without official ones: subject-exclusive, stratified, identical on all machines."""

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
    """The fold, from 1 to `folds`, in which each of the records is tested.

    No two folds share a person or film; emotions and numbers of clips are spread evenly over the folds. The choice
    depends on the data set's name, its clips and the number of folds alone, not on the order of the records.

    Args:
        records: all clips that take part.
        folds: how many.
        name: of the data set and, where it has several, the protocol.

    Raises:
        ValueError: there are fewer persons or films than folds, or fewer clips of every emotion.
    """
    groups = {person_or_film(record) for record in records}
    frequent = max(Counter(record.emotion for record in records).values(), default=0)
    if folds < 2 or min(len(groups), frequent) < folds:
        raise ValueError(
            f"{name}: {len(records)} clips of {len(groups)} subjects or films, at most {frequent} of an emotion, "
            f"cannot make {folds} folds; expected two folds or more, and no more than subjects and than clips of the "
            "most frequent emotion: is this copy complete?"
        )
    ranks = {group: rank for rank, group in enumerate(sorted(groups, key=lambda group: _digest(name, group)))}
    alone = len(groups) == len(records)  # then the splitter for groups would take minutes over them, one by one
    order = sorted(range(len(records)), key=lambda place: records[place].clip_id)
    if alone:
        order.sort(key=lambda place: ranks[person_or_film(records[place])])
    emotions = [records[place].emotion for place in order]
    persons = [ranks[person_or_film(records[place])] for place in order]
    assigned = [0] * len(records)
    with warnings.catch_warnings():  # a class of fewer clips than folds is tested in some of them only
        warnings.filterwarnings("ignore", message="The least populated class")
        splitter = StratifiedKFold(folds) if alone else StratifiedGroupKFold(folds)
        parts = splitter.split(order, emotions, None if alone else persons)
        for number, (_, tested) in enumerate(parts, start=1):
            for place in tested:
                assigned[order[place]] = number
    return assigned


def _digest(name: str, group: str) -> bytes:
    """Persons in the order of these are shuffled alike by every version of every library."""
    return hashlib.sha256(f"{name}/{group}".encode(errors="surrogateescape")).digest()


def split_by_fold(
    records: Sequence[VideoRecord], fold: str, folds: int, name: str, folds_file: Path | None = None
) -> list[VideoRecord]:
    """The records with their split under `fold`: its part of `assign_folds` is tested, the rest trained on.

    Args:
        records: all clips that take part.
        fold: which.
        folds: how many there are.
        name: of the data set and, where it has several, the protocol.
        folds_file: somebody's folds in the place of ours, see `fold_files.read_folds`.

    Raises:
        ValueError: there is no such fold, fewer persons than folds, or the file does not fit.
    """
    tested = fold_number(fold, folds)
    assigned = assign_folds(records, folds, name) if folds_file is None else read_folds(folds_file, records, folds)
    return [
        replace(record, fold=fold, split="test" if number == tested else "train")
        for record, number in zip(records, assigned, strict=True)
    ]
