"""Clips that are images: a folder of frames, or a still; `archives.py` reads those of an archive by the same code."""

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from data_modules.video.source import (
    Frame,
    UnreadableVideoError,
    VideoLimits,
    VideoSource,
    check_in_order,
    describe_stream,
    fitted_size,
)

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
IMAGE_FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF")
AnyPath = TypeVar("AnyPath", bound=PurePath)
log = logging.getLogger(__name__)


def natural_order(paths: Iterable[AnyPath]) -> list[AnyPath]:
    """Paths sorted by name with numbers compared as numbers: 2.jpg before 10.jpg."""

    def key(path: AnyPath) -> tuple[list[tuple[int, str]], str]:
        parts = re.split(r"(\d+)", path.name.lower())
        return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts], path.name

    return sorted(paths, key=key)


def is_frame(path: PurePath) -> bool:
    """Whether a file's name is that of an image, and not one that a file manager hides."""
    return path.suffix.lower() in IMAGE_SUFFIXES and path.name[0] != "."


class BrokenImageError(Exception):
    """One image of several does not decode."""


def _on_disk(file: PurePath) -> BinaryIO:
    return Path(file).open("rb")


class FrameImages(VideoSource):
    """Images in their order, as frames. One that cannot be read leaves its frame number out.

    Args:
        path: of the folder, still or archive.
        files: the images' paths, at least one.
        max_side: see `open_video`.
        limits: see `open_video`.
        fps: see `open_video`.
        opened: opens one of `files`; raises OSError or BrokenImageError where it cannot be had.
    """

    def __init__(
        self,
        path: Path,
        files: Sequence[PurePath],
        max_side: int | None,
        limits: VideoLimits,
        fps: float,
        opened: Callable[[PurePath], BinaryIO] = _on_disk,
    ) -> None:
        limits.check_count(path, len(files))
        self.path, self.fps, self._files, self._limits, self._stream = path, fps, files, limits, opened
        for file in files:
            try:
                with self._opened(file) as image:
                    turned = image.getexif().get(0x0112, 1) >= 5  # EXIF orientations 5 to 8 lie on their side
                    size = image.size[::-1] if turned else image.size
            except BrokenImageError:
                continue
            self.width, self.height = fitted_size(*size, max_side)
            return
        raise UnreadableVideoError(
            f"{path}: {len(files)} image file(s), none of which can be read; found {self._first()}, expected "
            f"{', '.join(IMAGE_FORMATS)}. Copy or download again."
        )

    @contextmanager
    def _opened(self, file: PurePath) -> Iterator[Image.Image]:
        """The image with its size checked before anything is decoded."""
        try:
            with self._stream(file) as stream, Image.open(stream, formats=IMAGE_FORMATS) as image:
                self._limits.check_size(self._place(file), *image.size)
                yield image
        except UnreadableVideoError:
            raise
        except Image.DecompressionBombError as error:
            raise UnreadableVideoError(f"{self._place(file)}: {error} Scale the image down before.") from error
        except (OSError, SyntaxError, ValueError, EOFError, KeyError) as error:  # whatever its parsers stumble over
            raise BrokenImageError(error) from error

    def _place(self, file: PurePath) -> Path:
        """A file as messages name it."""
        return self.path if file.name == self.path.name else self.path / file.name

    def _first(self) -> str:
        """What the first of the files seems to be."""
        try:
            with self._stream(self._files[0]) as stream:
                return describe_stream(stream)
        except (OSError, BrokenImageError) as error:
            return f"{self._files[0].name}: {error}"

    @property
    def timestamps(self) -> NDArray[np.float64]:
        """(T,) seconds at the given rate."""
        return np.arange(len(self._files), dtype=np.float64) / self.fps

    def frames(self, indices: Sequence[int] | None = None, every: int = 1) -> Iterator[tuple[int, Frame]]:
        """See `VideoSource.frames`; all frames have the size of the first."""
        wanted = check_in_order(indices, self.path, every)
        if wanted and wanted[-1] >= len(self._files):
            raise IndexError(f"{self.path}: frame {wanted[-1]} was asked for; there are {len(self._files)}")
        read = self.broken = 0
        for index in range(0, len(self._files), every) if wanted is None else wanted:
            try:
                frame = self._read(self._files[index])
            except BrokenImageError as error:
                place = self._place(self._files[index])
                log.warning("%s: cannot be read (%s); the clip goes on without it", place, error)
                self.broken += 1
                continue
            read += 1
            yield index, frame
        if self.broken and not read:
            raise UnreadableVideoError(
                f"{self.path}: none of {self.broken} images decodes; found {self._first()}. Copy them again."
            )

    def _read(self, file: PurePath) -> Frame:
        with self._opened(file) as image:
            upright = ImageOps.exif_transpose(image).convert("RGB")
            if upright.size != (self.width, self.height):
                upright = upright.resize((self.width, self.height), Image.Resampling.BILINEAR, reducing_gap=2.0)
            return np.array(upright, dtype=np.uint8)
