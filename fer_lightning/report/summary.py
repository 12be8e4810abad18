"""A prediction table's metrics for people: in one line, and as cells of a table."""

from collections.abc import Sequence

import numpy as np

from fer_lightning.evaluation.bootstrap import Intervals, bootstrap
from fer_lightning.evaluation.metrics import HEADLINE, WAR, Metric, scores
from fer_lightning.evaluation.predictions import PredictionTable


def summary_line(table: PredictionTable) -> str:
    """The headline metrics in one line, for the console.

    Raises:
        ValueError: the table is empty.
    """
    found, intervals = scores(table), bootstrap(table)
    values = "  ".join(f"{metric.short} {found.written(metric)}{_bracket(intervals, metric)}" for metric in HEADLINE)
    return f"{values}  N = {sample_size(table)} ({interval_method(intervals)})"


def metric_header(metrics: Sequence[Metric] = HEADLINE) -> tuple[str, ...]:
    """The columns that `metric_cells` fills."""
    columns = [(metric.short, "95 %") if metric.headline else (metric.short,) for metric in metrics]
    return tuple(name for names in columns for name in names)


def metric_cells(table: PredictionTable, metrics: Sequence[Metric] = HEADLINE) -> tuple[str, ...]:
    """The values of metrics, those of the headline with their interval behind them."""
    found, intervals = scores(table), bootstrap(table)
    cells: list[str] = []
    for metric in metrics:
        cells.append(metric.write(found[metric]))
        if metric.headline:
            cells.append(intervals[metric].written(metric))
    return tuple(cells)


def _bracket(intervals: Intervals, metric: Metric) -> str:
    return f" {intervals[metric].written(metric)}" if intervals[metric].is_known else ""


def sample_size(table: PredictionTable) -> str:
    """How many clips of how many subjects (and seeds)."""
    clips, seeds = len(np.unique(table.clip_id)), len(np.unique(table.seed))
    subjects = len(np.unique(table.subject[table.subject != ""]))
    nameless = len(np.unique(table.clip_id[table.subject == ""]))
    text = f"{clips} clips of {subjects} subject{'s' * (subjects != 1)}" if subjects else f"{clips} clips"
    text += f", {nameless} of them of unknown subject" if subjects and nameless else ""
    return text + (f", {seeds} seeds" if seeds > 1 else "")


def interval_method(intervals: Intervals) -> str:
    """What the intervals are."""
    if not intervals[WAR].is_known:
        return f"no interval: it takes two {intervals.unit}s"
    return f"{100 * intervals.level:.0f} % bootstrap over {intervals.unit}s"
