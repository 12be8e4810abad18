"""Confidence intervals of metrics by a bootstrap over people, films or clips."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fer_lightning.evaluation.metrics import confusions_of, headline
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

    def __str__(self) -> str:
        return f"[{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True)
class Intervals:
    """Bootstrap intervals of the three headline measures; MeanAcc's is UAR's."""

    war: Interval
    uar: Interval
    weighted_f1: Interval
    level: float
    clusters: int  # what is drawn: subjects, films, or clips of which neither is known
    unit: str  # what those of most clips are: `subject`, `film` or `clip`


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
    counts = confusions_of(table, cluster, clusters)
    shape = counts.shape[1:]
    values = [
        headline((weights @ counts.reshape(clusters, -1)).reshape(-1, *shape))
        for weights in resampled(clusters, draws, seed)
    ]
    war, uar, f1 = (percentile_interval(row, level, clusters) for row in np.concatenate(values, axis=1))
    return Intervals(war, uar, f1, level, clusters, cluster_unit(table))


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


def resampled(clusters: int, draws: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """(draws, K) in chunks: how often each cluster is drawn when K are drawn with replacement."""
    generator = np.random.default_rng(seed)
    size = max(1, CHUNK // clusters)
    for start in range(0, draws, size):
        rows = min(size, draws - start)
        drawn = generator.integers(clusters, size=(rows, clusters)) + np.arange(rows)[:, None] * clusters
        yield np.bincount(drawn.ravel(), minlength=rows * clusters).reshape(rows, clusters).astype(np.float64)


def percentile_interval(values: NDArray[np.float64], level: float, clusters: int) -> Interval:
    """The middle `level` of resampled values; unknown with a single cluster, which always gives the same value."""
    if clusters < 2:
        return Interval(float("nan"), float("nan"))
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))
