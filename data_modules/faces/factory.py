"""Creates detectors by name."""

from typing import Literal

from data_modules.faces.appearance import FaceEmbedder
from data_modules.faces.detection import FaceDetector, MTCNNDetector


def make_detector(name: Literal["mtcnn", "insightface"], device: str | None = None) -> FaceDetector:
    """Creates the face detector of that name with its default settings.

    Raises:
        DetectorNotFoundError: its package or weights are missing.
        ValueError: there is no detector of that name.
    """
    if name == "mtcnn":
        return MTCNNDetector(device)
    if name == "insightface":
        from data_modules.faces.insightface import InsightFaceDetector

        return InsightFaceDetector(device=device)
    raise ValueError(f"unknown detector {name!r}; expected mtcnn or insightface")


def make_person_detector(name: Literal["insightface"] = "insightface", device: str | None = None) -> FaceDetector:
    """Creates the person detector of that name with its default settings; its detections have no points.

    Raises:
        DetectorNotFoundError: its package or weights are missing.
        ValueError: there is no detector of that name.
    """
    if name == "insightface":
        from data_modules.faces.insightface import InsightFacePersons

        return InsightFacePersons(device=device)
    raise ValueError(f"unknown person detector {name!r}; expected insightface")


def make_embedder(name: Literal["insightface"] = "insightface", device: str | None = None) -> FaceEmbedder:
    """Creates the network of that name that embeds faces by identity.

    Raises:
        DetectorNotFoundError: its package or weights are missing.
        ValueError: there is no such network.
    """
    if name == "insightface":
        from data_modules.faces.insightface import InsightFaceEmbedder

        return InsightFaceEmbedder(device=device)
    raise ValueError(f"unknown embedder {name!r}; expected insightface")
