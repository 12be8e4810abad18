"""What Weights & Biases shows of a prediction table: scores in a run's summary, and tables."""

import math
from dataclasses import dataclass
from typing import Any

from fer_lightning.evaluation.bootstrap import bootstrap
from fer_lightning.evaluation.metrics import METRICS, scores
from fer_lightning.evaluation.predictions import NONE, PREFIX, PredictionTable


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


def score_values(table: PredictionTable, split: str) -> dict[str, float]:
    """Returns the metrics of a split with both ends of their intervals; undefined values are left out.

    Args:
        table: the predictions of the split.
        split: its name in the run's summary: `test`, or `chosen` for the inner split at the chosen epoch.

    Returns:
        The number of clips `test/clips`, each metric `test/war`, and `test/war_low` and `test/war_high`.

    Raises:
        ValueError: the table is empty.
    """
    result, intervals = scores(table), bootstrap(table)
    values: dict[str, float] = {f"{split}/clips": result.clips}
    for metric in METRICS:
        name, interval = f"{split}/{metric.name}", intervals[metric]
        values |= {name: result[metric], f"{name}_low": interval.low, f"{name}_high": interval.high}
    return {name: value for name, value in values.items() if not math.isnan(value)}


def class_table(table: PredictionTable) -> ShownTable:
    """Returns clips, recall, precision and F1 of each class."""
    result = scores(table)
    columns = (table.class_names, result.support, result.class_accuracy, result.precision, result.f1)
    rows = [[name, int(clips), *map(float, values)] for name, clips, *values in zip(*columns, strict=True)]
    return ShownTable("report/classes", ("class", "clips", "recall", "precision", "F1"), rows)


def confusion_table(table: PredictionTable) -> ShownTable:
    """Returns the clips of each true class by predicted class, the last column those without a prediction."""
    counts = scores(table).confusion.tolist()
    rows = [[name, *row] for name, row in zip(table.class_names, counts, strict=True)]
    return ShownTable("report/confusion", ("true class", *table.class_names, NONE), rows)


def clip_table(table: PredictionTable) -> ShownTable:
    """Returns a row for each clip: what it is, its true and its predicted class, and the probabilities."""
    about = ("clip_id", "subject", "group", "fold", "seed", "emotion", "predicted", "correct", "coverage", "reason")
    values = zip(*(getattr(table, name).tolist() for name in about), table.probabilities.tolist(), strict=True)
    rows = [[*row, *(None if math.isnan(p) else p for p in probabilities)] for *row, probabilities in values]
    return ShownTable("report/predictions", (*about, *(f"{PREFIX}{name}" for name in table.class_names)), rows)
