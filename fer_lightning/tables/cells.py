"""What the cells of tables say: published values, and ours with their spread over seeds."""

import statistics
from collections.abc import Callable, Mapping, Sequence

from fer_lightning.evaluation.bootstrap import Interval
from fer_lightning.evaluation.metrics import WAR
from fer_lightning.tables.columns import ANSWERED, BY_NAME, CONFIDENCE, INTERVAL
from fer_lightning.tables.results import RowResult
from fer_lightning.tables.table import Row

DASH = "–"


def published_value(row: Row, column: str) -> str:
    """Writes a published value as the paper prints it, with what it decodes to; a dash if there is none."""
    value = row.published.get(column)
    if value is None:
        return DASH
    if isinstance(value, str):
        return value
    spec = ",.0f" if column in ("parameters", "multiply_adds") else "g" if column == "value" else ".2f"
    text = f"{value:{spec}}"
    text += f" ± {row.deviation[column]:g}" if column in row.deviation else ""
    return f"{text} ({row.decoded})" if column == "war" and row.decoded else text


def our_value(result: RowResult | None, column: str) -> str:
    """Writes what a row's results say in a column, values as mean over the seeds; a dash if they say nothing."""
    if result is None:
        return DASH
    if column in WRITTEN:
        return WRITTEN[column](result)
    if column.startswith(INTERVAL):
        metric = BY_NAME[column.removeprefix(INTERVAL)]
        return result.interval(metric.name).written(metric)
    if column.startswith(ANSWERED):
        return _answered_only(result, column.removeprefix(ANSWERED))
    text, interval = mean(result.by_seed(column), column), result.interval(column)
    return f"{text} {interval:.3f}" if column in CONFIDENCE and interval.is_known else text


def plain(value: object) -> str:
    """Writes a setting or a count; a dash if there is none."""
    if value is None:
        return DASH
    return f"{value:,}" if isinstance(value, int) and abs(value) >= 10_000 else str(value)


def mean(values: Sequence[float], column: str) -> str:
    """Writes the mean of some values with their deviation; a dash if there are none."""
    if not values:
        return DASH
    text = _written(statistics.mean(values), column)
    return f"{text} ± {_written(statistics.stdev(values), column)}" if len(values) > 1 else text


def _written(value: float, column: str) -> str:
    return BY_NAME[column].write(value) if column in BY_NAME else f"{value:.3f}"


def _answered_only(result: RowResult, column: str) -> str:
    """Writes a metric over the clips with a prediction; nothing if these are all."""
    return mean(result.by_seed(column, answered=True), column) if result.answered < result.clips else ""


def _inflation(result: RowResult) -> str:
    """Writes by how much the best epoch on the reported split exceeds the reported one, with its interval."""
    if not result.inflation:
        return DASH
    value, *ends = result.inflation
    return " ".join([WAR.write(value), *([Interval(*ends).written(WAR)] if ends else [])])


def _count(value: int | None) -> str:
    return DASH if value is None else f"{value:,}"


def _milliseconds(value: float | None) -> str:
    return DASH if value is None else f"{value:.2f}"


WRITTEN: Mapping[str, Callable[[RowResult], str]] = {
    "last_epoch": lambda result: mean(result.watched(lambda curve: curve[-1]), WAR.name),
    "best_on_test": lambda result: mean(result.watched(max), WAR.name),
    "inflation": _inflation,
    "human": lambda result: mean(result.by_seed("human")[:1], "human"),
    "parameters": lambda result: _count(result.runs[0].parameters),
    "multiply_adds": lambda result: _count(result.runs[0].multiply_adds),
    "ms_per_clip": lambda result: _milliseconds(result.runs[0].ms_per_clip),
    "clips": lambda result: str(result.clips),
    "seeds": lambda result: str(len(result.seeds)),
}
"""Columns whose values are not means over the seeds of what each run has."""
