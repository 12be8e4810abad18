"""How far the work on a video is: a bar on a terminal, a line now and then elsewhere."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from data_modules.progress import progress
from data_modules.source import Frame, VideoSource

Item = TypeVar("Item")


class Stages:
    """Shows how far the work on one video is."""

    def __init__(self, video: str) -> None:
        self._video = video

    def watch(self, items: Iterable[tuple[int, Item]], total: int, what: str) -> Iterator[tuple[int, Item]]:
        """Passes on (number, item), the number of `total` being how far it is."""
        with progress(f"{self._video}: {what}", total, transient=True) as reach:
            for number, item in items:
                reach(number + 1)
                yield number, item


class WatchedSource(VideoSource):
    """A video that shows how far each pass over it is."""

    def __init__(self, source: VideoSource, stages: Stages, passes: Sequence[str]) -> None:
        self.path, self.fps = source.path, source.fps
        self.width, self.height = source.width, source.height
        self._source, self._stages, self._passes = source, stages, iter(passes)

    @property
    def timestamps(self) -> NDArray[np.float64]:
        """See `VideoSource.timestamps`."""
        return self._source.timestamps

    def frames(self, indices: Sequence[int] | None = None, every: int = 1) -> Iterator[tuple[int, Frame]]:
        """See `VideoSource.frames`."""
        frames = self._source.frames(indices, every)
        return self._stages.watch(frames, self.num_frames, next(self._passes, "reading"))
