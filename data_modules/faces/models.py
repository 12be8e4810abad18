"""The networks of face extraction: detectors of faces and persons, landmark models, and embedders of identity."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain

from data_modules.faces.appearance import FaceEmbedder
from data_modules.faces.detection import Detection, FaceDetector
from data_modules.faces.factory import make_detector, make_embedder, make_person_detector
from data_modules.faces.landmarks import LandmarkModel, make_landmarks
from data_modules.faces.settings import FaceSettings
from data_modules.video.source import Frame


@dataclass(frozen=True)
class FaceModels:
    """The networks of face extraction, loaded once per process; None for those that the settings do not need."""

    faces: FaceDetector | None = None
    persons: FaceDetector | None = None
    landmarks: LandmarkModel | None = None
    embedder: FaceEmbedder | None = None

    @property
    def description(self) -> str:
        """Lists the networks and their devices."""
        parts = {"faces": self.faces, "persons": self.persons, "landmarks": self.landmarks, "identity": self.embedder}
        return ", ".join(f"{name}: {model.name} on {model.device}" for name, model in parts.items() if model)

    @classmethod
    def from_settings(cls, settings: FaceSettings, device: str | None = None, threads: int = 1) -> "FaceModels":
        """Loads the networks that the settings need.

        Args:
            settings: how faces are extracted.
            device: device that the networks run on; by default the fastest one available.
            threads: number of frames that a detector processes in parallel on a CPU.

        Raises:
            DetectorNotFoundError: a package or weights are missing.
        """
        detector: FaceDetector | None = None
        if settings.detector in ("mtcnn", "insightface"):
            detector = make_detector(settings.detector, device)
            # onnxruntime distributes its work among the cores itself
            if threads > 1 and settings.detector == "mtcnn" and detector.device == "cpu":
                detector = ParallelDetector(detector, threads)
        return cls(
            detector,
            make_person_detector("insightface", device) if settings.person_rule else None,
            make_landmarks(settings.landmarks, device) if settings.landmarks in ("mesh", "insightface") else None,
            make_embedder("insightface", device) if settings.embeds_faces else None,
        )


class ParallelDetector:
    """Runs a detector on several frames in parallel, each on one core, as its networks are too small for several.

    Args:
        detector: a detector that may be called from several threads.
        threads: number of threads.
    """

    def __init__(self, detector: FaceDetector, threads: int) -> None:
        self.name, self.device = detector.name, detector.device
        self._detector, self._threads = detector, threads
        self._pool = ThreadPoolExecutor(threads, initializer=_single_threaded)

    def detect(self, frames: Sequence[Frame]) -> list[list[Detection]]:
        """Detects faces as `FaceDetector.detect` does."""
        share = max(1, -(-len(frames) // self._threads))
        parts = [frames[i : i + share] for i in range(0, len(frames), share)]
        return list(chain.from_iterable(self._pool.map(self._detector.detect, parts)))


def _single_threaded() -> None:
    import torch

    torch.set_num_threads(1)
