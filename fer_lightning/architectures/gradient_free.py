"""Base class for classifiers that are not trained by gradient descent."""

import warnings

import torch

from data_modules.loading.batch import ClipBatch
from fer_lightning.training.classifier import VideoClassifier


class GradientFreeClassifier(VideoClassifier):
    """A classifier without gradient descent, whose one epoch only evaluates the training clips."""

    def setup(self, stage: str) -> None:
        """Refuse to train in several processes, between which only gradients are shared.

        Raises:
            ValueError: The training has more than one process.
        """
        super().setup(stage)
        if stage == "fit" and self.trainer.world_size > 1:
            raise ValueError(
                f"{type(self).__name__} is fitted in one process, not in {self.trainer.world_size}: set "
                "--trainer.devices 1 --trainer.num_nodes 1"
            )

    def training_step(self, batch: ClipBatch, batch_idx: int) -> None:  # type: ignore[override]
        """Update the training metrics. No loss is returned, so that Lightning skips the optimisation."""
        with torch.no_grad():
            output = self(batch)
        self.metrics_of("train").update(self.loss(output, batch), output.logits, batch.label)

    def on_train_epoch_start(self) -> None:
        """Log no learning rate, as the base class would, since there is no optimiser."""

    def configure_optimizers(self) -> None:
        """Return no optimiser, and suppress Lightning's warnings about it."""
        warnings.filterwarnings("ignore", ".*configure_optimizers. returned .None.")
        warnings.filterwarnings("ignore", ".*training_step. returned .None.")
