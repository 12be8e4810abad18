"""Frames that show an expression at its apex, as somebody has marked them in a table beside a data set."""

import csv
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_modules.datasets.dataset import VideoDataset

FILE = "apex_frames.csv"
COLUMNS = ("clip_id", "first", "last")

ApexFrames = Sequence[tuple[int, int]]
"""The first and the last frame of each apex of a clip; frames count from 0."""


def apex_frames(dataset: VideoDataset) -> Mapping[str, ApexFrames] | None:
    """Reads `apex_frames.csv` in the folder of a data set: clip id -> its apexes; None if there is no such table.

    A row of the table is an apex: `clip_id`, `first` and `last`. A clip may have several, or none.

    Raises:
        ValueError: a column is missing, or a row has no frames; the message names the line.
    """
    path = dataset.folder / FILE
    return read_apex_frames(path) if path.is_file() else None


def read_apex_frames(path: Path) -> dict[str, ApexFrames]:
    """Reads a table of apexes; see `apex_frames`."""
    found: dict[str, list[tuple[int, int]]] = defaultdict(list)
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file)
        missing = sorted(set(COLUMNS) - set(rows.fieldnames or ()))
        if missing:
            raise ValueError(f"{path}: no column {', '.join(missing)}; found {rows.fieldnames}, expected {COLUMNS}")
        for row in rows:
            first, last = str(row["first"]).strip(), str(row["last"]).strip()
            if not (first.isdecimal() and last.isdecimal() and int(first) <= int(last)):
                raise ValueError(
                    f"{path}, line {rows.line_num}: expected the numbers of an apex's first and last frame, from 0 on, "
                    f"found {first!r} and {last!r}"
                )
            found[str(row["clip_id"])].append((int(first), int(last)))
    return dict(found)


def apex_intensity(apexes: ApexFrames, frame_index: NDArray[np.int64]) -> NDArray[np.float32]:
    """Returns the intensity of frames: 1 at an apex, else 0; NaN for a clip without a marked apex.

    Args:
        apexes: of the clip.
        frame_index: numbers of frames, of any shape.
    """
    if not apexes:
        return np.full(frame_index.shape, np.nan, np.float32)
    inside = np.zeros(frame_index.shape, np.bool_)
    for first, last in apexes:
        inside |= (first <= frame_index) & (frame_index <= last)
    return inside.astype(np.float32)
