"""The pictures of a stream, each with its time, on their way from a camera to the recogniser."""

import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from data_modules.utils.text import printable_line
from data_modules.video.container import square_pixels
from data_modules.video.pyav import av
from data_modules.video.reader import open_video
from data_modules.video.source import Frame, UnreadableVideoError, fitted_size
from fer_lightning.live.request import STREAM

MAX_SIDE = 960  # pixels of what is read here; the page sends smaller ones
QUALITY = 85  # of JPEG
TIMEOUT = 10.0  # seconds without an answer of a stream
FILE = re.compile(r"https?://", re.IGNORECASE)  # addresses of what comes as fast as it can, not as it happens
RATE_WITHOUT_TIMES = 25  # frames a second of a stream that does not tell them


@dataclass(frozen=True, eq=False)
class Picture:
    """A frame as it is sent between page and server."""

    seconds: float
    jpeg: bytes

    @classmethod
    def of(cls, frame: Frame, seconds: float) -> "Picture":
        """Encodes an (H, W, 3) RGB frame."""
        return cls(seconds, cv2.imencode(".jpg", frame[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes())

    @property
    def frame(self) -> Frame:
        """The (H, W, 3) RGB frame.

        Raises:
            UnreadableVideoError: it cannot be decoded.
        """
        pixels = np.frombuffer(self.jpeg, np.uint8)
        frame: Any = cv2.imdecode(pixels, cv2.IMREAD_COLOR_RGB) if len(pixels) else None
        if frame is None:
            raise UnreadableVideoError(f"a picture of {len(pixels)} bytes cannot be decoded; expected JPEG")
        return np.asarray(frame, np.uint8)


def pictures_of(source: str, stop: threading.Event) -> Iterator[Picture]:
    """Yields the pictures of a file or a stream at the pace at which they are shown, until `stop` is set.

    Args:
        source: path of a video, or the address of a stream.
        stop: ends the pictures.

    Raises:
        UnreadableVideoError: it cannot be read.
    """
    begin = time.monotonic()
    is_address = bool(STREAM.match(source))
    happens_now = is_address and not FILE.match(source)  # and so sets its own pace
    for seconds, frame in _frames_of_stream(source) if is_address else _frames_of_file(Path(source)):
        wait = 0.0 if happens_now else begin + seconds - time.monotonic()
        if stop.wait(max(wait, 0.0)):
            return
        yield Picture.of(frame, seconds)


def _frames_of_file(path: Path) -> Iterator[tuple[float, Frame]]:
    video = open_video(path, max_side=MAX_SIDE)
    times = video.timestamps
    for index, frame in video.frames():
        yield float(times[index]), frame


def _frames_of_stream(address: str) -> Iterator[tuple[float, Frame]]:
    try:
        with av.open(address, timeout=TIMEOUT) as file:
            if not file.streams.video:
                raise UnreadableVideoError(f"{printable_line(address)}: found no pictures; expected a stream of video")
            start, (widen, heighten) = None, square_pixels(file.streams.video[0])
            for number, frame in zip(count(), file.decode(file.streams.video[0]), strict=False):
                seconds = number / RATE_WITHOUT_TIMES if frame.time is None else frame.time
                start = seconds if start is None else start
                width, height = fitted_size(frame.width * widen, frame.height * heighten, MAX_SIDE)
                yield seconds - start, frame.to_ndarray(format="rgb24", width=width, height=height)
    except (av.error.FFmpegError, OSError) as error:
        raise UnreadableVideoError(
            f"{printable_line(address)}: cannot be read ({error}); expected a stream that this machine reaches"
        ) from error
