"""Paired comparisons: how two tables of the same clips differ, in numbers and in words."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

from fer_lightning.evaluation.bootstrap import (
    DRAWS,
    LEVEL,
    UNKNOWN,
    Interval,
    cluster_unit,
    clusters_of,
    percentile_interval,
    resampled,
)
from fer_lightning.evaluation.metrics import HEADLINE, METRICS, WAR, Metric, confusions_of
from fer_lightning.evaluation.predictions import PredictionTable


@dataclass(frozen=True)
class Difference:
    """A metric of the first table minus that of the second."""

    value: float
    interval: Interval  # paired bootstrap; unknown for a metric that has none

    def written(self, metric: Metric) -> str:
        """The difference with its sign and its interval, as people read it."""
        spec = f"+{metric.spec}"
        value = "–" if np.isnan(self.value) else f"{self.value:{spec}}"
        return f"{value} {self.interval:{spec}}" if self.interval.known else value


@dataclass(frozen=True)
class PairedDifference:
    """How two tables of the same clips differ: `found[WAR]` is the first one's WAR minus the second one's."""

    by_name: Mapping[str, Difference]
    level: float
    unit: str  # over what the bootstrap draws, see `Intervals`
    only_first: int  # clips that only the first has right
    only_second: int
    p_value: float  # McNemar's exact test; it takes clips as independent, the intervals do not
    clips: int

    def __getitem__(self, metric: Metric) -> Difference:
        return self.by_name[metric.name]


def paired_difference(
    first: PredictionTable, second: PredictionTable, draws: int = DRAWS, seed: int = 0, level: float = LEVEL
) -> PairedDifference:
    """Compares two systems on the same clips, in every metric: both see the same resampled clusters.

    Raises:
        ValueError: the tables are empty, hold a clip under several seeds, or differ in classes, clips, true names,
            subjects or films.
    """
    second = _matching(first, second)
    cluster, clusters = clusters_of(first)
    counts = np.stack([confusions_of(table, cluster, clusters) for table in (first, second)], axis=1)
    whole, drawn = counts.sum(axis=0), resampled(counts, draws, seed)  # (2, C, C + 1), (draws, 2, C, C + 1)
    differences = {}
    for metric in METRICS:
        ours, theirs = metric.of(whole).tolist()
        interval = UNKNOWN
        if metric.has_interval:
            values = metric.of(drawn)
            interval = percentile_interval(values[:, 0] - values[:, 1], level, clusters)
        differences[metric.name] = Difference(ours - theirs, interval)
    right, other = first.correct, second.correct
    only_first, only_second = int((right & ~other).sum()), int((other & ~right).sum())
    unequal = only_first + only_second
    p_value = float(binomtest(only_first, unequal, 0.5).pvalue) if unequal else 1.0
    return PairedDifference(differences, level, cluster_unit(first), only_first, only_second, p_value, len(first))


def difference_line(found: PairedDifference, first: str, second: str) -> str:
    """The difference in the headline metrics in one line; names the two that are compared."""
    values = ", ".join(_written(found, HEADLINE))
    return f"{first} minus {second}: {values} {_method(found)}, N = {found.clips}; {_right_alone(found, first, second)}"


def difference_lines(found: PairedDifference, first: str, second: str) -> list[str]:
    """The difference in every metric, a line for each; the first line says what is subtracted from what."""
    head = f"{first} minus {second}, N = {found.clips} {_method(found)}:"
    return [head, *(f"  {line}" for line in _written(found, METRICS)), _right_alone(found, first, second)]


def _written(found: PairedDifference, metrics: Iterable[Metric]) -> list[str]:
    """Each metric's difference; one of which less is better says so."""
    lower = {True: "", False: " (lower is better)"}
    return [f"{metric.short} {found[metric].written(metric)}{lower[metric.higher_is_better]}" for metric in metrics]


def _method(found: PairedDifference) -> str:
    """What the intervals are, or why there are none."""
    if not found[WAR].interval.known:
        return f"(no interval: one {found.unit})"
    return f"({100 * found.level:.0f} % paired bootstrap over {found.unit}s)"


def _right_alone(found: PairedDifference, first: str, second: str) -> str:
    return (
        f"right alone: {first} in {found.only_first} clips, {second} in {found.only_second} "
        f"(McNemar p = {found.p_value:.2g})"
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
