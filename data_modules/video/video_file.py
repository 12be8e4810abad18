"""Reads frames of video files, one at a time to save memory.

PyAV reads frames in sequence. It counts the frames that really decode, while decord trusts the container, whose count
includes frames hidden by an edit list, and repeats the last frame. Each frame has its time, and with one colour
converter per file PyAV needs no more CPU time than decord. If only a few frames of an intact file of 8 bits are needed,
decord reads them: it skips those in between, and its frames are identical to the bit. So are torchcodec's, which reads
all frames of such files if it is asked to (`Reader`). What they cannot read, PyAV reads.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_modules.utils.text import counted, printable_line
from data_modules.video.container import (
    declared_seconds,
    is_short,
    joins,
    missing_seconds,
    open_container,
    picture_note,
    square_pixels,
    video_track,
)
from data_modules.video.decord_frames import sparse_frames
from data_modules.video.pyav import av
from data_modules.video.source import (
    DEFAULT_READER,
    Frame,
    Reader,
    UnreadableVideoError,
    VideoLimits,
    VideoSource,
    describe,
    fitted_size,
    sorted_indices,
)
from data_modules.video.torchcodec_frames import require_torchcodec, torchcodec_frames

FRAME_CODECS = frozenset({"h264", "hevc", "av1", "mjpeg"})  # one packet is one frame in a MOV/MP4 file
HONEST = 0.01  # [our choice] deviation of a declared rate from the mean; less may be rounding
SPARSE = 8  # skipping pays if at most one frame in 8 is needed

log = logging.getLogger(__name__)


class VideoFile(VideoSource):
    """A video file. Packets that cannot be decoded are skipped, as in all players, and counted in `broken`.

    Frames whose pixels are not square, as those of DV, are stretched as players stretch them.

    Args:
        path: the file.
        max_side: see `open_video`.
        limits: see `open_video`.
        reader: `torchcodec` reads the frames of intact, upright MP4 and MOV files of 8 bits at their full size, where
            it is the same to the bit. PyAV reads all others, and whatever torchcodec cannot decode.

    Raises:
        UnreadableVideoError: the file cannot be read.
        ReaderNotFoundError: the reader is not installed.
    """

    def __init__(self, path: Path, max_side: int | None, limits: VideoLimits, reader: Reader = DEFAULT_READER) -> None:
        if reader == "torchcodec":
            require_torchcodec()
        self.path, self._limits, self._reader = path, limits, reader
        self._timestamps: NDArray[np.float64] | None = None
        self._plain = False  # whether decord and torchcodec read the same frames as PyAV
        self._hidden = 0  # frames that an edit list hides
        with self._opened() as (container, stream):
            if stream.codec_context.width and stream.codec_context.height:  # else the first frame tells
                limits.check_size(path, stream.codec_context.width, stream.codec_context.height)
            limits.check_count(path, stream.frames)
            self._declared, self._seconds, self._stream = stream.frames, declared_seconds(container), stream.index
            self.fps = float(stream.average_rate or stream.guessed_rate or 25.0)
            first = next(self._decode(container, stream), None)
            if first is None:
                raise UnreadableVideoError(
                    f"{path}: no frame of the video track ({stream.codec_context.name}) can be decoded; "
                    f"found {describe(path)}. Copy or download the file again."
                )
            self.picture_note, (widen, heighten) = picture_note(first, stream), square_pixels(stream)
        square = fitted_size(first.width * widen, first.height * heighten, None)
        limits.check_size(path, *square)
        self._turns = round(first.rotation / 90) % 4  # anticlockwise quarter turns
        self._is_8_bit = all(component.bits == 8 for component in first.format.components)
        self._size = fitted_size(*square, max_side)
        self._scaled = self._size != (first.width, first.height)
        self.width, self.height = self._size[::-1] if self._turns % 2 else self._size
        self.stretch = (heighten, widen) if self._turns % 2 else (widen, heighten)

    @contextmanager
    def _opened(self) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
        try:
            container = open_container(self.path)
        except (av.error.FFmpegError, OSError) as error:
            raise UnreadableVideoError(
                f"{self.path}: cannot be opened as a video ({error.__class__.__name__}); found {describe(self.path)}, "
                "expected a video file such as MP4, MKV, MOV, AVI or WebM. Copy or download it again."
            ) from error
        with container:
            stream = video_track(container)
            if stream is None:
                count = len(container.streams.audio)
                content = f"{counted(count, 'audio track')} and no video" if count else "neither audio nor video"
                raise UnreadableVideoError(
                    f"{self.path}: found {content}; expected a video track. Use the file with the video."
                )
            if stream.codec_context is None:
                raise UnreadableVideoError(
                    f"{self.path}: its video track is damaged, or in a format that FFmpeg does not support; "
                    f"found {describe(self.path)}. Copy or download it again, or convert it to H.264."
                )
            stream.thread_type = "NONE"  # clips are read in parallel, so threads within one only cost time
            yield container, stream

    def _decode(self, container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[av.VideoFrame]:
        """Yields all frames that can be decoded."""
        self.broken = 0
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except (av.error.FFmpegError, OSError):  # the file is truncated
                self.broken += 1
                return
            try:
                frames = packet.decode()
            except (av.error.FFmpegError, OSError):
                self.broken += 1
                continue
            yield from frames

    @property
    def expected_frames(self) -> int:
        """The number of frames that the container declares, until they are counted."""
        return self._declared if self._timestamps is None else len(self._timestamps)

    @property
    def timestamps(self) -> NDArray[np.float64]:
        """The (T,) times of all frames in seconds: from the container if reliable, otherwise by decoding once."""
        if not self._read_container() and self._timestamps is None:
            for _ in self._numbered():
                pass
        assert self._timestamps is not None  # set by the loop
        return self._timestamps

    def _read_container(self) -> bool:
        """Takes the times from the container if they are not known yet; returns whether others read as PyAV does."""
        if self._timestamps is None and (times := self._timestamps_of_container()) is not None:
            self._set_times(times)
            self._plain = self._turns == 0 and not self._hidden
        return self._plain

    def _set_times(self, times: NDArray[np.float64]) -> None:
        """Stores the times of all frames, and their mean rate where the declared one is another."""
        self._timestamps = times
        last = float(times.max(initial=0.0))
        if last > 0 and abs((mean := (len(times) - 1) / last) - self.fps) > HONEST * mean:
            self.fps = mean

    def _timestamps_of_container(self) -> NDArray[np.float64] | None:
        """Returns the times of the visible packets, or None if the decoded frames could differ from them."""
        with self._opened() as (container, stream):
            if "mp4" not in container.format.name or stream.codec_context.name not in FRAME_CODECS:
                return None
            times, hidden = list[int](), 0
            try:
                for packet in container.demux(stream):
                    if packet.is_corrupt:
                        return None
                    hidden += bool(packet.size and packet.is_discard)
                    if packet.size and packet.pts is not None and not packet.is_discard:
                        times.append(packet.pts)
            except (av.error.FFmpegError, OSError):
                return None
            self._hidden = hidden
            if len(times) + hidden != stream.frames or not times or stream.time_base is None:
                return None
            ticks = np.asarray(sorted(times), dtype=np.float64)
            seconds: NDArray[np.float64] = (ticks - ticks[0]) * float(stream.time_base)
            return seconds

    def _numbered(self) -> Iterator[tuple[int, av.VideoFrame]]:
        """Yields (frame number, decoded frame); stores the times of all frames after the last one."""
        times: list[float] = []
        with self._opened() as (container, stream):
            for index, frame in enumerate(self._decode(container, stream)):
                self._limits.check_count(self.path, index + 1)
                times.append(frame.time if frame.time is not None else index / self.fps)
                yield index, frame
        if self.broken and self._timestamps is None:
            log.warning("%s: %d packets cannot be decoded and are skipped", printable_line(self.path), self.broken)
        self._set_times(self._continued(np.asarray(times, dtype=np.float64) - (times[0] if times else 0.0)))
        self._measure_missing(self.timestamps)

    def _continued(self, times: NDArray[np.float64]) -> NDArray[np.float64]:
        """Makes the times of joined recordings follow each other."""
        found = joins(times)
        continued = times.copy()
        for place, shift in found:
            continued[place:] = times[place:] + shift
        note = f"{counted(len(found) + 1, 'recording')} joined, read one after another"
        if found and note not in self.picture_note:
            self.picture_note = "; ".join(filter(None, (self.picture_note, note)))
        return continued

    def _measure_missing(self, times: NDArray[np.float64]) -> None:
        """Sets `missing` after a pass over all frames, which are at these times."""
        shown = float(times[-1]) + 1 / self.fps if len(times) else 0.0
        self.missing = missing_seconds(self.path) if is_short(shown, self._seconds) else 0.0

    def frames(self, indices: Sequence[int] | None = None, every: int = 1) -> Iterator[tuple[int, Frame]]:
        """Yields frames as `VideoSource.frames` does."""
        selected = sorted_indices(indices, self.path, every)
        if selected is not None and not selected:
            return
        if selected and self._timestamps is not None and selected[-1] >= len(self._timestamps):
            raise IndexError(f"{self.path}: frame {selected[-1]} was requested of {len(self._timestamps)}")
        by_another, read = self._frames_for_another(selected, every), 0
        for item in self._read_by_another(by_another):
            yield item
            read += 1
        if by_another and read == len(by_another):
            if selected is None:
                self.broken = 0
                self._measure_missing(self.timestamps)
            return
        convert = av.video.reformatter.VideoReformatter()
        remaining = None if selected is None else iter(selected[read:])
        following = next(remaining) if remaining else read * every
        for index, frame in self._numbered():
            if index != following:
                continue
            following = index + every if remaining is None else next(remaining, -1)
            yield index, self._upright(convert, frame)
            if following < 0:
                return
        if selected is not None:
            raise IndexError(f"{self.path}: frame {following} was requested; there are {self.num_frames}")

    def _frames_for_another(self, selected: list[int] | None, every: int) -> Sequence[int]:
        """Returns the numbers of the frames that are wanted if another reader than PyAV is to read them, else none."""
        if self._scaled or not self._is_8_bit:  # others convert more bits in another way
            return ()
        if (selected is None and self._reader == "pyav") or not self._read_container():
            return ()
        if self._reader == "torchcodec":
            return range(0, self.num_frames, every) if selected is None else selected
        return selected if selected and len(selected) * SPARSE <= self.num_frames else ()

    def _read_by_another(self, wanted: Sequence[int]) -> Iterator[tuple[int, Frame]]:
        """Yields frames until one cannot be read."""
        if not wanted:
            return iter(())
        if self._reader == "torchcodec":
            return torchcodec_frames(self.path, self._stream, wanted, self.timestamps)
        return sparse_frames(self.path, wanted, self.num_frames)

    def _upright(self, convert: av.video.reformatter.VideoReformatter, frame: av.VideoFrame) -> Frame:
        width, height = self._size
        method = "AREA" if self._scaled else "BICUBIC"
        image = convert.reformat(frame, width=width, height=height, format="rgb24", interpolation=method).to_ndarray()
        return np.ascontiguousarray(np.rot90(np.asarray(image, dtype=np.uint8), self._turns))
