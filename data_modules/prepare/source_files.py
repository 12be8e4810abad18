"""The source files of a clip's faces, and stamps and checksums to notice their changes."""

import hashlib
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from data_modules.faces.face_table import find_face_table
from data_modules.faces.settings import FaceSettings
from data_modules.manifest import VideoRecord

BLOCK = 1 << 24  # bytes read at a time
MISSING = "missing"  # the stamp of a missing file


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
        overwritten in place does not.
        """
        rotation = f" turned {self.quarter_turns}" if self.quarter_turns else ""
        return " ".join(map(_stamp, self.paths)) + rotation

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


def _stamp(path: Path) -> str:
    try:
        status = path.stat()
    except (OSError, ValueError):  # ValueError: the path has a zero byte
        return MISSING
    return f"{'folder' if path.is_dir() else status.st_size}@{status.st_mtime_ns}"
