"""Frames of a video file, a folder or archive of images, or a still, one at a time and never the whole clip in memory.

PyAV reads frames in sequence: the count is that of the frames that really decode (a container's own count, which
decord takes over, includes frames that an edit list hides, and decord then repeats the last picture), each frame has
its time, and with one colour converter for the whole file it costs no more CPU than decord. Where few frames of a
flawless file are asked for, decord reads them: it skips what lies between, and its pictures are the same to the bit.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from data_modules.manifest import VideoRecord
from data_modules.video.archives import is_archive, open_archive
from data_modules.video.container import open_container
from data_modules.video.images import IMAGE_SUFFIXES, FrameImages, is_frame, natural_order
from data_modules.video.rotation import RotatedSource
from data_modules.video.source import (
    Frame,
    UnreadableVideoError,
    VideoLimits,
    VideoSource,
    check_in_order,
    describe,
    fitted_size,
)

__all__ = [
    "Frame",
    "UnreadableVideoError",
    "VideoFile",
    "VideoLimits",
    "VideoSource",
    "is_video_file",
    "open_clip",
    "open_video",
]

FRAME_CODECS = frozenset({"h264", "hevc", "av1", "mjpeg"})  # one packet is one picture in a MOV/MP4 file
SPARSE = 8  # at most one frame in so many: from here on, skipping pays

log = logging.getLogger(__name__)


def open_video(
    path: Path | str, max_side: int | None = None, limits: VideoLimits | None = None, fps: float = 25.0
) -> VideoSource:
    """Opens a video, a folder or archive of frame images (2.jpg before 10.jpg) or a still (a clip of one frame).

    Args:
        path: the file or folder; archives are those of `archives.ARCHIVE_SUFFIXES`.
        max_side: the longer side of the frames at most, in pixels; larger ones are scaled down while decoding.
        limits: of size and number of frames.
        fps: the rate of frames in a folder or archive, which images do not tell.

    Raises:
        UnreadableVideoError: saying what is wrong with the file.
    """
    path, limits = Path(path), limits or VideoLimits()
    if path.is_dir():
        files = natural_order(p for p in path.iterdir() if is_frame(p))
        if not files:
            there = ", ".join(sorted(p.name for p in path.iterdir())[:5]) or "nothing"
            raise UnreadableVideoError(
                f"{path}: a folder without frame images; found {there}, expected {' '.join(IMAGE_SUFFIXES)}."
            )
        return FrameImages(path, files, max_side, limits, fps)
    if not path.is_file():
        raise UnreadableVideoError(f"{path}: there is no such file or folder; check the data set's root.")
    if path.stat().st_size == 0:
        raise UnreadableVideoError(f"{path}: the file is empty (0 bytes); copy or download it again.")
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return FrameImages(path, [path], max_side, limits, fps)
    if is_archive(path):
        return open_archive(path, max_side, limits, fps)
    return VideoFile(path, max_side, limits)


def is_video_file(path: Path) -> bool:
    """Whether a clip's path is that of a video, which may have sound: no folder, still or archive of images."""
    return path.is_file() and path.suffix.lower() not in IMAGE_SUFFIXES and not is_archive(path)


def open_clip(folder: Path, record: VideoRecord, max_side: int | None = None) -> VideoSource:
    """Opens the video, folder, archive or still of a record; its frames are upright.

    Args:
        folder: the data set's root.
        record: which clip.
        max_side: see `open_video`.

    Raises:
        UnreadableVideoError: saying what is wrong with it.
    """
    source = open_video(folder / record.path, max_side)
    return RotatedSource(source, record.quarter_turns) if record.quarter_turns % 4 else source


class VideoFile(VideoSource):
    """A video file. Packets that do not decode are left out, as every player does, and counted in `broken`."""

    def __init__(self, path: Path, max_side: int | None, limits: VideoLimits) -> None:
        self.path, self._limits = path, limits
        self._timestamps: NDArray[np.float64] | None = None
        self._plain = False  # decord agrees with PyAV on such files
        with self._opened() as (container, stream):
            limits.check_size(path, stream.codec_context.width, stream.codec_context.height)
            limits.check_count(path, stream.frames)
            self._declared = stream.frames
            self.fps = float(stream.average_rate or stream.guessed_rate or 25.0)
            first = next(self._decode(container, stream), None)
            if first is None:
                raise UnreadableVideoError(
                    f"{path}: a picture track ({stream.codec_context.name}) of which no frame decodes; "
                    f"found {describe(path)}. Copy or download the file again."
                )
        limits.check_size(path, first.width, first.height)
        self._turns = round(first.rotation / 90) % 4  # quarter turns against the clock
        self._size = fitted_size(first.width, first.height, max_side)
        self._scaled = self._size != (first.width, first.height)
        self.width, self.height = self._size[::-1] if self._turns % 2 else self._size

    @contextmanager
    def _opened(self) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
        try:
            container = open_container(self.path)
        except (av.error.FFmpegError, OSError, UnicodeError) as error:
            raise UnreadableVideoError(
                f"{self.path}: cannot be opened as a video ({error.__class__.__name__}); found {describe(self.path)}, "
                "expected a video file such as MP4, MKV, MOV, AVI or WebM. Copy or download it again."
            ) from error
        with container:
            for stream in container.streams.video:
                if not stream.disposition & av.stream.Disposition.attached_pic:  # a record's cover is no video
                    stream.thread_type = (
                        "NONE"  # clips are read in parallel; threads inside of one cost more than they give
                    )
                    yield container, stream
                    return
            audio = f"sound ({len(container.streams.audio)} track(s))" if container.streams.audio else "no picture"
            raise UnreadableVideoError(
                f"{self.path}: found {audio} only, expected a picture track; give the file with the video."
            )

    def _decode(self, container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[av.VideoFrame]:
        """All frames that decode."""
        self.broken = 0
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except (av.error.FFmpegError, OSError):  # the file ends in the middle of something
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
        """See `VideoSource.expected_frames`."""
        return self._declared if self._timestamps is None else len(self._timestamps)

    @property
    def timestamps(self) -> NDArray[np.float64]:
        """(T,) seconds from the first frame on: from the container where it can be trusted, else by decoding once."""
        if self._timestamps is None:
            self._timestamps = self._timestamps_of_container()
            self._plain = self._timestamps is not None and self._turns == 0 and not self._hidden
        if self._timestamps is None:
            for _ in self._numbered():
                pass
        assert self._timestamps is not None
        return self._timestamps

    def _timestamps_of_container(self) -> NDArray[np.float64] | None:
        """Times of the shown packets (a millisecond of reading), or None if they could differ from what decodes."""
        with self._opened() as (container, stream):
            if "mp4" not in container.format.name or stream.codec_context.name not in FRAME_CODECS:
                return None
            try:
                packets = [packet for packet in container.demux(stream) if packet.size]
            except (av.error.FFmpegError, OSError):
                return None
            times = sorted(packet.pts for packet in packets if packet.pts is not None and not packet.is_discard)
            self._hidden = sum(packet.is_discard for packet in packets)
            audio = not any(packet.is_corrupt for packet in packets) and len(times) + self._hidden == stream.frames
            if not audio or not times or stream.time_base is None:
                return None
            ticks = np.asarray(times, dtype=np.float64)
            seconds: NDArray[np.float64] = (ticks - ticks[0]) * float(stream.time_base)
            return seconds

    def _numbered(self) -> Iterator[tuple[int, av.VideoFrame]]:
        """Frame number and decoded frame; after the last one, the count and the times are known."""
        times: list[float] = []
        with self._opened() as (container, stream):
            for index, frame in enumerate(self._decode(container, stream)):
                self._limits.check_count(self.path, index + 1)
                times.append(frame.time if frame.time is not None else index / self.fps)
                yield index, frame
        if self.broken and self._timestamps is None:
            log.warning("%s: %d packets do not decode; the clip goes on without them", self.path, self.broken)
        self._timestamps = np.asarray(times, dtype=np.float64) - (times[0] if times else 0.0)

    def frames(self, indices: Sequence[int] | None = None, every: int = 1) -> Iterator[tuple[int, Frame]]:
        """See `VideoSource.frames`."""
        wanted = check_in_order(indices, self.path, every)
        if wanted is not None and not wanted:
            return
        if wanted and self._timestamps is not None and wanted[-1] >= len(self._timestamps):
            raise IndexError(f"{self.path}: frame {wanted[-1]} was asked for; there are {len(self._timestamps)}")
        if wanted and not self._scaled and len(wanted) * SPARSE <= self.num_frames and self._plain:
            for index, picture in sparse_frames(self.path, wanted, self.num_frames):
                yield index, picture
                wanted = wanted[1:]
            if not wanted:
                return
        convert, left = VideoReformatter(), None if wanted is None else iter(wanted)
        following = next(left) if left else 0
        for index, frame in self._numbered():
            if index != following:
                continue
            following = index + every if left is None else next(left, -1)
            yield index, self._upright(convert, frame)
            if following < 0:
                return
        if wanted is not None:
            raise IndexError(f"{self.path}: frame {following} was asked for; there are {self.num_frames}")

    def _upright(self, convert: VideoReformatter, frame: av.VideoFrame) -> Frame:
        width, height = self._size
        how = "AREA" if self._scaled else "BICUBIC"
        picture = convert.reformat(frame, width=width, height=height, format="rgb24", interpolation=how).to_ndarray()
        return np.ascontiguousarray(np.rot90(np.asarray(picture, dtype=np.uint8), self._turns))


def sparse_frames(path: Path, indices: Sequence[int], num_frames: int) -> Iterator[tuple[int, Frame]]:
    """Few frames of a flawless file by decord, which passes over what lies between; ends early where decord cannot."""
    try:
        import torch  # noqa: F401 - decord imported before torch brings the process down
        import decord  # isort: skip

        decord.logging.set_level(decord.logging.QUIET)
        reader = decord.VideoReader(str(path.absolute()), num_threads=1)
    except (ImportError, OSError, RuntimeError):  # no wheel for this machine, or not a file for decord
        return
    if len(reader) != num_frames:
        return
    for index in indices:
        try:
            frame = reader[index].asnumpy()
        except (RuntimeError, IndexError):
            return
        yield index, frame
