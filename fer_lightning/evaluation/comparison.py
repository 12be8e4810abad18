"""Paired comparisons of two prediction tables of the same clips, as numbers and as text."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from data_modules.utils.text import counted
from fer_lightning.evaluation.bootstrap import (
    DRAWS,
    LEVEL,
    UNKNOWN,
    Interval,
    Resamples,
    cluster_unit,
    clusters_of,
    resampled,
)
from fer_lightning.evaluation.metrics import HEADLINE, METRICS, WAR, Metric, confusions_of
from fer_lightning.evaluation.predictions import PredictionTable
from fer_lightning.evaluation.significance import sign_test


@dataclass(frozen=True)
class Difference:
    """A metric's value for the first table minus its value for the second."""

    value: float
    interval: Interval  # paired bootstrap; `UNKNOWN` for a metric without an interval

    def written(self, metric: Metric) -> str:
        """Returns the difference as text, with its sign and its interval."""
        spec = f"+{metric.spec}"
        value = "–" if np.isnan(self.value) else f"{self.value:{spec}}"
        return f"{value} {self.interval:{spec}}" if self.interval.is_known else value


@dataclass(frozen=True)
class PairedDifference:
    """The difference between two tables of the same clips; `difference[WAR]` is the first WAR minus the second."""

    by_name: Mapping[str, Difference]
    level: float
    unit: str  # the unit of the bootstrap, see `Intervals`
    only_first: int  # clips that only the first table predicts correctly
    only_second: int
    p_value: float  # McNemar's exact test, in which the clips of a subject or film stay together; see `sign_test`
    clips: int

    def __getitem__(self, metric: Metric) -> Difference:
        return self.by_name[metric.name]


def paired_difference(
    first: PredictionTable, second: PredictionTable, draws: int = DRAWS, seed: int = 0, level: float = LEVEL
) -> PairedDifference:
    """Compares two systems on the same clips in every metric; both are resampled with the same clusters.

    Raises:
        ValueError: the tables are empty, hold a clip under several seeds, or differ in classes, clips, true classes,
            subjects or films.
    """
    second = _matching(first, second)
    cluster, clusters = clusters_of(first)
    counts = np.stack([confusions_of(table, cluster, clusters) for table in (first, second)], axis=1)
    observed, drawn = counts.sum(axis=0), resampled(counts, draws, seed)  # (2, C, C + 1), (draws, 2, C, C + 1)
    differences = {}
    for metric in METRICS:
        value, other_value = metric.of(observed).tolist()
        interval = UNKNOWN
        if metric.has_interval:
            values = metric.of(drawn)
            resamples = Resamples.of(values[:, :1] - values[:, 1:], np.array([value - other_value]), clusters)
            interval = resamples.interval(value - other_value, level, -1, 1)
        differences[metric.name] = Difference(value - other_value, interval)
    ahead = first.correct.astype(np.int64) - second.correct.astype(np.int64)
    advantage = np.zeros(clusters, np.int64)
    np.add.at(advantage, cluster, ahead)
    only_first, only_second = int((ahead > 0).sum()), int((ahead < 0).sum())
    return PairedDifference(
        differences, level, cluster_unit(first), only_first, only_second, sign_test(advantage), len(first)
    )


@dataclass(frozen=True)
class SeedDifference:
    """The difference of two systems in one metric over several trainings of both.

    Args:
        value: the mean over the seeds of the first system's value minus the second's.
        interval: of that mean; both people (or films, or clips) and seeds are drawn.
        p_value: of the hypothesis that the mean over people and seeds is 0; NaN where there is no interval.
        by_seed: the difference for each seed, in the order of `seeds`.
        seeds: the seeds with which both were trained.
        unit: what is drawn beside the seeds: `subject`, `film` or `clip`.
        clusters: the number of these.
    """

    value: float
    interval: Interval
    p_value: float
    by_seed: tuple[float, ...]
    seeds: tuple[int, ...]
    unit: str
    clusters: int


def difference_over_seeds(
    first: PredictionTable, second: PredictionTable, metric: Metric, draws: int = DRAWS, level: float = LEVEL
) -> SeedDifference:
    """Compares two systems that were trained with the same seeds, on the same clips.

    A bootstrap draws people with replacement, the same ones in every training, and trainings with replacement; see
    `Resamples`. With one seed, it is that of `paired_difference`, and says nothing of other seeds. Trainings with
    the same seed are a pair, as they start from the same weights and see the clips in the same order.

    Args:
        first: the predictions of all trainings of the first system.
        second: those of the second system.
        metric: the metric that is compared.
        draws: number of bootstrap samples.
        level: of the interval, between 0 and 1.

    Raises:
        ValueError: the systems have no seed in common, or differ in classes, clips, true classes, subjects or films;
            or their seeds differ in clips.
    """
    seeds = tuple(sorted({*first.seed.tolist()} & {*second.seed.tolist()}))
    if not seeds:
        raise ValueError("the trainings have no seed in common, so they cannot be compared")
    observed, drawn, clusters = [], [], 0
    for seed in seeds:
        one = first.select(first.seed == seed)
        if set(one.clip_id.tolist()) != set(first.clip_id[first.seed == seeds[0]].tolist()):
            raise ValueError(
                f"the trainings with the seeds {seeds[0]} and {seed} are tested on other clips, such as those of other "
                "folds; expected the same clips for each seed"
            )
        other = _matching(one, second.select(second.seed == seed))
        cluster, clusters = clusters_of(one)
        counts = np.stack([confusions_of(table, cluster, clusters) for table in (one, other)], axis=1)
        values = metric.of(counts.sum(axis=0))
        people = metric.of(resampled(counts, draws, 0))  # (draws, 2), with the same people for every seed
        observed.append(float(values[0] - values[1]))
        drawn.append(people[:, 0] - people[:, 1])
    value = float(np.mean(observed))
    resamples = Resamples.of(np.stack(drawn, axis=1), np.array(observed), clusters)
    return SeedDifference(
        value,
        resamples.interval(value, level, -1, 1),
        resamples.p_value(value),
        tuple(observed),
        seeds,
        cluster_unit(first),
        clusters,
    )


def difference_line(difference: PairedDifference, first: str, second: str) -> str:
    """Returns the difference in the headline metrics as one line that names both systems."""
    values = ", ".join(_metric_texts(difference, HEADLINE))
    return (
        f"{first} minus {second}: {values} {_method(difference)}, N = {difference.clips}; "
        f"{_discordant_clips(difference, first, second)}"
    )


def difference_lines(difference: PairedDifference, first: str, second: str) -> list[str]:
    """Returns the difference in every metric, one line each, after a line that names both systems."""
    head = f"{first} minus {second}, N = {difference.clips} {_method(difference)}:"
    lines = [f"  {line}" for line in _metric_texts(difference, METRICS)]
    return [head, *lines, _discordant_clips(difference, first, second)]


def _metric_texts(difference: PairedDifference, metrics: Iterable[Metric]) -> list[str]:
    """Returns the difference in each metric, marked where lower values are better."""
    lower = {True: "", False: " (lower is better)"}
    return [
        f"{metric.short} {difference[metric].written(metric)}{lower[metric.higher_is_better]}" for metric in metrics
    ]


def _method(difference: PairedDifference) -> str:
    """Describes the intervals, or says why there are none."""
    if not difference[WAR].interval.is_known:
        return f"(no interval: one {difference.unit}, or the same difference in all)"
    return f"({100 * difference.level:.0f} % paired bootstrap over {difference.unit}s)"


def _discordant_clips(difference: PairedDifference, first: str, second: str) -> str:
    """Says in how many clips only one of the two systems is correct, with the p-value of McNemar's test."""
    together = "" if difference.unit == "clip" else f" over {difference.unit}s"
    return (
        f"right alone: {first} in {counted(difference.only_first, 'clip')}, {second} in {difference.only_second} "
        f"(McNemar p = {difference.p_value:.2g}{together})"
    )


def _matching(first: PredictionTable, second: PredictionTable) -> PredictionTable:
    """Returns the second table in the order of the first, if they are comparable."""
    if first.class_names != second.class_names:
        raise ValueError(f"the tables have different classes: {first.class_names} and {second.class_names}")
    for table in (first, second):
        if not len(table) or len(set(table.clip_id.tolist())) != len(table):
            raise ValueError(
                f"a paired comparison needs each clip exactly once; found {len(table)} rows with "
                f"{len(set(table.clip_id.tolist()))} different clips. Compare each seed separately"
            )
    position = {name: row for row, name in enumerate(second.clip_id.tolist())}
    unmatched = sorted(set(position) ^ set(first.clip_id.tolist()))
    if unmatched:
        raise ValueError(
            f"the tables must hold the same clips; found {counted(len(unmatched), 'clip')} in one table only, such as "
            f"{unmatched[0]!r}"
        )
    second = second.select(np.array([position[name] for name in first.clip_id.tolist()]))
    for name in ("emotion", "subject", "group"):
        differing = np.flatnonzero(getattr(first, name) != getattr(second, name))
        if len(differing):
            row = differing[0]
            values = (str(getattr(first, name)[row]), str(getattr(second, name)[row]))
            raise ValueError(f"clip {str(first.clip_id[row])!r}: the tables differ in its {name}: {values}")
    return second
