"""What a table's rows train: the runs of each row, and the runs whose weights they start from."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from fer_lightning.experiments.datasets import build_dataset
from fer_lightning.experiments.request import ExperimentRequest, data_class, same_people
from fer_lightning.experiments.system import Size, default_size, system_layers
from fer_lightning.paths import RUN
from fer_lightning.runs.folder import RunFolder
from fer_lightning.tables.table import PaperTable, Required, Row, group_of, known_tables, read_table, table_names

STILLS = "synthetic_stills"
"""The rendered data set that stands for the still images of other data sets."""
Run = TypeVar("Run")
TESTED_FOLD = "1"
"""The fold of a data set that models of others are tested on."""


@dataclass(frozen=True)
class TableRequest:
    """A request to reproduce a table.

    Args:
        name: the table's name, or the path of a file.
        data: name of a data set in the place of the rows' own.
        size: `small` or `paper`; None for the data set's own.
        seeds: the seeds of every row.
        folds: the folds of every row; empty for all of the protocol's, or the first one on rendered data.
        rows: the names of the rows to train; empty for all.
        watch: whether the reported split is evaluated after each epoch too, for what papers report.
        ablation: the table itself where it is an ablation; its runs are labelled with its name.
    """

    name: str
    data: str | None = None
    size: Size | None = None
    seeds: tuple[int, ...] = (0,)
    folds: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()
    watch: bool = True
    ablation: PaperTable | None = None

    def read(self) -> PaperTable:
        """Reads the table.

        Raises:
            FileNotFoundError: there is no such table.
            ValueError: the file is not a table, or has no row of a requested name.
        """
        table = self.ablation or read_table(self.name)
        for name in self.rows:
            table.row(name)
        return table


@dataclass(frozen=True)
class PlannedRow:
    """A row with its runs.

    Args:
        row: the row.
        data: name of the data set that it is run on.
        size: the size that it is run at.
        requests: its runs, one for each seed and fold; empty if nothing is trained for it.
        required: the runs whose weights they start from and that are variants, in the order in which they are trained.
    """

    row: Row
    data: str
    size: Size
    requests: tuple[ExperimentRequest, ...]
    required: tuple[ExperimentRequest, ...]

    @property
    def untrained(self) -> tuple[ExperimentRequest, ...]:
        """The runs that are not trained, and ensembles of which a member was trained again since then."""
        trained = self.trained
        return tuple(request for request in self.requests if request not in trained)

    @property
    def trained(self) -> tuple[ExperimentRequest, ...]:
        """The runs that are finished, ensembles with their members as they are now."""
        from fer_lightning.ensemble.training import is_current  # takes seconds; names are checked without it

        return tuple(filter(is_current, self.requests))

    @property
    def finished(self) -> tuple[ExperimentRequest, ...]:
        """The runs that are finished and, where the row has another data set for that, tested on it."""
        return tuple(request for request in self.trained if self.tested(request).finished)

    def tested(self, request: ExperimentRequest) -> RunFolder:
        """Returns the folder of a run's predictions that the row reports: the run's own, or those on other data."""
        other = self.row.tested_on
        return request.run.tested_on(other, self.tested_fold(request)) if other else request.run

    def tested_fold(self, request: ExperimentRequest) -> str:
        """Returns the fold on which a run's model is tested: its own, unless that is of data of other people."""
        other = self.row.tested_on
        return request.fold if other is None or same_people(self.data, other) else TESTED_FOLD

    @property
    def reported(self) -> tuple[ExperimentRequest, ...]:
        """The finished runs of the seeds of which most folds are finished, the same folds of each; see `same_folds`."""
        return same_folds(places_of(self.finished))

    @property
    def is_rendered(self) -> bool:
        """Whether the row's clips are of rendered faces."""
        return is_rendered(self.row.tested_on or self.data)


def same_folds(finished: Mapping[Run, tuple[str, str]]) -> tuple[Run, ...]:
    """Returns the runs of the seeds of which most folds are finished, the same folds of each.

    A seed of which folds are missing would be compared with others on other clips.

    Args:
        finished: finished runs of one experiment -> the fold and the seed of each.
    """
    folds: dict[str, list[str]] = {}
    for fold, seed in finished.values():
        folds.setdefault(seed, []).append(fold)
    most = max(folds.values(), key=len, default=[])
    return tuple(run for run, (_, seed) in finished.items() if folds[seed] == most)


def places_of(requests: Sequence[ExperimentRequest]) -> dict[ExperimentRequest, tuple[str, str]]:
    """Returns the fold and the seed of each request."""
    return {each: (each.fold, str(each.seed)) for each in requests}


def is_rendered(data: str) -> bool:
    """Whether the people of a data set are rendered.

    Raises:
        FileNotFoundError: no data set has that name.
    """
    return data_class(data).is_rendered


def plan(request: TableRequest) -> list[PlannedRow]:
    """Returns the rows of a table with their runs, in the table's order; rows that were not asked for have none.

    Neither have rows that another data set makes the same as an earlier row, nor on another data set those that are
    tested on one of their own.

    Raises:
        FileNotFoundError: there is no such table, system or data set.
        ValueError: the file is not a table.
    """
    table = request.read()
    rows: list[PlannedRow] = []
    for row in table.rows:
        planned = _planned(table, row, request)
        if request.data and any(planned.requests and planned.requests == other.requests for other in rows):
            planned = replace(planned, requests=(), required=())
        rows.append(planned)
    return rows


def _planned(table: PaperTable, row: Row, asked: TableRequest) -> PlannedRow:
    data = row_data(table, row, asked.data)
    is_elsewhere = bool(asked.data and row.tested_on)
    if not row.system or table.kind != "results" or (asked.rows and row.name not in asked.rows) or is_elsewhere:
        return PlannedRow(row, data, asked.size or "paper", (), ())
    size = row_size(row, row.tested_on or data, asked.size)
    if not row.runs_at(size):
        return PlannedRow(row, data, size, (), ())
    folds = asked.folds or protocol_folds(data)
    if row.tested_on and not same_people(data, row.tested_on):
        folds = folds[:1]  # the same clips would be counted again for each
    requests = tuple(
        _labelled(row_request(row, data, size, fold, seed), asked) for seed in asked.seeds for fold in folds
    )
    return PlannedRow(row, data, size, requests, tuple(_required(row, data, size, requests)))


def _labelled(request: ExperimentRequest, asked: TableRequest) -> ExperimentRequest:
    """Returns a request whose run has the table's group in Weights & Biases, and watches the reported split or not."""
    watching = () if asked.watch or request.is_ensemble else ("--data.watch_test", "false")
    labelled = replace(request, group=Path(asked.name).stem, arguments=(*request.arguments, *watching))
    return replace(labelled, job_type="ablation") if asked.ablation else labelled


def row_data(table: PaperTable, row: Row, asked: str | None = None) -> str:
    """Returns the name of the data set that a row is run on.

    Args:
        table: the row's table.
        row: the row.
        asked: a data set in the place of the row's own; rows about still images take rendered stills if it is rendered.
    """
    own = row.data or table.data
    if asked and is_rendered(asked) and not data_class(own).provides:
        return STILLS
    return asked or own


def row_size(row: Row, data: str, asked: Size | None = None) -> Size:
    """Returns the size at which a row's system is run on a data set, if none is asked for the experiment's own."""
    return asked or (default_size(system_layers(row.system, data, "paper")) if row.system else "paper")


def row_request(row: Row, data: str, size: Size, fold: str, seed: int) -> ExperimentRequest:
    """Returns the request for one run of a row."""
    arguments = _arguments(row.arguments_at(size), data)
    name = row.variant or (row.name if arguments else "")
    return ExperimentRequest(f"{row.system}_{data}", None, size, fold, seed, name, arguments)


def _arguments(arguments: tuple[str, ...], data: str) -> tuple[str, ...]:
    """Returns arguments in which a row on rendered faces starts from runs on rendered stills, not on real ones."""
    return tuple(_rendered(argument, data) if is_rendered(data) else argument for argument in arguments)


def _rendered(argument: str, data: str) -> str:
    """Returns an argument in which a run on real data is one on rendered stills, or on `data` if it is of videos."""
    if not argument.startswith(RUN):
        return argument
    named = ExperimentRequest.from_run_name(argument.removeprefix(RUN))
    if is_rendered(named.dataset):
        return argument
    rendered = data if data_class(named.dataset).provides else STILLS
    return RUN + ".".join(part for part in (f"{named.system}_{rendered}", named.name) if part)


def _required(row: Row, data: str, size: Size, requests: tuple[ExperimentRequest, ...]) -> Iterator[ExperimentRequest]:
    """Yields the variants whose weights a row's runs start from, with seeds, and their folds of the same people."""
    named = list(_named(row.arguments_at(size)))
    wanted: list[tuple[ExperimentRequest, Required]] = []
    for each in reversed(row.requires):
        for request in named:
            if (request.experiment, request.name) == (each.experiment, each.name):
                wanted.append((request, each))
                named += _named(each.arguments)
                break
    for request, each in reversed(wanted):
        (run,) = _arguments((RUN + run_name(request),), data)
        request = ExperimentRequest.from_run_name(run.removeprefix(RUN))
        arguments = _arguments(each.arguments, data)
        same = same_people(request.dataset, data)
        folds = {(each.fold if same else "1", each.seed): None for each in requests}
        for fold, seed in folds:
            yield replace(request, fold=fold, seed=seed, arguments=arguments)


def _named(arguments: tuple[str, ...]) -> Iterator[ExperimentRequest]:
    """Yields the runs that some arguments name."""
    for argument in arguments:
        if argument.startswith(RUN):
            yield ExperimentRequest.from_run_name(argument.removeprefix(RUN))


def run_name(request: ExperimentRequest) -> str:
    """Returns the name by which settings refer to a run, without fold and seed."""
    return request.run.path.parent.name


def protocol_folds(data: str) -> tuple[str, ...]:
    """Returns the folds of a data set's protocol; of rendered data the first one, whose folds are all alike."""
    return ("1",) if is_rendered(data) else build_dataset(data).fold_names


def tables_asked(name: str) -> list[str]:
    """Returns the names of the tables that a name stands for: `all` of the papers, those of one such as `ceflnet`,
    every `leaderboard`, or one table.

    Raises:
        FileNotFoundError: there is no such table; the message suggests similar ones.
    """
    found = table_names() if name == "all" else [each for each in known_tables() if group_of(each) == name]
    if not found:
        read_table(name)
    return found or [name]
