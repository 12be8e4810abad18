"""Clips that are images: a folder of frames, or a still."""

import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from data_modules.source import (
    Frame,
    UnreadableVideoError,
    VideoLimits,
    VideoSource,
    check_in_order,
    describe,
    fitted_size,
)

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
IMAGE_FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF")
log = logging.getLogger(__name__)


def natural_order(paths: Iterable[Path]) -> list[Path]:
    """Paths sorted by name with numbers compared as numbers: 2.jpg before 10.jpg."""

    def key(path: Path) -> tuple[list[tuple[int, str]], str]:
        parts = re.split(r"(\d+)", path.name.lower())
        return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts], path.name

    return sorted(paths, key=key)


class _BrokenImageError(Exception):
    """One image of several does not decode."""


class FrameImages(VideoSource):
    """A folder of frame images, or a single still. An image that cannot be read leaves its frame number out."""

    def __init__(
        self, path: Path, files: Sequence[Path], max_side: int | None, limits: VideoLimits, fps: float
    ) -> None:
        limits.check_count(path, len(files))
        self.path, self.fps, self._files, self._limits = path, fps, files, limits
        for file in files:
            try:
                with self._opened(file) as image:
                    turned = image.getexif().get(0x0112, 1) >= 5  # EXIF orientations 5 to 8 lie on their side
                    size = image.size[::-1] if turned else image.size
            except _BrokenImageError:
                continue
            self.width, self.height = fitted_size(*size, max_side)
            return
        raise UnreadableVideoError(
            f"{path}: {len(files)} image file(s), none of which can be read; found {describe(files[0])}, expected "
            f"{', '.join(IMAGE_FORMATS)}. Copy or download again."
        )

    @contextmanager
    def _opened(self, file: Path) -> Iterator[Image.Image]:
        """The image with its size checked before anything is decoded."""
        try:
            with Image.open(file, formats=IMAGE_FORMATS) as image:
                self._limits.check_size(file, *image.size)
                yield image
        except UnreadableVideoError:
            raise
        except Image.DecompressionBombError as error:
            raise UnreadableVideoError(f"{file}: {error} Scale the image down before.") from error
        except (OSError, SyntaxError, ValueError, EOFError, KeyError) as error:  # whatever its parsers stumble over
            raise _BrokenImageError(error) from error

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
            except _BrokenImageError as error:
                log.warning("%s: cannot be read (%s); the clip goes on without it", self._files[index], error)
                self.broken += 1
                continue
            read += 1
            yield index, frame
        if self.broken and not read:
            raise UnreadableVideoError(
                f"{self.path}: none of {self.broken} images decodes; found {describe(self._files[0])}. Copy them again."
            )

    def _read(self, file: Path) -> Frame:
        with self._opened(file) as image:
            upright = ImageOps.exif_transpose(image).convert("RGB")
            if upright.size != (self.width, self.height):
                upright = upright.resize((self.width, self.height), Image.Resampling.BILINEAR, reducing_gap=2.0)
            return np.array(upright, dtype=np.uint8)
