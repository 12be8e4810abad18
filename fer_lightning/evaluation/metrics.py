"""What a prediction table is worth.

Plain functions on NumPy arrays. Everything that is counted is counted from the confusion matrix, whose last column is
`none`: a clip without a prediction is an error of its class and never drops out of a mean.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fer_lightning.evaluation.predictions import PredictionTable


@dataclass(frozen=True, eq=False)
class Scores:
    """The measures of one table. Classes that do not occur are NaN in arrays and left out of means."""

    war: float  # weighted average recall: the share of right clips
    uar: float  # unweighted average recall: the mean of the class accuracies
    weighted_f1: float  # F1 of the classes, weighted by their clips
    std_accuracy: float  # population standard deviation of the class accuracies
    class_accuracy: NDArray[np.float64]  # (C,) recall: the diagonal of the normalised confusion matrix
    precision: NDArray[np.float64]  # (C,) 0 for a class that is never predicted
    f1: NDArray[np.float64]  # (C,)
    confusion: NDArray[np.int64]  # (C, C + 1) true classes by predicted ones; the last column is `none`

    @property
    def mean_accuracy(self) -> float:
        """The mean of the class accuracies, MeanAcc of the papers; the same number as UAR."""
        return self.uar

    @property
    def support(self) -> NDArray[np.int64]:
        """(C,) clips of each class."""
        return np.asarray(self.confusion.sum(axis=1))

    @property
    def clips(self) -> int:
        """Rows of the table."""
        return int(self.confusion.sum())


def confusion_matrix(table: PredictionTable) -> NDArray[np.int64]:
    """(C, C + 1) clips by true class (row) and predicted class (column); the last column is `none`."""
    whole = confusions_of(table, np.zeros(len(table), np.int64), 1)
    return np.asarray(whole[0], dtype=np.int64)


def confusion_war(confusion: Tensor) -> Tensor:
    """The share of right clips, a scalar on the matrix's device, of a confusion matrix (C, C + 1); NaN if empty."""
    return confusion.diagonal().sum() / confusion.sum()


def confusion_uar(confusion: Tensor) -> Tensor:
    """The mean recall of the classes that occur in a confusion matrix (C, C + 1), likewise."""
    support = confusion.sum(dim=1)
    return (confusion.diagonal() / support)[support > 0].mean()


def scores(table: PredictionTable) -> Scores:
    """The measures of a table.

    Raises:
        ValueError: the table is empty.
    """
    if not len(table):
        raise ValueError("the prediction table is empty: there is nothing to measure")
    confusion = confusion_matrix(table)
    recall, precision, f1 = _per_class(confusion.astype(np.float64))
    war, uar, weighted_f1 = headline(confusion[None].astype(np.float64))[:, 0].tolist()
    return Scores(war, uar, weighted_f1, float(np.nanstd(recall)), recall, precision, f1, confusion)


def _per_class(confusion: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Recall, precision and F1 (..., C) of confusion matrices (..., C, C + 1); recall is NaN without clips."""
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    support, claimed = confusion.sum(axis=-1), confusion[..., :-1].sum(axis=-2)
    recall = np.where(support > 0, hits / np.maximum(support, 1), np.nan)
    precision = hits / np.maximum(claimed, 1)
    return recall, precision, 2 * hits / np.maximum(support + claimed, 1)


def headline(confusion: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3, B): WAR, UAR and weighted F1 of (B, C, C + 1) confusion matrices."""
    recall, _, f1 = _per_class(confusion)
    support = confusion.sum(axis=-1)
    total = support.sum(axis=-1)
    war = np.diagonal(confusion, axis1=-2, axis2=-1).sum(axis=-1) / total
    return np.stack([war, np.nanmean(recall, axis=-1), (f1 * support).sum(axis=-1) / total])


def confusions_of(table: PredictionTable, cluster: NDArray[np.int64], clusters: int) -> NDArray[np.float64]:
    """(K, C, C + 1) the confusion matrix of each cluster's clips."""
    counts = np.zeros((clusters, len(table.class_names), len(table.class_names) + 1))
    np.add.at(counts, (cluster, table.label, table.choice), 1)
    return counts
