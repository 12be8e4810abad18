"""`fer tables`: lists the papers' tables with their state, or prints one with the results that are there."""

from functools import cache

from rich.console import Console
from rich.table import Table

from fer_lightning.cli.parsing import CommandParser, with_choices
from fer_lightning.cli.reproduce import add_table_arguments, print_table, table_request
from fer_lightning.experiments.datasets import build_dataset
from fer_lightning.experiments.system import data_file, data_names
from fer_lightning.tables.leaderboard import LEADERBOARD, leaderboard_names
from fer_lightning.tables.plan import TableRequest, is_rendered, row_data, row_size
from fer_lightning.tables.table import known_tables, read_table, table_names


def make_parser() -> CommandParser:
    """Returns the parser of the command."""
    parser = CommandParser(
        "fer tables",
        description="List the papers' tables: how many rows they have, how many have results, what is missing. With a "
        "name, print that table with the results that are there, and write it again.",
    )
    with_choices(parser.add_argument("table", nargs="?", help="such as ceflnet_6"), known_tables)
    parser.add_argument("--write", action="store_true", help="make the tables in the read-mes anew from the results")
    parser.add_argument("--check", action="store_true", help="check that read-mes and results are current")
    add_table_arguments(parser)
    return parser


def main(arguments: list[str]) -> int:
    """Lists all tables, or prints one and writes it in every form; returns 1 if `--check` finds something outdated.

    Raises:
        FileNotFoundError: there is no such table.
        ValueError: a file is damaged.
    """
    options = make_parser().parse(arguments[1:])
    if options.table is not None:
        read_table(options.table)
    if options.data:
        data_file(options.data)

    # what follows takes seconds to import, so names are checked before
    from fer_lightning.tables.files import read_stored, write_text
    from fer_lightning.tables.page import write_page
    from fer_lightning.tables.readme import outdated, write_readmes

    if options.write:
        print(*(f"{path} is written" for path in write_readmes()), sep="\n")
    if options.check:
        found = list(outdated())
        print(*found, sep="\n")
        return 1 if found else 0
    if options.table is None:
        if not options.write:
            Console(width=max(120, Console().width)).print(list_of_tables(options.data or None, options.size))
        return 0
    stored = read_stored(table_request(options.table, options))
    print_table(stored)
    if stored.has_values:
        print("written: " + ", ".join(map(str, (*write_text(stored), write_page(stored)))))
    else:
        print(f"no results yet: fer reproduce {options.table}")
    return 0


def list_of_tables(data: str | None, size: str | None) -> Table:
    """Returns a list of all tables with their state on a data set and at a size."""
    from fer_lightning.tables.files import read_stored

    caption = f"and {LEADERBOARD}_<data>, all systems on any of {len(data_names())} data sets"
    table = Table(title="the papers' tables" + (f" on {data}" if data else ""), caption=caption)
    for column in ("name", "title", "data", "rows", "to run", "with results", "cannot be run"):
        table.add_column(column)
    state = cache(_with_state)
    for name in [*table_names(), *leaderboards_with_results()]:
        asked = TableRequest(name, data, size)  # type: ignore[arg-type]
        stored = read_stored(asked)
        rows = stored.table.rows
        systems = [row for row in rows if row.system]
        reported = {row.name: row.tested_on or row_data(stored.table, row, data) for row in systems}
        possible = [row for row in systems if row.runs_at(row_size(row, reported[row.name], asked.size))]
        own = possible if stored.table.kind == "results" else []
        lacking = [row.name for row in rows if row.missing and row not in possible]
        table.add_row(
            name,
            stored.table.title,
            state(data or stored.table.data),
            str(len(rows)),
            str(len(own)),
            str(len(stored.results)),
            ", ".join(lacking),
        )
    return table


def leaderboards_with_results() -> list[str]:
    """Lists the leaderboards of which any row has results."""
    from fer_lightning.tables.results import table_folders

    found = {folder.name.split(".")[0] for folder in table_folders()}
    return [name for name in leaderboard_names() if name in found]


def _with_state(data: str) -> str:
    """Returns the name of a data set, and whether it is missing on this machine; rendered ones are made when needed."""
    is_here = is_rendered(data) or build_dataset(data).folder.exists()
    return data if is_here else f"{data} (not here)"
