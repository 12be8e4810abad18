"""Where the faces of a frame are: neural detectors behind one protocol, and boxes that are known beforehand."""

import logging
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import cv2
import numpy as np
from numpy.typing import NDArray

from data_modules.source import Frame, fitted_size
from data_modules.truth import FrameTruth

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Detection:
    """One face in one frame, in pixels of the frame."""

    box: NDArray[np.float32]  # (4,): left, top, right, bottom
    score: float  # 0 to 1
    points: NDArray[np.float32] | None = None  # (5, 2): left eye, right eye, nose, mouth corners, as seen in the image


@runtime_checkable
class FaceDetector(Protocol):
    """Finds all faces in frames, each frame for itself."""

    name: str

    def detect(self, frames: Sequence[Frame]) -> list[list[Detection]]:
        """The faces of each (H, W, 3) RGB frame, the surest first."""
        ...


@runtime_checkable
class FacePlaces(Protocol):
    """Says where the face is in each frame of one clip, or None where there is none."""

    def at(self, index: int) -> Detection | None:
        """The face in frame `index`."""
        ...


class DetectorNotFoundError(RuntimeError):
    """A detector's package or weights are missing; the message says how to get them."""


@dataclass(frozen=True)
class WholeFrame:
    """Frames that somebody else cropped already: each is a face as a whole, without points."""

    width: int
    height: int

    def at(self, index: int) -> Detection | None:
        """The whole frame."""
        return Detection(np.array([0, 0, self.width, self.height], dtype=np.float32), 1.0)


class AnnotatedFaces:
    """The face as the ground truth knows it; the five points are means of the 68 landmarks.

    Args:
        truth: of all frames of the clip.
        jitter: standard deviation of Gaussian noise on box and points, as a share of the face's size: what a detector's
            inaccuracy would be. Each frame's noise depends on clip and frame number alone.
        clip_id: seeds the noise.
    """

    def __init__(self, truth: FrameTruth, jitter: float = 0.0, clip_id: str = "") -> None:
        self._truth, self._jitter, self._seed = truth, jitter, zlib.crc32(clip_id.encode())

    def at(self, index: int) -> Detection | None:
        """The face in frame `index`, None where it cannot be seen.

        Raises:
            ValueError: the clip has more frames than its ground truth.
        """
        count = len(self._truth.visible)
        if index >= count:
            raise ValueError(
                f"frame {index} has no ground truth, which covers {count}; video and truth do not belong together"
            )
        if not self._truth.visible[index]:
            return None
        box, points = self._truth.box[index], five_points(self._truth.landmarks[index])
        if self._jitter:
            size = float(np.sqrt(max((box[2] - box[0]) * (box[3] - box[1]), 1.0)))
            noise = np.random.default_rng([self._seed, index]).normal(0.0, self._jitter * size, (7, 2))
            box, points = box + np.float32(noise[:2].reshape(4)), points + np.float32(noise[2:])
        return Detection(box, 1.0, points)


def five_points(landmarks: NDArray[np.float32]) -> NDArray[np.float32]:
    """(68, 2 or 3) iBUG landmarks -> (5, 2): eyes' centres, tip of the nose, corners of the mouth, image left first."""
    xy = landmarks[:, :2]
    return np.stack([xy[36:42].mean(0), xy[42:48].mean(0), xy[30], xy[48], xy[54]]).astype(np.float32)


class MTCNNDetector:
    """MTCNN (Zhang et al. 2016) as in facenet-pytorch, whose wheel holds the weights (MIT).

    Frames are scaled down to `max_side` before: detection costs with the number of pixels, and with the inverse square
    of the smallest face that is looked for. The defaults find faces from 1/16 of the longer side on. Its many small
    operations gain nothing from several threads, and lose much where other processes want the cores too: on a CPU,
    call `torch.set_num_threads(1)` before.

    Args:
        device: where it runs; by default a GPU where there is one.
        min_score: detections below are left out.
        max_side: the longer side of the frames it looks at, in pixels.
        min_face: the smallest face in pixels of the scaled frame.

    Raises:
        DetectorNotFoundError: facenet-pytorch is not installed.
    """

    name = "mtcnn"

    def __init__(
        self, device: str | None = None, min_score: float = 0.9, max_side: int = 480, min_face: int = 30
    ) -> None:
        import torch

        try:
            from facenet_pytorch import MTCNN
        except ImportError as error:
            raise DetectorNotFoundError(
                "the detector `mtcnn` needs the package facenet-pytorch (MIT, with weights), which is not installed.\n"
                "Its requirements name old versions of torch; install it alone: pip install --no-deps facenet-pytorch"
            ) from error
        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self._min_score, self._max_side = min_score, max_side
        self._network = MTCNN(keep_all=True, min_face_size=min_face, device=torch.device(self.device))
        log.info("MTCNN runs on %s", self.device)

    def detect(self, frames: Sequence[Frame]) -> list[list[Detection]]:
        """See `FaceDetector.detect`; frames of one shape run as one batch."""
        found: list[list[Detection]] = [[] for _ in frames]
        for shape in {frame.shape for frame in frames}:
            positions = [i for i, frame in enumerate(frames) if frame.shape == shape]
            for i, faces in zip(positions, self._detect_batch([frames[i] for i in positions]), strict=True):
                found[i] = faces
        return found

    def _detect_batch(self, frames: Sequence[Frame]) -> list[list[Detection]]:
        height, width = frames[0].shape[:2]
        size = fitted_size(width, height, self._max_side)
        if min(size) <= self._network.min_face_size:  # the pyramid of scales would be empty
            return [[] for _ in frames]
        small = np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in frames])
        boxes, scores, points = self._network.detect(small, landmarks=True)
        scale = np.array([width / size[0], height / size[1]], dtype=np.float32)
        return [
            [] if b is None else self._faces(b.astype(np.float32), s.astype(np.float32), p.astype(np.float32), scale)
            for b, s, p in zip(boxes, scores, points, strict=True)
        ]

    def _faces(
        self, boxes: NDArray[Any], scores: NDArray[Any], points: NDArray[Any], scale: NDArray[np.float32]
    ) -> list[Detection]:
        order = [i for i in np.argsort(-scores, kind="stable") if scores[i] >= self._min_score]
        return [Detection(boxes[i] * np.tile(scale, 2), float(scores[i]), points[i] * scale) for i in order]


INSIGHTFACE_WEIGHTS = "det_10g.onnx"
INSIGHTFACE_SOURCE = "https://github.com/deepinsight/insightface/releases/download/v0.7/buffalo_l.zip"


class InsightFaceDetector:
    """SCRFD-10G of insightface's model pack buffalo_l (weights: non-commercial research only). Nothing is downloaded.

    Args:
        folder: where `det_10g.onnx` lies; by default `~/.insightface/models/buffalo_l`, or below FER_INSIGHTFACE.
        device: `cuda`, `cpu`, or by default a GPU where onnxruntime has one.
        min_score: detections below are left out.
        max_side: the side of the square that the network looks at, in pixels.

    Raises:
        DetectorNotFoundError: the weights or the package are missing.
    """

    name = "insightface"

    def __init__(
        self, folder: Path | None = None, device: str | None = None, min_score: float = 0.6, max_side: int = 640
    ) -> None:
        home = Path(os.environ.get("FER_INSIGHTFACE", "~/.insightface/models")).expanduser()
        folder = folder or home / "buffalo_l"
        weights = folder / INSIGHTFACE_WEIGHTS
        if not weights.is_file():
            raise DetectorNotFoundError(
                f"the detector `insightface` needs its weights {INSIGHTFACE_WEIGHTS} in {folder}, where they are not.\n"
                f"Download {INSIGHTFACE_SOURCE} and unpack it there. Licence of the weights: non-commercial research "
                "only.\nWithout them: the detector `mtcnn` (weights under the MIT licence, in its wheel)."
            )
        try:
            import onnxruntime  # type: ignore[import-untyped]
            from insightface.model_zoo import get_model
        except ImportError as error:
            raise DetectorNotFoundError(
                "the detector `insightface` needs the packages insightface and onnxruntime: "
                f"pip install insightface onnxruntime ({error})"
            ) from error
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        providers = onnx_providers(device, onnxruntime.get_available_providers())
        self._network = get_model(str(weights), providers=providers, sess_options=options)
        if self._network is None or getattr(self._network, "taskname", "") != "detection":
            raise DetectorNotFoundError(
                f"{weights}: not insightface's face detector; unpack {INSIGHTFACE_SOURCE} again"
            )
        self._network.prepare(0, input_size=(max_side, max_side), det_thresh=min_score)
        self.device = str(self._network.session.get_providers()[0])
        if device == "cuda" and self.device != "CUDAExecutionProvider":
            log.warning("insightface: a GPU was asked for, but onnxruntime started on %s", self.device)
        log.info("insightface runs on onnxruntime's %s", self.device)

    def detect(self, frames: Sequence[Frame]) -> list[list[Detection]]:
        """See `FaceDetector.detect`."""
        return [self._detect_one(frame) for frame in frames]

    def _detect_one(self, frame: Frame) -> list[Detection]:
        boxes, points = self._network.detect(np.ascontiguousarray(frame[..., ::-1]))  # it was trained on BGR
        return [Detection(row[:4], float(row[4]), None if points is None else points[i]) for i, row in enumerate(boxes)]


def onnx_providers(device: str | None, available: Sequence[str]) -> list[str]:
    """The providers to try, in order; a warning where a GPU was asked for that onnxruntime does not offer."""
    if device == "cuda" and "CUDAExecutionProvider" not in available:
        log.warning(
            "insightface: a GPU was asked for, but this onnxruntime offers %s only; the CPU is used. "
            "For a GPU: pip uninstall onnxruntime, then pip install onnxruntime-gpu",
            ", ".join(available),
        )
    wanted = ["CPUExecutionProvider"] if device == "cpu" else ["CUDAExecutionProvider", "CPUExecutionProvider"]
    return [provider for provider in wanted if provider in available]


def make_detector(name: Literal["mtcnn", "insightface"], device: str | None = None) -> FaceDetector:
    """The detector of that name with its default settings.

    Raises:
        DetectorNotFoundError: its package or weights are missing.
        ValueError: there is no detector of that name.
    """
    if name == "mtcnn":
        return MTCNNDetector(device)
    if name == "insightface":
        return InsightFaceDetector(device=device)
    raise ValueError(f"no detector {name!r}; there are mtcnn and insightface")
