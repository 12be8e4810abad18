"""Formats the metrics of a prediction table as one line and as the cells of a table."""

from collections.abc import Sequence

import numpy as np

from data_modules.utils.text import counted
from fer_lightning.evaluation.bootstrap import Intervals, bootstrap
from fer_lightning.evaluation.metrics import HEADLINE, WAR, Metric, scores
from fer_lightning.evaluation.predictions import PredictionTable


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
    if not intervals[WAR].is_known:
        return f"no interval: it needs at least two {intervals.unit}s"
    return f"{100 * intervals.level:.0f} % bootstrap over {intervals.drawn}"
