"""What an evaluated run leaves behind: a table with a row per clip, and the tensors that there are to look at.

Ensembles, cross-validation, the papers' tables and the reports read these two files and nothing else.
"""

import csv
import io
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from data_modules.files import whole_file, write_whole

NONE = "none"
"""What stands for a class where no prediction was possible."""

FORMAT = "fer_lightning outputs 1"
AXES = {"feature": 2, "frame_index": 2, "attention": 2, "intensity": 2, "relation": 3, "standing": 2, "streams": 3}
STORED = {"frame_index": np.int64, "relation": np.float16, "standing": np.int32}  # the others as float32
FIRST = ("clip_id", "subject", "split", "fold", "seed", "emotion")
LAST = ("coverage", "reason")
PREFIX = "p_"  # of a probability's column
TOLERANCE = 1e-3  # of a row's sum of probabilities
MAX_BYTES = 1 << 30  # of a table that is read: some four million clips


class RowError(ValueError):
    """A row that contradicts itself or an earlier one; `row` counts from 0."""

    def __init__(self, row: int, problem: str) -> None:
        super().__init__(problem)
        self.row = row


@dataclass(frozen=True, eq=False)
class PredictionTable:
    """One row per clip (and seed); several draws of a clip are averaged before they come here.

    Raises:
        ValueError: columns of different lengths, a clip that stands twice under one seed, an emotion outside of
            `class_names`, probabilities that are not, or a clip without a prediction and without a reason.
    """

    class_names: tuple[str, ...]
    clip_id: NDArray[np.str_]  # (N,)
    subject: NDArray[np.str_]  # (N,) empty where the data set does not tell
    split: NDArray[np.str_]  # (N,) inner or test
    fold: NDArray[np.str_]  # (N,)
    seed: NDArray[np.int64]  # (N,)
    emotion: NDArray[np.str_]  # (N,) the true name
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
        """(N,) the true classes as positions in `class_names`."""
        position = {name: i for i, name in enumerate(self.class_names)}
        return np.array([position[name] for name in self.emotion.tolist()], dtype=np.int64)

    @property
    def choice(self) -> NDArray[np.int64]:
        """(N,) the predicted classes as positions in `class_names`; C, one past the last, where there is none."""
        best = np.nan_to_num(self.probabilities, nan=-1.0).argmax(axis=1)
        return np.where(self.missing, len(self.class_names), best)

    @property
    def predicted(self) -> NDArray[np.str_]:
        """(N,) the predicted names, or `none`."""
        return np.array([*self.class_names, NONE])[self.choice]

    @property
    def correct(self) -> NDArray[np.bool_]:
        """(N,) whether the prediction is right; a clip without one is an error."""
        return np.asarray(self.choice == self.label)

    def select(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> "PredictionTable":
        """The table of some rows: a mask (N,) or positions, in their order."""
        return PredictionTable(self.class_names, **{c.name: getattr(self, c.name)[rows] for c in fields(self)[1:]})

    @classmethod
    def concat(cls, tables: Sequence["PredictionTable"]) -> "PredictionTable":
        """Pools the tables of folds or seeds.

        Raises:
            ValueError: no tables, different class lists, or a clip that two of them hold under the same seed.
        """
        if not tables:
            raise ValueError("no prediction tables to pool")
        names = tables[0].class_names
        for table in tables[1:]:
            if table.class_names != names:
                raise ValueError(f"tables of different classes cannot be pooled: {names} and {table.class_names}")
        return cls(names, **{c.name: np.concatenate([getattr(t, c.name) for t in tables]) for c in fields(cls)[1:]})

    def _problems(self) -> Iterator[tuple[int, str]]:
        """Rows that contradict themselves or an earlier row, and why."""
        known, sums, missing = set(self.class_names), self.probabilities.sum(axis=1), self.missing
        seen: dict[tuple[str, int], int] = {}
        for row, key in enumerate(zip(self.clip_id.tolist(), self.seed.tolist(), strict=True)):
            values = self.probabilities[row]
            first = seen.setdefault(key, row)
            if first != row:
                yield row, f"stands in row {first + 1} already with seed {key[1]}; a table has a clip once per seed"
            if not _is_safe(key[0]):
                yield row, "an id is a relative path that stays inside its folder"
            if str(self.emotion[row]) not in known:
                yield row, f"emotion {str(self.emotion[row])!r} is not among {', '.join(self.class_names)}"
            if not 0.0 <= self.coverage[row] <= 1.0:
                yield row, f"coverage {self.coverage[row]} is not a share between 0 and 1"
            if missing[row] and not self.reason[row]:
                yield row, "it has neither a prediction nor a reason why; has the model diverged to NaN?"
            if not missing[row] and not (abs(sums[row] - 1.0) <= TOLERANCE and values.min() >= 0.0):
                yield row, f"probabilities {values.tolist()} are neither a distribution (sum 1) nor all missing"

    def write(self, path: Path) -> None:
        """Writes the table as CSV, whole or not at all; every number is read back as the same number."""
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(_header(self.class_names))
        first = zip(*(getattr(self, name).tolist() for name in FIRST), strict=True)
        middle = [["" if math.isnan(p) else repr(p) for p in row] for row in self.probabilities.tolist()]
        last = zip(self.coverage.tolist(), self.reason.tolist(), strict=True)
        for identity, predicted, values, end in zip(first, self.predicted.tolist(), middle, last, strict=True):
            table.writerow([*identity, predicted, *values, *end])
        write_whole(path, text.getvalue().encode())

    @classmethod
    def read(cls, path: Path) -> "PredictionTable":
        """Reads a table that `write` wrote.

        Raises:
            FileNotFoundError: there is none at `path`.
            ValueError: it is not such a table; the message names the file and the line.
        """
        if not path.exists():
            raise FileNotFoundError(f"{path} is missing: no prediction table; evaluate the run first (`fer train`)")
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"{path}: {path.stat().st_size} bytes; a prediction table has at most {MAX_BYTES}")
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.reader(file, strict=True)
            lines, rows = [], []
            try:
                names = _class_names(next(reader, []))
                for cells in reader:
                    lines.append(reader.line_num)
                    rows.append(_parse(cells, len(names)))
            except (ValueError, csv.Error) as error:
                raise ValueError(f"{path}, line {max(reader.line_num, 1)}: {error}") from error
        try:
            table = cls._of_rows(names, rows)
        except RowError as error:
            raise ValueError(f"{path}, line {lines[error.row]}: {error}") from error
        for line, row, predicted in zip(lines, rows, table.predicted.tolist(), strict=True):
            if row.predicted != predicted:
                raise ValueError(
                    f"{path}, line {line}: predicted {row.predicted!r}, its probabilities say {predicted!r}"
                )
        return table

    @classmethod
    def _of_rows(cls, names: tuple[str, ...], rows: Sequence["_Row"]) -> "PredictionTable":
        columns = {name: [getattr(row, name) for row in rows] for name in (*FIRST, *LAST)}
        probabilities = np.array([row.probabilities for row in rows], np.float64).reshape(len(rows), len(names))
        return cls(names, probabilities=probabilities, **columns)  # type: ignore[arg-type]


@dataclass(frozen=True)
class _Row:
    """One line of a table."""

    clip_id: str
    subject: str
    split: str
    fold: str
    seed: int
    emotion: str
    predicted: str
    probabilities: list[float]
    coverage: float
    reason: str


def _header(class_names: Sequence[str]) -> list[str]:
    return [*FIRST, "predicted", *(PREFIX + name for name in class_names), *LAST]


def _class_names(header: list[str]) -> tuple[str, ...]:
    """The class names that a table's header tells."""
    names = tuple(cell.removeprefix(PREFIX) for cell in header if cell.startswith(PREFIX))
    if not names or header != _header(names):
        raise ValueError(f"columns {header}; expected {_header(['<class>', '...'])}, a probability for each class")
    return names


def _parse(cells: list[str], classes: int) -> _Row:
    """A line's cells as a row."""
    if len(cells) != len(FIRST) + 1 + classes + len(LAST):
        raise ValueError(f"{len(cells)} cells, expected {len(FIRST) + 1 + classes + len(LAST)}")
    clip_id, subject, split, fold, seed, emotion, predicted, *values, coverage, reason = cells
    probabilities = [float(value) if value else float("nan") for value in values]
    return _Row(clip_id, subject, split, fold, int(seed), emotion, predicted, probabilities, float(coverage), reason)


def _is_safe(clip_id: str) -> bool:
    """Whether a clip id, which is a part of paths in the store, stays inside of its folder."""
    path = PurePosixPath(clip_id)
    return bool(clip_id) and not path.is_absolute() and ".." not in path.parts and "\0" not in clip_id


@dataclass(frozen=True, eq=False)
class ClipOutputs:
    """What there is to look at of N clips; a row per clip, T sampled frames each; see `ClassifierOutput`.

    Raises:
        ValueError: shapes that do not fit, a clip or a stream that stands twice, T frames that A groups do not divide,
            frames that stand nowhere, or probabilities that are not.
    """

    clip_id: tuple[str, ...]
    feature: NDArray[np.float32]  # (N, D)
    frame_index: NDArray[np.int64]  # (N, T) frame numbers in the source; -1 where there is no frame
    attention: NDArray[np.float32] | None = None  # (N, A) over A groups of T / A consecutive sampled frames
    intensity: NDArray[np.float32] | None = None  # (N, T) true intensity of the expression; NaN where unknown
    relation: NDArray[np.floating] | None = None  # (N, T, T) of the sampled frames; half precision in files
    standing: NDArray[np.integer] | None = None  # (N, T) which sampled frame stands at each place
    streams: NDArray[np.float32] | None = None  # (N, S, C) probabilities of each stream alone; NaN where it is absent
    stream_names: tuple[str, ...] = ()  # of the S streams

    def __post_init__(self) -> None:
        rows = len(self.clip_id)
        if len(set(self.clip_id)) != rows or not all(map(_is_safe, self.clip_id)):
            raise ValueError("clip ids must be unique relative paths")
        for name, axes in AXES.items():
            values = getattr(self, name)
            if values is not None and (values.ndim != axes or len(values) != rows):
                words = {2: "two", 3: "three"}[axes]
                raise ValueError(f"{name} has the shape {values.shape}, expected ({rows}, ...) with {words} dimensions")
        frames = self.frame_index.shape[1]
        groups = frames if self.attention is None else self.attention.shape[1]
        if groups > frames or (frames and (not groups or frames % groups)):
            raise ValueError(
                f"attention over {groups} groups; {frames} sampled frames do not make equal groups of them"
            )
        if self.intensity is not None and self.intensity.shape[1] != frames:
            raise ValueError(f"intensity of {self.intensity.shape[1]} frames, expected one for each of the {frames}")
        self._check_relation(frames)
        self._check_streams()

    def _check_relation(self, frames: int) -> None:
        if self.relation is not None and self.relation.shape[1:] != (frames, frames):
            raise ValueError(f"relation of {self.relation.shape[1:]} frames, expected ({frames}, {frames})")
        if self.standing is None:
            return
        if self.standing.shape[1] != frames:
            raise ValueError(f"standing tells of {self.standing.shape[1]} places, expected {frames}")
        if self.standing.dtype.kind not in "iu" or ((self.standing < 0) | (self.standing >= frames)).any():
            raise ValueError(f"standing holds places of sampled frames: whole numbers from 0 to {frames - 1}")

    def _check_streams(self) -> None:
        names = self.stream_names
        shape = (0, 0) if self.streams is None else self.streams.shape[1:]
        if len(set(names)) != len(names) or len(names) != shape[0]:
            raise ValueError(f"{shape[0]} streams with the names {names}; expected a different name for each")
        if self.streams is None:
            return
        absent = np.isnan(self.streams).all(axis=2)
        there = self.streams[~absent].astype(np.float64)  # (..., C)
        if not ((there >= 0).all() and (np.abs(there.sum(axis=1) - 1) <= TOLERANCE).all()):
            raise ValueError("streams hold values that are neither a distribution (sum 1) nor all missing")

    def __len__(self) -> int:
        return len(self.clip_id)

    def stream_table(self, name: str, table: PredictionTable) -> PredictionTable:
        """The table of the same clips with what one stream says alone; a clip in which it is absent has no prediction.

        Raises:
            ValueError: there is no such stream, or it has other classes than the table.
        """
        if self.streams is None or name not in self.stream_names:
            raise ValueError(f"no stream {name!r}; found {', '.join(self.stream_names) or 'none'}")
        said = self.streams[:, self.stream_names.index(name)]
        if said.shape[1] != len(table.class_names):
            raise ValueError(f"streams of {said.shape[1]} classes; the table has {len(table.class_names)}")
        rows = {clip_id: row for row, clip_id in enumerate(self.clip_id)}
        probabilities = np.full_like(table.probabilities, np.nan)
        for place, clip_id in enumerate(table.clip_id.tolist()):
            if clip_id in rows:
                probabilities[place] = said[rows[clip_id]]
        missing = np.isnan(probabilities).all(axis=1)
        reason = np.where(missing, np.where(table.missing, table.reason, f"no {name}"), "")
        return replace(table, probabilities=probabilities, reason=reason)

    def write(self, path: Path) -> None:
        """Writes one safetensors file, whole or not at all."""
        tensors = {
            name: np.ascontiguousarray(getattr(self, name), STORED.get(name, np.float32))
            for name in AXES
            if getattr(self, name) is not None
        }
        metadata = {"format": FORMAT, "clip_id": json.dumps(self.clip_id), "streams": json.dumps(self.stream_names)}
        with whole_file(path) as temporary:
            save_file(tensors, temporary, metadata)

    @classmethod
    def read(cls, path: Path) -> "ClipOutputs":
        """Reads what `write` wrote.

        Raises:
            FileNotFoundError: there is none at `path`.
            ValueError: it is not such a file.
        """
        if not path.exists():
            raise FileNotFoundError(f"{path} is missing: no features or attention were kept; evaluate the run again")
        try:
            with safe_open(path, framework="numpy") as file:
                metadata = file.metadata() or {}
                if metadata.get("format") != FORMAT:
                    raise ValueError(f"format {metadata.get('format')!r}, not {FORMAT!r}")
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            clip_id, streams = (
                tuple(map(str, json.loads(text))) for text in (metadata["clip_id"], metadata.get("streams", "[]"))
            )
            return cls(clip_id, **tensors, stream_names=streams)
        except (SafetensorError, ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path}: not the outputs of a run: {error}") from error
