"""Writes a stream into a video as its frames come, and then the files that `fer predict` writes of that video."""

from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from data_modules.utils.files import atomic_file, writing_to
from data_modules.utils.pool import Failure
from data_modules.video.pyav import av
from data_modules.video.source import Frame, UnreadableVideoError
from fer_lightning.live.request import LiveRequest
from fer_lightning.predict.annotated_video import CLOCK, fit
from fer_lightning.predict.recogniser import Recogniser
from fer_lightning.predict.request import PredictionRequest
from fer_lightning.predict.run import predict_with
from fer_lightning.predict.video_files import PAGE

RATE = 15  # frames a second that the encoder reckons with; each has its own time


class Recording:
    """A video without sound, H.264 in MP4, that is there when it is closed.

    Args:
        path: of the video.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.frames = path, 0
        self._stack = ExitStack()
        temporary = self._stack.enter_context(atomic_file(path))
        self._stack.enter_context(writing_to(path.parent))
        self._file = self._stack.enter_context(av.open(str(temporary.absolute()), "w"))
        self._video: Any = None
        self._start = 0.0
        self._last = -1

    def add(self, frame: Frame, seconds: float) -> None:
        """Adds an (H, W, 3) RGB frame; one of another size than the first is cut or padded."""
        if self._video is None:
            self._start = seconds
            self._video = self._file.add_stream("libx264", rate=RATE, options={"preset": "superfast", "crf": "21"})
            height, width = frame.shape[:2]
            self._video.width, self._video.height = max(2, width // 2 * 2), max(2, height // 2 * 2)
            self._video.pix_fmt = "yuv420p"
            self._video.time_base = self._video.codec_context.time_base = Fraction(1, CLOCK)
        picture = np.ascontiguousarray(fit(frame, self._video.width, self._video.height))
        self._last = max(self._last + 1, round((seconds - self._start) * CLOCK))  # timestamps must increase
        encoded = av.VideoFrame.from_ndarray(picture, format="rgb24")
        encoded.pts, encoded.time_base = self._last, Fraction(1, CLOCK)
        self._file.mux(self._video.encode(encoded))
        self.frames += 1

    def close(self) -> None:
        """Completes the video.

        Raises:
            UnreadableVideoError: no frame came.
            NotWritableError: the disk is full.
        """
        with self._stack:
            if self._video is None:
                raise UnreadableVideoError("no picture came while it was recording, so there is no video")
            self._file.mux(self._video.encode(None))


def new_recording(folder: Path) -> Recording:
    """Begins a recording that is named after the present time; nothing that is there is replaced.

    Raises:
        NotWritableError: the folder cannot be written to.
    """
    name = f"{datetime.now():%Y-%m-%d_%H-%M-%S}"
    names = (name if number == 1 else f"{name}_{number}" for number in count(1))
    return Recording(next(path for each in names if not (path := folder / f"{each}.mp4").exists()))


@dataclass(frozen=True)
class Written:
    """What was written of a recording."""

    video: Path
    folder: Path
    files: tuple[str, ...]

    @property
    def page(self) -> str:
        """The address of its page relative to the folder of recordings."""
        return f"{self.folder.name}/{PAGE}"


def write_tables(recogniser: Recogniser, request: LiveRequest, video: Path) -> Written:
    """Recognises a recorded video as `fer predict` does, and writes the same files.

    Raises:
        UnreadableVideoError: the video cannot be read again; the message says why.
    """
    wanted = PredictionRequest((video,), request.checkpoint, request.out, request.options, video=False, workers=0)
    ((_, result),) = predict_with(recogniser, wanted)
    if isinstance(result, Failure):
        raise UnreadableVideoError(f"{video}: {result.reason}")
    return Written(video, result.folder, result.files)
