from collections import Counter

import pytest
import torch

from data_modules.loading.batch_sampler import TrainingOrder

LABELS = [0] * 50 + [1] * 7 + [2] * 21 + [3] * 3


def global_batches(epoch=0, replicas=2, batch_size=5, balanced=True, labels=LABELS, seed=0):
    """The batches of all processes together."""
    orders = []
    for rank in range(replicas):
        order = TrainingOrder(labels, batch_size, balanced, replicas, rank, seed)
        order.set_epoch(epoch)
        draws = list(order)
        assert len(draws) == len(order)
        orders.append([draws[i : i + batch_size] for i in range(0, len(draws), batch_size)])
    return [[draw for part in parts for draw in part] for parts in zip(*orders, strict=True)]


@pytest.mark.parametrize("replicas", [1, 2, 3])
@pytest.mark.parametrize("batch_size", [3, 4, 8])
def test_class_counts_of_global_batches_differ_by_at_most_one(replicas, batch_size):
    for batch in global_batches(replicas=replicas, batch_size=batch_size):
        counts = Counter({0: 0, 1: 0, 2: 0, 3: 0}) + Counter(LABELS[draw.clip] for draw in batch)
        counts = [counts.get(label, 0) for label in range(4)]
        assert len(batch) == replicas * batch_size
        assert max(counts) - min(counts) <= 1


def test_balanced_classes_use_all_their_clips_before_any_again():
    clips = [draw.clip for epoch in range(1) for batch in global_batches(epoch) for draw in batch]
    for label in range(4):
        members = [i for i, other in enumerate(LABELS) if other == label]
        counts = Counter(clip for clip in clips if LABELS[clip] == label)
        assert max(counts.values()) - min(counts.get(i, 0) for i in members) <= 1


def test_without_balance_an_epoch_is_a_permutation():
    clips = [draw.clip for batch in global_batches(balanced=False, batch_size=4) for draw in batch]
    assert len(clips) == len(set(clips)) == len(LABELS) // 8 * 8


def test_epochs_and_seeds_differ_and_repeat():
    assert global_batches(epoch=1) == global_batches(epoch=1)
    assert global_batches(epoch=1) != global_batches(epoch=2)
    assert global_batches(seed=1) != global_batches(seed=2)


def test_the_draws_of_an_epoch_are_the_same_for_any_processes():
    alone = {draw for batch in global_batches(replicas=1, batch_size=10) for draw in batch}
    assert alone == {draw for batch in global_batches(replicas=2, batch_size=5) for draw in batch}


def test_accumulated_batches_are_parts_of_the_same_step():
    whole = [*TrainingOrder(LABELS, 12, balanced=True)]
    ranks = [[*TrainingOrder(LABELS, 2, True, replicas=3, rank=rank, accumulated=2)] for rank in range(3)]
    steps = [[draw for part in ranks for draw in part[4 * i : 4 * i + 4]] for i in range(len(whole) // 12)]
    assert [set(step) for step in steps] == [set(whole[12 * i : 12 * i + 12]) for i in range(len(whole) // 12)]
    assert len(TrainingOrder([0, 1, 1], 2, replicas=2, accumulated=3)) == 6, "one whole step of repeated clips"


def test_fewer_clips_than_a_batch_are_repeated():
    (batch,) = global_batches(labels=[0, 1, 1], balanced=False, replicas=2, batch_size=4)
    assert Counter(Counter(draw.clip for draw in batch).values()) == Counter({3: 2, 2: 1})


def test_no_clips_is_an_error():
    with pytest.raises(ValueError, match="empty"):
        TrainingOrder([], 4)
    assert torch.is_tensor(TrainingOrder([0, 1], 4).labels)
