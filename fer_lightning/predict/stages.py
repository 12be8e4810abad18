"""How far the work on a video is: a bar on a terminal, a line now and then elsewhere."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

from data_modules.manifest import VideoRecord
from data_modules.utils.progress import progress
from fer_lightning.predict.video_files import shown


class Stages:
    """Shows how far the work on each video is, and remembers when it began."""

    def __init__(self) -> None:
        self._begun: dict[str, float] = {}
        self._bar = ExitStack()
        self._shown = ""  # the video whose faces the bar is about
        self._advance: Callable[[float], None] = lambda done: None
        self._video = ""

    def faces(self, record: VideoRecord, share: float) -> None:
        """Is told how much of a video's faces is made."""
        self._begun.setdefault(record.clip_id, time.perf_counter())
        if not self._shown:
            what = f"{shown(Path(record.path).name)}: making faces, per cent"
            self._shown, self._advance = record.clip_id, self._bar.enter_context(progress(what, 100, transient=True))
        if self._shown == record.clip_id:
            self._advance(round(100 * share))

    def begin(self, path: Path, clip_id: str) -> float:
        """The faces of a video are made: its bar goes; returns when the work on it began."""
        self._bar.close()
        self._shown, self._video = "", shown(path.name)
        return self._begun.pop(clip_id, time.perf_counter())

    def watch(self, total: int, what: str) -> AbstractContextManager[Callable[[float], None]]:
        """Yields a function that is told how many of `total` are done."""
        return progress(f"{self._video}: {what}", total, transient=True)
