"""The inner split: the part of the training data on which everything is chosen that may be chosen."""

import hashlib
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from data_modules.manifest import VideoRecord


def person_or_film(record: VideoRecord) -> str:
    """What two splits must not share: the film where it is known, else the subject, else the clip alone."""
    return record.group or record.subject or record.clip_id


def mark_inner_split(records: Sequence[VideoRecord], dataset: str, share: float = 0.15) -> list[VideoRecord]:
    """The records, those of the inner split marked `inner` instead of `train`.

    The choice is exclusive in films or subjects, stratified by emotion, and depends on the data set's name, its clips
    and the fold alone: neither on the seed nor on the experiment.

    Args:
        records: all clips of one fold.
        dataset: name of the data set.
        share: of the training clips, about.

    Raises:
        ValueError: there are too few subjects, films or clips to set any aside.
    """
    train = sorted((r for r in records if r.split == "train"), key=lambda record: record.clip_id)
    if not train or any(record.split == "inner" for record in records):
        return list(records)
    groups, emotions = [person_or_film(record) for record in train], [record.emotion for record in train]
    # The splitters refuse more parts than the most frequent class has clips.
    parts = min(round(1 / share), len(set(groups)), max(Counter(emotions).values()))
    if parts < 2:
        raise ValueError(
            f"{dataset}: the {len(train)} training clips are of one subject or film, or one clip an emotion, so no "
            "inner split can be set aside; use --data.selection last"
        )
    digest = hashlib.sha256(f"{dataset}/{train[0].fold}".encode()).digest()
    # Where no two clips belong together, the splitter for groups would take minutes over them one by one.
    alone = len(set(groups)) == len(train)
    splitter = (StratifiedKFold if alone else StratifiedGroupKFold)(
        parts, shuffle=True, random_state=int.from_bytes(digest[:4], "big")
    )
    with warnings.catch_warnings():  # a class of fewer clips than parts is in some of them only
        warnings.filterwarnings("ignore", message="The least populated class")
        _, places = next(splitter.split(train, emotions, None if alone else groups))
    inner = {train[place].clip_id for place in places}
    return [replace(record, split="inner") if record.clip_id in inner else record for record in records]


def join_inner(records: Iterable[VideoRecord]) -> list[VideoRecord]:
    """The records, those of the inner split back among the training clips: for trainings that choose nothing.

    Data sets with a validation split of their own have an inner one even where nobody cut it out.
    """
    return [replace(record, split="train") if record.split == "inner" else record for record in records]
