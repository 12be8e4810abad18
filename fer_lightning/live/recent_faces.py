"""The last seconds of a stream as a clip in memory."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from data_modules.store.clip_file import ClipSummary, FaceFrame


class RecentFaces:
    """Successive frames of a stream, in which one person's face may be seen, as a `TimedFaces` without audio.

    Args:
        frames: time in seconds and face of each of T frames; None in a frame without the face.
    """

    def __init__(self, frames: Sequence[tuple[float, FaceFrame | None]]) -> None:
        self.times = np.array([seconds for seconds, _ in frames])
        self.frame_index = np.array([i for i, (_, face) in enumerate(frames) if face is not None], np.int64)
        self.other_frames = np.zeros(0, np.int64)  # the stream knows who else is there
        self.cuts = np.zeros(0, np.int64)
        self._faces = [face for _, face in frames if face is not None]
        self.summary = ClipSummary("live", len(frames), len(self._faces))

    def __len__(self) -> int:
        return len(self._faces)

    @cached_property
    def crop_size(self) -> int:
        """See `FaceSequence.crop_size`."""
        return len(self._faces[0].crop)

    def has(self, name: str) -> bool:
        """See `FaceSequence.has`."""
        return name == "face" or (bool(self._faces) and getattr(self._faces[0], name, None) is not None)

    def optional(self, name: str) -> NDArray[np.float32] | None:
        """See `FaceSequence.optional`."""
        return np.asarray([getattr(face, name) for face in self._faces], np.float32) if self.has(name) else None

    def crops(
        self,
        positions: Sequence[int] | NDArray[np.int64],
        size: int | None = None,
        what: str = "face",
        out: NDArray[np.uint8] | None = None,
    ) -> NDArray[np.uint8]:
        """See `FaceSequence.crops`; they have the size in which they were cut."""
        name = "crop" if what == "face" else what
        return np.stack([np.asarray(getattr(self._faces[i], name), np.uint8) for i in positions], out=out)

    def audio(self, start: float = 0.0, stop: float | None = None) -> NDArray[np.float32] | None:
        """See `FaceSequence.audio`: there is none."""
        return None
