"""A compact log of all detections of a clip and the tracks they belong to."""

from array import array
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from data_modules.faces.detection import Detection

ROW = 15  # box 4, score 1, points 10 (NaN if the detector returns none)


class DetectionLog:
    """Stores the detections of a clip in frame order, each with the number of its track."""

    def __init__(self) -> None:
        self._frames, self._numbers, self._rows = array("i"), array("i"), array("f")

    def __len__(self) -> int:
        return len(self._frames)

    def add(self, index: int, number: int, face: Detection) -> None:
        """Appends a detection in frame `index` that belongs to track `number`."""
        self._frames.append(index)
        self._numbers.append(number)
        points = np.full(10, np.nan) if face.points is None else face.points.reshape(10)
        self._rows.extend(float(value) for value in (*face.box, face.score, *points))

    def select(self, numbers: Sequence[int]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
        """Returns frames (N,), tracks (N,) and rows (N, 15) of box, score, points of the detections of these tracks."""
        frames, tracks = np.array(self._frames, np.int64), np.array(self._numbers, np.int64)
        selected = np.isin(tracks, np.array(numbers, np.int64))
        return frames[selected], tracks[selected], np.array(self._rows, np.float32).reshape(-1, ROW)[selected]
