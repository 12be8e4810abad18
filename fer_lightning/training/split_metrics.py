"""Loss and confusion matrix of a split, exact on any number of processes."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassConfusionMatrix

from fer_lightning.evaluation.metrics import METRICS


class SplitMetrics(torch.nn.Module):
    """Loss and confusion matrix over exactly the clips of a split, on any number of processes.

    The matrix has one more row and column than there are classes: a clip without any input is predicted `none`.

    Args:
        num_classes: C, the number of classes.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.loss = MeanMetric(nan_strategy=float("nan"))  # a diverged loss is reported, not left out
        self.confusion = MulticlassConfusionMatrix(num_classes + 1)
        self.none = num_classes

    def update(self, loss: Tensor, probabilities: Tensor, label: Tensor) -> None:
        """Adds the clips of a batch.

        Args:
            loss: mean loss of the batch, a scalar.
            probabilities: (B, C) or logits of the same shape.
            label: (B,) indices of the true classes.
        """
        self.loss.update(loss, weight=len(label))
        self.confusion.update(probabilities.argmax(dim=-1), label)

    def add_without_input(self, labels: Sequence[int]) -> None:
        """Adds clips without a prediction, which count as errors in every metric."""
        if labels:
            target = torch.tensor(labels, device=self.confusion.device)
            self.confusion.update(torch.full_like(target, self.none), target)

    def summary(self) -> dict[str, Tensor]:
        """Returns the loss and every metric by name, equal on all processes, and resets the counts."""
        confusion = self.confusion.compute()[: self.none].cpu().numpy()  # (C, C + 1), rows are the true classes
        values = {"loss": self.loss.compute()}
        values |= {metric.name: values["loss"].new_tensor(metric.of(confusion)) for metric in METRICS}
        self.loss.reset()
        self.confusion.reset()
        return values
