"""Opens video files, folders or archives of images, and stills, whose frames are read one at a time to save memory."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from data_modules.manifest import VideoRecord
from data_modules.video.archives import is_archive, open_archive
from data_modules.video.images import IMAGE_SUFFIXES, FrameImages, is_frame, natural_order
from data_modules.video.rotation import RotatedSource
from data_modules.video.source import DEFAULT_READER, Frame, Reader, UnreadableVideoError, VideoLimits, VideoSource
from data_modules.video.torchcodec_frames import require_torchcodec
from data_modules.video.video_file import VideoFile

__all__ = [
    "Frame",
    "Reader",
    "UnreadableVideoError",
    "VideoFile",
    "VideoLimits",
    "VideoSource",
    "describe_reader",
    "is_video_file",
    "open_clip",
    "open_video",
]


def open_video(
    path: Path | str,
    max_side: int | None = None,
    limits: VideoLimits | None = None,
    fps: float = 25.0,
    reader: Reader = DEFAULT_READER,
) -> VideoSource:
    """Opens a video, a folder or archive of frame images (2.jpg before 10.jpg), or a still as a clip of one frame.

    Args:
        path: the file or folder; archives have the suffixes `archives.ARCHIVE_SUFFIXES`.
        max_side: longer side of the frames in pixels; larger ones are scaled down while decoding.
        limits: limits of the size and the number of frames.
        fps: frame rate of folders and archives of images.
        reader: of video files, see `VideoFile`.

    Raises:
        UnreadableVideoError: the clip cannot be read; the message says why.
        ReaderNotFoundError: the reader is not installed.
    """
    path, limits = Path(path), limits or VideoLimits()
    if path.is_dir():
        files = natural_order(p for p in path.iterdir() if is_frame(p))
        if not files:
            contents = ", ".join(sorted(p.name for p in path.iterdir())[:5]) or "nothing"
            raise UnreadableVideoError(
                f"{path}: a folder without frame images; found {contents}, expected {' '.join(IMAGE_SUFFIXES)}."
            )
        return FrameImages(path, files, max_side, limits, fps)
    if path.exists() and not path.is_file():
        raise UnreadableVideoError(f"{path}: found a named pipe or a device; expected a file. Copy its content to one.")
    if not path.is_file():
        raise UnreadableVideoError(f"{path}: no such file or folder; check the data set's root.")
    if path.stat().st_size == 0:
        raise UnreadableVideoError(f"{path}: the file is empty (0 bytes); copy or download it again.")
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return FrameImages(path, [path], max_side, limits, fps)
    if is_archive(path):
        return open_archive(path, max_side, limits, fps)
    return VideoFile(path, max_side, limits, reader)


def describe_reader(reader: Reader) -> str:
    """Returns what reads video files, with versions; empty if PyAV does and is not installed.

    Raises:
        ReaderNotFoundError: torchcodec is asked for and not installed.
    """
    if reader == "torchcodec":
        ffmpeg = require_torchcodec()
        return f"video files: torchcodec {version('torchcodec')} with FFmpeg {ffmpeg}, or PyAV where they would differ"
    try:
        return f"video files: PyAV {version('av')}"
    except PackageNotFoundError:  # a machine that reads prepared data alone
        return ""


def is_video_file(path: Path) -> bool:
    """Returns whether a clip is a video file, which may have audio, and not a folder, still or archive of images."""
    return path.is_file() and path.suffix.lower() not in IMAGE_SUFFIXES and not is_archive(path)


def open_clip(
    folder: Path, record: VideoRecord, max_side: int | None = None, reader: Reader = DEFAULT_READER
) -> VideoSource:
    """Opens the video, folder, archive or still of a record; its frames are upright.

    Args:
        folder: the data set's root.
        record: the clip.
        max_side: see `open_video`.
        reader: see `open_video`.

    Raises:
        UnreadableVideoError: the clip cannot be read; the message says why.
        ReaderNotFoundError: the reader is not installed.
    """
    source = open_video(folder / record.path, max_side, reader=reader)
    return RotatedSource(source, record.quarter_turns) if record.quarter_turns % 4 else source
