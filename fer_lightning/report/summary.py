"""A prediction table's measures in one line."""

import numpy as np

from fer_lightning.evaluation.bootstrap import Interval, Intervals, bootstrap
from fer_lightning.evaluation.metrics import scores
from fer_lightning.evaluation.predictions import PredictionTable


def summary_line(table: PredictionTable) -> str:
    """The table in one line, for the console.

    Raises:
        ValueError: the table is empty.
    """
    found, intervals = scores(table), bootstrap(table)
    pairs = (("WAR", found.war, intervals.war), ("UAR", found.uar, intervals.uar))
    values = "  ".join(f"{name} {value:.3f}{_bracket(interval)}" for name, value, interval in pairs)
    return f"{values}  N = {sample_size(table)} ({interval_method(intervals)})"


def _bracket(interval: Interval) -> str:
    return f" {interval}" if interval.known else ""


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
    if not intervals.war.known:
        return f"no interval: it takes two {intervals.unit}s"
    return f"{100 * intervals.level:.0f} % bootstrap over {intervals.unit}s"
