"""Folds for data sets without: exclusive in people, balanced, and the same everywhere."""

import hashlib
import random
from collections import Counter
from dataclasses import replace

import pytest

from data_modules.datasets.bu4dfe import BU4DFE
from data_modules.datasets.caer import CAER
from data_modules.datasets.ckplus import CKPlus
from data_modules.datasets.dfew import DFEW
from data_modules.datasets.mafw import MAFW
from data_modules.datasets.ravdess import RAVDESS
from data_modules.datasets.synthetic import Synthetic
from data_modules.folds import assign_folds, split_by_fold
from data_modules.manifest import VideoRecord
from tests.fake_datasets import SIX


def people(numbers: list[int]) -> list[VideoRecord]:
    """A clip for each emotion and person; the n-th person has `numbers[n]` clips of each."""
    return [
        VideoRecord(f"p{person}-{emotion}-{clip}", "x", emotion, f"p{person}")
        for person, number in enumerate(numbers)
        for emotion in SIX
        for clip in range(number)
    ]


def test_folds_are_balanced_and_stratified():
    """People and sequences as many as CK+ has, dealt out at random."""
    rng = random.Random(0)
    (count,) = CKPlus().counts
    records = [
        VideoRecord(f"{person}-{emotion}", "x", emotion, f"S{person}")
        for emotion, number in count.emotions
        for person in rng.sample(range(118), number)
    ]
    folds = assign_folds(records, 10, "x")
    for emotion, _ in count.emotions:
        numbers = Counter(fold for fold, record in zip(folds, records, strict=True) if record.emotion == emotion)
        assert max(numbers.values()) - min(numbers.values()) <= 2
        assert set(numbers) == set(range(1, 11))
    sizes = Counter(folds).values()
    assert max(sizes) - min(sizes) <= 6


def test_people_alike_are_spread_evenly():
    folds = assign_folds(people([1] * 24), 6, "x")
    assert set(Counter(folds).values()) == {24}  # four people in each


def test_folds_depend_on_clips_and_name_alone():
    records = people([1] * 30)
    first = dict(zip(records, assign_folds(records, 10, "x"), strict=True))
    assert dict(zip(records[::-1], assign_folds(records[::-1], 10, "x"), strict=True)) == first
    assert dict(zip(records, assign_folds(records, 10, "y"), strict=True)) != first
    # A published figure needs the same folds forever.
    digest = hashlib.sha256(str(assign_folds(people([1, 2] * 10), 5, "pinned")).encode()).hexdigest()
    assert digest == "cae6b4b9f26343bb2cadf6e380b2c618a8983186b26eac0d4ba0690834801400"


def test_films_count_where_they_are_known():
    records = [replace(record, group=f"film{place % 5}") for place, record in enumerate(people([1] * 30))]
    split = split_by_fold(records, "2", 5, "x")
    assert not {r.group for r in split if r.split == "train"} & {r.group for r in split if r.split == "test"}


def test_too_few_people_are_named():
    with pytest.raises(ValueError, match=r"x: 18 clips of 3 subjects or films, .* cannot make 4 folds"):
        assign_folds(people([1] * 3), 4, "x")


def test_every_data_set_says_how_many_folds_it_has():
    made = (CKPlus(), CKPlus(protocol="neutral"), BU4DFE(), DFEW(), MAFW(), RAVDESS(), Synthetic(), CAER())
    assert [dataset.folds for dataset in made] == [10, 5, 10, 5, 5, 6, 4, 1]
    assert made[3].fold_names == ("1", "2", "3", "4", "5")
