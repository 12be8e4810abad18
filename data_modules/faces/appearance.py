"""Describes the appearance of faces for comparison between frames: colour histograms and face embeddings."""

from collections.abc import Callable
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from data_modules.faces.detection import Detection
from data_modules.video.source import Frame

Vector = NDArray[np.float32]  # (D,)
Embed = Callable[[Frame, Detection], Vector]
"""Maps an (H, W, 3) RGB frame and a face in it to its (D,) embedding, such as that of a face recognition network."""


class FaceEmbedder(Protocol):
    """A network that embeds faces by identity."""

    name: str
    device: str  # the device that it runs on

    def __call__(self, frame: Frame, detection: Detection, /) -> Vector:
        """Returns the (D,) embedding of a face in an (H, W, 3) RGB frame."""
        ...


COLOURS = (10, 10)  # bins over hue and saturation, Do et al., 2021, section 3.3.1
BRIGHTNESS = 20  # bins over value
GRID = 64  # [our choice] at most 64 x 64 evenly spaced pixels of a face are counted


def colour_histograms(frame: Frame, box: NDArray[np.floating]) -> Vector:
    """Computes the histograms of a box's pixels: 10 x 10 bins of hue and saturation, then 20 bins of value, (120,).

    Each of the two sums to 1, so that faces of different sizes can be compared. If a box lies partly outside the frame,
    the part inside is used, at least one pixel.

    Args:
        frame: (H, W, 3) RGB.
        box: (4,) left, top, right, bottom in pixels.

    Raises:
        ValueError: the frame is not an 8-bit colour image.
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
    """Returns at most `GRID` evenly spaced pixels from `low` to `high` along one axis of a frame."""
    first = min(max(int(np.floor(low)), 0), size - 1)
    last = min(max(int(np.ceil(high)), first + 1), size)
    count = min(last - first, GRID)
    return first + (2 * np.arange(count, dtype=np.int64) + 1) * (last - first) // (2 * count)


def unit_embedding(embed: Embed, frame: Frame, face: Detection) -> Vector:
    """Returns the (D,) embedding of a face scaled to unit length, so that distances lie between 0 and 2.

    Raises:
        ValueError: the embedding is not a vector, not finite, or zero.
    """
    vector = np.asarray(embed(frame, face), dtype=np.float32)
    norm = float(np.linalg.norm(vector))
    if vector.ndim != 1 or not 0 < norm < np.inf:
        raise ValueError(
            f"`embed` returned shape {vector.shape} with norm {norm:g} for the face at {face.box.round(1).tolist()}; "
            "expected (D,), finite and not zero"
        )
    return vector / np.float32(norm)


class FeatureHistory:
    """Keeps the last k vectors of one kind and the sum of all, in constant memory.

    Args:
        first: (D,) the first vector.
        k: number of vectors in the recent mean.
    """

    def __init__(self, first: Vector, k: int) -> None:
        self._last = np.zeros((k, len(first)), np.float32)
        self._sum = np.zeros(len(first), np.float64)
        self._count = 0
        self.add(first)

    def add(self, vector: Vector) -> None:
        """Appends a vector, which replaces the oldest one if k are stored.

        Raises:
            ValueError: its length differs from the earlier vectors'.
        """
        if vector.shape != self._sum.shape:
            raise ValueError(f"found a feature vector of {len(vector)} numbers; expected {len(self._sum)}, as before")
        self._last[self._count % len(self._last)] = vector
        self._sum += vector
        self._count += 1

    @property
    def recent(self) -> NDArray[np.float64]:
        """The (D,) mean of the last k vectors."""
        mean: NDArray[np.float64] = self._last[: self._count].mean(axis=0, dtype=np.float64)
        return mean

    @property
    def mean(self) -> NDArray[np.float64]:
        """The (D,) mean of all vectors."""
        return self._sum / self._count

    def forget(self) -> None:
        """Drops the last k vectors of a track that has ended; the mean of all remains."""
        self._last = self._last[:0]
