"""Reads a clip's file in the store lazily."""

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

# OpenCV's flags for decoding at a fraction of the size; combined with IMREAD_COLOR_RGB they give RGB.
REDUCED_FLAGS = {
    1: 0,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
}


class DamagedClipError(ValueError):
    """A clip's file in the store is damaged; the message says which one and what to do."""


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turns errors of reading a clip's file in this block into `DamagedClipError`.

    Raises:
        DamagedClipError: the file is damaged.
    """
    try:
        yield
    except (SafetensorError, cv2.error, ValueError, TypeError, KeyError, IndexError) as error:
        raise DamagedClipError(
            f"clip {path.stem!r}: {path} is damaged ({' '.join(str(error).split())}); delete this file: "
            "`fer data prepare`, the start of every training and, for its own videos, `fer faces` create missing "
            "files again"
        ) from error


class StoredClip:
    """The faces of one clip, read lazily: only the requested crops are decoded.

    Raises:
        DamagedClipError: the file is damaged; all methods that read from it may raise this too.
        ValueError: the file has another format.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with reading(path):
            self._file = safe_open(path, framework="numpy")
            metadata = self._file.metadata() or {}
        if metadata.get("format") != FORMAT:
            raise ValueError(
                f"{path}: not a file of this store (found format {metadata.get('format')!r}, expected {FORMAT!r})"
            )
        with reading(path):
            self.summary = ClipSummary(**json.loads(metadata["summary"]))
        self._names = frozenset(self._file.keys())

    def __len__(self) -> int:
        return self.summary.num_faces

    @cached_property
    def frame_index(self) -> NDArray[np.int64]:
        """The (M,) frame numbers in the source, ascending."""
        return self._numbers("frame_index")

    @cached_property
    def crop_size(self) -> int:
        """Side of the crops in pixels."""
        return len(self._first_face)

    @cached_property
    def _first_face(self) -> NDArray[np.uint8]:
        """The first crop of the face, (S, S, 3), which tells the side: the only one where a clip is a still image."""
        first: NDArray[np.uint8] = self.crops([0])[0]
        return first

    @cached_property
    def other_frames(self) -> NDArray[np.int64]:
        """The (K,) numbers of the frames in which somebody else is seen, ascending; none if nobody looked for them."""
        return self._numbers("other_frames")

    @cached_property
    def cuts(self) -> NDArray[np.int64]:
        """The (S,) numbers of the frames with which a shot begins, ascending; none if nobody looked for them."""
        return self._numbers("cuts")

    def _numbers(self, name: str) -> NDArray[np.int64]:
        if name not in self._names:
            return np.zeros(0, np.int64)
        with reading(self.path):
            return np.asarray(self._file.get_tensor(name), dtype=np.int64)

    def optional(self, name: str) -> NDArray[np.float32] | None:
        """Returns `box`, `score`, `landmarks`, `intensity`, `origin` or `matrix` (M, ...); None if absent."""
        if name not in self._names:
            return None
        with reading(self.path):
            return np.asarray(self._file.get_tensor(name), dtype=np.float32)

    def has(self, name: str) -> bool:
        """Returns whether the clip has `landmarks`, `person`, `audio`, ..."""
        return name in self._names

    @cached_property
    def times(self) -> NDArray[np.float64]:
        """The (T,) times of all frames of the source in seconds, the first at 0."""
        with reading(self.path):
            return np.asarray(self._file.get_tensor("time"), dtype=np.float64)

    def audio(self, start: float = 0.0, stop: float | None = None) -> NDArray[np.float32] | None:
        """Returns (n,) samples in [-1, 1] at `AUDIO_RATE` from `start` to `stop` seconds, or None without audio."""
        if "audio" not in self._names:
            return None
        track = self._file.get_slice("audio")
        (length,) = track.get_shape()
        last = length if stop is None else min(round(stop * AUDIO_RATE), length)
        samples = track[min(round(start * AUDIO_RATE), last) : last]
        return np.asarray(samples, dtype=np.float32) / np.float32(32768)

    def crops(
        self,
        positions: Sequence[int] | NDArray[np.int64],
        size: int | None = None,
        what: str = "face",
        out: NDArray[np.uint8] | None = None,
    ) -> NDArray[np.uint8]:
        """Returns (K, S, S, 3) RGB crops of the `face` or `person` at positions in [0, M), written to `out` if given.

        With `size`, the crops are decoded at a half, a quarter or an eighth of the stored side, but not smaller than
        `size`; half the side takes half the time.

        Raises:
            DamagedClipError: a crop is damaged.
            ValueError: the clip has no crops of this kind.
        """
        positions = np.asarray(positions, dtype=np.int64)
        if not len(positions):
            return np.zeros((0, 0, 0, 3), np.uint8)
        if what not in self._names:
            raise ValueError(
                f"clip {self.summary.clip_id!r} has no crops of the {what}; prepare the data set with "
                f"another value of `faces.{what}`"
            )
        unique, inverse = np.unique(positions, return_inverse=True)
        divisor = 1 if size is None else next(d for d in (8, 4, 2, 1) if self.crop_size // d >= size or d == 1)
        flags = cv2.IMREAD_COLOR_RGB | REDUCED_FLAGS[divisor]
        with reading(self.path):
            ends, data = self._file.get_tensor(f"{what}_end"), self._file.get_slice(what)
            starts = np.concatenate(([0], ends[:-1]))
            for number, position in enumerate(unique):
                is_known = position == 0 and what == "face" and size is not None and divisor == 1  # as its side was
                part = slice(int(starts[position]), int(ends[position]))
                image = self._first_face if is_known else cv2.imdecode(data[part], flags)
                if image is None:
                    raise ValueError(f"a crop of the {what} cannot be decoded")
                if out is None:
                    out = np.empty((len(positions), *image.shape), np.uint8)
                out[inverse == number] = image
        assert out is not None
        return out
