"""What Weights & Biases shows of a prediction table: scores in a run's summary, and tables."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fer_lightning.evaluation.bootstrap import Intervals
from fer_lightning.evaluation.metrics import METRICS, Scores, scores
from fer_lightning.evaluation.predictions import NONE, PREFIX, PredictionTable
from fer_lightning.runs.folder import RunInfo


@dataclass(frozen=True)
class ShownTable:
    """A table of a W&B run.

    Args:
        name: where it is shown, such as `report/classes`.
        columns: their names.
        rows: as many plain values each as there are columns.
    """

    name: str
    columns: tuple[str, ...]
    rows: list[list[Any]]


def score_values(result: Scores, intervals: Intervals, split: str) -> dict[str, float]:
    """Returns metrics with both ends of their intervals; undefined values are left out.

    Args:
        result: the scores of a split.
        intervals: their intervals.
        split: its name in the run's summary: `test`, `chosen` for the inner split at the chosen epoch, or `pooled`.

    Returns:
        The number of clips `test/clips`, each metric `test/war`, and `test/war_low` and `test/war_high`.
    """
    values: dict[str, float] = {f"{split}/clips": result.clips}
    for metric in METRICS:
        name, interval = f"{split}/{metric.name}", intervals[metric]
        values |= {name: result[metric], f"{name}_low": interval.low, f"{name}_high": interval.high}
    return defined(values)


def cost_values(info: RunInfo) -> dict[str, float]:
    """Returns a model's parameters and, where they were measured, multiply-adds and milliseconds for a clip."""
    values: dict[str, float] = {"cost/parameters": info.parameters}
    if info.multiply_adds is not None:
        values["cost/multiply_adds"] = info.multiply_adds
    if info.seconds_per_clip is not None:
        values["cost/ms_per_clip"] = 1000 * info.seconds_per_clip
    return values


def spread_values(results: Sequence[Scores], of: str) -> dict[str, float]:
    """Returns the mean `cv/war_mean` and the sample deviation (n - 1) `cv/war_std` of each metric over several runs.

    Undefined values are left out, such as the deviation of a single run.

    Args:
        results: the scores of each run.
        of: what the runs are, such as `cv`.
    """
    values: dict[str, float] = {f"{of}/runs": len(results)}
    for metric in METRICS:
        each = np.array([result[metric] for result in results])
        deviation = float(each.std(ddof=1)) if len(each) > 1 else math.nan
        values |= {f"{of}/{metric.name}_mean": float(each.mean()), f"{of}/{metric.name}_std": deviation}
    return defined(values)


def defined(values: dict[str, float]) -> dict[str, float]:
    """Leaves out what is not a number, which a summary would show as text."""
    return {name: value for name, value in values.items() if not math.isnan(value)}


def class_table(table: PredictionTable) -> ShownTable:
    """Returns clips, recall, precision and F1 of each class."""
    result = scores(table)
    columns = (table.class_names, result.support, result.class_accuracy, result.precision, result.f1)
    rows = [[name, int(clips), *map(float, values)] for name, clips, *values in zip(*columns, strict=True)]
    return ShownTable("report/classes", ("class", "clips", "recall", "precision", "F1"), rows)


def confusion_table(class_names: tuple[str, ...], result: Scores) -> ShownTable:
    """Returns the clips of each true class by predicted class, the last column those without a prediction."""
    rows = [[name, *row] for name, row in zip(class_names, result.confusion.tolist(), strict=True)]
    return ShownTable("report/confusion", ("true class", *class_names, NONE), rows)


def clip_table(table: PredictionTable) -> ShownTable:
    """Returns a row for each clip: what it is, its true and its predicted class, and the probabilities."""
    about = ("clip_id", "subject", "group", "fold", "seed", "emotion", "predicted", "correct", "coverage", "reason")
    values = zip(*(getattr(table, name).tolist() for name in about), table.probabilities.tolist(), strict=True)
    rows = [[*row, *(None if math.isnan(p) else p for p in probabilities)] for *row, probabilities in values]
    return ShownTable("report/predictions", (*about, *(f"{PREFIX}{name}" for name in table.class_names)), rows)
