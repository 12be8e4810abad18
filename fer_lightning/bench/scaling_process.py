"""One training of `fer bench scaling`, which Lightning starts once for each process."""

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as L
import torch

from data_modules.loading.batch import ClipBatch
from data_modules.utils.files import atomic_write
from fer_lightning.experiments.lightning_cli import FerCLI
from fer_lightning.training.batch_norm import trained_layers
from fer_lightning.training.callbacks import DataWait, gather_objects
from fer_lightning.training.classifier import VideoClassifier


class ScalingClock(L.Callback):
    """Measures the last epoch on all processes, without its first step, and writes it down.

    Args:
        path: of the file.
        wait: the clock of the time for which this process waits for data.
    """

    def __init__(self, path: Path, wait: DataWait) -> None:
        self._path, self._wait = path, wait
        self._start, self._clips = 0.0, 0

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: ClipBatch, batch_idx: int
    ) -> None:
        """Begins after the first step, and counts the clips of the others."""
        if pl_module.device.type == "cuda":
            torch.cuda.synchronize()
        if batch_idx == 0:
            self._start, self._clips = time.perf_counter(), 0
        else:
            self._clips += len(batch)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Gathers what the processes have measured."""
        seconds = time.perf_counter() - self._start
        memory = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        if pl_module.device.type == "cuda":
            memory = torch.cuda.max_memory_allocated()
        parts = gather_objects((seconds, self._clips, self._wait.share, memory))
        if trainer.is_global_zero:
            clips = sum(part[1] for part in parts)
            steps = int(trainer.num_training_batches) - 1
            measured = {
                "clips": round(clips / steps),
                "clips_per_second": clips / max(part[0] for part in parts),
                "waiting": sum(part[2] for part in parts) / len(parts),
                "memory": max(part[3] for part in parts),
            }
            atomic_write(self._path, json.dumps(measured).encode())


def main(arguments: list[str]) -> None:
    """Trains two epochs, then predicts the reported split.

    Args:
        arguments: the file for what is measured, then the options of Lightning's parser.
    """
    path, *options = arguments
    cli = FerCLI(options, run=False)
    assert isinstance(cli.model, VideoClassifier)
    cli.model.freeze(*(layer for _, layer in trained_layers(cli.model)))
    for layer in cli.model.modules():
        if isinstance(layer, torch.nn.Dropout):
            layer.p = 0.0  # each process drops other values
    (wait,) = (callback for callback in cli.trainer_defaults["callbacks"] if isinstance(callback, DataWait))
    cli.trainer.callbacks.append(ScalingClock(Path(path), wait))  # type: ignore[attr-defined]
    cli.trainer.fit(cli.model, cli.datamodule)
    cli.trainer.test(cli.model, cli.datamodule, verbose=False)


if __name__ == "__main__":
    main(sys.argv[1:])
