"""Keeps the predictions for the reported split after each epoch, for the end of the training."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as L
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor

from data_modules.loading.batch import ClipBatch
from data_modules.loading.datamodule import VideoDataModule
from data_modules.utils.files import atomic_file
from fer_lightning.evaluation.collect import clip_probabilities
from fer_lightning.evaluation.other_epochs import watched_file, watched_files
from fer_lightning.evaluation.outputs import ClipPredictions
from fer_lightning.runs.folder import RunFolder
from fer_lightning.training.callbacks import gather_predictions
from fer_lightning.training.classifier import VideoClassifier


class WatchedEpochs(Callback):
    """Writes the probabilities for the reported split's clips after each epoch, if the data module watches it.

    The arrays hold no class and no name of a clip, and nothing is logged, so that no choice can be made of them: they
    can be read with the prediction table of the reported split alone, which is written when the training is over.
    """

    def __init__(self) -> None:
        self.collected: list[ClipPredictions] = []

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Deletes the arrays of epochs that are about to be trained, again or for the first time."""
        for path in watched_files(RunFolder(Path(trainer.default_root_dir))) if trainer.is_global_zero else ():
            if int(path.stem) >= trainer.current_epoch:
                path.unlink()

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Forgets the predictions of the epoch before."""
        self.collected.clear()

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Tensor | Mapping[str, Any] | ClipPredictions | None,
        batch: ClipBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Collects the predictions of a batch of the reported split on the CPU."""
        data = trainer.datamodule  # type: ignore[attr-defined]
        if isinstance(data, VideoDataModule) and data.validated[dataloader_idx] == "test":
            assert isinstance(outputs, ClipPredictions)
            self.collected.append(outputs.to("cpu"))

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Gathers the predictions of all processes and writes them in the manifest's order."""
        data = trainer.datamodule  # type: ignore[attr-defined]
        if not isinstance(data, VideoDataModule) or "test" not in data.validated:
            return
        if trainer.sanity_checking or trainer.state.fn is not TrainerFn.FITTING:
            return
        parts = gather_predictions(self.collected)
        if trainer.is_global_zero:
            assert isinstance(pl_module, VideoClassifier)
            clips = data.split("test")
            probabilities = clip_probabilities(clips, parts, len(pl_module.class_names))
            missing = np.isnan(probabilities[:, 0]).tolist()
            if not any(clip.usable and gone for clip, gone in zip(clips, missing, strict=True)):  # `limit_val_batches`
                run = RunFolder(Path(trainer.default_root_dir))
                with atomic_file(watched_file(run, trainer.current_epoch)) as temporary:
                    np.save(temporary, probabilities.astype(np.float32))
