"""How far the work on a video is: a bar on a terminal, a line now and then elsewhere."""

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from data_modules.source import Frame, VideoSource

LINE_EVERY = 10.0  # seconds between lines where there is no terminal

Item = TypeVar("Item")


class Stages:
    """Shows how far the work on one video is: a bar on a terminal, a line now and then elsewhere."""

    def __init__(self, video: str) -> None:
        self._video, self._console, self._last = video, Console(), time.monotonic()

    def watch(self, items: Iterable[tuple[int, Item]], total: int, what: str) -> Iterator[tuple[int, Item]]:
        """Passes on (number, item), the number of `total` being how far it is."""
        if self._console.is_terminal:
            columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn())
            with Progress(*columns, TimeRemainingColumn(), console=self._console, transient=True) as bar:
                task = bar.add_task(f"{self._video}: {what}", total=total)
                for number, item in items:
                    bar.update(task, completed=number + 1)
                    yield number, item
            return
        for number, item in items:
            if time.monotonic() - self._last >= LINE_EVERY:
                self._last = time.monotonic()
                print(f"{self._video}: {what}, {100 * (number + 1) / total:.0f} %", flush=True)
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
