"""Detectors by name."""

from typing import Literal

from data_modules.faces.detection import FaceDetector, MTCNNDetector


def make_detector(name: Literal["mtcnn", "insightface"], device: str | None = None) -> FaceDetector:
    """The detector of that name with its default settings.

    Raises:
        DetectorNotFoundError: its package or weights are missing.
        ValueError: there is no detector of that name.
    """
    if name == "mtcnn":
        return MTCNNDetector(device)
    if name == "insightface":
        from data_modules.faces.insightface import InsightFaceDetector

        return InsightFaceDetector(device=device)
    raise ValueError(f"no detector {name!r}; there are mtcnn and insightface")


def make_person_detector(name: Literal["insightface"] = "insightface", device: str | None = None) -> FaceDetector:
    """The detector of whole persons of that name with its default settings; its detections have no points.

    Raises:
        DetectorNotFoundError: its package or weights are missing.
        ValueError: there is no detector of that name.
    """
    if name == "insightface":
        from data_modules.faces.insightface import InsightFacePersons

        return InsightFacePersons(device=device)
    raise ValueError(f"no person detector {name!r}; there is insightface")
