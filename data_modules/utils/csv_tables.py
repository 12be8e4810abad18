"""Tables as CSV: UTF-8, a header, lines that end in a line feed."""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from data_modules.utils.cells import cell
from data_modules.utils.files import atomic_write


def csv_bytes(columns: Sequence[str], rows: Iterable[Iterable[object]], protect: bool = True) -> bytes:
    """A table as the content of a CSV file.

    Args:
        columns: the header.
        rows: their values in the order of the columns; numbers are written so that they are read back as the same.
        protect: whether text that a spreadsheet would compute gets an apostrophe (`cells.cell`), for tables that
            people open. Who reads such a table takes it off (`cells.text_of`); tables that only programs read, such as
            manifests, have their text as it is.

    Raises:
        ValueError: a row has another number of values than there are columns.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    for row in (columns, *rows):
        values = [cell(value) if protect and isinstance(value, str) else value for value in row]
        if len(values) != len(columns):
            raise ValueError(f"a row of {len(values)} values, {values}; expected one for each of {list(columns)}")
        table.writerow(values)
    return text.getvalue().encode()


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Iterable[object]], protect: bool = True) -> None:
    """Writes a table as a CSV file, whole or not at all; see `csv_bytes`.

    Raises:
        NotWritableError: the folder takes no more files.
        ValueError: a row has another number of values than there are columns.
    """
    atomic_write(path, csv_bytes(columns, rows, protect))
