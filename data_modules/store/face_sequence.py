"""Protocols for the faces of a clip, independent of where they are stored."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from data_modules.store.clip_file import ClipSummary


class FaceSequence(Protocol):
    """M faces in temporal order, and the audio of the same time span.

    Clips in the store (`clip_store.StoredClip`) and windows of longer videos implement this protocol.
    """

    @property
    def summary(self) -> ClipSummary:
        """The name and the properties that are known without reading the faces."""
        ...

    def __len__(self) -> int: ...

    @property
    def frame_index(self) -> NDArray[np.int64]:
        """The (M,) frame numbers in the source, ascending."""
        ...

    @property
    def crop_size(self) -> int:
        """Side of the crops in pixels; undefined without faces."""
        ...

    def has(self, name: str) -> bool:
        """Returns whether there are `landmarks`, `person`, `audio`, ..."""
        ...

    def optional(self, name: str) -> NDArray[np.float32] | None:
        """Returns (M, ...) numbers of each face, such as `box` or `landmarks`, or None if there are none."""
        ...

    def crops(
        self,
        positions: Sequence[int] | NDArray[np.int64],
        size: int | None = None,
        what: str = "face",
        out: NDArray[np.uint8] | None = None,
    ) -> NDArray[np.uint8]:
        """Returns (K, S, S, 3) RGB crops of the `face` or `person` at positions in [0, M), not smaller than `size`.

        They are written to `out` if it is given.
        """
        ...

    def audio(self, start: float = 0.0, stop: float | None = None) -> NDArray[np.float32] | None:
        """Returns (n,) samples at `AUDIO_RATE` from `start` to `stop` seconds, or None if there is no audio."""
        ...


class FaceSource(Protocol):
    """Provides face sequences by name: the store of a data set, or the windows of a video."""

    def open(self, clip_id: str) -> FaceSequence:
        """Opens the face sequence of that name."""
        ...
