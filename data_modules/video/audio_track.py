"""Reads the audio of video files as mono samples."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from data_modules.video.container import FALL, beginnings, open_container
from data_modules.video.pyav import av
from data_modules.video.source import UnreadableVideoError, describe

AUDIO_SUFFIXES = (".wav", ".flac", ".mp3", ".m4a", ".aac", ".ogg", ".oga")
"""Suffixes of files of sound alone; what else they hold, such as the picture of an album's cover, is not looked at."""
RATES = range(1000, 768_001)
"""Sampling rates in Hz that a header may state: telephones have 8000, studios up to 768,000. Resampling from a lower
one makes a file very long, and from a higher one does not end."""
LONGEST_GAP = 1.0  # seconds of silence for an undecodable packet at most, as its declared duration may be wrong
UNTIMED = ("avi", "aac", "mp3", "flac", "wav")  # formats without times, which FFmpeg counts by the first rate
JITTER = 0.05  # [our choice] seconds by which two times may be off; sound that late or early is not noticed


class _Resampler:
    """Converts the frames of a track to mono, also if their rate or layout changes in its course.

    PyAV's resampler either refuses such frames, or, if the first one needed no conversion, hands them on as they are:
    at another rate, or with more channels than it reads safely.
    """

    def __init__(self, rate: int) -> None:
        self._rate, self._kind = rate, ("", "", 0)
        self._resampler: av.AudioResampler | None = None

    def __call__(self, frame: av.AudioFrame | None) -> list[av.AudioFrame]:
        """Returns what a frame adds; None returns the rest."""
        rest: list[av.AudioFrame] = []
        kind = self._kind if frame is None else (frame.format.name, frame.layout.name, frame.sample_rate)
        if kind != self._kind:
            if kind[2] not in RATES:
                raise ValueError(f"found a frame of {kind[2]} Hz, expected {RATES[0]} to {RATES[-1]} Hz")
            rest, self._kind = self(None), kind
            self._resampler = av.AudioResampler(format="fltp", layout="mono", rate=self._rate)
        return rest if self._resampler is None else [*rest, *self._resampler.resample(frame)]


class _Block(NamedTuple):
    """Samples (n,) with their time in seconds, if the file has it, and the number that was lost before them."""

    time: float | None
    lost: int
    samples: NDArray[np.float32]


class AudioTrack:
    """Iterates over the first audio track in blocks of mono samples, starting at the time of the first video frame.

    Samples are where the file's timestamps say, to 0.05 s: silence stands for what is missing in between, as where
    packets were lost or nothing was sent in pauses, and what comes before the first video frame or twice is left out.
    Where times begin anew, as in recordings that were joined, sound goes on with the pictures. Without timestamps,
    blocks follow each other. A file of sound alone starts at its first sample.

    Args:
        path: a video or audio file.
        rate: sampling rate in Hz.
        max_seconds: longer tracks are rejected.

    Attributes:
        packets: number of packets in the last pass over the track.
        broken: number of packets that cannot be decoded; they are replaced by silence.
        decoded: number of samples in the other packets.
        not_numbers: number of samples that were infinite or NaN; they are replaced by silence. Samples above full
            scale, which lossy codecs produce, are clipped and not counted.
    """

    def __init__(self, path: Path, rate: int, max_seconds: float) -> None:
        self.path, self.rate, self.max_seconds = path, rate, max_seconds
        self.packets = self.broken = self.decoded = self.not_numbers = 0

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        """Yields blocks (n,) in [-1, 1].

        Raises:
            UnreadableVideoError: the audio cannot be read, no packet can be decoded, the track is too long, or it
                ends before the first picture.
        """
        self.packets = self.broken = self.decoded = self.not_numbers = given = 0
        with _open_file(self.path) as file:
            begins = iter(()) if is_audio_file(self.path) else beginnings(self.path)
            begin = next(begins, None)
            for block, following in pairwise(self._decoded(file)):
                if begin is None and block.time is not None:
                    begin = block.time - block.lost / self.rate
                gap = block.lost
                if not given or file.format.name not in UNTIMED:
                    gap += self._deviation(block, following, begin or 0.0, given)
                if given and gap < -FALL * self.rate and block.time is not None:  # another recording begins
                    begin = next(begins, block.time - (given + block.lost) / self.rate)
                    gap = block.lost + self._deviation(block, following, begin, given)
                self._check_length(given, gap, len(block.samples))
                for start in range(0, gap, self.rate):
                    yield np.zeros(min(self.rate, gap - start), np.float32)
                samples = block.samples[max(0, -gap) :]
                given += max(0, gap) + len(samples)
                yield samples
        if self.packets and not self.decoded:
            raise UnreadableVideoError(
                f"{self.path}: none of the {self.packets} packets of its audio can be decoded: it is damaged "
                "or in a format that FFmpeg does not support. Copy the file again."
            )
        if self.decoded and not given:
            raise UnreadableVideoError(
                f"{self.path}: all of its audio ends before the first picture, by its timestamps; expected audio of "
                "the pictures. Copy the file again, or write it with correct timestamps."
            )

    def _deviation(self, block: _Block, following: _Block, begin: float, given: int) -> int:
        """Returns by how many samples a block is later than those that were given, or (negative) earlier.

        It is 0 where the next block is not: the time of one block alone is a mistake, as parsers make them.
        """
        end = given + block.lost
        found = [
            round((each.time - begin) * self.rate) - expected
            for each, expected in ((block, end), (following, end + len(block.samples) + following.lost))
            if each.time is not None
        ]
        least = min(found, key=abs, default=0)
        if block.time is None or least * found[0] < 0 or (given and abs(least) <= JITTER * self.rate):
            return 0
        return least

    def _check_length(self, given: int, gap: int, samples: int) -> None:
        if given + gap + samples > self.max_seconds * self.rate:
            pause = f", with {gap / self.rate:.0f} s for which it holds nothing" if gap > self.rate else ""
            raise UnreadableVideoError(
                f"{self.path}: more than {self.max_seconds:.0f} s of audio{pause}; cut the file or raise max_seconds."
            )

    def _decoded(self, file: av.container.InputContainer) -> Iterator[_Block]:
        """Yields all blocks, and an empty one at the end."""
        resample, lost = _Resampler(self.rate), 0
        for packet in file.demux(file.streams.audio[0]):
            self.packets += packet.size > 0  # the last, empty packet flushes the decoder
            try:
                parts = [part for frame in packet.decode() for part in resample(frame)]
            except (av.error.FFmpegError, ValueError):
                self.broken += packet.size > 0
                seconds = float((packet.duration or 0) * (packet.time_base or 0))
                lost += round(min(max(seconds, 0.0), LONGEST_GAP) * self.rate)
                continue
            for part in parts:
                self.decoded += part.samples
                yield _Block(part.time, lost, self._within_scale(part.to_ndarray()[0]))
                lost = 0
        for part in resample(None):
            yield _Block(part.time, lost, self._within_scale(part.to_ndarray()[0]))
            lost = 0
        yield _Block(None, lost, np.zeros(0, np.float32))
        yield _Block(None, 0, np.zeros(0, np.float32))

    def _within_scale(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        finite = np.isfinite(samples)
        self.not_numbers += len(samples) - int(np.count_nonzero(finite))
        return np.clip(np.where(finite, samples, np.float32(0)), -1, 1)


def is_audio_file(path: Path) -> bool:
    """Returns whether a file is named as one of sound alone."""
    return path.suffix.lower() in AUDIO_SUFFIXES


def open_audio(path: Path | str, rate: int = 16000, max_seconds: float = 36000.0) -> AudioTrack | None:
    """Opens the first audio track of a video or audio file; returns None if it has none.

    Raises:
        UnreadableVideoError: the file cannot be opened, or the header of its audio is damaged.
    """
    path = Path(path)
    with _open_file(path) as file:
        if not file.streams.audio:
            return None
        if damage := header_damage(file.streams.audio[0]):
            raise UnreadableVideoError(f"{path}: its audio cannot be read; found {damage}. Copy the file again.")
        return AudioTrack(path, rate, max_seconds)


def header_damage(track: av.AudioStream) -> str:
    """Returns what is wrong with the header of an audio track; empty if it can be decoded."""
    if track.codec_context is None:
        return "a track that is damaged, or in a format that FFmpeg does not support"
    if track.codec_context.sample_rate not in RATES:
        return f"a track of {track.codec_context.sample_rate} Hz, expected {RATES[0]} to {RATES[-1]} Hz"
    return ""


def require_audio(path: Path, rate: int = 16000) -> AudioTrack:
    """Opens the first audio track of a file, as `open_audio` does.

    Raises:
        UnreadableVideoError: the file has no audio, or it cannot be read.
    """
    track = open_audio(path, rate)
    if track is None:
        raise UnreadableVideoError(f"{path}: found no audio track; expected a file with sound. Copy the file again.")
    return track


def read_audio(path: Path | str, rate: int = 16000, max_seconds: float = 7200.0) -> NDArray[np.float32] | None:
    """Reads a whole audio track as an (n,) array; returns None if the file has none.

    The default of `max_seconds` is lower than that of `open_audio`, as all samples are in memory.
    """
    track = open_audio(path, rate, max_seconds)
    return None if track is None else np.concatenate([np.zeros(0, np.float32), *track])


@contextmanager
def _open_file(path: Path) -> Iterator[av.container.InputContainer]:
    try:
        with open_container(path) as file:
            yield file
    except (av.error.FFmpegError, OSError) as error:
        found = describe(path) if path.is_file() else "no such file"
        if path.is_file() and path.stat().st_size == 0:
            found = "an empty file (0 bytes)"
        raise UnreadableVideoError(f"{path}: its audio cannot be read; found {found}. Copy the file again.") from error
