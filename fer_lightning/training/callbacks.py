"""What happens beside training: prediction tables, the time spent waiting for data, progress where no one watches."""

import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as L
import torch
import torch.distributed
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from data_modules.loading.batch import ClipBatch
from data_modules.loading.datamodule import EVALUATED, VideoDataModule
from fer_lightning.evaluation.collect import clip_outputs, prediction_table
from fer_lightning.evaluation.outputs import ClipPredictions
from fer_lightning.runs.folder import RunFolder
from fer_lightning.training.classifier import VideoClassifier


class PredictionWriter(Callback):
    """Writes the prediction table and the outputs of both evaluated splits into the run's folder."""

    def __init__(self) -> None:
        self.collected: dict[str, list[ClipPredictions]] = defaultdict(list)

    def on_test_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Begins anew."""
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
        """Keeps a batch's predictions, on the CPU."""
        assert isinstance(outputs, ClipPredictions)
        self.collected[EVALUATED[dataloader_idx]].append(outputs.to("cpu"))

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Joins what all processes predicted and writes it, in the manifest's order."""
        data = trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(data, VideoDataModule)
        assert isinstance(pl_module, VideoClassifier)
        run = RunFolder(Path(trainer.default_root_dir))
        for split in EVALUATED:
            parts = _from_all_processes(self.collected[split])
            if trainer.is_global_zero:
                clips = data.split(split)
                seed = data.seed
                prediction_table(clips, parts, pl_module.class_names, seed).write(run.predictions(split))
                if parts:
                    clip_outputs(clips, parts).write(run.outputs(split))


def _from_all_processes(parts: list[ClipPredictions]) -> list[ClipPredictions]:
    if not torch.distributed.is_initialized():
        return parts
    gathered: list[list[ClipPredictions]] = [[] for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather_object(gathered, parts)
    return [part for process in gathered for part in process]


class EpochSeed(Callback):
    """Lets what is random in the model, such as dropout, depend on seed, epoch and process alone: a run that goes on
    draws what an unbroken one would have drawn.

    Args:
        seed: of the run.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Seeds each epoch's first batch: before it, loaders draw too, more often where a run goes on."""
        if batch_idx == 0:
            torch.manual_seed((self.seed * 100_003 + trainer.current_epoch) * 1_009 + trainer.global_rank)


class DivergedError(ValueError):
    """A training's loss or weights are no numbers any more; the message says where, and what to do."""


class StopWhereDiverged(Callback):
    """Ends a training whose loss is not a number or infinite, before such weights reach a checkpoint.

    A step's loss is looked at when the next step is under way, so that the device never waits for the look; that of an
    epoch's last step, and the weights, before the epoch's checkpoint is written.
    """

    def __init__(self) -> None:
        self.pending: tuple[Tensor, int, int, float] | None = None  # loss, epoch, step (both from 1), learning rate
        self.rate = 0.0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Begins anew."""
        self.pending = None

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Remembers the step's learning rate: at the end of an epoch's last step it is the next epoch's."""
        if trainer.optimizers:
            self.rate = float(trainer.optimizers[0].param_groups[0]["lr"])

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Looks at the loss of the step before.

        Raises:
            DivergedError: it is not finite.
        """
        self._look(trainer)
        if isinstance(outputs, Mapping) and trainer.optimizers:
            self.pending = (outputs["loss"].detach(), trainer.current_epoch + 1, trainer.global_step, self.rate)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Looks at the epoch's last loss and at the weights; all processes stop where one has to.

        Raises:
            DivergedError: something is not finite.
        """
        trained = [weights.detach().isfinite().all() for weights in pl_module.parameters() if weights.requires_grad]
        if self.pending is None:  # nothing learns by steps
            return
        finite = bool(torch.stack(trained).all()) and not self._diverged
        if not trainer.strategy.reduce_boolean_decision(finite):
            self._look(trainer)
            raise self._error(trainer, "weights are not finite")

    @property
    def _diverged(self) -> bool:
        return self.pending is not None and not bool(self.pending[0].isfinite().all())

    def _look(self, trainer: L.Trainer) -> None:
        if self._diverged:
            assert self.pending is not None
            raise self._error(trainer, f"loss is {float(self.pending[0])}")

    def _error(self, trainer: L.Trainer, what: str) -> DivergedError:
        assert self.pending is not None
        _, epoch, step, rate = self.pending
        return DivergedError(
            f"{trainer.default_root_dir}: the {what} in epoch {epoch}, step {step}, at learning rate {rate:g}; the "
            "training ends here, and the checkpoints of the epochs before stay. Train it under another --name with a "
            "lower learning rate (--model.init_args.optimizer.init_args.lr), with --trainer.gradient_clip_val 1, or "
            "with --trainer.precision 32-true"
        )


class DataWait(Callback):
    """Logs `train/data_wait`: the share of an epoch's time that training spent waiting for its loader.

    The first batch of an epoch is left out: it waits for the workers to start.
    """

    def __init__(self) -> None:
        self.waited = self.worked = 0.0
        self.mark: float | None = None

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Begins anew."""
        self.waited = self.worked = 0.0
        self.mark = None

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """The batch is there: what has passed since the last one was waiting."""
        now = time.perf_counter()
        if self.mark is not None:
            self.waited += now - self.mark
        self.mark = now

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """The step is done."""
        now = time.perf_counter()
        if self.mark is not None and batch_idx > 0:
            self.worked += now - self.mark
        self.mark = now

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Logs the epoch's share."""
        if self.worked:
            pl_module.log("train/data_wait", self.waited / (self.waited + self.worked))


class ProgressLines(Callback):
    """A line for every epoch, for logs and terminals that cannot draw a bar."""

    def __init__(self) -> None:
        self.start = 0.0

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Prints the epoch before: only now are all of its values logged."""
        if self.start:
            self._print(trainer, trainer.current_epoch)
        self.start = time.perf_counter()

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Prints the last epoch."""
        if self.start:
            self._print(trainer, trainer.current_epoch)

    def _print(self, trainer: L.Trainer, epoch: int) -> None:
        if not trainer.is_global_zero:
            return
        names = ("train/loss", "train/war", "inner/loss", "inner/war", "train/data_wait")
        values = [
            f"{name} {float(trainer.callback_metrics[name]):.3f}" for name in names if name in trainer.callback_metrics
        ]
        seconds = time.perf_counter() - self.start
        print(f"epoch {epoch}/{trainer.max_epochs}  {seconds:.0f} s  {'  '.join(values)}", flush=True)
