"""Schedules of the learning rate that torch does not have as one class."""

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


class WarmupCosine(LambdaLR):
    """Rises linearly over `warmup` epochs, then falls along half a cosine to zero at `epochs`.

    Args:
        optimizer: its learning rate is the highest.
        epochs: of the whole training.
        warmup: of them, rising.
    """

    def __init__(self, optimizer: Optimizer, epochs: int, warmup: int = 0) -> None:
        if not 0 <= warmup < epochs:
            raise ValueError(f"warm-up of {warmup} epochs does not fit a training of {epochs}")
        self.epochs, self.warmup = epochs, warmup
        super().__init__(optimizer, self._factor)

    def _factor(self, epoch: int) -> float:
        if epoch < self.warmup:
            return (epoch + 1) / (self.warmup + 1)
        return (1 + math.cos(math.pi * (epoch - self.warmup) / (self.epochs - self.warmup))) / 2
