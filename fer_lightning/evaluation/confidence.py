"""How well probabilities say how often they are right: calibration error, likelihood, Brier score, risk."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fer_lightning.evaluation.answers import Answers
from fer_lightning.evaluation.bootstrap import DRAWS, LEVEL, Interval, Resamples, cluster_draws, clusters_of
from fer_lightning.evaluation.predictions import PredictionTable
from fer_lightning.evaluation.selective import area_under_risk_coverage

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
    """

    name: str
    short: str
    meaning: str


@dataclass(frozen=True)
class SummedMeasure(ConfidenceMeasure):
    """A measure that is computed from sums over clips.

    Args:
        function: maps sums (..., 3 + BINS) over clips, see `clip_terms`, to values (...).
    """

    function: Callable[[NDArray[np.float64]], NDArray[np.float64]] = field(repr=False)

    def of(self, sums: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns the values (...) for sums of clips (..., 3 + BINS)."""
        return self.function(sums)


NLL = SummedMeasure(
    "nll", "NLL", "mean negative log likelihood of the true class, in nats", lambda sums: sums[..., 1] / sums[..., 0]
)
ECE = SummedMeasure(
    "ece",
    "ECE",
    f"expected calibration error: the mean distance of accuracy and confidence in {BINS} equal bins of confidence",
    lambda sums: np.abs(sums[..., 3:]).sum(axis=-1) / sums[..., 0],
)
BRIER = SummedMeasure(
    "brier",
    "Brier score",
    "mean squared distance of the probabilities to the true class, 0 to 2",
    lambda sums: sums[..., 2] / sums[..., 0],
)

AURC = ConfidenceMeasure(
    "aurc", "AURC", "area under the risk-coverage curve: the error among the clips answered, mean over all thresholds"
)

SUMMED = (NLL, ECE, BRIER)
MEASURES = (*SUMMED, AURC)
"""All measures of probabilities, in the order in which they are shown."""


@dataclass(frozen=True)
class ConfidenceScores:
    """The measures of a table's clips with a prediction, with bootstrap intervals over subjects, films or clips."""

    clips: int
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

    If a table holds the predictions of several trainings, a measure is the mean over these, and they are drawn, too;
    that of several folds is the mean over these, weighted by clips.

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
    trainings = [answered.seed == number for number in np.unique(answered.seed)]
    by_seed, drawn = dict[str, list[float]](), dict[str, list[NDArray[np.float64]]]()
    for rows in trainings:
        training = answered.select(rows)
        whole = _values(training, np.zeros(len(training), np.int64), 1, iter([np.ones((1, 1))]))
        width = max(clusters, len(training))
        people = _values(training, cluster[rows], clusters, cluster_draws(clusters, draws, seed, width))
        for name, values in people.items():
            by_seed.setdefault(name, []).append(float(whole[name].item()))
            drawn.setdefault(name, []).append(values)
    means = {name: float(np.mean(values)) for name, values in by_seed.items()}
    intervals = {
        name: Resamples.of(np.stack(drawn[name], axis=1), np.array(by_seed[name]), clusters).interval(
            value, level, low=0
        )
        for name, value in means.items()
    }
    return ConfidenceScores(len(answered), means, intervals)


def _values(
    table: PredictionTable, cluster: NDArray[np.int64], clusters: int, parts: Iterable[NDArray[np.float64]]
) -> dict[str, NDArray[np.float64]]:
    """Returns each measure's values (D,) on D resamples of a table's K clusters, from `cluster_draws`."""
    folds = [
        _Fold(table.select(rows), cluster[rows], clusters) for rows in map(table.fold.__eq__, np.unique(table.fold))
    ]
    values = np.concatenate([sum(fold.weighted(times) for fold in folds) for times in parts], axis=1)
    return {measure.name: row for measure, row in zip(MEASURES, values[:-1] / values[-1], strict=True)}


class _Fold:
    """The clips of one fold: each fold has a model of its own, whose confidences are measured by themselves."""

    def __init__(self, table: PredictionTable, cluster: NDArray[np.int64], clusters: int) -> None:
        self._answers, self._cluster = Answers.of(table), cluster
        self._sums = np.zeros((clusters, 3 + BINS))
        np.add.at(self._sums, cluster, clip_terms(table))

    def weighted(self, times: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns the measures on d resamples times the number of clips, and this number: (measures + 1, d)."""
        sums = times @ self._sums
        with np.errstate(invalid="ignore"):
            measured = [measure.of(sums) for measure in SUMMED]
        measured.append(area_under_risk_coverage(self._answers, times[:, self._cluster]))
        return np.stack([*(np.where(sums[:, 0] > 0, values * sums[:, 0], 0) for values in measured), sums[:, 0]])


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
