"""Reads tables of numbers per frame from other tools, which are not trusted: each error names file and line."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn, TextIO

import numpy as np
from numpy.typing import NDArray

MAX_ROWS = 1_000_000


class NumberTable:
    """Iterates over the rows of a table with a header and one row per frame; columns are accessed by name.

    Args:
        path: path of the table, for messages.
        file: the opened table.
    """

    def __init__(self, path: Path, file: TextIO) -> None:
        self.path, self._table = path, csv.reader(file)
        try:
            self.names = [name.strip() for name in next(self._table, [])]  # OpenFace writes spaces before them
        except (csv.Error, UnicodeDecodeError) as error:
            self.error(error, "a header and rows of numbers")
        self._index = {name: index for index, name in enumerate(self.names)}

    def has_columns(self, names: Sequence[str]) -> bool:
        """Returns whether the table has all of these columns."""
        return self._index.keys() >= set(names)

    def column_indices(self, names: Sequence[str]) -> list[int]:
        """Returns the indices of these columns."""
        return [self._index[name] for name in names]

    def error(self, found: object, expected: str) -> NoReturn:
        """Raises a ValueError that names the file and the current line."""
        raise ValueError(f"{self.path}, line {self._table.line_num}: found {str(found)[:120]}; expected {expected}")

    def __iter__(self) -> Iterator[list[str]]:
        try:
            for number, row in enumerate(self._table):
                if number >= MAX_ROWS:
                    self.error("more rows", f"at most {MAX_ROWS} for one clip")
                if row and len(row) != len(self.names):
                    self.error(f"{len(row)} fields", f"{len(self.names)}, as the header has")
                if row:
                    yield row
        except (csv.Error, UnicodeDecodeError) as error:
            self.error(error, "rows of numbers")

    def numbers(self, row: Sequence[str], columns: Sequence[int]) -> NDArray[np.float32]:
        """Returns the (K,) numbers in these columns, which must be finite."""
        fields = [row[column] for column in columns]
        try:
            values = np.array(fields, dtype=np.float32)
        except ValueError as error:
            self.error(error, "a number")
        if not np.isfinite(values).all():
            bad = int(np.flatnonzero(~np.isfinite(values))[0])
            self.error(f"{fields[bad]!r} as {self.names[columns[bad]]}", "a finite number")
        return values

    def frame(self, row: Sequence[str], first: int) -> int:
        """Returns the frame number, counted from 0; `first` is the table's number of the first frame."""
        text = row[self._index["frame"]].strip()
        number = int(text) - first if text.isascii() and text.isdecimal() else -1
        if number < 0:
            self.error(f"frame {text!r}", f"a whole number of at least {first}")
        return number
