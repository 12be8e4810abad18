"""Makes a table: trains the runs that are missing, and leaves the results of each row that has any."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from data_modules.utils.text import counted
from fer_lightning.ensemble.experiment import model_requests
from fer_lightning.ensemble.order import Train, steps, train_in_order
from fer_lightning.ensemble.training import resolved
from fer_lightning.evaluation.predictions import PredictionTable
from fer_lightning.experiments.request import ExperimentRequest, required_runs
from fer_lightning.experiments.resume import print_on_rank_zero, refuse_other_settings
from fer_lightning.experiments.shapes import ShapeCheck
from fer_lightning.tables.collect import collect, read_tables
from fer_lightning.tables.estimate import Durations, estimate
from fer_lightning.tables.plan import PlannedRow, TableRequest, plan, run_name
from fer_lightning.tables.results import read_predictions, results_folder, write_result
from fer_lightning.tables.verdicts import judge, write_verdicts


@dataclass(frozen=True)
class Outcome:
    """What became of a table.

    Args:
        folder: of its results.
        failed: runs that did not finish.
        left: rows that were not begun, as the time would not have sufficed.
    """

    folder: Path
    failed: tuple[ExperimentRequest, ...]
    left: tuple[PlannedRow, ...] = ()


def check(rows: Sequence[PlannedRow]) -> None:
    """Checks the configuration of each row, and the shapes of the weights it starts from, before anything is trained.

    Raises:
        FileNotFoundError: a system, a data set or a run that a row starts from does not exist.
        ValueError: a setting is wrong, a data set lacks what a system needs, a run was begun with other settings, a
            variant that a row starts from is not among what it requires, or weights have other shapes than the model.
    """
    shapes = ShapeCheck()
    for planned in rows:
        known = {run_name(request): request for request in planned.required}
        for request in (*planned.required, *planned.requests):
            try:
                config = resolved(request)
                for name in required_runs(config):
                    needed = ExperimentRequest.from_run_name(name)
                    if needed.name and run_name(needed) not in known and not needed.run.finished:
                        raise ValueError(f"run:{name} is a variant that `requires:` does not list")
                for model in () if request.run.finished else model_requests(request):
                    shapes.check(run_name(model), resolved(model) if request.is_ensemble else config, known)
            except ValueError as error:
                raise ValueError(f"row {planned.row.name}: {error}") from error
            refuse_other_settings(request.run, config)


def reproduce(asked: TableRequest, train: Train, at_once: bool = False, hours: float | None = None) -> Outcome:
    """Trains what a table lacks, row by row, and writes the results of every row as soon as it is finished.

    Args:
        asked: the table, and where and how it is run.
        train: trains some runs, such as one after another.
        at_once: whether `train` is given the runs of all rows together, after what they start from, as on a cluster.
        hours: after which no row is begun, nor one that would probably end later; the rows with the shortest runs then
            come first. None for all rows in their order.

    Raises:
        FileNotFoundError: there is no such table, system or data set.
        ValueError: a row is not valid; see `check`.
    """
    rows = [planned for planned in plan(asked) if planned.requests]
    check(rows)
    failed = train_at_once(rows, train) if at_once else []
    end, left = math.inf if hours is None else time.monotonic() + 3600 * hours, list[PlannedRow]()
    if hours is not None:
        rows = Durations().in_order_of_cost(rows)
    for number, planned in enumerate(rows, start=1):
        print_on_rank_zero(
            f"{asked.name}, row {number} of {len(rows)}, {planned.row.name}: "
            f"{counted(len(planned.requests), 'run')}, {len(planned.finished)} finished"
        )
        if planned.missing and not (hours is None or _ends_before(end, planned)):
            left.append(planned)
        else:
            failed += [] if at_once else train_row(planned, train)
        write_row(asked, planned)
    return Outcome(write_claims(asked, rows), tuple(failed), tuple(left))


def _ends_before(end: float, planned: PlannedRow) -> bool:
    """Whether the missing runs of a row probably end before a time; of unknown ones, whether they begin before it."""
    return time.monotonic() + estimate([planned]).seconds < end


def train_row(planned: PlannedRow, train: Train) -> list[ExperimentRequest]:
    """Trains the missing runs of a row, after what they start from; returns the runs that did not finish."""
    if not planned.missing:
        return []
    for request in planned.required:
        if not request.run.finished and train([request]):
            return [request]
    return train(planned.missing)


def train_at_once(rows: Sequence[PlannedRow], train: Train) -> list[ExperimentRequest]:
    """Trains the missing runs of all rows, after what they start from; returns the runs that did not finish."""
    variants = [request for planned in rows for request in planned.required]
    return train_in_order(steps([request for planned in rows for request in planned.missing], variants), train)


def write_row(asked: TableRequest, planned: PlannedRow) -> None:
    """Writes the results of a row if any of its runs is finished."""
    if planned.finished:
        tables = read_tables(planned)
        write_result(results_folder(asked, planned), collect(asked, planned, tables), tables, planned.is_rendered)


def write_claims(asked: TableRequest, rows: Sequence[PlannedRow]) -> Path:
    """Judges the claims of a table from its finished runs and from kept predictions; returns the results' folder."""
    folder = results_folder(asked, rows[0] if rows else None)
    by_name = {planned.row.name: planned for planned in rows}

    @cache  # a row may stand in several claims
    def predictions(name: str) -> PredictionTable | None:
        planned = by_name.get(name)
        if planned and planned.finished:
            return PredictionTable.concat(read_tables(planned))
        return read_predictions(folder, name)

    verdicts = judge(asked.read(), predictions)
    if verdicts:
        write_verdicts(folder, verdicts)
    return folder
