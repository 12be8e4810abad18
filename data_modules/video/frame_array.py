"""Frames in memory as a clip."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_modules.video.source import Frame, UnreadableVideoError, VideoLimits, VideoSource, sorted_indices

NAME = Path("frames")  # what messages call frames that have no file


class FrameArray(VideoSource):
    """Frames of an array.

    Args:
        frames: (T, H, W, 3) uint8 RGB, T at least 1. It is not copied.
        fps: frames per second.
        limits: limits of the size and the number of frames.

    Raises:
        UnreadableVideoError: the array has another shape or type, or exceeds a limit.
        ValueError: the frame rate is not a positive number.
    """

    def __init__(self, frames: NDArray[np.uint8], fps: float, limits: VideoLimits | None = None) -> None:
        if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3 or not len(frames):
            raise UnreadableVideoError(
                f"found an array of {frames.dtype} with shape {frames.shape}; expected RGB frames, uint8 (T, H, W, 3)"
            )
        if not 0 < fps < float("inf"):
            raise ValueError(f"fps {fps}: expected frames per second, a positive number")
        limits = limits or VideoLimits()
        limits.check_count(NAME, len(frames))
        self.path, self.fps, self._frames = NAME, float(fps), frames
        self.height, self.width = frames.shape[1:3]
        limits.check_size(NAME, self.width, self.height)

    @property
    def timestamps(self) -> NDArray[np.float64]:
        """The (T,) times of all frames in seconds at the given frame rate."""
        return np.arange(len(self._frames), dtype=np.float64) / self.fps

    def frames(self, indices: Sequence[int] | None = None, every: int = 1) -> Iterator[tuple[int, Frame]]:
        """Yields frames as `VideoSource.frames` does."""
        selected = sorted_indices(indices, self.path, every)
        if selected and selected[-1] >= len(self._frames):
            raise IndexError(f"{self.path}: frame {selected[-1]} was requested of {len(self._frames)}")
        for index in range(0, len(self._frames), every) if selected is None else selected:
            yield index, self._frames[index]
