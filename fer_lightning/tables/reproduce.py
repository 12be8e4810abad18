"""Makes a table: trains the runs that are missing, and leaves the results of each row that has any."""

import math
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from data_modules.utils.text import counted
from fer_lightning.ensemble.experiment import model_requests
from fer_lightning.ensemble.order import Train, steps, train_in_order
from fer_lightning.ensemble.training import resolved
from fer_lightning.evaluation.metrics import scores
from fer_lightning.evaluation.predictions import PredictionTable
from fer_lightning.experiments.datasets import build_dataset
from fer_lightning.experiments.request import ExperimentRequest, required_runs
from fer_lightning.experiments.resume import print_on_rank_zero, refuse_other_settings
from fer_lightning.experiments.shapes import ShapeCheck
from fer_lightning.tables.collect import collect, read_tables
from fer_lightning.tables.estimate import Durations, estimate
from fer_lightning.tables.plan import PlannedRow, TableRequest, plan, run_name
from fer_lightning.tables.results import RowResult, read_predictions, read_result, results_folder, write_result
from fer_lightning.tables.verdicts import Verdict, judge, read_verdicts, write_verdicts


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
        if planned.row.tested_on:
            refuse_untestable(planned)


def refuse_untestable(planned: PlannedRow) -> None:
    """Refuses a row whose models cannot be tested on its other data set, before they are trained.

    Raises:
        ValueError: they are ensembles, or have fewer than two classes in common with the data set.
    """
    name = planned.row.tested_on
    assert name is not None
    if any(request.is_ensemble for request in planned.requests):
        raise ValueError(f"row {planned.row.name}: ensembles are not tested on other data; expected a model")
    own, other = (frozenset(build_dataset(each).class_names) for each in (planned.data, name))
    if len(own & other) < 2:
        raise ValueError(f"row {planned.row.name}: {planned.data} and {name} have fewer than two classes in common")


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
    possible = [planned for planned in rows if _can_be_tested(planned)]
    failed = [each for planned in rows if planned not in possible for each in planned.requests]
    failed += train_at_once(possible, train) if at_once else []
    end, left = math.inf if hours is None else time.monotonic() + 3600 * hours, list[PlannedRow]()
    if hours is not None:
        rows = Durations().in_order_of_cost(rows)
    for number, planned in enumerate(rows, start=1):
        print_on_rank_zero(
            f"{asked.name}, row {number} of {len(rows)}, {planned.row.name}: "
            f"{counted(len(planned.requests), 'run')}, {len(planned.finished)} finished"
        )
        if planned.untrained and not (hours is None or _ends_before(end, planned)):
            left.append(planned)
        elif planned in possible:
            failed += [] if at_once else train_row(planned, train)
            failed += evaluate_row(planned)
        write_row(asked, planned)
    folder = results_folder(asked, rows[0] if rows else None)
    write_claims(asked, folder)
    return Outcome(folder, tuple(failed), tuple(left))


def _ends_before(end: float, planned: PlannedRow) -> bool:
    """Whether the missing runs of a row probably end before a time; of unknown ones, whether they begin before it."""
    return time.monotonic() + estimate([planned]).seconds < end


def train_row(planned: PlannedRow, train: Train) -> list[ExperimentRequest]:
    """Trains the missing runs of a row, after what they start from; returns the runs that did not finish."""
    if not planned.untrained:
        return []
    for request in planned.required:
        if not request.run.finished and train([request]):
            return [request]
    return train(planned.untrained)


def _can_be_tested(planned: PlannedRow) -> bool:
    """Whether the data set that a row is tested on is on this machine; says now what it lacks, not after training."""
    if not planned.row.tested_on or len(planned.finished) == len(planned.requests):
        return True
    try:
        dataset = build_dataset(planned.row.tested_on)
        dataset.prepare()
        return bool(dataset.records())
    except (FileNotFoundError, ValueError) as error:
        print_on_rank_zero(f"row {planned.row.name} is not run: {error}")
        return False


def evaluate_row(planned: PlannedRow) -> list[ExperimentRequest]:
    """Tests the trained models of a row on its other data set, if it has one; returns the runs that this failed for."""
    failed = []
    for request in planned.trained:
        folder = planned.tested(request)
        if planned.row.tested_on and not folder.finished:
            print_on_rank_zero(f"{request.run.path} is tested on {planned.row.tested_on}")
            own = ("--checkpoint", str(request.run.path), "--out", f"{folder.path}.csv")
            other = ("--data", planned.row.tested_on, "--fold", planned.tested_fold(request))
            command = [sys.executable, "-m", "fer_lightning", "test", *own, *other]
            failed += [request] if subprocess.run(command, check=False).returncode else []
    return failed


def train_at_once(rows: Sequence[PlannedRow], train: Train) -> list[ExperimentRequest]:
    """Trains the missing runs of all rows, after what they start from; returns the runs that did not finish."""
    variants = [request for planned in rows for request in planned.required]
    failed = train_in_order(steps([request for planned in rows for request in planned.untrained], variants), train)
    missing = [each for planned in rows for each in planned.untrained]
    again = [each for each in missing if each.run.finished and each not in failed]  # of members trained just now
    return failed + train_in_order(steps(again), train)


def write_row(asked: TableRequest, planned: PlannedRow) -> None:
    """Writes the results of a row if any of its runs is finished."""
    if planned.finished:
        tables = read_tables(planned)
        write_result(results_folder(asked, planned), collect(asked, planned, tables), tables, planned.is_rendered)


def write_claims(asked: TableRequest, folder: Path) -> None:
    """Judges the claims of a table over all rows with results, also those that were not asked for.

    A row's predictions are those of the runs that its results are of. Where they are not here, a verdict of before
    stays if it is of the results of both rows.

    Args:
        asked: the table, and where and how it is run.
        folder: of its results.

    Raises:
        ValueError: a file is damaged.
    """
    if not folder.is_dir():
        return

    @cache  # a row may stand in several claims
    def result(name: str) -> RowResult | None:
        return read_result(folder, name)

    @cache
    def predictions(name: str) -> PredictionTable | None:
        known = result(name)
        return None if known is None else _predictions(asked, folder, known)

    before = [each for each in read_verdicts(folder) if _is_of(each, result(each.row), result(each.over))]
    write_verdicts(folder, judge(asked.read(), predictions, before))


def _predictions(asked: TableRequest, folder: Path, result: RowResult) -> PredictionTable | None:
    """Returns the predictions that a row's results are of, from its runs or as they were kept; None if there are none.

    Runs of the same name may be others: trained since then, or on another machine.
    """
    rows = plan(replace(asked, seeds=result.seeds, folds=result.folds, rows=(result.row,)))
    (planned,) = (each for each in rows if each.row.name == result.row)
    runs = PredictionTable.concat(read_tables(planned)) if planned.reported else None
    confusion = np.sum([run.confusion for run in result.runs], axis=0)
    for table in (runs, read_predictions(folder, result.row)):
        if table is not None and np.array_equal(scores(table).confusion, confusion):
            return table
    return None


def _is_of(verdict: Verdict, first: RowResult | None, second: RowResult | None) -> bool:
    """Whether a verdict is of its rows' results: of their seeds and clips, with the difference of their values."""
    if first is None or second is None:
        return False
    values = [dict(zip(each.seeds, each.by_seed(verdict.column), strict=False)) for each in (first, second)]
    seeds = values[0].keys() & values[1].keys()
    differences = [values[0][seed] - values[1][seed] for seed in seeds]
    return (
        verdict.seeds == len(seeds)
        and verdict.clips == first.clips == second.clips
        and math.isclose(verdict.difference, statistics.fmean(differences), abs_tol=1e-9)
    )
