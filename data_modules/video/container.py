"""Opens video and audio files safely with FFmpeg."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_modules.video.pyav import av

# Playlists (hls, concat, ...) are left out: they make the reader open other files and addresses.
CONTAINERS = (
    "mov,mp4,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,asf,ogg,gif,h264,hevc,mjpeg,m4v,dv,mxf,wav,mp3,flac,aac"
)
VIDEO_SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".3gp", ".mkv", ".webm", ".ogv", ".avi", ".flv", ".wmv", ".asf"),
    *(".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".mxf", ".dv", ".gif"),
)
ROUNDING, OBLONG = 1.01, 4.0  # [our choice] longer by shorter side of a pixel; less is rounding, more a mistake
LEAST_MISSING, SHARE_MISSING = 0.12, 0.02  # seconds and share of the duration; less may be rounding
HIGH_DYNAMIC_RANGE = {16: "PQ", 18: "HLG"}  # code of the transfer characteristics in ITU-T H.273 -> usual name
FALL = 1.0  # [our choice] seconds by which times fall back where another recording begins; less is disorder
FROM_ZERO = ("mp4", "matroska")  # whose clock begins at zero, also if nothing is shown then; those of others anywhere


def open_container(path: Path) -> av.container.InputContainer:
    """Opens a video or audio file; references to other files or addresses are not followed.

    Raises:
        av.error.FFmpegError: the file is not a video or audio file.
        OSError: the file cannot be read.
    """
    options = {"format_whitelist": CONTAINERS, "protocol_whitelist": "file"}
    # a relative name may begin with a protocol; titles in old encodings are not needed
    return av.open(str(path.absolute()), options=options, metadata_errors="replace")


def declared_seconds(file: av.container.InputContainer) -> float:
    """Returns the duration that a file declares in seconds; 0 if it declares none.

    For AVI, FFmpeg replaces it by an estimate from the size, but keeps the number of frames.
    """
    counted = 0.0
    if file.format.name == "avi":
        counted = max((float(s.frames / s.average_rate) for s in file.streams.video if s.average_rate), default=0.0)
    return max(counted, float((file.duration or 0) / av.time_base))


def is_short(found: float, declared: float) -> bool:
    """Returns whether a file ends earlier than it declares, by more than rounding explains; both in seconds."""
    return declared - found > max(LEAST_MISSING, SHARE_MISSING * declared)


def missing_seconds(path: Path) -> float:
    """Returns by how many seconds the longest track of a file is shorter than the file declares: its end was cut off.

    It is 0 if all is there. Nothing is decoded.

    Raises:
        av.error.FFmpegError: the file is not a video or audio file.
        OSError: the file cannot be read.
    """
    with open_container(path) as file:
        end, declared = 0.0, declared_seconds(file)
        with suppress(av.error.FFmpegError, OSError):  # where it was cut off
            for packet in file.demux():
                if packet.pts is not None and packet.time_base is not None:
                    end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
        end -= float((file.start_time or 0) / av.time_base)
    return declared - end if is_short(end, declared) else 0.0


def square_pixels(stream: av.VideoStream) -> tuple[float, float]:
    """Returns the factors of width and height that make the pixels of a video square, as players show them.

    No factor is below 1, so that no pixel is lost. Both are 1 where the track does not tell the shape of its pixels or
    tells one that no camera has, and where the shape only makes up for a size that was rounded.
    """
    ratio = float(stream.sample_aspect_ratio or 1)
    if not ROUNDING < max(ratio, 1 / ratio) <= OBLONG:
        return 1.0, 1.0
    return max(1.0, ratio), max(1.0, 1 / ratio)


def picture_note(frame: av.VideoFrame, stream: av.VideoStream) -> str:
    """Returns in words what is unusual about the pictures of a video, by its first frame, and is left as it is."""
    parts = ["interlaced pictures, not deinterlaced"] if frame.interlaced_frame else []
    shape = stream.sample_aspect_ratio or Fraction(1)
    if not 1 / OBLONG <= shape <= OBLONG:
        parts.append(f"pixels of {shape.numerator}:{shape.denominator}, taken for square")
    if curve := HIGH_DYNAMIC_RANGE.get(frame.color_trc):
        parts.append(f"pictures of high dynamic range ({curve}), not tone-mapped")
    return "; ".join(parts)


def first_picture(path: Path) -> float | None:
    """Returns the time in seconds of the first picture that can be decoded, on the clock of the file; None without one.

    A recording that was cut anywhere begins with pictures that cannot be. In AVI, pictures have no times, and the
    decoder's are late by those that it holds back: the track's beginning is taken.

    Raises:
        av.error.FFmpegError: the file is not a video or audio file.
        OSError: the file cannot be read.
    """
    with open_container(path) as file:
        video = video_track(file)
        if video is None or video.codec_context is None:
            return None
        if file.format.name == "avi":
            return float((video.start_time or 0) * (video.time_base or 0))
        video.thread_type = "NONE"
        with suppress(av.error.FFmpegError, OSError):  # where the file was cut off
            for packet in file.demux(video):
                with suppress(av.error.FFmpegError, OSError):
                    for frame in packet.decode():
                        time: float | None = frame.time
                        return time
    return None


def beginnings(path: Path) -> Iterator[float]:
    """Yields the time of the first picture, then the same on the clock of each recording that was joined to the first.

    Nothing without a picture. The packets of the pictures are read when the second is asked for.

    Raises:
        av.error.FFmpegError: the file is not a video or audio file.
        OSError: the file cannot be read.
    """
    first = first_picture(path)
    if first is None:
        return
    yield first
    times = list[float]()
    with open_container(path) as file, suppress(av.error.FFmpegError, OSError):  # where the file was cut off
        for packet in file.demux(video_track(file)):
            if packet.pts is not None and packet.time_base is not None:
                times.append(float(packet.pts * packet.time_base))
    for _, shift in joins(np.array(times)):
        yield first - shift


def joins(times: NDArray[np.float64]) -> list[tuple[int, float]]:
    """Returns where times begin anew, as in recordings that were joined, and what is added from there on to go on.

    That is where two fall back behind the two before by more than a second; one alone is a mistake. A recording begins
    the median interval after the last picture of the one before.

    Args:
        times: (T,) seconds, in the order of the file.
    """
    if len(times) < 4:
        return []
    fall = np.maximum(times[2:-1], times[3:]) < np.minimum(times[:-3], times[1:-2]) - FALL
    places, shifts, shift = np.flatnonzero(fall) + 2, list[float](), 0.0
    for before, after in pairwise(np.split(times, places)):
        steps = np.diff(np.unique(before))
        shift += float(before.max() + (np.median(steps) if len(steps) else 0.0) - after.min())
        shifts.append(shift)
    return list(zip(places.tolist(), shifts, strict=True))


def video_track(file: av.container.InputContainer) -> av.VideoStream | None:
    """Returns the first track of pictures that is not a cover, or None."""
    cover = av.stream.Disposition.attached_pic
    return next((track for track in file.streams.video if not track.disposition & cover), None)


def start_of_pictures(path: Path) -> float:
    """Returns the seconds from where players start counting to the first picture of a file.

    It is 0 for what is not a video file, or cannot be read.
    """
    try:
        with open_container(path) as file:
            begin = float((file.start_time or 0) / av.time_base)
            if any(name in file.format.name for name in FROM_ZERO):
                begin = min(begin, 0.0)
            return max(0.0, (first_picture(path) or 0.0) - begin)
    except (av.error.FFmpegError, OSError):
        return 0.0
