"""The sound of a video file."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from data_modules.source import UnreadableVideoError, describe
from data_modules.video import CONTAINERS


def sound_blocks(
    path: Path | str, rate: int = 16000, max_seconds: float = 36000.0
) -> Iterator[NDArray[np.float32]] | None:
    """The first sound track as mono samples, the first one at the time of the first picture, in blocks.

    Args:
        path: a video or sound file.
        rate: samples a second.
        max_seconds: refuse longer tracks.

    Returns:
        Blocks (n,) float32 in [-1, 1], read while they are asked for, or None where the file has no sound track.

    Raises:
        UnreadableVideoError: the file cannot be opened, or its sound is too long.
    """
    path = Path(path)
    with _opened(path) as file:
        if not file.streams.audio:
            return None
    return _blocks(path, rate, max_seconds)


def read_sound(path: Path | str, rate: int = 16000, max_seconds: float = 7200.0) -> NDArray[np.float32] | None:
    """All of `sound_blocks` as one array (n,), which is why it refuses longer tracks."""
    blocks = sound_blocks(path, rate, max_seconds)
    return None if blocks is None else np.concatenate([np.zeros(0, np.float32), *blocks])


def _blocks(path: Path, rate: int, max_seconds: float) -> Iterator[NDArray[np.float32]]:
    with _opened(path) as file:
        shift = round(_start(file) * rate)  # samples of silence before, or of sound to leave out
        if shift > 0:
            yield np.zeros(shift, np.float32)
        resampler, samples = av.AudioResampler(format="fltp", layout="mono", rate=rate), 0
        for frame in chain(_decoded(file), [None]):  # None: what the resampler still holds
            for part in resampler.resample(frame):
                block = part.to_ndarray()[0]
                yield block[max(0, -shift - samples) :]
                samples += len(block)
            if samples > max_seconds * rate:
                raise UnreadableVideoError(
                    f"{path}: more than {max_seconds:.0f} s of sound; cut the file, or raise max_seconds."
                )


@contextmanager
def _opened(path: Path) -> Iterator[av.container.InputContainer]:
    try:
        with av.open(
            str(path.absolute()), options={"format_whitelist": CONTAINERS, "protocol_whitelist": "file"}
        ) as file:
            yield file
    except (av.error.FFmpegError, OSError) as error:
        found = describe(path) if path.is_file() else "no such file"
        raise UnreadableVideoError(f"{path}: its sound cannot be read; found {found}. Copy it again.") from error


def _start(file: av.container.InputContainer) -> float:
    """Seconds from the first picture to the first sample; 0 where there is no picture."""
    sound, video = file.streams.audio[0], next(iter(file.streams.video), None)
    if video is None or None in (sound.start_time, video.start_time, sound.time_base, video.time_base):
        return 0.0
    start = float(sound.start_time * sound.time_base - video.start_time * video.time_base)
    return start if abs(start) < 60 else 0.0  # a damaged header, not a minute of silence


def _decoded(file: av.container.InputContainer):  # type: ignore[no-untyped-def]
    """The frames of sound that decode."""
    for packet in file.demux(file.streams.audio[0]):
        try:
            yield from packet.decode()
        except av.error.InvalidDataError:
            continue
