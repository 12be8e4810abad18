"""Face detection: neural detectors behind one protocol, and face positions that are known in advance."""

import logging
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import cv2
import numpy as np
from numpy.typing import NDArray

from data_modules.faces.errors import DetectorNotFoundError
from data_modules.faces.ground_truth import FrameTruth
from data_modules.video.source import Frame, fitted_size

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Detection:
    """One face in one frame, in pixels of the frame."""

    box: NDArray[np.float32]  # (4,): left, top, right, bottom
    score: float  # 0 to 1
    points: NDArray[np.float32] | None = None  # (5, 2): left eye, right eye, nose, mouth corners, as seen in the image


@runtime_checkable
class FaceDetector(Protocol):
    """Detects all faces in frames, each frame independently."""

    name: str
    device: str  # the device that it runs on

    def detect(self, frames: Sequence[Frame]) -> list[list[Detection]]:
        """Returns the faces of each (H, W, 3) RGB frame in descending order of score."""
        ...


@runtime_checkable
class FaceLocator(Protocol):
    """Locates the face in each frame of one clip."""

    def at(self, index: int) -> Detection | None:
        """Returns the face in frame `index`, or None if there is none."""
        ...


@dataclass(frozen=True)
class WholeFrame:
    """Treats each frame as a face, without points, for data sets whose faces are already cropped."""

    width: int
    height: int

    def at(self, index: int) -> Detection | None:
        """Returns the whole frame as a detection."""
        return Detection(np.array([0, 0, self.width, self.height], dtype=np.float32), 1.0)


class AnnotatedFaces:
    """Takes the face from the ground truth; the five points are computed from the 68 landmarks.

    Args:
        truth: ground truth of all frames of the clip.
        jitter: standard deviation of Gaussian noise on box and points, as a share of the face's size, to simulate the
            inaccuracy of a detector. The noise of a frame depends on the clip and the frame number only.
        clip_id: seed of the noise.
    """

    def __init__(self, truth: FrameTruth, jitter: float = 0.0, clip_id: str = "") -> None:
        self._truth, self._jitter, self._seed = truth, jitter, zlib.crc32(clip_id.encode())

    def at(self, index: int) -> Detection | None:
        """Returns the face in frame `index`, or None if it is not visible.

        Raises:
            ValueError: the ground truth has fewer frames than the clip.
        """
        count = len(self._truth.visible)
        if index >= count:
            raise ValueError(
                f"frame {index} has no ground truth, which covers {count} frames; video and truth do not match"
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
    """Reduces (68, 2 or 3) iBUG landmarks to (5, 2): eye centres, nose tip, mouth corners, left in the image first."""
    xy = landmarks[:, :2]
    return np.stack([xy[36:42].mean(0), xy[42:48].mean(0), xy[30], xy[48], xy[54]]).astype(np.float32)


class MTCNNDetector:
    """MTCNN (Zhang et al. 2016, https://arxiv.org/abs/1604.02878) as in facenet-pytorch, whose wheel has MIT weights.

    Frames are first scaled down to `max_side`: the cost of detection grows with the number of pixels, and with the
    inverse square of `min_face`. The defaults find faces from 1/16 of the longer side upwards. The network's many small
    operations do not benefit from several threads and slow down when other processes need the cores: on a CPU, call
    `torch.set_num_threads(1)` first.

    Args:
        device: device to run on; by default a GPU if available.
        min_score: detections with a lower score are dropped.
        max_side: longer side of the frames that the network sees, in pixels.
        min_face: smallest face in pixels of the scaled frame.

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
        """Detects faces as `FaceDetector.detect` does; frames of the same shape run as one batch."""
        detections: list[list[Detection]] = [[] for _ in frames]
        for shape in {frame.shape for frame in frames}:
            positions = [i for i, frame in enumerate(frames) if frame.shape == shape]
            for i, faces in zip(positions, self._detect_batch([frames[i] for i in positions]), strict=True):
                detections[i] = faces
        return detections

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
