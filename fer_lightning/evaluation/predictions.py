"""The prediction table, with one row per clip of a split.

Ensembles, cross-validation, comparisons and reports read this table and the clips' outputs, and nothing else of a run.
"""

import csv
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_modules.utils.cells import text_of
from data_modules.utils.csv_tables import csv_bytes
from data_modules.utils.files import atomic_write
from data_modules.utils.paths import safe_relative

NONE = "none"
"""The predicted class of a clip without a prediction."""

LEADING_COLUMNS = ("clip_id", "subject", "group", "split", "fold", "seed", "emotion")
TRAILING_COLUMNS = ("coverage", "reason")
PREFIX = "p_"  # of the columns that hold probabilities
TOLERANCE = 1e-3  # for the sum of a row's probabilities
MAX_BYTES = 1 << 30  # of a table that is read, about four million clips


class RowError(ValueError):
    """An inconsistent row, or a row that contradicts an earlier one; `row` counts from 0."""

    def __init__(self, row: int, problem: str) -> None:
        super().__init__(problem)
        self.row = row


@dataclass(frozen=True, eq=False)
class PredictionTable:
    """Predictions with one row per clip and seed; several draws of a clip are already averaged.

    Raises:
        ValueError: columns differ in length, a clip occurs twice with one seed, an emotion is not in `class_names`,
            probabilities are not a distribution, or a clip has neither a prediction nor a reason.
    """

    class_names: tuple[str, ...]
    clip_id: NDArray[np.str_]  # (N,)
    subject: NDArray[np.str_]  # (N,) empty if unknown
    group: NDArray[np.str_]  # (N,) the film or recording from which a clip was cut; empty if unknown
    split: NDArray[np.str_]  # (N,) inner or test
    fold: NDArray[np.str_]  # (N,)
    seed: NDArray[np.int64]  # (N,)
    emotion: NDArray[np.str_]  # (N,) the true class
    probabilities: NDArray[np.float64]  # (N, C); rows of NaN where no prediction was possible
    coverage: NDArray[np.float64]  # (N,) share of the frames with a face
    reason: NDArray[np.str_]  # (N,) why there is no prediction; empty where there is one

    def __post_init__(self) -> None:
        object.__setattr__(self, "class_names", tuple(self.class_names))
        if NONE in self.class_names or len(set(self.class_names)) != len(self.class_names):
            raise ValueError(f"class names {self.class_names}: expected different names, none of them {NONE!r}")
        kinds: dict[str, Any] = {"seed": np.int64, "probabilities": np.float64, "coverage": np.float64}
        for column in fields(self)[1:]:
            values = np.asarray(getattr(self, column.name), dtype=kinds.get(column.name, np.str_))
            expected = (len(self), len(self.class_names)) if column.name == "probabilities" else (len(self),)
            if values.shape != expected:
                raise ValueError(f"column {column.name!r} has the shape {values.shape}, expected {expected}")
            object.__setattr__(self, column.name, values)
        for row, problem in self._problems():
            raise RowError(row, f"row {row + 1}, clip {str(self.clip_id[row])!r}: {problem}")

    def __len__(self) -> int:
        return len(self.clip_id)

    @property
    def missing(self) -> NDArray[np.bool_]:
        """(N,) true where no prediction was possible."""
        return np.asarray(np.isnan(self.probabilities).all(axis=1))

    @property
    def label(self) -> NDArray[np.int64]:
        """(N,) the true classes as indices into `class_names`."""
        position = {name: i for i, name in enumerate(self.class_names)}
        return np.array([position[name] for name in self.emotion.tolist()], dtype=np.int64)

    @property
    def choice(self) -> NDArray[np.int64]:
        """(N,) the predicted classes as indices into `class_names`; C where there is no prediction."""
        best = np.nan_to_num(self.probabilities, nan=-1.0).argmax(axis=1)
        return np.where(self.missing, len(self.class_names), best)

    @property
    def predicted(self) -> NDArray[np.str_]:
        """(N,) the names of the predicted classes, `none` where there is no prediction."""
        return np.array([*self.class_names, NONE])[self.choice]

    @property
    def correct(self) -> NDArray[np.bool_]:
        """(N,) whether the prediction is correct; false for a clip without a prediction."""
        return np.asarray(self.choice == self.label)

    def select(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> "PredictionTable":
        """Returns the table of some rows, given as a mask (N,) or as indices; rows keep that order."""
        return PredictionTable(self.class_names, **{c.name: getattr(self, c.name)[rows] for c in fields(self)[1:]})

    @classmethod
    def concat(cls, tables: Sequence["PredictionTable"]) -> "PredictionTable":
        """Pools the tables of folds or seeds.

        Raises:
            ValueError: there are no tables, their class lists differ, or two of them hold a clip with the same seed.
        """
        if not tables:
            raise ValueError("no prediction tables to pool")
        names = tables[0].class_names
        for table in tables[1:]:
            if table.class_names != names:
                raise ValueError(f"tables of different classes cannot be pooled: {names} and {table.class_names}")
        return cls(names, **{c.name: np.concatenate([getattr(t, c.name) for t in tables]) for c in fields(cls)[1:]})

    def _problems(self) -> Iterator[tuple[int, str]]:
        """Yields the inconsistent rows with a description of the problem."""
        class_names, sums, missing = set(self.class_names), self.probabilities.sum(axis=1), self.missing
        seen: dict[tuple[str, int], int] = {}
        for row, key in enumerate(zip(self.clip_id.tolist(), self.seed.tolist(), strict=True)):
            values = self.probabilities[row]
            first = seen.setdefault(key, row)
            if first != row:
                yield row, f"is already in row {first + 1} with seed {key[1]}; expected each clip once per seed"
            if not safe_relative(key[0]):
                yield row, "expected as clip id a relative path that stays inside its folder"
            if str(self.emotion[row]) not in class_names:
                yield row, f"emotion {str(self.emotion[row])!r} is not among {', '.join(self.class_names)}"
            if not 0.0 <= self.coverage[row] <= 1.0:
                yield row, f"coverage {self.coverage[row]} is not a share between 0 and 1"
            if missing[row] and not self.reason[row]:
                yield row, "has neither a prediction nor a reason why; has the model diverged to NaN?"
            if not missing[row] and not (abs(sums[row] - 1.0) <= TOLERANCE and values.min() >= 0.0):
                yield row, f"probabilities {values.tolist()} are neither a distribution (sum 1) nor all missing"

    def write(self, path: Path) -> None:
        """Writes the table atomically as CSV; reading it restores exactly the same numbers.

        Text that a spreadsheet would evaluate as a formula is written with an apostrophe before it, see `cells`. The
        number of rows is written to a small file beside the table, because a truncated CSV file looks complete.
        """
        rows_path(path).unlink(missing_ok=True)  # an earlier table's number must not be compared with this table
        atomic_write(path, self.to_csv())
        atomic_write(rows_path(path), f"{len(self)}\n".encode())

    def to_csv(self) -> bytes:
        """Returns the content of the file that `write` writes."""
        leading = zip(*(getattr(self, name).tolist() for name in LEADING_COLUMNS), strict=True)
        probabilities = [["" if math.isnan(p) else repr(p) for p in row] for row in self.probabilities.tolist()]
        trailing = zip(self.coverage.tolist(), self.reason.tolist(), strict=True)
        columns = zip(leading, self.predicted.tolist(), probabilities, trailing, strict=True)
        rows = [(*identity, predicted, *values, *end) for identity, predicted, values, end in columns]
        return csv_bytes(_header(self.class_names), rows)

    @classmethod
    def read(cls, path: Path) -> "PredictionTable":
        """Reads a table that `write` wrote.

        Raises:
            FileNotFoundError: the file does not exist.
            ValueError: the file is damaged, incomplete or not a prediction table; the message names file and line.
        """
        if not path.exists():
            raise FileNotFoundError(f"{path} is missing: no prediction table; evaluate the run first (`fer train`)")
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"{path}: {path.stat().st_size} bytes; a prediction table has at most {MAX_BYTES}")
        with path.open(newline="", encoding="utf-8") as file:
            table = cls.from_csv(file, str(path))
        _check_row_count(path, len(table))
        return table

    @classmethod
    def from_csv(cls, text: Iterable[str], origin: str) -> "PredictionTable":
        """Returns the table in lines of CSV, which `to_csv` wrote.

        Args:
            text: the lines.
            origin: where they come from, for messages.

        Raises:
            ValueError: they are damaged, or not a prediction table; the message names the line.
        """
        reader = csv.reader(text, strict=True)
        lines, rows = [], []
        try:
            names = _class_names(next(reader, []))
            for cells in reader:
                lines.append(reader.line_num)
                rows.append(_parse(cells, len(names)))
        except (ValueError, csv.Error) as error:
            raise ValueError(f"{origin}, line {max(reader.line_num, 1)}: {error}") from error
        try:
            table = cls._from_rows(names, rows)
        except RowError as error:
            raise ValueError(f"{origin}, line {lines[error.row]}: {error}") from error
        except (ValueError, OverflowError) as error:  # such as a seed of thirty digits
            raise ValueError(f"{origin}: {error}") from error
        for line, row, predicted in zip(lines, rows, table.predicted.tolist(), strict=True):
            if row.predicted != predicted:
                raise ValueError(
                    f"{origin}, line {line}: predicted {row.predicted!r}, its probabilities say {predicted!r}"
                )
        return table

    @classmethod
    def _from_rows(cls, names: tuple[str, ...], rows: Sequence["_TableRow"]) -> "PredictionTable":
        columns = {name: [getattr(row, name) for row in rows] for name in (*LEADING_COLUMNS, *TRAILING_COLUMNS)}
        probabilities = np.array([row.probabilities for row in rows], np.float64).reshape(len(rows), len(names))
        return cls(names, probabilities=probabilities, **columns)  # type: ignore[arg-type]


@dataclass(frozen=True)
class _TableRow:
    """One row of a CSV file."""

    clip_id: str
    subject: str
    group: str
    split: str
    fold: str
    seed: int
    emotion: str
    predicted: str
    probabilities: list[float]
    coverage: float
    reason: str


def rows_path(table: Path) -> Path:
    """Returns the path of the file beside a prediction table that holds its number of rows."""
    return table.with_name(f"{table.name}.rows")


def _check_row_count(path: Path, rows: int) -> None:
    """Checks that no rows were lost; tables of older versions have no recorded number of rows.

    Raises:
        ValueError: the number of rows differs from the recorded one.
    """
    record = rows_path(path)
    if not record.exists():
        return
    expected = record.read_text(encoding="utf-8", errors="replace").strip()
    if expected != str(rows):
        raise ValueError(
            f"{path} has {rows} rows, expected {expected[:20]!r} according to {record.name}: the table may be "
            f"incomplete. Restore the file or evaluate the run again; if you changed it on purpose, delete {record}"
        )


def _header(class_names: Sequence[str]) -> list[str]:
    return [*LEADING_COLUMNS, "predicted", *(PREFIX + name for name in class_names), *TRAILING_COLUMNS]


def _class_names(header: list[str]) -> tuple[str, ...]:
    """Returns the class names in a table's header."""
    names = tuple(cell.removeprefix(PREFIX) for cell in header if cell.startswith(PREFIX))
    if not names or header != _header(names):
        raise ValueError(f"columns {header}; expected {_header(['<class>', '...'])}, a probability for each class")
    return names


def _parse(cells: list[str], classes: int) -> _TableRow:
    """Parses the cells of one row."""
    cells = [text_of(value) for value in cells]
    expected = len(LEADING_COLUMNS) + 1 + classes + len(TRAILING_COLUMNS)
    if len(cells) != expected:
        raise ValueError(f"{len(cells)} cells, expected {expected}")
    clip_id, subject, group, split, fold, seed, emotion, predicted, *values, coverage, reason = cells
    probabilities = [float(value) if value else float("nan") for value in values]
    return _TableRow(
        clip_id, subject, group, split, fold, int(seed), emotion, predicted, probabilities, float(coverage), reason
    )
