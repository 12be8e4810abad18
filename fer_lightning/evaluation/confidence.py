"""How well probabilities say how often they are right: calibration error, likelihood and Brier score of a table."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fer_lightning.evaluation.answers import Answers
from fer_lightning.evaluation.bootstrap import DRAWS, LEVEL, Interval, clusters_of, percentile_interval, resampled
from fer_lightning.evaluation.predictions import PredictionTable
from fer_lightning.evaluation.selective import risk_coverage

BINS = 15
FLOOR = 1e-12
"""The smallest probability whose logarithm is taken: a model certain of a wrong class costs 27.6 nats, not infinity."""


@dataclass(frozen=True)
class ConfidenceMeasure:
    """A measure of probabilities; lower is better.

    Args:
        name: in files and logs, such as the `ece` of `test/ece`.
        short: in tables.
        meaning: a definition in a few words.
        function: maps sums (..., 3 + BINS) over clips, see `clip_terms`, to values (...).
    """

    name: str
    short: str
    meaning: str
    function: Callable[[NDArray[np.float64]], NDArray[np.float64]] = field(repr=False)

    def of(self, sums: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns the values (...) for sums of clips (..., 3 + BINS)."""
        return self.function(sums)


NLL = ConfidenceMeasure(
    "nll", "NLL", "mean negative log likelihood of the true class, in nats", lambda sums: sums[..., 1] / sums[..., 0]
)
ECE = ConfidenceMeasure(
    "ece",
    "ECE",
    f"expected calibration error: the mean distance of accuracy and confidence in {BINS} equal bins of confidence",
    lambda sums: np.abs(sums[..., 3:]).sum(axis=-1) / sums[..., 0],
)
BRIER = ConfidenceMeasure(
    "brier",
    "Brier score",
    "mean squared distance of the probabilities to the true class, 0 to 2",
    lambda sums: sums[..., 2] / sums[..., 0],
)

MEASURES = (NLL, ECE, BRIER)
"""All measures of probabilities, in the order in which they are shown."""


@dataclass(frozen=True)
class ConfidenceScores:
    """The measures of a table's clips with a prediction, with bootstrap intervals over subjects, films or clips."""

    clips: int
    aurc: float  # area under the risk-coverage curve; see `selective.RiskCoverage.area`
    values: dict[str, float]
    intervals: dict[str, Interval]

    def __getitem__(self, measure: ConfidenceMeasure) -> float:
        return self.values[measure.name]

    def written(self, measure: ConfidenceMeasure) -> str:
        """Formats a value with its interval, if there is one."""
        interval = self.intervals[measure.name]
        return f"{self[measure]:.3f}" + (f" {interval:.3f}" if interval.is_known else "")


def confidence_scores(
    table: PredictionTable, draws: int = DRAWS, seed: int = 0, level: float = LEVEL
) -> ConfidenceScores | None:
    """Measures the probabilities of a table's clips; returns None if no clip has a prediction.

    The expected calibration error is that of Guo et al. (2017, https://arxiv.org/abs/1706.04599), equation 3; the
    bootstrap is that of `bootstrap.bootstrap`.

    Args:
        table: the predictions; clips without one are left out, as there is no probability to measure.
        draws: number of bootstrap samples.
        seed: of the random generator.
        level: of the intervals, between 0 and 1.
    """
    answered = table.select(~table.missing)
    if not len(answered):
        return None
    cluster, clusters = clusters_of(answered)
    sums = np.zeros((clusters, 3 + BINS))
    np.add.at(sums, cluster, clip_terms(answered))
    total, drawn = sums.sum(axis=0), resampled(sums, draws, seed)
    return ConfidenceScores(
        len(answered),
        risk_coverage(Answers.of(answered)).area,
        {measure.name: float(measure.of(total)) for measure in MEASURES},
        {measure.name: percentile_interval(measure.of(drawn), level, clusters) for measure in MEASURES},
    )


def clip_terms(table: PredictionTable) -> NDArray[np.float64]:
    """Returns what each clip adds to the sums of which measures are made, (N, 3 + BINS).

    The columns are: 1, the negative log likelihood, the squared distance, and for each bin of confidence whether the
    prediction is correct minus its confidence, which is 0 in the bins of other clips.
    """
    rows, answers = np.arange(len(table)), Answers.of(table)
    terms = np.zeros((len(table), 3 + BINS))
    terms[:, 0] = 1
    terms[:, 1] = -np.log(np.clip(table.probabilities[rows, table.label], FLOOR, 1))
    terms[:, 2] = ((table.probabilities - np.eye(len(table.class_names))[table.label]) ** 2).sum(axis=1)
    terms[rows, 3 + bins_of(answers)] = answers.correct - answers.confidence
    return terms


def bins_of(answers: Answers) -> NDArray[np.int64]:
    """Returns the number, (N,), of each answer's bin: bin m holds confidences above m / BINS, up to (m + 1) / BINS."""
    edges = np.linspace(0, 1, BINS + 1)
    return np.asarray(np.clip(np.searchsorted(edges, answers.confidence, side="left") - 1, 0, BINS - 1))


@dataclass(frozen=True, eq=False)
class Reliability:
    """The answers in each bin of confidence: how many, how confident, and how many of them are correct."""

    clips: NDArray[np.int64]  # (BINS,)
    confidence: NDArray[np.float64]  # (BINS,) mean; NaN in an empty bin
    accuracy: NDArray[np.float64]  # (BINS,) share of correct answers; NaN in an empty bin


def reliability(answers: Answers) -> Reliability:
    """Returns mean confidence and accuracy of the bins, of which a reliability diagram is drawn."""
    clips, confidence, correct = (
        np.bincount(bins_of(answers), weights, BINS) for weights in (None, answers.confidence, answers.correct)
    )
    with np.errstate(invalid="ignore"):
        return Reliability(clips, confidence / clips, correct / clips)
