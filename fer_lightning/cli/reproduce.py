"""`fer reproduce`: trains what a paper's table lacks, and writes the table with published values and ours."""

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from data_modules.utils.text import counted
from fer_lightning.cli.jobs import add_job_arguments, train_from_options
from fer_lightning.cli.parsing import CommandParser, refuse_root, with_choices
from fer_lightning.experiments.system import data_file, data_names
from fer_lightning.tables.leaderboard import LEADERBOARD
from fer_lightning.tables.plan import PlannedRow, TableRequest, plan, tables_asked
from fer_lightning.tables.table import known_tables

if TYPE_CHECKING:
    from fer_lightning.ensemble.order import Train
    from fer_lightning.tables.files import StoredTable

FRAME = 3
"""Characters around a cell of a printed table."""
LABEL = 24
"""Characters of a row's label before it is wrapped, where a table is too wide."""


def make_parser() -> CommandParser:
    """Returns the parser of the command."""
    parser = CommandParser(
        "fer reproduce",
        description="Train what a paper's table lacks (all rows, folds and seeds, after what they start from), and "
        "write the table with published values, ours, and what its claims come to. What is finished is skipped, what "
        "was stopped is resumed. One run at a time, or one for each GPU; or several at once, here or on a cluster.",
    )
    table = parser.add_argument(
        "table", help="such as ceflnet_6 or leaderboard_dfew; ceflnet for all of a paper's tables; all; or a YAML file"
    )
    with_choices(table, lambda: [*known_tables(), "all", LEADERBOARD])
    add_table_arguments(parser)
    parser.add_argument("--rows", nargs="+", default=[], help="names of rows to train (default: all)")
    parser.add_argument(
        "--best-on-test",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="evaluate the reported split after each epoch too, and show what the last epoch and the best one on the "
        "reported split give, as papers report it; the epoch is still chosen on the inner split. Without it, an epoch "
        "takes a forward pass over the reported split less (default: with it)",
    )
    parser.add_argument(
        "--hours",
        type=float,
        help="begin no row that would probably end later, take the rows with the shortest runs first, and print what "
        "is left with its estimated time; the same command goes on with it. Several tables share the hours (default: "
        "all rows in their order)",
    )
    parser.add_argument("--dry-run", action="store_true", help="check every row, print what would be trained, and stop")
    add_job_arguments(parser)
    return parser


def main(arguments: list[str]) -> int:
    """Trains, collects and writes one or more tables; returns 1 if a run did not finish.

    Raises:
        FileNotFoundError: there is no such table, system or data set.
        ValueError: a row is not valid.
    """
    options = make_parser().parse(arguments[1:])
    names = tables_asked(options.table)
    requests = [
        replace(table_request(name, options, tuple(options.rows)), watch=options.best_on_test) for name in names
    ]
    for asked in requests:
        asked.read()  # refuses names of rows that do not exist
    train = train_from_options(options)
    if train and options.hours is not None:
        raise ValueError(
            "--hours is for rows one after another, without --at-once; a cluster has --job-options timeout_min=M"
        )

    # what follows takes seconds to import, so names are checked before
    from fer_lightning.tables.reproduce import check

    status, start = 0, time.monotonic()
    for name, asked in zip(names, requests, strict=True):
        if options.dry_run:
            rows = plan(asked)
            check([planned for planned in rows if planned.requests])
            print_plan(name, rows)
        else:
            spent = (time.monotonic() - start) / 3600
            status = max(status, make(asked, train, None if options.hours is None else options.hours - spent))
    return status


def add_table_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments that say where and how a table is run."""
    data = parser.add_argument(
        "--data", help="a data set in the place of the table's own (`fer experiments` lists them)"
    )
    with_choices(data, data_names)
    refuse_root(parser)
    parser.add_argument("--size", choices=("small", "paper"), help="small crops and backbones, or those of the paper")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="seeds of every row (default: 0)")
    parser.add_argument("--folds", nargs="+", default=[], help="folds (default: the protocol's; 1 on rendered data)")


def table_request(name: str, options: argparse.Namespace, rows: tuple[str, ...] = ()) -> TableRequest:
    """Returns the request for a table with the arguments of `add_table_arguments`.

    Raises:
        FileNotFoundError: there is no data set of that name.
    """
    if options.data:
        data_file(options.data)
    return TableRequest(name, options.data or None, options.size, tuple(options.seeds), tuple(options.folds), rows)


def make(asked: TableRequest, train: "Train | None" = None, hours: float | None = None) -> int:
    """Makes a table and prints it; returns 1 if a run did not finish.

    Args:
        asked: the table.
        train: trains the runs of all rows together, such as on a cluster; None for one row after another.
        hours: after which no row is begun; see `tables.reproduce.reproduce`.
    """
    from fer_lightning.experiments.jobs import train_all
    from fer_lightning.tables.files import read_stored, write_text
    from fer_lightning.tables.page import write_page
    from fer_lightning.tables.reproduce import reproduce
    from fer_lightning.tables.wandb_run import send_table

    outcome = reproduce(asked, train or train_all, train is not None, hours)
    for request in outcome.failed:
        print(f"{request.run.path} did not finish; see its messages above")
    stored = read_stored(asked, outcome.folder)
    if stored.has_values:
        print_table(stored)
        print("written: " + ", ".join(map(str, (*write_text(stored), write_page(stored)))))
        send_table(stored, plan(asked))
    if outcome.left:
        print_plan(asked.name, outcome.left)
    return 1 if outcome.failed else 0


def print_table(stored: "StoredTable") -> None:
    """Prints a table with its notes; where it is wider than the terminal, cells are wrapped, and no word is cut."""
    content, width = stored.grid(), max(120, Console().width)
    columns = [(name, *(row[number] for row in content.rows)) for number, name in enumerate(content.header)]
    needed = [max(map(len, " ".join(texts).split()), default=1) for texts in columns]
    too_wide = sum(max(map(len, texts)) + FRAME for texts in columns) + 1 > width
    table = Table(title=content.title)
    for number, texts in enumerate(columns):
        words = needed[number] if number else max(needed[0], LABEL)
        table.add_column(texts[0], justify="right" if number else "left", width=words if too_wide else None)
    for row in content.rows:
        table.add_row(*row)
    console = Console(width=max(width, sum(needed) + FRAME * len(needed) + LABEL))
    console.print(table)
    for note in content.notes:
        console.print(f"- {note}", markup=False, highlight=False)


def print_plan(name: str, rows: Sequence[PlannedRow]) -> None:
    """Prints what would be trained for the rows of a table, how long that may take, and what that is known from.

    Args:
        name: of the table.
        rows: its rows.
    """
    from fer_lightning.tables.estimate import Durations, estimate  # takes seconds to import

    table, durations = Table(title=name), Durations()
    for column in ("row", "experiment", "runs", "finished", "starts from variants", "time"):
        table.add_column(column)
    for planned in rows:
        if not planned.requests:
            reason = planned.row.missing or ("not asked for, or as another row" if planned.row.system else "constant")
            table.add_row(planned.row.name, reason, "", "", "", "")
            continue
        variants = sorted({request.run.path.parent.name for request in planned.required})
        time = estimate([planned], durations).written() if planned.untrained else ""
        experiment = planned.requests[0].run.path.parent.name
        table.add_row(
            planned.row.name,
            experiment,
            str(len(planned.requests)),
            str(len(planned.finished)),
            ", ".join(variants),
            time,
        )
    Console(width=max(120, Console().width)).print(table)
    missing, total = sum(len(planned.untrained) for planned in rows), estimate(rows, durations)
    print(f"{name}: {counted(missing, 'run')} missing, {total.written()} on one device, with what they start from")
    if untested := sum(len(planned.trained) - len(planned.finished) for planned in rows):
        print(f"{name}: {counted(untested, 'run')} trained and not tested on another data set yet")
    for reason in total.reasons():
        print(f"- {reason}")
