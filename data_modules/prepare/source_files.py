"""The source files of a clip's faces, and stamps and checksums to notice their changes."""

import hashlib
import os
import re
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from data_modules.faces.face_table import find_face_table
from data_modules.faces.settings import FaceSettings
from data_modules.manifest import VideoRecord

BLOCK = 1 << 24  # bytes read at a time
MISSING = "missing"  # the stamp of a missing file
IMAGES = re.compile(r"\+\d+@\d+")  # what `ClipFiles.thorough_stamp` adds to a folder's time


@dataclass(frozen=True)
class ClipFiles:
    """A clip's video, folder or archive, and its ground truth and table of faces, if any."""

    paths: tuple[Path, ...]
    quarter_turns: int = 0  # clockwise quarter turns that make it upright

    @classmethod
    def from_record(cls, folder: Path, record: VideoRecord, settings: FaceSettings) -> "ClipFiles":
        """Returns the files that a record's faces depend on; `folder` is the data set's root."""
        paths = [folder / record.path]
        if record.truth:
            paths.append(folder / record.truth)
        if "table" in (settings.detector, settings.landmarks) and (table := find_face_table(folder, record)):
            paths.append(table)
        return cls(tuple(paths), record.quarter_turns)

    @property
    def stamp(self) -> str:
        """The size and modification time (nanoseconds since 1970) of each file; of a folder, only its time.

        No file is read. In a folder, images that are added, deleted or renamed change the stamp; an image that is
        overwritten in place changes the `thorough_stamp` alone.
        """
        return " ".join(map(_stamp, self.paths)) + self._rotation

    @property
    def thorough_stamp(self) -> str:
        """The stamp with the sums of the sizes and times of the images in a folder, which may take some milliseconds.

        No file is read.
        """
        return " ".join(_stamp(path) + _stamp_of_images(path) for path in self.paths) + self._rotation

    @property
    def _rotation(self) -> str:
        return f" turned {self.quarter_turns}" if self.quarter_turns else ""

    def content(self) -> Generator[float, None, str]:
        """Reads all files and returns a checksum of them and of the rotation; yields after each block as a heartbeat.

        Raises:
            OSError: a file cannot be read.
        """
        digest = hashlib.sha256(str(self.quarter_turns).encode())
        for path in self.paths:
            files = sorted(path.iterdir()) if path.is_dir() else [path]
            for file in filter(Path.is_file, files):  # a named pipe would block
                digest.update(f"{file.name} {file.stat().st_size} ".encode(errors="surrogateescape"))
                with file.open("rb") as stream:
                    while block := stream.read(BLOCK):
                        digest.update(block)
                        yield 0.0
        return digest.hexdigest()[:16]


def without_images(stamp: str) -> str:
    """Returns the `stamp` that belongs to a `thorough_stamp`; a stamp stays as it is."""
    return IMAGES.sub("", stamp)


def _stamp(path: Path) -> str:
    try:
        status = path.stat()
    except (OSError, ValueError):  # ValueError: the path has a zero byte
        return MISSING
    return f"{'folder' if path.is_dir() else status.st_size}@{status.st_mtime_ns}"


def _stamp_of_images(path: Path) -> str:
    size = time = 0
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                status = entry.stat(follow_symlinks=False)
                size, time = size + status.st_size, time + status.st_mtime_ns
    except (OSError, ValueError):  # it is a file, or missing
        return ""
    return f"+{size}@{time}"
