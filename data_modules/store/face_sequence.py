"""What a sampler and a sample need of the faces of a clip, wherever they lie."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from data_modules.store.clip_file import ClipSummary


class FaceSequence(Protocol):
    """M faces in order of time, and the sound of that time.

    A clip of the store (`clip_store.StoredClip`) is one, and so is a window of a longer video.
    """

    @property
    def summary(self) -> ClipSummary:
        """Its name, and what can be known of it without reading it."""
        ...

    def __len__(self) -> int: ...

    @property
    def frame_index(self) -> NDArray[np.int64]:
        """(M,) frame numbers in the source, ascending."""
        ...

    @property
    def crop_size(self) -> int:
        """Side of the crops in pixels, where there is a face."""
        ...

    def has(self, name: str) -> bool:
        """Whether there are `landmarks`, `person`, `audio`, ..."""
        ...

    def optional(self, name: str) -> NDArray[np.float32] | None:
        """(M, ...) numbers of each face, such as `box` or `landmarks`; None where there are none."""
        ...

    def crops(
        self, positions: Sequence[int] | NDArray[np.int64], size: int | None = None, what: str = "face"
    ) -> NDArray[np.uint8]:
        """(K, S, S, 3) RGB crops of the `face` or the `person` at positions in [0, M), no smaller than `size`."""
        ...

    def audio(self, start: float = 0.0, stop: float | None = None) -> NDArray[np.float32] | None:
        """(n,) samples at `AUDIO_RATE` from `start` to `stop` seconds; None where there is no sound."""
        ...


class FaceSource(Protocol):
    """Where face sequences are found by name: the store of a data set, or the windows of a video."""

    def open(self, clip_id: str) -> FaceSequence:
        """The faces of that name."""
        ...
