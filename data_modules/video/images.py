"""Reads clips that consist of images: folders of frames, stills, and (with `archives.py`) archives."""

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from data_modules.utils.text import counted, printable_line
from data_modules.video.source import (
    Frame,
    UnreadableVideoError,
    VideoLimits,
    VideoSource,
    describe_stream,
    fitted_size,
    sorted_indices,
)

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
IMAGE_FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF")
AnyPath = TypeVar("AnyPath", bound=PurePath)
log = logging.getLogger(__name__)


def natural_order(paths: Iterable[AnyPath]) -> list[AnyPath]:
    """Sorts paths by name, with numbers compared as numbers: 2.jpg before 10.jpg."""

    def key(path: AnyPath) -> tuple[list[tuple[int, str]], str]:
        parts = re.split(r"(\d+)", path.name.lower())
        return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts], path.name

    return sorted(paths, key=key)


def is_frame(path: PurePath) -> bool:
    """Returns whether a file name is that of a visible image file."""
    return path.suffix.lower() in IMAGE_SUFFIXES and path.name[0] != "."


class BrokenImageError(Exception):
    """An image of a clip cannot be decoded."""


def _open_on_disk(file: PurePath) -> BinaryIO:
    path = Path(file)
    if path.exists() and not path.is_file():  # reading it would block
        raise BrokenImageError(f"{path.name} is a folder, a named pipe or a device")
    return path.open("rb")


class FrameImages(VideoSource):
    """Images as the frames of a clip. The frame numbers of unreadable images are skipped.

    Args:
        path: path of the folder, still or archive.
        files: paths of the images in order, at least one.
        max_side: see `open_video`.
        limits: see `open_video`.
        fps: see `open_video`.
        open_file: opens one of `files`; raises OSError or BrokenImageError if it cannot be read.
    """

    def __init__(
        self,
        path: Path,
        files: Sequence[PurePath],
        max_side: int | None,
        limits: VideoLimits,
        fps: float,
        open_file: Callable[[PurePath], BinaryIO] = _open_on_disk,
    ) -> None:
        limits.check_count(path, len(files))
        self.path, self.fps, self._files, self._limits, self._stream = path, fps, files, limits, open_file
        for file in files:
            try:
                with self._open_image(file) as image:
                    if image.format == "TIFF":  # which Pillow turns upright itself when it decodes it
                        image.load()
                    sideways = image.getexif().get(0x0112, 1) >= 5  # EXIF orientations 5 to 8 are rotated by 90 degrees
                    size = image.size[::-1] if sideways else image.size
            except BrokenImageError:
                continue
            self._first, self._size = file.name, size
            self.width, self.height = fitted_size(*size, max_side)
            return
        raise UnreadableVideoError(
            f"{path}: {counted(len(files), 'image file')}, none of which can be read; "
            f"found {self._describe_first()}, expected {', '.join(IMAGE_FORMATS)}. Copy or download them again."
        )

    @contextmanager
    def _open_image(self, file: PurePath) -> Iterator[Image.Image]:
        """Opens an image and checks its size before anything is decoded."""
        try:
            with self._stream(file) as stream, Image.open(stream, formats=IMAGE_FORMATS) as image:
                self._limits.check_size(self._shown_path(file), *image.size)
                self._check_kind(self._shown_path(file), image)
                yield image
        except UnreadableVideoError:
            raise
        except Image.DecompressionBombError as error:
            raise UnreadableVideoError(f"{self._shown_path(file)}: {error} Scale the image down first.") from error
        except (OSError, SyntaxError, ValueError, EOFError, KeyError) as error:  # any error of the image parsers
            raise BrokenImageError(error) from error

    @staticmethod
    def _check_kind(path: Path, image: Image.Image) -> None:
        """Refuses images of which frames or brightness would be lost."""
        if getattr(image, "is_animated", False) and image.format != "MPO":  # a photo with previews of it
            raise UnreadableVideoError(
                f"{path}: found several frames in one {image.format} file; expected one. Save them as images in a "
                "folder of their own, or as a video."
            )
        if image.mode == "F" or (image.mode == "I" and image.format != "PNG"):  # Pillow's earlier mode for 16 bits
            raise UnreadableVideoError(
                f"{path}: found pixels of {'floating point' if image.mode == 'F' else '32 bits'}, without a range from "
                "black to white; expected 8 or 16 bits. Scale it to one of these."
            )

    def _shown_path(self, file: PurePath) -> Path:
        """Returns the path that messages show for an image."""
        return self.path if file.name == self.path.name else self.path / file.name

    def _describe_first(self) -> str:
        """Describes the content of the first file."""
        try:
            with self._stream(self._files[0]) as stream:
                return describe_stream(stream)
        except (OSError, BrokenImageError) as error:
            return f"{self._files[0].name}: {error}"

    @property
    def timestamps(self) -> NDArray[np.float64]:
        """The (T,) times of all frames in seconds at the given frame rate."""
        return np.arange(len(self._files), dtype=np.float64) / self.fps

    def frames(self, indices: Sequence[int] | None = None, every: int = 1) -> Iterator[tuple[int, Frame]]:
        """Yields frames as `VideoSource.frames` does; all are scaled to the size of the first, which is noted."""
        selected = sorted_indices(indices, self.path, every)
        if selected and selected[-1] >= len(self._files):
            raise IndexError(f"{self.path}: frame {selected[-1]} was requested of {len(self._files)}")
        read = self.broken = 0
        for index in range(0, len(self._files), every) if selected is None else selected:
            try:
                frame = self._read(self._files[index])
            except BrokenImageError as error:
                path = self._shown_path(self._files[index])
                log.warning("%s: cannot be read (%s); the frame is skipped", printable_line(path), error)
                self.broken += 1
                continue
            read += 1
            yield index, frame
        if self.broken and not read:
            raise UnreadableVideoError(
                f"{self.path}: none of {self.broken} images decodes; found {self._describe_first()}. Copy them again."
            )

    def _read(self, file: PurePath) -> Frame:
        with self._open_image(file) as image:
            upright = ImageOps.exif_transpose(image)
            if upright.size != self._size and not self.picture_note:
                both = ((self._first, self._size), (file.name, upright.size))
                sizes = ", ".join(f"{printable_line(name)} {width} x {height}" for name, (width, height) in both)
                self.picture_note = f"images of several sizes ({sizes}), scaled to that of the first"
            if upright.mode.startswith("I"):  # 16 bits, which `convert` would clip at 255
                upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
            upright = upright.convert("RGB")
            if upright.size != (self.width, self.height):
                upright = upright.resize((self.width, self.height), Image.Resampling.BILINEAR, reducing_gap=2.0)
            return np.array(upright, dtype=np.uint8)
