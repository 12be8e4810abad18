"""Collects what the finished runs of a row have left into its results."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fer_lightning.ensemble.training import resolved
from fer_lightning.evaluation.bootstrap import bootstrap
from fer_lightning.evaluation.comparison import difference_over_seeds
from fer_lightning.evaluation.confidence import confidence_scores
from fer_lightning.evaluation.metrics import METRICS, WAR, scores
from fer_lightning.evaluation.other_epochs import read_other_epochs
from fer_lightning.evaluation.predictions import PredictionTable
from fer_lightning.experiments.request import ExperimentRequest
from fer_lightning.experiments.resume import MACHINES_CHOICE, RUNTIME_ONLY_KEYS, result_settings, with_new_arguments
from fer_lightning.paths import RUN
from fer_lightning.report.sections.curves import read_curves
from fer_lightning.runs.folder import RunFolder
from fer_lightning.tables.outputs import run_values
from fer_lightning.tables.plan import PlannedRow, TableRequest
from fer_lightning.tables.results import WATCHED, RowResult, RunResult

PER_RUN = ("data.dataset.init_args.fold", "data.seed", "seed_everything")
"""Settings in which the runs of a row differ."""
CURVES = (WATCHED, "inner/war", "inner/loss", "train/war", "train/loss", "train/data_wait")
"""Logged values whose curves are kept."""


def read_tables(planned: PlannedRow) -> list[PredictionTable]:
    """Reads the predictions of a row's reported runs for the reported split.

    Raises:
        ValueError: a table is damaged.
    """
    return [PredictionTable.read(planned.tested(request).predictions("test")) for request in planned.reported]


def collect(asked: TableRequest, planned: PlannedRow, tables: Sequence[PredictionTable]) -> RowResult:
    """Returns the results of the reported runs of a row.

    Args:
        asked: the table.
        planned: the row.
        tables: the predictions of its reported runs, from `read_tables`.

    Raises:
        ValueError: none of its runs is finished, or a file of one is damaged.
    """
    requests = planned.reported
    if not requests:
        raise ValueError(f"row {planned.row.name}: none of its {len(planned.requests)} runs is finished")
    pooled = PredictionTable.concat(tables)
    intervals, confidence = bootstrap(pooled), confidence_scores(pooled)
    by_name = {**intervals.by_name, **(confidence.intervals if confidence else {})}
    return RowResult(
        table=Path(asked.name).stem,
        row=planned.row.name,
        experiment=requests[0].experiment,
        size=planned.size,
        arguments=requests[0].arguments,
        settings=row_settings(requests[0]),
        runs=tuple(run_result(each, planned.tested(each), table) for each, table in zip(requests, tables, strict=True)),
        intervals={name: (each.low, each.high) for name, each in by_name.items() if each.is_known},
        unit=intervals.unit,
        clusters=intervals.clusters,
        drawn_seeds=intervals.seeds,
        tested_on=planned.row.tested_on or "",
        inflation=_inflation([planned.tested(request) for request in requests]),
    )


def _inflation(runs: Sequence[RunFolder]) -> tuple[float, ...] | None:
    """Returns `RowResult.inflation`; None if the other epochs of a run are not known."""
    found = [read_other_epochs(run) for run in runs]
    epochs = [each for each in found if each is not None]
    if len(epochs) < len(found):
        return None
    best, chosen = (
        PredictionTable.concat([getattr(each, name).table for each in epochs]) for name in ("best", "chosen")
    )
    difference = difference_over_seeds(best, chosen, WAR)
    interval = difference.interval
    return (difference.value, *((interval.low, interval.high) if interval.is_known else ()))


def run_result(request: ExperimentRequest, tested: RunFolder, table: PredictionTable) -> RunResult:
    """Returns the result of a finished run.

    Args:
        request: of the run.
        tested: the folder of the predictions: the run's, or that of its test on other data.
        table: the predictions.
    """
    info, answered = request.run.read_info(), table.select(~table.missing)
    return RunResult(
        fold=request.fold,
        seed=request.seed,
        clips=len(table),
        answered=len(answered),
        metrics=_metrics(table),
        answered_metrics=_metrics(answered) if len(answered) else {},
        outputs=run_values(tested, table),
        parameters=info.parameters,
        multiply_adds=info.multiply_adds,
        ms_per_clip=None if info.seconds_per_clip is None else 1000 * info.seconds_per_clip,
        selection=info.selection,
        seconds=info.seconds,
        device=info.device,
        commit=info.commit,
        class_names=table.class_names,
        confusion=tuple(tuple(row) for row in scores(table).confusion.tolist()),
        curves=_curves(tested),
        classes_from_stills=tested.read_info().classes_from_stills,
    )


def _curves(run: RunFolder) -> dict[str, tuple[float, ...]]:
    """Returns the curves of a run that a page draws, rounded; none for ensembles and tests, which have no epochs."""
    paths = (run.curves, run.watched_curves)
    curves = [curve for path in paths if path.exists() for curve in read_curves(path)]
    return {
        curve.name: tuple(round(value, 5) for value in curve.value.tolist())
        for curve in curves
        if curve.name in CURVES and np.isfinite(curve.value).all()
    }


def _metrics(table: PredictionTable) -> dict[str, float]:
    """Returns all metrics and the accuracy of each class, without those that are undefined."""
    result = scores(table)
    values = {metric.name: result[metric] for metric in METRICS}
    values |= {f"recall.{name}": float(v) for name, v in zip(table.class_names, result.class_accuracy, strict=True)}
    return {name: value for name, value in values.items() if not np.isnan(value)}


def row_settings(request: ExperimentRequest) -> dict[str, Any]:
    """Returns the resolved configuration of a run without its fold and seed and what cannot change its result."""
    plain: dict[str, Any] = _without_run(json.loads(json.dumps(resolved(request), default=str)))
    return plain


def _without_run(value: Any, prefix: str = "") -> Any:
    if isinstance(value, dict):
        names = {key: f"{prefix}.{key}" if prefix else key for key in value}
        left = {key for key, each in value.items() if each is None and names[key] in MACHINES_CHOICE}
        return {
            key: _without_run(each, names[key])
            for key, each in value.items()
            if key not in left and names[key] not in PER_RUN and not names[key].startswith(RUNTIME_ONLY_KEYS)
        }
    if isinstance(value, list):
        return [_without_run(each, prefix) for each in value]
    return value.split("/")[0] if isinstance(value, str) and value.startswith(RUN) else value


def is_of_today(result: RowResult, planned: PlannedRow) -> bool:
    """Whether a row's results are of its configuration of today, and of the data set that it is tested on.

    Arguments that classes have got since then are taken to have had their defaults.
    """
    now = row_settings(planned.requests[0])
    is_same = dict(result_settings(with_new_arguments(result.settings, now))) == dict(result_settings(now))
    return is_same and result.tested_on == (planned.row.tested_on or "")
