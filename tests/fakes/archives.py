"""Clips as archives of frames."""

import io
import tarfile
import zipfile
from pathlib import Path

import cv2

from tests.videos import numbered_frame

NAMES = ("10.png", "1.png", "2.png", "11.png")  # as a file system may list them


def picture(number: int) -> bytes:
    return cv2.imencode(".png", numbered_frame(number)[..., ::-1])[1].tobytes()


def archive_members(folder: str = "") -> list[tuple[str, bytes]]:
    return [(folder + name, picture(int(name.split(".")[0]))) for name in NAMES]


def write_archive(path: Path, members: list[tuple[str, bytes]]) -> Path:
    """An archive of the kind that its name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix.lower() == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members:
                archive.writestr(name, content)
        return path
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path
