"""What a face looks like, as numbers that two frames can be compared by: colour histograms, and any face embedding."""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from data_modules.faces.detection import Detection
from data_modules.video.source import Frame

Vector = NDArray[np.float32]  # (D,)
Embed = Callable[[Frame, Detection], Vector]
"""(H, W, 3) RGB frame and a face in it -> (D,) its encoding, such as the last layer of a network for identities."""

COLOURS = (10, 10)  # bins over hue and saturation, Do et al., 2021, section 3.3.1
BRIGHTNESS = 20  # bins over value
GRID = 64  # [our choice] of a larger face 64 x 64 pixels, evenly spaced, are counted


def colour_histograms(frame: Frame, box: NDArray[np.floating]) -> Vector:
    """(120,): the 10 x 10 histogram of hue and saturation, row by row, then the 20 bins of value, of a box's pixels.

    Each of the two sums to 1, so that faces of different sizes can be compared. Of a box that lies partly outside of
    the frame the part within counts, and at least one pixel.

    Args:
        frame: (H, W, 3) RGB.
        box: (4,) left, top, right, bottom in pixels.

    Raises:
        ValueError: the frame is no colour picture of 8 bits.
    """
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or not frame.size:
        raise ValueError(f"a frame of shape {frame.shape} and type {frame.dtype}; expected (H, W, 3) RGB of uint8")
    columns, rows = (_grid(box[axis], box[axis + 2], frame.shape[1 - axis]) for axis in (0, 1))
    pixels = cv2.cvtColor(frame[rows[:, None], columns], cv2.COLOR_RGB2HSV).reshape(-1, 3).astype(np.int64)
    hue, saturation, value = pixels.T  # hue below 180, the others below 256
    colour = hue * COLOURS[0] // 180 * COLOURS[1] + saturation * COLOURS[1] // 256
    counts = np.bincount(colour, minlength=COLOURS[0] * COLOURS[1]), np.bincount(value * BRIGHTNESS // 256, None, 20)
    return (np.concatenate(counts) / len(pixels)).astype(np.float32)


def _grid(low: float, high: float, size: int) -> NDArray[np.int64]:
    """The pixels from `low` to `high` along one axis of a frame, at most `GRID` of them."""
    first = min(max(int(np.floor(low)), 0), size - 1)
    last = min(max(int(np.ceil(high)), first + 1), size)
    count = min(last - first, GRID)
    return first + (2 * np.arange(count, dtype=np.int64) + 1) * (last - first) // (2 * count)


def encoding(embed: Embed, frame: Frame, face: Detection) -> Vector:
    """(D,) what `embed` makes of a face, scaled to unit length, so that a distance between two is within 0 and 2.

    Raises:
        ValueError: it is no vector of finite numbers, or zero.
    """
    vector = np.asarray(embed(frame, face), dtype=np.float32)
    norm = float(np.linalg.norm(vector))
    if vector.ndim != 1 or not 0 < norm < np.inf:
        raise ValueError(
            f"`embed` gave shape {vector.shape} of norm {norm:g} for the face at {face.box.round(1).tolist()}; "
            "expected (D,), finite and not zero"
        )
    return vector / np.float32(norm)


class FeatureHistory:
    """The last k vectors of one kind and the sum of all: as large after a million faces as after k.

    Args:
        first: (D,) the first vector.
        k: how many the recent mean is over.
    """

    def __init__(self, first: Vector, k: int) -> None:
        self._last = np.zeros((k, len(first)), np.float32)
        self._sum = np.zeros(len(first), np.float64)
        self._count = 0
        self.add(first)

    def add(self, vector: Vector) -> None:
        """Appends a vector; the oldest of k + 1 is forgotten.

        Raises:
            ValueError: it has another length than those before.
        """
        if vector.shape != self._sum.shape:
            raise ValueError(f"a face is described by {len(vector)} numbers, those before by {len(self._sum)}")
        self._last[self._count % len(self._last)] = vector
        self._sum += vector
        self._count += 1

    @property
    def recent(self) -> NDArray[np.float64]:
        """(D,) mean of the last k."""
        mean: NDArray[np.float64] = self._last[: self._count].mean(axis=0, dtype=np.float64)
        return mean

    @property
    def mean(self) -> NDArray[np.float64]:
        """(D,) mean of all."""
        return self._sum / self._count

    def forget(self) -> None:
        """Lets the last k go; the mean of all stays. For tracks that have ended."""
        self._last = self._last[:0]
