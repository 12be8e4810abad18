"""Paired comparisons: how two tables of the same clips differ."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

from fer_lightning.evaluation.bootstrap import (
    DRAWS,
    LEVEL,
    Interval,
    cluster_unit,
    clusters_of,
    percentile_interval,
    resampled,
)
from fer_lightning.evaluation.predictions import PredictionTable


@dataclass(frozen=True)
class PairedDifference:
    """How two tables of the same clips differ in accuracy."""

    difference: float  # WAR of the first minus WAR of the second
    interval: Interval  # paired bootstrap
    unit: str  # over what, see `Intervals`
    only_first: int  # clips that only the first has right
    only_second: int
    p_value: float  # McNemar's exact test; it takes clips as independent, the interval does not
    clips: int


def paired_difference(
    first: PredictionTable, second: PredictionTable, draws: int = DRAWS, seed: int = 0, level: float = LEVEL
) -> PairedDifference:
    """Compares two systems on the same clips.

    Raises:
        ValueError: the tables are empty, hold a clip under several seeds, or differ in classes, clips, true names,
            subjects or films.
    """
    second = _matching(first, second)
    right, other = first.correct, second.correct
    cluster, clusters = clusters_of(first)
    gain = np.bincount(cluster, weights=right.astype(np.float64) - other, minlength=clusters)
    size = np.bincount(cluster, minlength=clusters)
    drawn = np.concatenate([(w @ gain) / (w @ size) for w in resampled(clusters, draws, seed)])
    only_first, only_second = int((right & ~other).sum()), int((other & ~right).sum())
    unequal = only_first + only_second
    p_value = float(binomtest(only_first, unequal, 0.5).pvalue) if unequal else 1.0
    difference = float(right.mean() - other.mean())
    interval = percentile_interval(drawn, level, clusters)
    return PairedDifference(difference, interval, cluster_unit(first), only_first, only_second, p_value, len(first))


def difference_line(found: PairedDifference) -> str:
    """A paired comparison in one line."""
    low, high = found.interval.low, found.interval.high
    interval = f"(no interval: one {found.unit})"
    if found.interval.known:
        interval = f"[{low:+.3f}, {high:+.3f}] (95 %, paired bootstrap over {found.unit}s)"
    return (
        f"WAR {found.difference:+.3f} {interval}, "
        f"N = {found.clips}; right alone: {found.only_first} and {found.only_second} clips, "
        f"McNemar p = {found.p_value:.2g}"
    )


def _matching(first: PredictionTable, second: PredictionTable) -> PredictionTable:
    """The second table in the order of the first, if they are comparable."""
    if first.class_names != second.class_names:
        raise ValueError(f"the tables have different classes: {first.class_names} and {second.class_names}")
    for table in (first, second):
        if not len(table) or len(set(table.clip_id.tolist())) != len(table):
            raise ValueError(f"a paired comparison needs each clip once; found {len(table)} rows: compare seed by seed")
    position = {name: row for row, name in enumerate(second.clip_id.tolist())}
    unmatched = sorted(set(position) ^ set(first.clip_id.tolist()))
    if unmatched:
        raise ValueError(f"{len(unmatched)} clips stand in one table only, such as {unmatched[0]!r}")
    second = second.select(np.array([position[name] for name in first.clip_id.tolist()]))
    for name in ("emotion", "subject", "group"):
        differing = np.flatnonzero(getattr(first, name) != getattr(second, name))
        if len(differing):
            row = differing[0]
            found = (str(getattr(first, name)[row]), str(getattr(second, name)[row]))
            raise ValueError(f"clip {str(first.clip_id[row])!r}: the tables differ in its {name}: {found}")
    return second
