"""A clip's file in the store, read lazily."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from data_modules.audio.settings import AUDIO_RATE
from data_modules.store.clip_file import FORMAT, ClipSummary

# OpenCV's flags for decoding at a part of the size; with IMREAD_COLOR_RGB they mean RGB.
DIVIDED = {
    1: 0,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
}


class DamagedClipError(ValueError):
    """A clip's file in the store is damaged; the message names both, and says what to do."""


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """What is done in this block reads a clip's file.

    Raises:
        DamagedClipError: it is damaged.
    """
    try:
        yield
    except (SafetensorError, cv2.error, ValueError, TypeError, KeyError, IndexError) as error:
        raise DamagedClipError(
            f"clip {path.stem!r}: {path} is damaged ({' '.join(str(error).split())}); delete this file: "
            "`fer data prepare`, the beginning of every training, and `fer faces` for its videos make again what is "
            "missing"
        ) from error


class StoredClip:
    """The faces of one clip, read lazily: only the asked-for crops are decoded.

    Raises:
        DamagedClipError: the file is damaged; so do all that read from it.
        ValueError: it is none of this store.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with reading(path):
            self._file = safe_open(path, framework="numpy")
            metadata = self._file.metadata() or {}
        if metadata.get("format") != FORMAT:
            raise ValueError(f"{path}: not a file of this store (format {metadata.get('format')!r}, not {FORMAT!r})")
        with reading(path):
            self.summary = ClipSummary(**json.loads(metadata["summary"]))
        self._names = frozenset(self._file.keys())

    def __len__(self) -> int:
        return self.summary.num_faces

    @cached_property
    def frame_index(self) -> NDArray[np.int64]:
        """(M,) frame numbers in the source, ascending."""
        if "frame_index" not in self._names:
            return np.zeros(0, np.int64)
        with reading(self.path):
            return np.asarray(self._file.get_tensor("frame_index"), dtype=np.int64)

    @cached_property
    def crop_size(self) -> int:
        """Side of the crops in pixels."""
        return int(self.crops([0]).shape[1])

    def optional(self, name: str) -> NDArray[np.float32] | None:
        """(M, ...) `box`, `score`, `landmarks`, `intensity`, `origin` or `matrix`, or None where the clip has none."""
        if name not in self._names:
            return None
        with reading(self.path):
            return np.asarray(self._file.get_tensor(name), dtype=np.float32)

    def has(self, name: str) -> bool:
        """Whether the clip has `landmarks`, `person`, `audio`, ..."""
        return name in self._names

    @cached_property
    def times(self) -> NDArray[np.float64]:
        """(T,) seconds of all frames of the source, the first at 0."""
        with reading(self.path):
            return np.asarray(self._file.get_tensor("time"), dtype=np.float64)

    def audio(self, start: float = 0.0, stop: float | None = None) -> NDArray[np.float32] | None:
        """(n,) samples in [-1, 1] at `AUDIO_RATE` from `start` to `stop` seconds, or None where there is no sound."""
        if "audio" not in self._names:
            return None
        track = self._file.get_slice("audio")
        (length,) = track.get_shape()
        last = length if stop is None else min(round(stop * AUDIO_RATE), length)
        samples = track[min(round(start * AUDIO_RATE), last) : last]
        return np.asarray(samples, dtype=np.float32) / np.float32(32768)

    def crops(
        self, positions: Sequence[int] | NDArray[np.int64], size: int | None = None, what: str = "face"
    ) -> NDArray[np.uint8]:
        """(K, S, S, 3) RGB crops of the `face` or the `person` at positions in [0, M); each is decoded once.

        With `size` they come as small as JPEG decodes cheaply, a half, a quarter or an eighth of the stored side (at
        half the side in half the time), but never smaller than `size`.

        Raises:
            DamagedClipError: a crop is damaged.
            ValueError: there are none of this kind.
        """
        positions = np.asarray(positions, dtype=np.int64)
        if not len(positions):
            return np.zeros((0, 0, 0, 3), np.uint8)
        if what not in self._names:
            raise ValueError(
                f"clip {self.summary.clip_id!r} has no crops of the {what}; prepare the data set with "
                f"`faces.{what}` set to what finds it"
            )
        unique, inverse = np.unique(positions, return_inverse=True)
        divisor = 1 if size is None else next(d for d in (8, 4, 2, 1) if self.crop_size // d >= size or d == 1)
        flags = cv2.IMREAD_COLOR_RGB | DIVIDED[divisor]
        with reading(self.path):
            ends, data = self._file.get_tensor(f"{what}_end"), self._file.get_slice(what)
            starts = np.concatenate(([0], ends[:-1]))
            images = [cv2.imdecode(data[int(starts[i]) : int(ends[i])], flags) for i in unique]
            if any(image is None for image in images):
                raise ValueError(f"a crop of the {what} does not decode")
            return np.asarray(images, dtype=np.uint8)[inverse]
