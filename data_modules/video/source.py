"""The interface of all kinds of clips (video file, folder of images, still) and their limits."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from os import SEEK_END
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

Frame = NDArray[np.uint8]
"""(H, W, 3) RGB."""
Reader = Literal["pyav", "torchcodec"]
"""What decodes the frames of video files."""
DEFAULT_READER: Reader = "pyav"
"""The faster one for the faces of videos, as `fer bench decode` measures it."""


class UnreadableVideoError(ValueError):
    """A clip cannot be read; the message says what was found, what was expected, and what to do."""


@dataclass(frozen=True)
class VideoLimits:
    """Limits that protect this machine from excessive files."""

    max_pixels: int = 8192 * 8192
    max_frames: int = 1_000_000  # nine hours at 30 frames a second
    max_members: int = 200_000  # of an archive
    max_member_bytes: int = 1 << 26  # of one file in an archive, unpacked
    max_archive_bytes: int = 1 << 33  # of all files in an archive, unpacked

    def check_size(self, path: Path, width: int, height: int) -> None:
        """Rejects images that are too large or empty.

        Raises:
            UnreadableVideoError: the size is outside the limits.
        """
        if not 0 < width * height <= self.max_pixels:
            raise UnreadableVideoError(
                f"{path}: found images of {width} x {height} pixels; expected 1 to {self.max_pixels} pixels. "
                "Scale the video down, or raise VideoLimits.max_pixels."
            )

    def check_count(self, path: Path, count: int) -> None:
        """Rejects clips that are too long.

        Raises:
            UnreadableVideoError: the clip has too many frames.
        """
        if count > self.max_frames:
            raise UnreadableVideoError(
                f"{path}: found at least {count} frames; expected at most {self.max_frames}. "
                "Cut the video into parts, or raise VideoLimits.max_frames."
            )


class VideoSource(ABC):
    """A clip that can be read several times.

    Attributes:
        path: the file or folder.
        fps: frames per second, the mean if the rate varies; of a file, what it declares until `timestamps` are known.
        width, height: size in pixels of the frames that are yielded: upright, and within `max_side`.
        broken: number of packets or images that the last pass over the clip could not decode.
        missing: seconds at the end that the file declares but that the last pass over the whole clip did not find, as
            in a copy that was cut off.
        picture_note: what is unusual about the pictures and left as it is, see `container.picture_note`.
        stretch: factors of width and height from the stored pixels, as most tools read them, to square ones.
    """

    path: Path
    fps: float
    width: int
    height: int
    broken: int = 0
    missing: float = 0.0
    picture_note: str = ""
    stretch: tuple[float, float] = (1.0, 1.0)

    @property
    @abstractmethod
    def timestamps(self) -> NDArray[np.float64]:
        """The (T,) times of all frames in seconds, the first at 0."""

    @property
    def num_frames(self) -> int:
        """The number of frames; the file is decoded once to count them if the container is not reliable."""
        return len(self.timestamps)

    @property
    def expected_frames(self) -> int:
        """The approximate number of frames, for showing progress; found without decoding, 0 if unknown."""
        return self.num_frames

    @abstractmethod
    def frames(self, indices: Sequence[int] | None = None, every: int = 1) -> Iterator[tuple[int, Frame]]:
        """Yields (frame number, (H, W, 3) RGB) in ascending order: all, every n-th, or those in `indices`.

        Raises:
            IndexError: one of `indices` is not a frame number of this clip.
            UnreadableVideoError: no frame can be decoded, or a limit is exceeded.
        """


def fitted_size(width: float, height: float, max_side: int | None) -> tuple[int, int]:
    """Returns (width, height) scaled down proportionally to fit within `max_side`."""
    scale = min(1.0, max_side / max(width, height)) if max_side else 1.0
    return max(1, round(width * scale)), max(1, round(height * scale))


def sorted_indices(indices: Sequence[int] | None, path: Path, every: int) -> list[int] | None:
    """Returns the unique frame numbers in ascending order, or None for all frames.

    Raises:
        IndexError: a frame number is negative.
        ValueError: `every` is less than 1.
    """
    if every < 1:
        raise ValueError(f"found every = {every}; expected at least 1")
    if indices is None:
        return None
    unique = sorted({int(index) for index in indices})
    if unique and unique[0] < 0:
        raise IndexError(f"{path}: frame {unique[0]} was requested, but frames count from 0")
    return unique


def describe(path: Path) -> str:
    """Describes in a few words what a file that is not a video contains."""
    with path.open("rb") as file:
        return describe_stream(file)


def describe_stream(file: BinaryIO) -> str:
    """Describes in a few words what an open file that is not a video contains."""
    size = file.seek(0, SEEK_END)
    file.seek(0)
    head = file.read(512)
    if head.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer, whose content was not downloaded"
    if head[4:8] == b"ftyp" and not has_moov(file, size):
        return f"an MP4 file of {size} bytes without its index (moov): it was cut off while being copied or recorded"
    try:
        text = head[:256].decode()
        if text.isprintable() or text.replace("\n", "").replace("\r", "").replace("\t", "").isprintable():
            return f"text of {size} bytes beginning {text[:40]!r}"
    except UnicodeDecodeError:
        pass
    return f"{size} bytes beginning {head[:12].hex(' ')}"


def has_moov(file: BinaryIO, size: int) -> bool:
    """Returns whether a MOV/MP4 file of `size` bytes has its index (moov) at the top level."""
    position = 0
    while position + 8 <= size:
        file.seek(position)
        header = file.read(16)
        length, kind = int.from_bytes(header[:4], "big"), header[4:8]
        if kind == b"moov":
            return position + length <= size
        if length == 1:  # the length is in the 8 bytes after the kind
            length = int.from_bytes(header[8:16], "big")
        if length < 8:
            return False
        position += length
    return False
