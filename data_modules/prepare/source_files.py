"""The files that a clip's faces are made of, and how a change of them is noticed."""

import hashlib
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from data_modules.faces.face_table import find_face_table
from data_modules.faces.settings import FaceSettings
from data_modules.manifest import VideoRecord

BLOCK = 1 << 24  # bytes read at a time
MISSING = "missing"  # stands in a stamp for a file that is not there


@dataclass(frozen=True)
class ClipFiles:
    """A clip's video, folder or archive, its ground truth and its table of faces, as far as there are any."""

    paths: tuple[Path, ...]
    quarter_turns: int = 0  # quarter turns that bring it upright

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
        """Size and time of modification (nanoseconds since 1970) of each; of a folder its own time alone.

        Costs a look at the directory for each file. A picture in a folder that is written over in place shows in
        neither; one that is added, deleted or renamed does.
        """
        turned = f" turned {self.quarter_turns}" if self.quarter_turns else ""
        return " ".join(map(_stamp, self.paths)) + turned

    def content(self) -> Generator[float, None, str]:
        """Reads all bytes; yields after each block that it lives, and returns a checksum of them and of the turns.

        Raises:
            OSError: they cannot be had.
        """
        digest = hashlib.sha256(str(self.quarter_turns).encode())
        for path in self.paths:
            files = sorted(part for part in path.iterdir() if part.is_file()) if path.is_dir() else [path]
            for file in files:
                digest.update(f"{file.name} {file.stat().st_size} ".encode(errors="surrogateescape"))
                with file.open("rb") as stream:
                    while block := stream.read(BLOCK):
                        digest.update(block)
                        yield 0.0
        return digest.hexdigest()[:16]


def _stamp(path: Path) -> str:
    try:
        found = path.stat()
    except (OSError, ValueError):  # the latter of a path with a zero byte
        return MISSING
    return f"{'folder' if path.is_dir() else found.st_size}@{found.st_mtime_ns}"
