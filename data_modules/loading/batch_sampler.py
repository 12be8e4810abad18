"""Which clips stand together in a training batch, on any number of processes."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch.utils.data import Sampler


class Draw(NamedTuple):
    """A clip of the training set and the seed of what is random about this sight of it."""

    clip: int
    seed: int


class TrainingOrder(Sampler[Draw]):
    """The order of training clips for one of `replicas` processes; all global batches are whole.

    Balanced, the clips of any global batch (`batch_size * replicas` of them) are spread over the classes so that their
    counts differ by at most one, and so are those of one process's part. Each class's clips come in a shuffled order
    and begin again once all were seen. Otherwise every epoch is a permutation, without the rest that would not fill a
    batch. The seed of every draw depends on (seed, epoch, place) alone: resumed runs see what unbroken runs see.

    Args:
        labels: class of each clip.
        batch_size: clips per process and step.
        balanced: spread every batch over the classes.
        replicas: number of processes.
        rank: this process.
        seed: of the order and of the draws.
    """

    def __init__(
        self,
        labels: Sequence[int],
        batch_size: int,
        balanced: bool = False,
        replicas: int = 1,
        rank: int = 0,
        seed: int = 0,
    ) -> None:
        if not labels:
            raise ValueError("no clips to train on: the training split is empty")
        self.labels, self.batch_size, self.balanced = torch.tensor(labels), batch_size, balanced
        self.replicas, self.rank, self.seed, self.epoch = replicas, rank, seed, 0

    @property
    def num_batches(self) -> int:
        """Steps of an epoch; at least one, for which clips are repeated."""
        return max(1, len(self.labels) // (self.batch_size * self.replicas))

    def __len__(self) -> int:
        return self.num_batches * self.batch_size

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer: each epoch has its own order."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[Draw]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        total = len(self) * self.replicas
        order = self._balanced(total, generator) if self.balanced else self._shuffled(total, generator)
        seeds = torch.randint(2**62, (total,), generator=generator)
        mine = torch.arange(total).view(self.num_batches, self.replicas, self.batch_size)[:, self.rank].flatten()
        for place in mine.tolist():
            yield Draw(int(order[place]), int(seeds[place]))

    def _shuffled(self, total: int, generator: torch.Generator) -> torch.Tensor:
        return _rounds(torch.arange(len(self.labels)), total, generator)

    def _balanced(self, total: int, generator: torch.Generator) -> torch.Tensor:
        classes = torch.tensor(sorted(set(self.labels.tolist())))
        classes = classes[torch.randperm(len(classes), generator=generator)]
        per_class = -(-total // len(classes))
        columns = [_rounds((self.labels == c).nonzero().flatten(), per_class, generator) for c in classes]
        return torch.stack(columns, dim=1).flatten()[:total]  # the classes take turns


def _rounds(items: torch.Tensor, total: int, generator: torch.Generator) -> torch.Tensor:
    """`total` of the items: shuffled, and shuffled again each time all were taken."""
    rounds = -(-total // len(items))
    shuffled = [items[torch.randperm(len(items), generator=generator)] for _ in range(rounds)]
    return torch.cat(shuffled)[:total]
