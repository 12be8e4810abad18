"""Schedules of the learning rate that torch does not provide as one class."""

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


class WarmupCosine(LambdaLR):
    """Raises the learning rate linearly over `warmup` epochs, then lowers it along half a cosine to zero at `epochs`.

    Args:
        optimizer: its learning rate is the highest of the schedule.
        epochs: number of epochs of the whole training.
        warmup: number of epochs of the rise.

    Raises:
        ValueError: the warm-up does not end before the training.
    """

    def __init__(self, optimizer: Optimizer, epochs: int, warmup: int = 0) -> None:
        if not 0 <= warmup < epochs:
            raise ValueError(f"expected 0 <= warmup < epochs, found a warm-up of {warmup} in {epochs} epochs")
        self.epochs, self.warmup = epochs, warmup
        super().__init__(optimizer, self._factor)

    def _factor(self, epoch: int) -> float:
        if epoch < self.warmup:
            return (epoch + 1) / (self.warmup + 1)
        return (1 + math.cos(math.pi * (epoch - self.warmup) / (self.epochs - self.warmup))) / 2
