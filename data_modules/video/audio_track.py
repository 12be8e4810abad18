"""The sound of a video file."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from data_modules.video.container import open_container
from data_modules.video.source import UnreadableVideoError, describe

LONGEST_GAP = 1.0  # seconds of silence for a packet that does not decode; what its header says may be nonsense


class AudioTrack:
    """The first sound track as mono samples, the first one at the time of the first picture, read block by block.

    Args:
        path: a video or sound file.
        rate: samples a second.
        max_seconds: refuse longer tracks.

    Attributes:
        packets: how many the last pass over the track has seen.
        broken: how many of them do not decode; silence stands for these.
        decoded: how many samples the others held.
        not_numbers: how many of these were infinite or not a number; silence stands for them, too. Samples that are
            louder than full scale, as lossy codecs make them, are cut off at it and not counted.
    """

    def __init__(self, path: Path, rate: int, max_seconds: float) -> None:
        self.path, self.rate, self.max_seconds = path, rate, max_seconds
        self.packets = self.broken = self.decoded = self.not_numbers = 0

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        """Yields blocks (n,) in [-1, 1].

        Raises:
            UnreadableVideoError: the sound cannot be read, nothing of it decodes, or it is too long.
        """
        self.packets = self.broken = self.decoded = self.not_numbers = samples = 0
        with _opened(self.path) as file:
            shift = round(_start(file) * self.rate)  # samples of silence before, or of sound to leave out
            if shift > 0:
                yield np.zeros(shift, np.float32)
            for block in self._decoded(file):
                yield block[max(0, -shift - samples) :]
                samples += len(block)
                if samples > self.max_seconds * self.rate:
                    raise UnreadableVideoError(
                        f"{self.path}: more than {self.max_seconds:.0f} s of sound; cut the file, or raise max_seconds."
                    )
        if self.packets and not self.decoded:
            raise UnreadableVideoError(
                f"{self.path}: none of the {self.packets} packets of its sound decodes: it is damaged, "
                "or of a kind that FFmpeg does not know. Copy the file again."
            )

    def _decoded(self, file: av.container.InputContainer) -> Iterator[NDArray[np.float32]]:
        """All blocks from the first packet on."""
        resampler = av.AudioResampler(format="fltp", layout="mono", rate=self.rate)
        for packet in file.demux(file.streams.audio[0]):
            self.packets += packet.size > 0  # the last one is empty and asks for what the decoder still holds
            try:
                parts = [part for frame in packet.decode() for part in resampler.resample(frame)]
            except (av.error.FFmpegError, ValueError):  # the latter of frames with another rate or layout than before
                self.broken += packet.size > 0
                seconds = float((packet.duration or 0) * (packet.time_base or 0))
                yield np.zeros(round(min(max(seconds, 0.0), LONGEST_GAP) * self.rate), np.float32)
                continue
            for part in parts:
                self.decoded += part.samples
                yield self._within_scale(part.to_ndarray()[0])
        for part in resampler.resample(None):
            yield self._within_scale(part.to_ndarray()[0])

    def _within_scale(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        finite = np.isfinite(samples)
        self.not_numbers += len(samples) - int(np.count_nonzero(finite))
        return np.clip(np.where(finite, samples, np.float32(0)), -1, 1)


def open_audio(path: Path | str, rate: int = 16000, max_seconds: float = 36000.0) -> AudioTrack | None:
    """The first sound track of a video or sound file, or None where it has none.

    Raises:
        UnreadableVideoError: the file cannot be opened.
    """
    path = Path(path)
    with _opened(path) as file:
        return AudioTrack(path, rate, max_seconds) if file.streams.audio else None


def read_audio(path: Path | str, rate: int = 16000, max_seconds: float = 7200.0) -> NDArray[np.float32] | None:
    """All of a sound track as one array (n,), which is why it refuses longer ones; None where there is none."""
    track = open_audio(path, rate, max_seconds)
    return None if track is None else np.concatenate([np.zeros(0, np.float32), *track])


@contextmanager
def _opened(path: Path) -> Iterator[av.container.InputContainer]:
    try:
        with open_container(path) as file:
            yield file
    except (av.error.FFmpegError, OSError) as error:
        found = describe(path) if path.is_file() else "no such file"
        raise UnreadableVideoError(f"{path}: its sound cannot be read; found {found}. Copy it again.") from error


def _start(file: av.container.InputContainer) -> float:
    """Seconds from the first picture to the first sample; 0 where there is no picture."""
    audio, video = file.streams.audio[0], next(iter(file.streams.video), None)
    if video is None or None in (audio.start_time, video.start_time, audio.time_base, video.time_base):
        return 0.0
    start = float(audio.start_time * audio.time_base - video.start_time * video.time_base)
    return start if abs(start) < 60 else 0.0  # a damaged header, not a minute of silence
