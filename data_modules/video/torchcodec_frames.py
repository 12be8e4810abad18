"""Reads frames with torchcodec, which may be chosen instead of PyAV; it is imported when it is first asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_modules.video.source import Frame

TOLERANCE = 1e-3  # seconds; frames are further apart


class ReaderNotFoundError(ValueError):
    """A reader of videos, or what it needs, is missing; the message says what was found and what to install."""


def require_torchcodec() -> int:
    """Returns the major version of the FFmpeg that torchcodec has loaded.

    Raises:
        ReaderNotFoundError: torchcodec is not installed, or finds no shared libraries of FFmpeg.
    """
    try:
        from torchcodec import ffmpeg_major_version
    except (ImportError, OSError, RuntimeError) as error:
        raise ReaderNotFoundError(
            f"--reader torchcodec: found no torchcodec that can be loaded ({_reason(error)}); expected the package and "
            "the shared libraries of FFmpeg 4 to 9. Install both, as with `pip install 'fer_lightning[torchcodec]'` "
            "and `apt install ffmpeg`, or read with PyAV, the default"
        ) from error
    if ffmpeg_major_version is None:
        raise ReaderNotFoundError(
            f"--reader torchcodec: found torchcodec {version('torchcodec')} without FFmpeg; expected the shared "
            "libraries of FFmpeg 4 to 9, those in PyAV's wheel have other names. Install them, as with `apt install "
            "ffmpeg` or `conda install ffmpeg`, and a torchcodec for this PyTorch; or read with PyAV, the default"
        )
    return int(ffmpeg_major_version)


def _reason(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def torchcodec_frames(
    path: Path, stream: int, indices: Sequence[int], times: NDArray[np.float64]
) -> Iterator[tuple[int, Frame]]:
    """Yields some frames of an intact file; stops before the first one that is not there, or not at its time.

    Frames are read one at a time: torchcodec decodes on if the next one is near, and otherwise seeks exactly.

    Args:
        path: the file, which PyAV has opened before: torchcodec follows references to other files.
        stream: index of the video track.
        indices: ascending frame numbers.
        times: (T,) seconds of all frames, the first at 0.

    Raises:
        ReaderNotFoundError: see `require_torchcodec`.
    """
    require_torchcodec()
    from torchcodec.decoders import VideoDecoder

    try:
        decoder = VideoDecoder(str(path.absolute()), stream_index=stream, dimension_order="NHWC", num_ffmpeg_threads=1)
    except (RuntimeError, ValueError):  # a file that this FFmpeg cannot read
        return
    if len(decoder) != len(times):
        return
    begin = decoder.metadata.begin_stream_seconds
    for index in indices:
        try:
            frame = decoder.get_frame_at(index)
        except (RuntimeError, IndexError):  # it cannot be decoded
            return
        if abs(frame.pts_seconds - begin - times[index]) > TOLERANCE:
            return
        yield index, frame.data.numpy()
