"""The networks that look at frames: detectors of faces and persons, and models of landmarks."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain

from data_modules.faces.detection import Detection, FaceDetector
from data_modules.faces.factory import make_detector, make_person_detector
from data_modules.faces.landmarks import LandmarkModel, make_landmarks
from data_modules.faces.settings import FaceSettings
from data_modules.video.source import Frame


@dataclass(frozen=True)
class FaceModels:
    """The networks that look at frames, loaded once a process; None for what the settings do not ask for."""

    faces: FaceDetector | None = None
    persons: FaceDetector | None = None
    landmarks: LandmarkModel | None = None

    @property
    def description(self) -> str:
        """Which networks run where."""
        parts = {"faces": self.faces, "persons": self.persons, "landmarks": self.landmarks}
        return ", ".join(f"{what}: {part.name} on {part.device}" for what, part in parts.items() if part)

    @classmethod
    def from_settings(cls, settings: FaceSettings, device: str | None = None, threads: int = 1) -> "FaceModels":
        """The networks that the settings ask for.

        Args:
            settings: how faces are made.
            device: where the networks run; the fastest device that there is by default.
            threads: frames that a detector looks at at a time, on a processor.

        Raises:
            DetectorNotFoundError: a package or weights are missing.
        """
        detector: FaceDetector | None = None
        if settings.detector in ("mtcnn", "insightface"):
            detector = make_detector(settings.detector, device)
            # onnxruntime shares its work among the cores by itself
            if threads > 1 and settings.detector == "mtcnn" and detector.device == "cpu":
                detector = ParallelDetector(detector, threads)
        return cls(
            detector,
            make_person_detector("insightface", device) if settings.person == "insightface" else None,
            make_landmarks(settings.landmarks, device) if settings.landmarks in ("mesh", "insightface") else None,
        )


class ParallelDetector:
    """A detector on several frames at a time, each on one core: its networks are too small to share among cores.

    Args:
        detector: can be called from several threads.
        threads: how many.
    """

    def __init__(self, detector: FaceDetector, threads: int) -> None:
        self.name, self.device = detector.name, detector.device
        self._detector, self._threads = detector, threads
        self._pool = ThreadPoolExecutor(threads, initializer=_single_threaded)

    def detect(self, frames: Sequence[Frame]) -> list[list[Detection]]:
        """See `FaceDetector.detect`."""
        share = max(1, -(-len(frames) // self._threads))
        parts = [frames[i : i + share] for i in range(0, len(frames), share)]
        return list(chain.from_iterable(self._pool.map(self._detector.detect, parts)))


def _single_threaded() -> None:
    import torch

    torch.set_num_threads(1)
