"""Systems that learn nothing by gradients: what their one epoch does in the place of optimising."""

import warnings

import torch

from data_modules.loading.batch import ClipBatch
from fer_lightning.training.classifier import VideoClassifier


class GradientFreeClassifier(VideoClassifier):
    """A system whose one epoch has nothing to optimise and only measures the training clips."""

    def training_step(self, batch: ClipBatch, batch_idx: int) -> None:  # type: ignore[override]
        """Measures; without a loss Lightning optimises nothing."""
        with torch.no_grad():
            output = self(batch)
        self.metrics_of("train").update(self.loss(output, batch), output.logits, batch.label)

    def on_train_epoch_start(self) -> None:
        """There is no learning rate to log."""

    def configure_optimizers(self) -> None:
        """None, and no warnings of what is meant so."""
        warnings.filterwarnings("ignore", ".*configure_optimizers. returned .None.")
        warnings.filterwarnings("ignore", ".*training_step. returned .None.")
