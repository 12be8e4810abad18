"""Rotates clips that were filmed sideways."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from data_modules.video.source import Frame, VideoSource


class RotatedSource(VideoSource):
    """A clip rotated clockwise by quarter turns.

    Args:
        source: the original clip.
        quarter_turns: number of clockwise quarter turns.
    """

    def __init__(self, source: VideoSource, quarter_turns: int) -> None:
        self._source, self._quarter_turns = source, quarter_turns % 4
        self.path = source.path
        self._take_over()
        size, turned = (source.width, source.height), self._quarter_turns % 2
        self.width, self.height = size[::-1] if turned else size
        self.stretch = source.stretch[::-1] if turned else source.stretch

    @property
    def timestamps(self) -> NDArray[np.float64]:
        """The (T,) times of all frames in seconds, as in the original clip."""
        times = self._source.timestamps
        self._take_over()
        return times

    def frames(self, indices: Sequence[int] | None = None, every: int = 1) -> Iterator[tuple[int, Frame]]:
        """Yields rotated frames as `VideoSource.frames` does."""
        try:
            for index, frame in self._source.frames(indices, every):
                yield index, np.ascontiguousarray(np.rot90(frame, -self._quarter_turns))  # rot90 is anticlockwise
        finally:
            self._take_over()

    def _take_over(self) -> None:
        """Takes what the original clip has found out about itself until now."""
        source = self._source
        self.fps, self.picture_note = source.fps, source.picture_note
        self.broken, self.missing = source.broken, source.missing
