"""Tables of numbers by frame that somebody else wrote, read with suspicion: every fault is named by file and line."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn, TextIO

import numpy as np
from numpy.typing import NDArray

MAX_ROWS = 1_000_000


class NumberTable:
    """The rows of a table with a header, of one frame each; columns are asked for by name.

    Args:
        path: of the table, for messages.
        file: the opened table.
    """

    def __init__(self, path: Path, file: TextIO) -> None:
        self.path, self._table = path, csv.reader(file)
        try:
            self.names = [name.strip() for name in next(self._table, [])]  # OpenFace puts blanks before them
        except (csv.Error, UnicodeDecodeError) as error:
            self.fault(error, "a header and rows of numbers")
        self._place = {name: place for place, name in enumerate(self.names)}

    def have(self, names: Sequence[str]) -> bool:
        """Whether all of these columns are there."""
        return self._place.keys() >= set(names)

    def places(self, names: Sequence[str]) -> list[int]:
        """Where these columns are."""
        return [self._place[name] for name in names]

    def fault(self, found: object, expected: str) -> NoReturn:
        """Raises the error that names the row being read."""
        raise ValueError(f"{self.path}, line {self._table.line_num}: found {str(found)[:120]}; expected {expected}")

    def __iter__(self) -> Iterator[list[str]]:
        try:
            for number, row in enumerate(self._table):
                if number >= MAX_ROWS:
                    self.fault("more rows", f"at most {MAX_ROWS} for one clip")
                if row and len(row) != len(self.names):
                    self.fault(f"{len(row)} fields", f"{len(self.names)}, as the header has")
                if row:
                    yield row
        except (csv.Error, UnicodeDecodeError) as error:
            self.fault(error, "rows of numbers")

    def numbers(self, row: Sequence[str], places: Sequence[int]) -> NDArray[np.float32]:
        """(K,) finite numbers."""
        fields = [row[place] for place in places]
        try:
            values = np.array(fields, dtype=np.float32)
        except ValueError as error:
            self.fault(error, "a number")
        if not np.isfinite(values).all():
            bad = int(np.flatnonzero(~np.isfinite(values))[0])
            self.fault(f"{fields[bad]!r} as {self.names[places[bad]]}", "a finite number")
        return values

    def frame(self, row: Sequence[str], first: int) -> int:
        """The frame's number from 0; `first` is the table's own number of the first frame."""
        text = row[self._place["frame"]].strip()
        number = int(text) - first if text.isascii() and text.isdecimal() else -1
        if number < 0:
            self.fault(f"frame {text!r}", f"a number from {first} on")
        return number
