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
        return half_cosine(epoch - self.warmup, self.epochs - self.warmup)


class DampedCosine(LambdaLR):
    """Lowers the learning rate along half a cosine from the first epoch on, damped by a linear warm-up.

    The product of torch's `CosineAnnealingLR` and a warm-up, as in the authors' code of CEFLNet. The cosine may take
    longer than the training: the rate then ends above zero.

    Args:
        optimizer: its learning rate is the one that the cosine begins with.
        period: number of epochs in which the cosine reaches zero, torch's `T_max`.
        warmup: number of epochs of the warm-up; the first one has 1 / warmup of the rate, the last one all of it.

    Raises:
        ValueError: the warm-up does not end before the cosine.
    """

    def __init__(self, optimizer: Optimizer, period: int, warmup: int = 0) -> None:
        if not 0 <= warmup < period:
            raise ValueError(f"expected 0 <= warmup < period, found a warm-up of {warmup} in {period} epochs")
        self.period, self.warmup = period, warmup
        super().__init__(optimizer, self._factor)

    def _factor(self, epoch: int) -> float:
        damping = (epoch + 1) / self.warmup if epoch < self.warmup else 1.0
        return damping * half_cosine(epoch, self.period)


def half_cosine(epoch: int, period: int) -> float:
    """Returns the factor that falls from 1 at epoch 0 to 0 at epoch `period`, and stays there."""
    return (1 + math.cos(math.pi * min(epoch / period, 1.0))) / 2
