"""The differences that `fer compare` finds, as a table for other programs: CSV, JSON or LaTeX."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from data_modules.utils.csv_tables import csv_bytes
from data_modules.utils.files import atomic_write
from fer_lightning.evaluation.comparison import PairedDifference, SeedDifference
from fer_lightning.evaluation.metrics import METRICS, WAR, Metric
from fer_lightning.tables.grid import Grid, as_latex


@dataclass(frozen=True)
class ComparedMetric:
    """The first run's value of a metric minus the second's; NaN where there is no interval or no test."""

    first: str
    second: str
    metric: str
    difference: float
    low: float  # of the interval
    high: float
    p_value: float  # McNemar's, in the row of WAR; over several seeds, the bootstrap's
    unit: str  # what is resampled: `subject`, `film` or `clip`
    seeds: int


def compared(first: str, second: str, difference: PairedDifference) -> list[ComparedMetric]:
    """Returns a row for each metric of one training of each system."""
    return [
        ComparedMetric(
            first,
            second,
            metric.name,
            difference[metric].value,
            difference[metric].interval.low,
            difference[metric].interval.high,
            difference.p_value if metric is WAR else math.nan,
            difference.unit,
            seeds=1,
        )
        for metric in METRICS
    ]


def compared_over_seeds(first: str, second: str, metric: Metric, difference: SeedDifference) -> ComparedMetric:
    """Returns the row of a metric over several trainings of both systems."""
    return ComparedMetric(
        first,
        second,
        metric.name,
        difference.value,
        difference.interval.low,
        difference.interval.high,
        difference.p_value,
        difference.unit,
        len(difference.seeds),
    )


def write_compared(rows: Sequence[ComparedMetric], path: Path) -> None:
    """Writes the differences; the file's name says as what.

    Raises:
        NotWritableError: the folder cannot be written to.
    """
    names = [each.name for each in fields(ComparedMetric)]
    plain = [
        {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in asdict(row).items()}
        for row in rows
    ]
    if path.suffix == ".json":
        content = json.dumps(plain, indent=1, allow_nan=False).encode()
    elif path.suffix == ".csv":
        content = csv_bytes(names, [["" if row[name] is None else row[name] for name in names] for row in plain])
    else:
        content = as_latex(_grid(rows)).encode()
    atomic_write(path, content)


def _grid(rows: Sequence[ComparedMetric]) -> Grid:
    metrics = {metric.name: metric for metric in METRICS}
    cells = []
    for row in rows:
        spec = f"+{metrics[row.metric].spec}"
        interval = "" if math.isnan(row.low) else f"[{row.low:{spec}}, {row.high:{spec}}]"
        p_value = "" if math.isnan(row.p_value) else f"{row.p_value:.2g}"
        name = f"{row.first} − {row.second}"
        cells.append((name, metrics[row.metric].short, f"{row.difference:{spec}}", interval, p_value))
    header = ("runs", "metric", "difference", "95 % interval", "p")
    return Grid("Differences of runs on the same clips", header, tuple(cells))
