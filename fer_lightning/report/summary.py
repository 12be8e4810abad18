"""Formats the metrics of a prediction table as one line and as the cells of a table."""

from collections.abc import Sequence

import numpy as np

from data_modules.utils.text import counted
from fer_lightning.evaluation.bootstrap import Intervals, bootstrap, cluster_unit, clusters_of
from fer_lightning.evaluation.metrics import HEADLINE, WAR, Metric, scores
from fer_lightning.evaluation.predictions import PredictionTable

FEW_CLIPS, FEW_UNITS = 50, 10
"""Below either number, of clips or of people or films, a result comes with a warning.

[our choice] Of 50 clips, the 95 % interval of an accuracy of 60 % is 27 points wide, more than most papers' systems
differ; and with fewer than ten people, a single one is more than a tenth of the result.
"""
OPTIMISTIC = (
    "selection is best_on_test: the epoch was chosen on the very split that is reported here. Expect lower values on "
    "new data, and do not compare these values with those of runs whose epoch was chosen on an inner split."
)


def result_lines(table: PredictionTable) -> tuple[str, ...]:
    """Returns the headline metrics for the console, and a line of warning if they rest on very few clips or people.

    Raises:
        ValueError: the table is empty.
    """
    note = few_note(table)
    return (summary_line(table), f"warning: {note}") if note else (summary_line(table),)


def few_note(table: PredictionTable) -> str:
    """Warns that a result rests on very few clips, people or films, and says between which values it may lie.

    Empty if there are enough.

    Raises:
        ValueError: the table is empty.
    """
    clips, units = len(np.unique(table.clip_id)), clusters_of(table)[1]
    if clips >= FEW_CLIPS and units >= FEW_UNITS:
        return ""
    intervals, result = bootstrap(table), scores(table)
    interval, unit = intervals[WAR], cluster_unit(table)
    said = interval_method(intervals)
    if interval.low < interval.high:
        said = f"on other {unit}s, {WAR.short} may well be anywhere in {interval.written(WAR)}"
    return (
        f"this result rests on very little, {sample_size(table)}. {WAR.short} is {result.written(WAR)} here; {said}. A "
        f"result to rely on needs {FEW_CLIPS} clips or more, of {FEW_UNITS} people or more."
    )


def summary_line(table: PredictionTable) -> str:
    """Returns the headline metrics as one line for the console.

    Raises:
        ValueError: the table is empty.
    """
    result, intervals = scores(table), bootstrap(table)
    values = "  ".join(f"{metric.short} {result.written(metric)}{_bracket(intervals, metric)}" for metric in HEADLINE)
    return f"{values}  N = {sample_size(table)} ({interval_method(intervals)})"


def metric_header(metrics: Sequence[Metric] = HEADLINE) -> tuple[str, ...]:
    """Returns the headings of the columns that `metric_cells` fills."""
    columns = [(metric.short, "95 %") if metric.headline else (metric.short,) for metric in metrics]
    return tuple(name for names in columns for name in names)


def metric_cells(table: PredictionTable, metrics: Sequence[Metric] = HEADLINE) -> tuple[str, ...]:
    """Returns the values of the metrics; the headline metrics are followed by their intervals."""
    result, intervals = scores(table), bootstrap(table)
    cells: list[str] = []
    for metric in metrics:
        cells.append(metric.write(result[metric]))
        if metric.headline:
            cells.append(intervals[metric].written(metric))
    return tuple(cells)


def _bracket(intervals: Intervals, metric: Metric) -> str:
    return f" {intervals[metric].written(metric)}" if intervals[metric].is_known else ""


def sample_size(table: PredictionTable) -> str:
    """Describes the number of clips, subjects and seeds, such as `24 clips of 6 subjects`."""
    clips, seeds = len(np.unique(table.clip_id)), len(np.unique(table.seed))
    subjects = len(np.unique(table.subject[table.subject != ""]))
    unknown = len(np.unique(table.clip_id[table.subject == ""]))
    text = counted(clips, "clip")
    text += f" of {counted(subjects, 'subject')}" if subjects else ""
    text += f", {unknown} of them of unknown subject" if subjects and unknown else ""
    return text + (f", {seeds} seeds" if seeds > 1 else "")


def interval_method(intervals: Intervals) -> str:
    """Describes how the intervals are computed, or why there are none."""
    if intervals.clusters < 2:
        return f"no interval: it needs at least two {intervals.unit}s"
    if not (intervals.complete or intervals[WAR].is_known):
        return f"no interval: not all seeds have clips of all {intervals.unit}s, as where folds are missing"
    if not intervals[WAR].low < intervals[WAR].high:
        return f"all {intervals.unit}s have the same {WAR.short}, of which no interval can be made"
    return f"{100 * intervals.level:.0f} % bootstrap over {intervals.drawn}"
