"""A compact log of all detections of a clip, the tracks they belong to, and the frames that the detector saw."""

from array import array
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from data_modules.faces.detection import Detection

ROW = 15  # box 4, score 1, points 10 (NaN if the detector returns none)


class DetectionLog:
    """Stores the detections of a clip in frame order, each with the number of its track."""

    def __init__(self) -> None:
        self._looks, self._frames, self._numbers, self._rows = array("i"), array("i"), array("i"), array("f")

    def __len__(self) -> int:
        return len(self._frames)

    def add_look(self, index: int) -> None:
        """Appends a frame that the detector saw, whether or not it has a face."""
        self._looks.append(index)

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

    def held(self, frames: NDArray[np.int64], every: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Returns the first and the last frame, (N,) each, in which what was seen in N frames counts as unmoved.

        They lie halfway to the looks before and after it; what is seen in the last look counts to the end of the clip.

        Args:
            frames: (N,) numbers of frames that the detector saw.
            every: it saw every n-th frame at least.
        """
        looks = np.array(self._looks, np.int64)
        looks = np.concatenate([looks[:1] - every, looks, looks[-1:] + 2 * (every - 1)])
        place = np.searchsorted(looks, frames)
        return frames - (frames - looks[place - 1]) // 2, frames + (looks[place + 1] - frames) // 2
