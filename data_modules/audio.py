"""The sound of a video file."""

from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from data_modules.source import UnreadableVideoError, describe
from data_modules.video import CONTAINERS


def read_sound(path: Path | str, rate: int = 16000, max_seconds: float = 7200.0) -> NDArray[np.float32] | None:
    """The first sound track as mono samples, the first one at the time of the first picture.

    Args:
        path: a video or sound file.
        rate: samples a second.
        max_seconds: refuse longer tracks, since all samples are held in memory.

    Returns:
        (n,) float32 in [-1, 1], or None where the file has no sound track.

    Raises:
        UnreadableVideoError: the file cannot be opened, or its sound is too long.
    """
    path = Path(path)
    parts: list[NDArray[np.float32]] = []
    try:
        with av.open(
            str(path.absolute()), options={"format_whitelist": CONTAINERS, "protocol_whitelist": "file"}
        ) as file:
            if not file.streams.audio:
                return None
            start = _start(file)
            resampler, samples = av.AudioResampler(format="fltp", layout="mono", rate=rate), 0
            for frame in _decoded(file):
                parts += [part.to_ndarray()[0] for part in resampler.resample(frame)]
                samples += len(parts[-1]) if parts else 0
                if samples > max_seconds * rate:
                    raise UnreadableVideoError(
                        f"{path}: more than {max_seconds:.0f} s of sound; cut the file, or raise max_seconds."
                    )
            parts += [part.to_ndarray()[0] for part in resampler.resample(None)]
    except (av.error.FFmpegError, OSError) as error:
        if isinstance(error, UnreadableVideoError):
            raise
        found = describe(path) if path.is_file() else "no such file"
        raise UnreadableVideoError(f"{path}: its sound cannot be read; found {found}. Copy it again.") from error
    sound = np.concatenate(parts) if parts else np.zeros(0, np.float32)
    shift = round(start * rate)
    return np.concatenate([np.zeros(max(shift, 0), np.float32), sound[max(-shift, 0) :]])


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
