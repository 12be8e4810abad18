"""Speed of an epoch of VSHNN on cached features of its frozen parts, against computing them each time."""

import time
from collections.abc import Sequence
from itertools import chain
from typing import Any

import pytorch_lightning as L

from fer_lightning.bench.two_epochs import train_two_epochs
from fer_lightning.experiments.system import Size

EXPERIMENT = "vshnn_synthetic"


class EpochClock(L.Callback):
    """Measures the seconds of the last epoch's training steps, including waiting for data."""

    seconds = 0.0

    def on_train_epoch_start(self, *_: Any) -> None:
        """Records the start of the epoch."""
        self._start = time.perf_counter()

    def on_train_epoch_end(self, *_: Any) -> None:
        """Computes the duration of the epoch."""
        self.seconds = time.perf_counter() - self._start


def run(quick: bool = False) -> None:
    """Prints the duration of a training epoch with and without cached features."""
    seconds = {cache: cached_epoch(cache, steps=2 if quick else None) for cache in (False, True)}
    for cache, elapsed in seconds.items():
        print(f"{EXPERIMENT}, {'cached features' if cache else 'computed each time'}: {elapsed:.2f} s per epoch")
    print(f"{seconds[False] / seconds[True]:.1f} x as fast")


def cached_epoch(cache: bool, steps: int | None) -> float:
    """Returns the seconds of an epoch of VSHNN on cached features, or on features that are computed."""
    weights = [(f"--model.init_args.{part}.init_args.weights", "random") for part in ("backbone", "scene")]
    return epoch(EXPERIMENT, "small", ["--data.cache", str(cache).lower(), *chain(*weights)], steps)


def epoch(experiment: str, size: Size, settings: Sequence[str], steps: int | None = None) -> float:
    """Returns the seconds of an epoch, see `train_two_epochs`.

    Args:
        experiment: its name.
        size: `small` or `paper`.
        settings: further arguments, such as random weights.
        steps: at most, of an epoch.
    """
    clock = EpochClock()
    train_two_epochs(experiment, size, settings, steps, [clock])
    return clock.seconds
