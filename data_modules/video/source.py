"""What every kind of clip offers - a video file, a folder of images, a still - and what none of them may do."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from os import SEEK_END
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

Frame = NDArray[np.uint8]
"""(H, W, 3) RGB."""


class UnreadableVideoError(ValueError):
    """No frames can be had from this path; the message says what was found, what was expected, and what to do."""


@dataclass(frozen=True)
class VideoLimits:
    """What a file may ask of this machine."""

    max_pixels: int = 8192 * 8192
    max_frames: int = 1_000_000  # nine hours at 30 frames a second
    max_members: int = 200_000  # of an archive
    max_member_bytes: int = 1 << 26  # of one file in an archive, unpacked
    max_archive_bytes: int = 1 << 33  # of all files in an archive, unpacked

    def check_size(self, path: Path, width: int, height: int) -> None:
        """Refuses pictures that are too large, or that have no size at all."""
        if not 0 < width * height <= self.max_pixels:
            raise UnreadableVideoError(
                f"{path}: pictures of {width} x {height} pixels; expected 1 to {self.max_pixels} pixels. "
                "Scale the video down before, or raise VideoLimits.max_pixels."
            )

    def check_count(self, path: Path, count: int) -> None:
        """Refuses clips that are too long."""
        if count > self.max_frames:
            raise UnreadableVideoError(
                f"{path}: {count} frames or more; expected at most {self.max_frames}. "
                "Cut the video into parts, or raise VideoLimits.max_frames."
            )


class VideoSource(ABC):
    """A clip that can be read several times.

    Attributes:
        path: the file or folder.
        fps: frames a second (the mean where the rate varies).
        width, height: of the frames as they are yielded: upright, and within `max_side`.
        broken: how many packets or images the last pass over the clip could not decode.
    """

    path: Path
    fps: float
    width: int
    height: int
    broken: int = 0

    @property
    @abstractmethod
    def timestamps(self) -> NDArray[np.float64]:
        """(T,) time of each frame in seconds, the first at 0."""

    @property
    def num_frames(self) -> int:
        """How many frames there are; where the container cannot be trusted, asking for it decodes the file once."""
        return len(self.timestamps)

    @property
    def expected_frames(self) -> int:
        """How many frames there seem to be, for showing how far work is; never decodes, and 0 where nothing tells."""
        return self.num_frames

    @abstractmethod
    def frames(self, indices: Sequence[int] | None = None, every: int = 1) -> Iterator[tuple[int, Frame]]:
        """Yields (frame number, (H, W, 3) RGB) in ascending order: all, each `every`-th, or those of `indices`.

        Raises:
            IndexError: one of `indices` is not a frame of this clip.
            UnreadableVideoError: nothing decodes, or a limit is exceeded.
        """


def fitted_size(width: int, height: int, max_side: int | None) -> tuple[int, int]:
    """(width, height) within `max_side`, in proportion; never enlarged."""
    scale = min(1.0, max_side / max(width, height)) if max_side else 1.0
    return max(1, round(width * scale)), max(1, round(height * scale))


def check_in_order(wanted: Sequence[int] | None, path: Path, every: int) -> list[int] | None:
    """The wanted frame numbers ascending and once each."""
    if every < 1:
        raise ValueError(f"every must be 1 or more, not {every}")
    if wanted is None:
        return None
    unique = sorted({int(index) for index in wanted})
    if unique and unique[0] < 0:
        raise IndexError(f"{path}: frame {unique[0]} was asked for; frames count from 0")
    return unique


def describe(path: Path) -> str:
    """What a file that is no video seems to be, in a few words."""
    with path.open("rb") as file:
        return describe_stream(file)


def describe_stream(file: BinaryIO) -> str:
    """What an opened file that is no video seems to be, in a few words."""
    size = file.seek(0, SEEK_END)
    file.seek(0)
    head = file.read(512)
    if head.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer, whose content was not fetched"
    if head[4:8] == b"ftyp" and not has_moov(file, size):
        return f"an MP4 file of {size} bytes without its index (moov): cut off while copied or recorded"
    try:
        text = head[:256].decode()
        if text.isprintable() or text.replace("\n", "").replace("\r", "").replace("\t", "").isprintable():
            return f"text of {size} bytes beginning {text[:40]!r}"
    except UnicodeDecodeError:
        pass
    return f"{size} bytes beginning {head[:12].hex(' ')}"


def has_moov(file: BinaryIO, size: int) -> bool:
    """Whether a MOV/MP4 file of `size` bytes has its index among its outermost boxes."""
    position = 0
    while position + 8 <= size:
        file.seek(position)
        header = file.read(16)
        length, kind = int.from_bytes(header[:4], "big"), header[4:8]
        if kind == b"moov":
            return position + length <= size
        if length == 1:  # the length stands in 8 bytes after the kind
            length = int.from_bytes(header[8:16], "big")
        if length < 8:
            return False
        position += length
    return False
