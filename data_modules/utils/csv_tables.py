"""Writes CSV tables: UTF-8, with a header and line feeds."""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from data_modules.utils.cells import cell
from data_modules.utils.files import atomic_write

ENDING = "\r\n"
"""What the writer ends its lines with, as it quotes cells that hold one of these characters, and no others: a carriage
return in a name would end the line for readers."""


def csv_bytes(columns: Sequence[str], rows: Iterable[Iterable[object]], protect: bool = True) -> bytes:
    """Returns a table as the content of a CSV file.

    Args:
        columns: the header.
        rows: values in the order of the columns; numbers are written with full precision.
        protect: whether text that looks like a formula gets an apostrophe (`cells.cell`), for tables that people open.
            Readers of such tables remove it with `cells.text_of`. Tables that only programs read, such as manifests,
            are not protected.

    Raises:
        ValueError: the number of values in a row differs from the number of columns.
    """
    text, line = io.StringIO(), io.StringIO()
    table = csv.writer(line, lineterminator=ENDING)
    for row in (columns, *rows):
        values = [cell(value) if protect and isinstance(value, str) else value for value in row]
        if len(values) != len(columns):
            raise ValueError(f"found a row of {len(values)} values, {values}; expected one for each of {list(columns)}")
        line.seek(0)
        line.truncate()
        table.writerow(values)
        text.write(line.getvalue().removesuffix(ENDING) + "\n")
    return text.getvalue().encode()


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Iterable[object]], protect: bool = True) -> None:
    """Writes a table as a CSV file atomically; see `csv_bytes`.

    Raises:
        NotWritableError: the folder cannot be written to.
        ValueError: the number of values in a row differs from the number of columns.
    """
    atomic_write(path, csv_bytes(columns, rows, protect))
