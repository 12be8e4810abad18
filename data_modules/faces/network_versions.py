"""Versions of the networks that find a data set's faces: faces found with different weights must not be mixed."""

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

from data_modules.faces.errors import DetectorNotFoundError
from data_modules.faces.insightface_weights import PERSONS, Task, find_weights, models_folder
from data_modules.faces.landmarks import SHA256
from data_modules.faces.settings import FaceSettings
from data_modules.utils.checksum import cached_sha256

UNKNOWN = "not installed here"


def network_versions(settings: FaceSettings) -> Mapping[str, str]:
    """Returns the version or checksum of each network that these settings use.

    The keys are `detector`, `landmarks`, `person` and `embedder`. A key is missing if no network does that part. The
    value is `UNKNOWN` if the network is not installed on this machine, which may still hold faces made elsewhere.
    """
    versions = {}
    if settings.detector == "mtcnn":
        versions["detector"] = _mtcnn_version()
    elif settings.detector == "insightface":
        versions["detector"] = _insightface_version("detection")
    if settings.landmarks == "mesh":
        versions["landmarks"] = SHA256  # no other file is accepted
    elif settings.landmarks == "insightface":
        versions["landmarks"] = _insightface_version("landmarks")
    if settings.person_rule:
        path = models_folder() / PERSONS.name
        versions["person"] = cached_sha256(path) if path.is_file() else UNKNOWN
    if settings.embeds_faces:
        versions["embedder"] = _insightface_version("recognition")
    return versions


def _mtcnn_version() -> str:
    """The package's version, as the package contains the weights."""
    try:
        return f"facenet-pytorch {version('facenet-pytorch')}"
    except PackageNotFoundError:
        return UNKNOWN


def _insightface_version(task: Task) -> str:
    try:
        return cached_sha256(find_weights("buffalo_l", task))
    except DetectorNotFoundError:
        return UNKNOWN
