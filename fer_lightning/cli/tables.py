"""`fer tables`: lists the papers' tables with their state, or prints one with the results that are there."""

import argparse

from rich.console import Console
from rich.table import Table

from fer_lightning.cli.reproduce import add_table_arguments, print_table, table_request
from fer_lightning.tables.files import read_stored, write_text
from fer_lightning.tables.page import write_page
from fer_lightning.tables.plan import TableRequest
from fer_lightning.tables.table import table_names


def main(arguments: list[str]) -> None:
    """Lists all tables, or prints one and writes it as Markdown, CSV and LaTeX.

    Raises:
        FileNotFoundError: there is no such table.
        ValueError: a file is damaged.
    """
    parser = argparse.ArgumentParser(
        "fer tables",
        description="List the papers' tables: how many rows they have, how many have results, what is missing. With a "
        "name, print that table with the results that are there, and write it again.",
    )
    parser.add_argument("table", nargs="?", help="such as ceflnet_6")
    add_table_arguments(parser)
    options = parser.parse_args(arguments[1:])
    if options.table is None:
        Console(width=max(120, Console().width)).print(list_of_tables(options.data or None, options.size))
        return
    stored = read_stored(table_request(options.table, options))
    print_table(stored)
    if stored.results:
        print("written: " + ", ".join(map(str, (*write_text(stored), write_page(stored)))))
    else:
        print(f"no results yet: fer reproduce {options.table}")


def list_of_tables(data: str | None, size: str | None) -> Table:
    """Returns a list of all tables with their state on a data set and at a size."""
    table = Table(title="the papers' tables" + (f" on {data}" if data else ""))
    for column in ("name", "title", "data", "rows", "to run", "with results", "cannot be run"):
        table.add_column(column)
    for name in table_names():
        stored = read_stored(TableRequest(name, data, size))  # type: ignore[arg-type]
        rows = stored.table.rows
        own = [row for row in rows if row.system and not row.missing and stored.table.kind == "results"]
        lacking = [row.name for row in rows if row.missing]
        table.add_row(
            name,
            stored.table.title,
            data or stored.table.data,
            str(len(rows)),
            str(len(own)),
            str(len(stored.results)),
            ", ".join(lacking),
        )
    return table
