"""Where the faces of a frame are: neural detectors behind one protocol, and boxes that are known beforehand."""

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
    """Finds all faces in frames, each frame for itself."""

    name: str
    device: str  # where it runs

    def detect(self, frames: Sequence[Frame]) -> list[list[Detection]]:
        """The faces of each (H, W, 3) RGB frame, the surest first."""
        ...


@runtime_checkable
class FaceLocator(Protocol):
    """Says where the face is in each frame of one clip, or None where there is none."""

    def at(self, index: int) -> Detection | None:
        """The face in frame `index`."""
        ...


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
