"""Create the inner split: the part of the training data on which epochs and settings are chosen."""

import hashlib
import warnings
from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Sequence
from dataclasses import replace

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from data_modules.manifest import VideoRecord

LARGEST = 1.5
"""How many times its share of the clips an inner split may have before another one is taken [our choice]."""


def inseparable(records: Sequence[VideoRecord]) -> list[str]:
    """Returns of each record the name of what two splits must not share: records of one name stay together.

    It is the film if it is known, else the subject, else the clip itself. Where records name both, films with a subject
    in common have one name.
    """
    keys = [[("film", record.group), ("subject", record.subject)] for record in records]
    part = linked([[(kind, name) for kind, name in each if name] for each in keys])
    films: dict[int, str] = {}  # the first film of each part
    for number, film in sorted((number, record.group) for number, record in zip(part, records, strict=True)):
        if film:
            films.setdefault(number, film)
    return [films.get(number) or record.subject or record.clip_id for number, record in zip(part, records, strict=True)]


def linked(keys: Sequence[Collection[Hashable]]) -> list[int]:
    """Returns a number for each of some items; those with a key in common, or linked by others, have the same one.

    Args:
        keys: of each item, such as its subject and its film.
    """
    items: dict[Hashable, list[int]] = {}
    for number, each in enumerate(keys):
        for key in each:
            items.setdefault(key, []).append(number)
    edges = [(members[0], member) for members in items.values() for member in members]
    first, second = np.array(edges, dtype=np.int64).reshape(-1, 2).T
    graph = coo_array((np.ones(len(first)), (first, second)), shape=(len(keys), len(keys)))
    return [int(number) for number in connected_components(graph, directed=False)[1]] if len(keys) else []


def shared_with_reported(records: Sequence[VideoRecord], names: Sequence[str]) -> list[str]:
    """Returns the names that belong to clips of the reported split and to clips that are trained or chosen on.

    Args:
        records: all clips of one fold.
        names: of the person, film or content of each clip; empty where it is not known.
    """
    sides: dict[bool, set[str]] = {True: set(), False: set()}
    for record, name in zip(records, names, strict=True):
        sides[record.split == "test"].add(name)
    return sorted((sides[True] & sides[False]) - {""})


def mark_inner_split(records: Sequence[VideoRecord], dataset: str, share: float = 0.15) -> list[VideoRecord]:
    """Returns the records, with those of the inner split marked `inner` instead of `train`.

    No film or subject is in both parts where it is known (see `VideoDataset.exclusive_in`), and the choice is
    stratified by emotion. It depends only on the data set's name, its clips and the fold, not on the seed or the
    experiment.

    Args:
        records: all clips of one fold.
        dataset: the name of the data set.
        share: the approximate share of the training clips, from 0 to 1.

    Raises:
        ValueError: there are too few subjects, films or clips for an inner split.
    """
    train = sorted((r for r in records if r.split == "train"), key=lambda record: record.clip_id)
    if not train or any(record.split == "inner" for record in records):
        return list(records)
    groups, emotions = inseparable(train), [record.emotion for record in train]
    # The splitters refuse more parts than the most frequent class has clips.
    parts = min(round(1 / share), len(set(groups)), max(Counter(emotions).values()))
    if parts < 2:
        raise ValueError(
            f"{dataset}: the {len(train)} training clips are of one subject or film, or one clip per emotion, so no "
            "inner split can be set aside; use --data.selection last"
        )
    digest = hashlib.sha256(f"{dataset}/{train[0].fold}".encode()).digest()
    # The splitter for groups would take minutes with one clip per group.
    no_groups = len(set(groups)) == len(train)
    splitter = (StratifiedKFold if no_groups else StratifiedGroupKFold)(
        parts, shuffle=True, random_state=int.from_bytes(digest[:4], "big")
    )
    with warnings.catch_warnings():  # a class with fewer clips than parts is missing from some of them
        warnings.filterwarnings("ignore", message="The least populated class")
        folds = [indices for _, indices in splitter.split(train, emotions, None if no_groups else groups)]
    wanted = len(train) / parts
    # The first one has the groups whose classes vary most, such as a film that is larger than all others.
    indices = folds[0] if len(folds[0]) <= LARGEST * wanted else min(folds, key=lambda each: abs(len(each) - wanted))
    inner = {train[index].clip_id for index in indices}
    return [replace(record, split="inner") if record.clip_id in inner else record for record in records]


def join_inner(records: Iterable[VideoRecord]) -> list[VideoRecord]:
    """Returns the records with the inner split back in the training split, for training without model selection.

    Data sets with an official validation split have an inner split without `mark_inner_split`.
    """
    return [replace(record, split="train") if record.split == "inner" else record for record in records]
