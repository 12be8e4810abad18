"""Choose the clips of each training batch, on any number of processes."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch.utils.data import Sampler


class Draw(NamedTuple):
    """The index of a training clip, and the seed for its frames and augmentation."""

    clip: int
    seed: int


class TrainingOrder(Sampler[Draw]):
    """The order of training clips for one of `replicas` processes; all global batches are complete.

    Without balancing, every epoch is a permutation of the clips, without the remainder that does not fill a batch. With
    balancing, the class counts in each global batch (`batch_size * replicas * accumulated` clips), and in each of its
    parts, differ by at most one. The clips of each class come in a shuffled order and are reshuffled once all have been
    used. The seed of each draw depends only on the seed, the epoch and the position, so that a resumed run continues
    with the same samples, and that the global batches do not depend on how they are divided.

    Args:
        labels: class of each clip.
        batch_size: clips that a process loads at once.
        balanced: distribute every batch evenly over the classes.
        replicas: number of processes.
        rank: index of this process.
        seed: seed of the order and of the draws.
        accumulated: batches of each process whose gradients make one step.

    Raises:
        ValueError: there are no clips.
    """

    def __init__(
        self,
        labels: Sequence[int],
        batch_size: int,
        balanced: bool = False,
        replicas: int = 1,
        rank: int = 0,
        seed: int = 0,
        accumulated: int = 1,
    ) -> None:
        if not labels:
            raise ValueError("no clips to train on: the training split is empty")
        self.labels, self.batch_size, self.balanced = torch.tensor(labels), batch_size, balanced
        self.replicas, self.rank, self.seed, self.epoch = replicas, rank, seed, 0
        self.accumulated = accumulated

    @property
    def num_batches(self) -> int:
        """Batches of a process in an epoch, for one step or more; clips are repeated if too few for one step."""
        clips_per_step = self.batch_size * self.replicas * self.accumulated
        return max(1, len(self.labels) // clips_per_step) * self.accumulated

    def __len__(self) -> int:
        return self.num_batches * self.batch_size

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, which determines the order; the trainer calls this."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[Draw]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        total = len(self) * self.replicas
        order = self._balanced(total, generator) if self.balanced else self._shuffled(total, generator)
        seeds = torch.randint(2**62, (total,), generator=generator)
        positions = torch.arange(total).view(self.num_batches, self.replicas, self.batch_size)[:, self.rank].flatten()
        for position in positions.tolist():
            yield Draw(int(order[position]), int(seeds[position]))

    def _shuffled(self, total: int, generator: torch.Generator) -> torch.Tensor:
        return _repeat_shuffled(torch.arange(len(self.labels)), total, generator)

    def _balanced(self, total: int, generator: torch.Generator) -> torch.Tensor:
        classes = torch.tensor(sorted(set(self.labels.tolist())))
        classes = classes[torch.randperm(len(classes), generator=generator)]
        per_class = -(-total // len(classes))
        columns = [_repeat_shuffled((self.labels == c).nonzero().flatten(), per_class, generator) for c in classes]
        return torch.stack(columns, dim=1).flatten()[:total]  # one clip of each class in turn


def _repeat_shuffled(items: torch.Tensor, total: int, generator: torch.Generator) -> torch.Tensor:
    """Return `total` items: shuffled, and reshuffled each time all have been used."""
    rounds = -(-total // len(items))
    shuffled = [items[torch.randperm(len(items), generator=generator)] for _ in range(rounds)]
    return torch.cat(shuffled)[:total]
