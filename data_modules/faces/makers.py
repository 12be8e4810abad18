"""Which networks make a data set's faces: with other weights they find other faces, which must not mix."""

from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from data_modules.faces.errors import DetectorNotFoundError
from data_modules.faces.insightface import PERSONS, Task, find_weights, models_folder
from data_modules.faces.landmarks import SHA256
from data_modules.faces.onnx_session import sha256
from data_modules.faces.settings import FaceSettings

UNKNOWN = "not installed here"


def makers(settings: FaceSettings) -> Mapping[str, str]:
    """What finds faces, landmarks and persons under these settings -> the version or checksum of its weights.

    Nothing where no network does; `UNKNOWN` where it is not on this machine, which may hold the faces all the same.
    """
    made_by = {}
    if settings.detector == "mtcnn":
        made_by["detector"] = _mtcnn()
    elif settings.detector == "insightface":
        made_by["detector"] = _insightface("detection")
    if settings.landmarks == "mesh":
        made_by["landmarks"] = SHA256  # no other file is accepted
    elif settings.landmarks == "insightface":
        made_by["landmarks"] = _insightface("landmarks")
    if settings.person == "insightface":
        path = models_folder() / PERSONS.name
        made_by["person"] = _checksum(path) if path.is_file() else UNKNOWN
    return made_by


def _mtcnn() -> str:
    """Its weights lie in the package."""
    try:
        return f"facenet-pytorch {version('facenet-pytorch')}"
    except PackageNotFoundError:
        return UNKNOWN


def _insightface(task: Task) -> str:
    try:
        return _checksum(find_weights("buffalo_l", task))
    except DetectorNotFoundError:
        return UNKNOWN


def _checksum(path: Path) -> str:
    found = path.stat()
    return _checksum_of(path, found.st_size, found.st_mtime_ns)


@lru_cache
def _checksum_of(path: Path, size: int, time: int) -> str:
    """Read once a process: a network has up to 140 MB."""
    return sha256(path)
