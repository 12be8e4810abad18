"""Progress of the work on each video: a bar on a terminal, a line from time to time elsewhere."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

from data_modules.manifest import VideoRecord
from data_modules.utils.progress import progress
from data_modules.utils.text import printable_line


class Stages:
    """Shows the progress of each video through its stages, and records when work on it began."""

    def __init__(self) -> None:
        self._start_times: dict[str, float] = {}
        self._bar = ExitStack()
        self._current_clip = ""  # the video whose faces the bar shows; empty for none
        self._advance: Callable[[float], None] = lambda done: None
        self._name = ""

    def update_faces(self, record: VideoRecord, share: float) -> None:
        """Shows the share of a video, from 0 to 1, whose faces have been extracted."""
        self._start_times.setdefault(record.clip_id, time.perf_counter())
        if not self._current_clip:
            title = f"{printable_line(Path(record.path).name)}: extracting faces, per cent"
            self._current_clip = record.clip_id
            self._advance = self._bar.enter_context(progress(title, 100, transient=True))
        if self._current_clip == record.clip_id:
            self._advance(round(100 * share))

    def finish_faces(self, path: Path, clip_id: str) -> float:
        """Removes the bar of a video's faces, and returns the `time.perf_counter` at which work on it began."""
        self._bar.close()
        self._current_clip, self._name = "", printable_line(path.name)
        return self._start_times.pop(clip_id, time.perf_counter())

    def track(self, total: int, what: str) -> AbstractContextManager[Callable[[float], None]]:
        """Shows the progress of a stage; yields a function that receives how many of `total` steps are done."""
        return progress(f"{self._name}: {what}", total, transient=True)
