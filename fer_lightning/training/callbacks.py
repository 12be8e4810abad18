"""Callbacks of every run: prediction tables, seeds, a stop at divergence, the wait for data, lines of progress."""

import signal
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import pytorch_lightning as L
import torch
import torch.distributed
from pytorch_lightning.callbacks import Callback, Timer
from torch import Tensor

from data_modules.loading.batch import ClipBatch
from data_modules.loading.clip_loader import ClipLoader
from data_modules.loading.datamodule import EVALUATED, VideoDataModule
from data_modules.utils.signals import raise_terminated
from fer_lightning.evaluation.collect import clip_outputs, prediction_table
from fer_lightning.evaluation.metrics import HEADLINE
from fer_lightning.evaluation.outputs import ClipPredictions
from fer_lightning.runs.folder import RunFolder
from fer_lightning.training.classifier import VideoClassifier

Gathered = TypeVar("Gathered")


class PredictionWriter(Callback):
    """Writes the prediction tables and the outputs of the inner and the reported split into the run's folder."""

    def __init__(self) -> None:
        self.collected: dict[str, list[ClipPredictions]] = defaultdict(list)

    def on_test_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Forgets the predictions of an earlier test."""
        self.collected.clear()

    def on_test_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Tensor | Mapping[str, Any] | ClipPredictions | None,
        batch: ClipBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Collects the predictions of a batch on the CPU."""
        assert isinstance(outputs, ClipPredictions)
        self.collected[EVALUATED[dataloader_idx]].append(outputs.to("cpu"))

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Gathers the predictions of all processes and writes them in the manifest's order."""
        data = trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(data, VideoDataModule)
        assert isinstance(pl_module, VideoClassifier)
        run = RunFolder(Path(trainer.default_root_dir))
        for split in EVALUATED:
            parts = gather_predictions(self.collected[split])
            if trainer.is_global_zero:
                clips = data.split(split)
                prediction_table(clips, parts, pl_module.class_names, data.seed).write(run.predictions(split))
                if parts:
                    clip_outputs(clips, parts).write(run.outputs(split))


def gather_predictions(parts: list[ClipPredictions]) -> list[ClipPredictions]:
    """Collects the predictions of all processes on every process."""
    return [part for process in gather_objects(parts) for part in process]


def gather_objects(own: Gathered) -> list[Gathered]:
    """Collects an object of each process on every process, in the order of the processes."""
    if not torch.distributed.is_initialized():
        return [own]
    gathered = [own] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(gathered, own)
    return gathered


class TrainingTime(Timer):
    """Keeps in each checkpoint how long its training has taken, in all sessions; a `Timer` may limit it beside."""

    def __init__(self) -> None:
        """Creates the callback."""
        super().__init__(verbose=False)

    @classmethod
    def seconds_in(cls, checkpoint: Mapping[str, Any]) -> float:
        """Returns how long the training of a checkpoint had taken; 0 if it does not say so."""
        state = checkpoint.get("callbacks", {}).get(cls().state_key, {})
        return float(state.get("time_elapsed", {}).get("train", 0.0))


class EpochSeed(Callback):
    """Makes what is random in the model, such as dropout, depend on seed, epoch and process alone.

    A resumed run therefore draws the same random numbers as one that was never stopped.

    Args:
        seed: the run's seed.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Seeds before the epoch's first batch; earlier, the loaders of a resumed run would still draw numbers."""
        if batch_idx == 0:
            torch.manual_seed((self.seed * 100_003 + trainer.current_epoch) * 1_009 + trainer.global_rank)


class DivergedError(ValueError):
    """Raised when the loss or the weights of a training are no longer finite; the message says where and what to do."""


class StopWhereDiverged(Callback):
    """Ends a training whose loss is infinite or not a number, before such weights reach a checkpoint.

    The loss of a step is checked during the next step, so that the device never waits for the check. The loss of an
    epoch's last step, and the weights, are checked before the epoch's checkpoint is written.
    """

    def __init__(self) -> None:
        self.pending: tuple[Tensor, int, int, float] | None = None  # loss, epoch, step (both from 1), learning rate
        self.learning_rate = 0.0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Forgets the last step of an earlier training."""
        self.pending = None

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Records the step's learning rate; after an epoch's last step the schedule has already moved on."""
        rates = [group["lr"] for optimizer in trainer.optimizers for group in optimizer.param_groups]
        if rates:  # a model that is not trained by gradient steps has none
            self.learning_rate = float(rates[0])

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Checks the loss of the previous step.

        Raises:
            DivergedError: the loss is not finite.
        """
        self._check_loss(trainer)
        if isinstance(outputs, Mapping) and "loss" in outputs:
            loss = outputs["loss"].detach()
            self.pending = (loss, trainer.current_epoch + 1, trainer.global_step, self.learning_rate)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Checks the epoch's last loss and the weights; all processes stop if one has to.

        Raises:
            DivergedError: the loss or a weight is not finite.
        """
        if self.pending is None:  # the model is not trained by gradient steps
            return
        weights = [weight.detach().isfinite().all() for weight in pl_module.parameters() if weight.requires_grad]
        finite = bool(torch.stack(weights).all()) and bool(self.pending[0].isfinite().all())
        if not trainer.strategy.reduce_boolean_decision(finite):
            self._check_loss(trainer)
            raise _diverged(trainer, "weights are not finite", self.pending)

    def _check_loss(self, trainer: L.Trainer) -> None:
        if self.pending is not None and not bool(self.pending[0].isfinite().all()):
            raise _diverged(trainer, f"loss is {float(self.pending[0])}", self.pending)


def _diverged(trainer: L.Trainer, what: str, last: tuple[Tensor, int, int, float]) -> DivergedError:
    _, epoch, step, rate = last
    return DivergedError(
        f"{trainer.default_root_dir}: the {what} in epoch {epoch}, step {step}, at learning rate {rate:g}; the "
        "training ends here, and the checkpoints of earlier epochs are kept. Train under another --name with a lower "
        "learning rate (--model.init_args.optimizer.init_args.lr), with --trainer.gradient_clip_val 1, or with "
        "--trainer.precision 32-true"
    )


class OwnSignals(Callback):
    """Takes SIGTERM back from Lightning, so that it stops a training at once and as Ctrl-C does.

    Lightning's handler waits for all other processes in the middle of a step, in which these may wait for this one.
    Nothing is gained by finishing the step: a run goes on after its latest finished epoch.
    """

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Replaces Lightning's handler, which is in place by now; Lightning puts back the earlier one at the end."""
        self._replace_handler()

    def on_test_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Replaces Lightning's handler."""
        self._replace_handler()

    def _replace_handler(self) -> None:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, raise_terminated)


class DataWait(Callback):
    """Logs `train/data_wait`: the fraction of an epoch's time that training spent waiting for its `ClipLoader`.

    The first batch of an epoch is not counted, because it waits for the workers to start. The loader counts the time
    itself: seen from here, copies to a GPU and what is computed there before a step would seem to be waiting, too.
    """

    def __init__(self) -> None:
        self.waited = self.elapsed = 0.0
        self.begin: tuple[float, float] | None = None  # the clock after the first batch, and what the loader had waited

    @property
    def share(self) -> float:
        """The fraction in the latest epoch, 0 if it had one batch or none."""
        return self.waited / self.elapsed if self.elapsed else 0.0

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Resets the clocks."""
        self.waited = self.elapsed = 0.0
        self.begin = None

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Reads the clocks after each step; those of the first are the beginning."""
        loader = trainer.train_dataloader
        if not isinstance(loader, ClipLoader):
            return
        now, waited = time.perf_counter(), loader.waited
        if self.begin is None:
            self.begin = now, waited
        self.elapsed, self.waited = now - self.begin[0], waited - self.begin[1]

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Logs the epoch's fraction."""
        if self.elapsed:
            pl_module.log("train/data_wait", self.share)


def _progress_formats() -> dict[str, Callable[[float], str]]:
    """Maps each logged value that a line of progress shows to the function that writes it."""
    formats: dict[str, Callable[[float], str]] = {}
    for split in ("train", "inner"):
        formats[f"{split}/loss"] = "{:.3f}".format
        formats |= {f"{split}/{metric.name}": metric.write for metric in HEADLINE}
    return formats | {"train/data_wait": "{:.3f}".format}


class ProgressLines(Callback):
    """Prints a line for every epoch, counted from 1, for logs and terminals that cannot draw a progress bar.

    It says how much time is probably left: the epochs and steps until the end, at the mean pace of this session. Long
    epochs have further lines within them.

    Args:
        every: seconds after which there is another line.
    """

    def __init__(self, every: float = 300.0) -> None:
        self.every = every
        self.epoch = 0  # the epoch under way, counted from 1; 0 before the first one
        self.first = 0  # epochs that were finished before this session
        self.start = self.begin = self.said = 0.0  # times of this epoch, this session and the last line

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Forgets the last epoch of an earlier training."""
        self.epoch, self.first, self.begin = 0, trainer.current_epoch, time.perf_counter()

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Prints the line of the previous epoch, whose values are all logged only now."""
        self._print(trainer)
        self.epoch, self.start = trainer.current_epoch + 1, time.perf_counter()
        self.said = self.start

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Prints how far the epoch is, if the last line is long ago."""
        if trainer.is_global_zero and time.perf_counter() - self.said >= self.every:
            self.said, steps = time.perf_counter(), trainer.num_training_batches
            left = self._left(trainer, self.epoch - 1 + (batch_idx + 1) / steps)
            print(f"epoch {self.epoch}/{trainer.max_epochs}, step {batch_idx + 1} of {steps}{left}", flush=True)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Prints the line of the last epoch."""
        self._print(trainer)

    def _print(self, trainer: L.Trainer) -> None:
        if not (self.epoch and trainer.is_global_zero):
            return
        logged, formats = trainer.callback_metrics, _progress_formats()
        values = [f"{name} {write(float(logged[name]))}" for name, write in formats.items() if name in logged]
        line = f"epoch {self.epoch}/{trainer.max_epochs}  {time.perf_counter() - self.start:.0f} s  {'  '.join(values)}"
        print(line + self._left(trainer, self.epoch), flush=True)

    def _left(self, trainer: L.Trainer, done: float) -> str:
        """Says how much time is left after a number of epochs; nothing at the end, or if that is not known."""
        epochs = (trainer.max_epochs or 0) - done
        if epochs <= 0 or done <= self.first:
            return ""
        minutes = epochs * (time.perf_counter() - self.begin) / (done - self.first) / 60
        return f", about {minutes / 60:.1f} h left" if minutes >= 90 else f", about {max(1, round(minutes))} min left"
