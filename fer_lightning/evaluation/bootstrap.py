"""Confidence intervals of metrics by a bootstrap over subjects, films or clips."""

import math
from collections.abc import Mapping
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

    def __getitem__(self, metric: Metric) -> Interval:
        return self.by_name.get(metric.name, UNKNOWN)


def bootstrap(table: PredictionTable, draws: int = DRAWS, seed: int = 0, level: float = LEVEL) -> Intervals:
    """Returns percentile intervals of a cluster bootstrap: subjects are drawn with replacement, with all their clips.

    Clips of one subject are not independent, and neither are clips of one film, which is the cluster where the subject
    is unknown. A clip with neither is its own cluster. With fewer than about twenty clusters, percentile intervals are
    somewhat too narrow.

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
    confusions = resampled(confusions_of(table, cluster, clusters), draws, seed)
    intervals = {
        metric.name: percentile_interval(metric.of(confusions), level, clusters)
        for metric in METRICS
        if metric.has_interval
    }
    return Intervals(intervals, level, clusters, cluster_unit(table))


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


def resampled(counts: NDArray[np.float64], draws: int, seed: int) -> NDArray[np.float64]:
    """Returns bootstrap sums (draws, ...) of the counts (K, ...) of K clusters; each draw takes K with replacement."""
    clusters = len(counts)
    generator = np.random.default_rng(seed)
    rows, flat = max(1, CHUNK // clusters), counts.reshape(clusters, -1)
    sums = []
    for start in range(0, draws, rows):
        size = min(rows, draws - start)
        indices = generator.integers(clusters, size=(size, clusters)) + np.arange(size)[:, None] * clusters
        times = np.bincount(indices.ravel(), minlength=size * clusters).reshape(size, clusters).astype(np.float64)
        sums.append(times @ flat)
    return np.concatenate(sums).reshape(draws, *counts.shape[1:])


def percentile_interval(values: NDArray[np.float64], level: float, clusters: int) -> Interval:
    """Returns the central `level` of resampled values; `UNKNOWN` for one cluster, whose resamples are all the same."""
    if clusters < 2:
        return UNKNOWN
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))
