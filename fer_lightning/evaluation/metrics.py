"""Every metric of the suite, declared once.

Training logs, run tables, reports, `fer compare`, `fer cv`, `fer ensemble` and `fer noise` iterate over `METRICS`. Each
metric is a function of the confusion matrix, whose last column is `none`: a clip without a prediction counts as an
error of its class and is never left out of a mean. Confusion matrices of several processes or resampled clusters can be
added; metrics cannot.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fer_lightning.evaluation.predictions import PredictionTable

Confusion = NDArray[np.integer] | NDArray[np.floating]
"""(..., C, C + 1) clips by true class (row) and predicted class (column), the last column `none`."""


@dataclass(frozen=True)
class Metric:
    """A measure of how well the clips of a table are recognised.

    Args:
        name: in files and logs, such as the `war` of `inner/war`.
        short: in the columns of tables.
        title: at the top of a report.
        meaning: a definition in a few words.
        function: maps confusion matrices (..., C, C + 1) of floats to values (...); NaN where undefined.
        spec: format specification of a value, such as `.3f` (a fraction) or `.1%` (per cent). Files always hold
            fractions in full precision.
        higher_is_better: whether a higher value is better.
        has_interval: whether bootstrap intervals are computed.
        headline: whether the metric is shown in summary lines and narrow tables.
        baseline: the name in reports of the value obtained by always predicting the most frequent class; if empty,
            reports do not show that value.
        spread_of: the metric whose spread this metric measures; reports show it as that metric's ± value.
    """

    name: str
    short: str
    title: str
    meaning: str
    function: Callable[[NDArray[np.float64]], NDArray[np.float64]] = field(repr=False)
    spec: str = ".3f"
    higher_is_better: bool = True
    has_interval: bool = True
    headline: bool = False
    baseline: str = ""
    spread_of: "Metric | None" = None

    def of(self, confusion: Confusion) -> NDArray[np.float64]:
        """Returns the values (...) for confusion matrices (..., C, C + 1); NaN where there are no clips."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(self.function(np.asarray(confusion, dtype=np.float64)), dtype=np.float64)

    def write(self, value: float) -> str:
        """Formats a value; a dash where it is undefined."""
        return "–" if np.isnan(value) else f"{value:{self.spec}}"


def war(confusion: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weighted average recall: the share of clips classified correctly."""
    return np.asarray(_hits(confusion).sum(axis=-1) / confusion.sum(axis=(-2, -1)))


def uar(confusion: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unweighted average recall: the mean of the class accuracies, called MeanAcc in some papers."""
    return _class_mean(recall(confusion), confusion)


def weighted_f1(confusion: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean F1 of the classes, weighted by their number of clips."""
    support = confusion.sum(axis=-1)
    return np.asarray((f1(confusion) * support).sum(axis=-1) / support.sum(axis=-1))


def macro_f1(confusion: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean F1 of the classes that occur."""
    return _class_mean(f1(confusion), confusion)


def std_accuracy(confusion: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sample standard deviation (n - 1) of the accuracies of the n classes that occur; NaN for a single class.

    Do et al. (2021, https://doi.org/10.3390/s21072344) divide by n in equation 34, but the values beside their
    confusion matrices are sample standard deviations.
    """
    accuracy, occurs = recall(confusion), confusion.sum(axis=-1) > 0
    squares = np.where(occurs, (accuracy - _class_mean(accuracy, confusion)[..., None]) ** 2, 0).sum(axis=-1)
    degrees = occurs.sum(axis=-1) - 1
    return np.asarray(np.sqrt(squares / np.where(degrees > 0, degrees, np.nan)))


WAR = Metric(
    "war",
    "WAR",
    "WAR (accuracy)",
    "share of clips classified correctly",
    war,
    headline=True,
    baseline="most frequent class",
)
UAR = Metric(
    "uar", "UAR", "UAR (mean recall)", "mean accuracy of the classes that occur", uar, headline=True, baseline="chance"
)
WEIGHTED_F1 = Metric(
    "weighted_f1", "weighted F1", "weighted F1", "mean F1, weighted by the clips of each class", weighted_f1
)
MACRO_F1 = Metric("macro_f1", "macro F1", "macro F1", "mean F1 of the classes that occur", macro_f1)
STD_ACCURACY = Metric(
    "std_accuracy",
    "StdAcc",
    "MeanAcc ± StdAcc",
    "UAR and the standard deviation of the class accuracies",
    std_accuracy,
    higher_is_better=False,
    has_interval=False,
    spread_of=UAR,
)

METRICS = (WAR, UAR, WEIGHTED_F1, MACRO_F1, STD_ACCURACY)
"""All metrics, in the order in which they are shown."""

HEADLINE = tuple(metric for metric in METRICS if metric.headline)


@dataclass(frozen=True, eq=False)
class Scores:
    """The metrics of a confusion matrix, such as `scores[WAR]`; means leave out classes that do not occur."""

    confusion: NDArray[np.int64]  # (C, C + 1) true classes by predicted classes; the last column is `none`

    def __getitem__(self, metric: Metric) -> float:
        return float(metric.of(self.confusion))

    def written(self, metric: Metric) -> str:
        """Formats a metric's value; a spread is shown as `mean ± spread`."""
        value = metric.write(self[metric])
        return value if metric.spread_of is None else f"{self.written(metric.spread_of)} ± {value}"

    @property
    def class_accuracy(self) -> NDArray[np.float64]:
        """(C,) recall, the diagonal of the normalised confusion matrix; NaN for a class that does not occur."""
        return recall(self.confusion.astype(np.float64))

    @property
    def precision(self) -> NDArray[np.float64]:
        """(C,) precision; 0 for a class that is never predicted."""
        return precision(self.confusion.astype(np.float64))

    @property
    def f1(self) -> NDArray[np.float64]:
        """(C,) F1; 0 for a class that neither occurs nor is predicted."""
        return f1(self.confusion.astype(np.float64))

    @property
    def support(self) -> NDArray[np.int64]:
        """(C,) number of clips of each class."""
        return np.asarray(self.confusion.sum(axis=1))

    @property
    def clips(self) -> int:
        """The number of clips."""
        return int(self.confusion.sum())

    def without_classes(self, class_names: Sequence[str], left_out: Collection[str]) -> "Scores":
        """Returns the scores over the clips of the other classes; predictions of the left-out classes stay errors.

        Args:
            class_names: (C,) of the confusion matrix.
            left_out: names of the true classes whose clips are left out.
        """
        kept = np.array([name not in left_out for name in class_names])
        return Scores(np.where(kept[:, None], self.confusion, 0))

    @property
    def answered(self) -> "Scores":
        """The scores over the clips with a prediction."""
        confusion = self.confusion.copy()
        confusion[:, -1] = 0
        return Scores(confusion)

    @property
    def most_frequent_class(self) -> "Scores":
        """The scores of always predicting the most frequent class on the same clips."""
        confusion = np.zeros_like(self.confusion)
        confusion[:, self.support.argmax()] = self.support
        return Scores(confusion)


def scores(table: PredictionTable) -> Scores:
    """Computes the scores of a table.

    Raises:
        ValueError: the table is empty.
    """
    if not len(table):
        raise ValueError("the prediction table is empty: there is nothing to measure")
    return Scores(confusion_matrix(table))


def confusion_matrix(table: PredictionTable) -> NDArray[np.int64]:
    """Counts clips by true class (row) and predicted class (column): (C, C + 1), the last column is `none`."""
    (confusion,) = confusions_of(table, np.zeros(len(table), np.int64), 1)
    return np.asarray(confusion, dtype=np.int64)


def confusions_of(table: PredictionTable, cluster: NDArray[np.int64], clusters: int) -> NDArray[np.float64]:
    """Returns the confusion matrix of the clips of each of K clusters: (K, C, C + 1)."""
    counts = np.zeros((clusters, len(table.class_names), len(table.class_names) + 1))
    np.add.at(counts, (cluster, table.label, table.choice), 1)
    return counts


def recall(confusion: NDArray[np.float64]) -> NDArray[np.float64]:
    """(..., C) the share of each class's clips that are classified correctly; NaN for a class without clips."""
    support = confusion.sum(axis=-1)
    return np.where(support > 0, _hits(confusion) / np.maximum(support, 1), np.nan)


def precision(confusion: NDArray[np.float64]) -> NDArray[np.float64]:
    """(..., C) the share of the clips predicted as each class that belong to it; 0 if it is never predicted."""
    return np.asarray(_hits(confusion) / np.maximum(confusion[..., :-1].sum(axis=-2), 1))


def f1(confusion: NDArray[np.float64]) -> NDArray[np.float64]:
    """(..., C) the harmonic mean of recall and precision; 0 for a class that neither occurs nor is predicted."""
    support, predicted = confusion.sum(axis=-1), confusion[..., :-1].sum(axis=-2)
    return np.asarray(2 * _hits(confusion) / np.maximum(support + predicted, 1))


def _hits(confusion: NDArray[np.float64]) -> NDArray[np.float64]:
    """(..., C) correctly classified clips of each class."""
    return np.diagonal(confusion, axis1=-2, axis2=-1)


def _class_mean(values: NDArray[np.float64], confusion: NDArray[np.float64]) -> NDArray[np.float64]:
    """(...) the mean of values (..., C) over the classes that occur."""
    occurs = confusion.sum(axis=-1) > 0
    return np.asarray(np.where(occurs, values, 0).sum(axis=-1) / occurs.sum(axis=-1))
