"""Confidence intervals of metrics by a bootstrap over people, films or clips."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fer_lightning.evaluation.metrics import METRICS, Metric, confusions_of
from fer_lightning.evaluation.predictions import PredictionTable

DRAWS = 2000
LEVEL = 0.95
CHUNK = 1 << 22  # counts held at once while resampling: 32 MB


@dataclass(frozen=True)
class Interval:
    """A confidence interval; NaN where it cannot be known, as with one subject."""

    low: float
    high: float

    @property
    def known(self) -> bool:
        """Whether there is an interval at all."""
        return not math.isnan(self.low)

    def __format__(self, spec: str) -> str:
        return f"[{self.low:{spec}}, {self.high:{spec}}]"

    def written(self, metric: Metric) -> str:
        """The interval as people read it, written as the metric's values are; a dash where it is unknown."""
        return f"{self:{metric.spec}}" if self.known else "–"


UNKNOWN = Interval(float("nan"), float("nan"))


@dataclass(frozen=True)
class Intervals:
    """Bootstrap intervals of the metrics: `intervals[WAR]`, unknown for a metric that has none."""

    by_name: Mapping[str, Interval]
    level: float
    clusters: int  # what is drawn: subjects, films, or clips of which neither is known
    unit: str  # what those of most clips are: `subject`, `film` or `clip`

    def __getitem__(self, metric: Metric) -> Interval:
        return self.by_name.get(metric.name, UNKNOWN)


def bootstrap(table: PredictionTable, draws: int = DRAWS, seed: int = 0, level: float = LEVEL) -> Intervals:
    """Percentile intervals over subjects: they are drawn with replacement, each with all of its clips.

    Clips of one person are not independent, nor are those of one film, which stands in where the person is not known;
    a clip of which neither is known is a cluster of its own. With few clusters (under about twenty) percentile
    intervals are somewhat too narrow.

    Raises:
        ValueError: the table is empty.
    """
    if not len(table):
        raise ValueError("the prediction table is empty: there is nothing to resample")
    cluster, clusters = clusters_of(table)
    drawn = resampled(confusions_of(table, cluster, clusters), draws, seed)
    intervals = {metric.name: percentile_interval(metric.of(drawn), level, clusters) for metric in with_intervals()}
    return Intervals(intervals, level, clusters, cluster_unit(table))


def with_intervals() -> tuple[Metric, ...]:
    """The metrics that have intervals."""
    return tuple(metric for metric in METRICS if metric.has_interval)


def clusters_of(table: PredictionTable) -> tuple[NDArray[np.int64], int]:
    """(N,) the cluster of each row, and their number: its subject, its film where there is none, or else its clip."""
    # The first letter keeps a subject apart from a film or a clip of the same name.
    names = np.where(table.group != "", np.char.add("f", table.group), np.char.add("c", table.clip_id))
    names = np.where(table.subject != "", np.char.add("s", table.subject), names)
    unique, cluster = np.unique(names, return_inverse=True)
    return cluster, len(unique)


def cluster_unit(table: PredictionTable) -> str:
    """What the clusters of most clips are."""
    named = {"subject": table.subject != "", "film": (table.subject == "") & (table.group != "")}
    share = {unit: int(rows.sum()) for unit, rows in named.items()} | {"clip": 0}
    share["clip"] = len(table) - sum(share.values())
    return max(share, key=lambda unit: share[unit])


def resampled(counts: NDArray[np.float64], draws: int, seed: int) -> NDArray[np.float64]:
    """(draws, ...) sums of the counts (K, ...) of K clusters that are drawn with replacement; K of them each time."""
    clusters = len(counts)
    generator = np.random.default_rng(seed)
    rows, flat = max(1, CHUNK // clusters), counts.reshape(clusters, -1)
    sums = []
    for start in range(0, draws, rows):
        size = min(rows, draws - start)
        drawn = generator.integers(clusters, size=(size, clusters)) + np.arange(size)[:, None] * clusters
        times = np.bincount(drawn.ravel(), minlength=size * clusters).reshape(size, clusters).astype(np.float64)
        sums.append(times @ flat)
    return np.concatenate(sums).reshape(draws, *counts.shape[1:])


def percentile_interval(values: NDArray[np.float64], level: float, clusters: int) -> Interval:
    """The middle `level` of resampled values; unknown with a single cluster, which always gives the same value."""
    if clusters < 2:
        return UNKNOWN
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))
