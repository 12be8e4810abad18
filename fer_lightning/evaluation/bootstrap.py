"""Confidence intervals of metrics by a bootstrap over subjects, films or clips, and over trainings."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fer_lightning.evaluation.metrics import METRICS, Metric, confusions_of
from fer_lightning.evaluation.predictions import PredictionTable

DRAWS = 2000
LEVEL = 0.95
CHUNK = 1 << 22  # counts held in memory at once while resampling: 32 MB


@dataclass(frozen=True)
class Interval:
    """A confidence interval; NaN where it is undefined, as with a single subject."""

    low: float
    high: float

    @property
    def is_known(self) -> bool:
        """Whether the interval is defined."""
        return not math.isnan(self.low)

    def __format__(self, spec: str) -> str:
        return f"[{self.low:{spec}}, {self.high:{spec}}]"

    def written(self, metric: Metric) -> str:
        """Returns the interval as text in the format of the metric's values; a dash where it is undefined."""
        return f"{self:{metric.spec}}" if self.is_known else "–"


UNKNOWN = Interval(float("nan"), float("nan"))


@dataclass(frozen=True)
class Intervals:
    """Bootstrap intervals of the metrics, such as `intervals[WAR]`; `UNKNOWN` for a metric without an interval."""

    by_name: Mapping[str, Interval]
    level: float
    clusters: int  # number of resampled units: subjects, films, or clips where neither is known
    unit: str  # the kind of cluster to which most clips belong: `subject`, `film` or `clip`
    seeds: int = 1  # number of resampled trainings
    complete: bool = True  # whether every training has clips of every cluster

    def __getitem__(self, metric: Metric) -> Interval:
        return self.by_name.get(metric.name, UNKNOWN)

    @property
    def drawn(self) -> str:
        """What is resampled, such as `subjects and seeds`."""
        return f"{self.unit}s and seeds" if self.seeds > 1 else f"{self.unit}s"


@dataclass(frozen=True, eq=False)
class Resamples:
    """The values of a statistic on D resamples of K clusters and S trainings.

    Args:
        people: (D,) the mean over all trainings, with drawn clusters.
        both: (D,) the mean over drawn trainings, with the same clusters.
        by_seed: (S,) the value of each training on all clusters.
        clusters: K.
    """

    people: NDArray[np.float64]
    both: NDArray[np.float64]
    by_seed: NDArray[np.float64]
    clusters: int

    @classmethod
    def of(cls, drawn: NDArray[np.float64], by_seed: NDArray[np.float64], clusters: int) -> "Resamples":
        """Draws trainings with replacement for values (D, S) of S trainings on D resamples of the clusters."""
        draws, seeds = drawn.shape
        trainings = np.random.default_rng(1).integers(seeds, size=(draws, seeds))
        both = np.take_along_axis(drawn, trainings, axis=1).mean(axis=1)
        return cls(drawn.mean(axis=1), both, by_seed, clusters)

    def variance(self) -> tuple[float, float]:
        """Returns the variance of the mean over the trainings, and its degrees of freedom.

        A bootstrap of K units has (K - 1) / K of the variance. Clusters and trainings are crossed: the variation of
        single clusters in single trainings is in the variance over clusters and in that over trainings. Trainings that
        differ by no more than it explains are no source of variation of their own, and their few degrees of freedom
        do not count; the interval would be far too wide. Where they are one, what is counted twice stays in the
        variance, as few trainings often differ less than others would. The degrees of freedom are Satterthwaite's, of
        the variance in which it is counted once.
        """
        clusters, seeds = self.clusters, len(self.by_seed)
        of_people = float(self.people.var()) * clusters / (clusters - 1)
        if seeds == 1:
            return of_people, clusters - 1
        of_seeds = float(self.by_seed.var(ddof=1)) / seeds
        crossed = float(self.both.var() - self.people.var()) - of_seeds * (seeds - 1) / seeds
        crossed = max(0.0, crossed) * clusters / (clusters - 1) * seeds / (seeds - 1)
        if of_seeds <= crossed:
            return of_people, clusters - 1
        once = max(of_seeds, of_people + of_seeds - crossed)
        parts = ((of_people, clusters - 1), (of_seeds, seeds - 1), (crossed, (clusters - 1) * (seeds - 1)))
        doubt = sum(part**2 / degrees for part, degrees in parts)
        return of_people + of_seeds, max(once**2 / doubt, min(clusters, seeds) - 1)

    def interval(self, value: float, level: float, low: float = -math.inf, high: float = math.inf) -> Interval:
        """Returns the percentile interval, moved to the value and widened to the quantiles of Student's t.

        There is none where all clusters have the same value, as if all clips are right: a bootstrap cannot tell how
        much others would differ. Of a value of 0, as of two equal tables, it is [0, 0].

        The percentiles of a bootstrap are too near: with 20 people, 95 % intervals hold the truth in 93 or 94 % of the
        cases, with 8 in 88 % (Hesterberg, "What Teachers Should Know About the Bootstrap", 2015, section 4.3).

        Args:
            value: of the statistic, without resampling.
            level: of the interval, between 0 and 1.
            low: the smallest value that is possible.
            high: the largest one.
        """
        from scipy.stats import norm, t  # takes a second to import, and help needs none of it

        spread = float(self.both.std())
        if self.clusters < 2 or (value and not spread):
            return UNKNOWN
        if not spread:
            return Interval(0.0, 0.0)
        variance, degrees = self.variance()
        quantile = (1 + level) / 2
        stretch = float(t.ppf(quantile, degrees) / norm.ppf(quantile)) * math.sqrt(variance) / spread
        ends = np.quantile(self.both, [1 - quantile, quantile])
        lower, upper = np.clip(value + stretch * (ends - self.both.mean()), low, high)
        return Interval(min(float(lower), value), max(float(upper), value))  # rounding may move an end past the value

    def p_value(self, value: float) -> float:
        """Returns the two-sided p-value of Student's t test of the hypothesis that the statistic is 0; NaN if unknown.

        Where all clusters have the same value it is unknown, unless that is 0.

        Args:
            value: of the statistic, without resampling.
        """
        if self.clusters < 2:
            return math.nan
        variance, degrees = self.variance()
        if not variance:
            return math.nan if value else 1.0
        from scipy.stats import t  # takes a second to import, and help needs none of it

        return float(2 * t.sf(abs(value) / math.sqrt(variance), degrees))


def bootstrap(table: PredictionTable, draws: int = DRAWS, seed: int = 0, level: float = LEVEL) -> Intervals:
    """Returns intervals of a cluster bootstrap: subjects are drawn with replacement, with all their clips.

    Clips of one subject are not independent, and neither are clips of one film, which is the cluster where the subject
    is unknown. A clip with neither is its own cluster. If a table holds the predictions of several trainings, these are
    drawn, too: the intervals are then of their mean on other people and with other seeds.

    Args:
        table: the predictions.
        draws: number of bootstrap samples.
        seed: of the random generator.
        level: of the intervals, between 0 and 1.

    Raises:
        ValueError: the table is empty.
    """
    if not len(table):
        raise ValueError("the prediction table is empty: there is nothing to resample")
    cluster, clusters = clusters_of(table)
    trainings = [table.seed == number for number in np.unique(table.seed)]
    counts = np.stack([confusions_of(table.select(rows), cluster[rows], clusters) for rows in trainings], axis=1)
    drawn, by_seed = resampled(counts, draws, seed), counts.sum(axis=0)  # (D, S, C, C + 1), (S, C, C + 1)
    intervals = {}
    for metric in METRICS:
        if metric.has_interval:
            values = Resamples.of(metric.of(drawn), metric.of(by_seed), clusters)
            intervals[metric.name] = values.interval(float(metric.of(by_seed).mean()), level, 0, 1)
    complete = bool(counts.any(axis=(2, 3)).all())
    return Intervals(intervals, level, clusters, cluster_unit(table), len(trainings), complete)


def clusters_of(table: PredictionTable) -> tuple[NDArray[np.int64], int]:
    """Returns the cluster number (N,) of each row and the number of clusters.

    A row's cluster is its subject, else its film, else its clip.
    """
    # The first letter distinguishes a subject from a film or a clip of the same name.
    names = np.where(table.group != "", np.char.add("f", table.group), np.char.add("c", table.clip_id))
    names = np.where(table.subject != "", np.char.add("s", table.subject), names)
    unique, cluster = np.unique(names, return_inverse=True)
    return cluster, len(unique)


def cluster_unit(table: PredictionTable) -> str:
    """Returns the kind of cluster to which most clips belong: `subject`, `film` or `clip`."""
    by_subject = table.subject != ""
    by_film = ~by_subject & (table.group != "")
    counts = {"subject": int(by_subject.sum()), "film": int(by_film.sum())}
    counts["clip"] = len(table) - sum(counts.values())
    return max(counts, key=lambda unit: counts[unit])


def cluster_draws(clusters: int, draws: int, seed: int, width: int) -> Iterator[NDArray[np.float64]]:
    """Yields how often each of K clusters is in each resample, in parts (d, K) of all draws.

    Args:
        clusters: K, of which each resample takes K with replacement.
        draws: number of resamples.
        seed: of the random generator.
        width: numbers that are computed of each resample, by which the size of a part is chosen.
    """
    generator, rows = np.random.default_rng(seed), max(1, CHUNK // width)
    for start in range(0, draws, rows):
        size = min(rows, draws - start)
        indices = generator.integers(clusters, size=(size, clusters)) + np.arange(size)[:, None] * clusters
        yield np.bincount(indices.ravel(), minlength=size * clusters).reshape(size, clusters).astype(np.float64)


def resampled(counts: NDArray[np.float64], draws: int, seed: int) -> NDArray[np.float64]:
    """Returns bootstrap sums (draws, ...) of the counts (K, ...) of K clusters; each draw takes K with replacement."""
    clusters = len(counts)
    flat = counts.reshape(clusters, -1)
    sums = [times @ flat for times in cluster_draws(clusters, draws, seed, clusters)]
    return np.concatenate(sums).reshape(draws, *counts.shape[1:])


def percentile_interval(values: NDArray[np.float64], level: float, clusters: int) -> Interval:
    """Returns the central `level` of resampled values; `UNKNOWN` for one cluster, whose resamples are all the same."""
    if clusters < 2:
        return UNKNOWN
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))
