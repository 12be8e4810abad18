"""insightface's networks for faces, persons, landmarks and identities, from ONNX files that the user has downloaded.

The package's code is under the MIT licence; its weights are for non-commercial research only, so nothing is downloaded
automatically. insightface's own code decodes boxes and points and removes overlaps; `onnx_session` opens the files,
which it does not trust.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from data_modules.faces.alignment import align
from data_modules.faces.detection import Detection
from data_modules.faces.errors import WeightsError
from data_modules.faces.insightface_weights import LICENCE, PACKS, PERSONS, RELEASE, find_weights, models_folder
from data_modules.faces.onnx_session import onnx_session, package
from data_modules.video.source import Frame


class _ScrfdDetector:
    """SCRFD (Guo et al. 2021, https://arxiv.org/abs/2105.04714) as insightface runs it.

    Frames run one by one: the graphs of the published files have a batch size of one, and insightface decodes one frame
    at a time. On a CPU, batches of 4 were not faster for convolutions of this size (7 GMAC) anyway.
    """

    name = "insightface"

    def __init__(
        self, weights: Path, device: str | None, min_score: float, max_side: int, overlap: float, threads: int | None
    ) -> None:
        if max_side < 32 or max_side % 32:
            raise ValueError(f"max_side must be a multiple of 32, not {max_side}: the network halves its input 5 times")
        kind = package("insightface.model_zoo").SCRFD
        session = onnx_session(weights, device, threads)
        self.device = str(session.get_providers()[0])
        try:
            self._network = kind(model_file=str(weights), session=session)
            self._network.prepare(0, input_size=(max_side, max_side), det_thresh=min_score, nms_thresh=overlap)
            self._find(np.zeros((max_side, max_side, 3), np.uint8))  # a file of another model fails only when it runs
        except Exception as error:
            expected = (
                f"an SCRFD detector (6, 9, 10 or 15 outputs) that runs on {max_side} x {max_side} pixels ({error})"
            )
            raise _wrong_model(weights, expected, session) from error

    def detect(self, frames: Sequence[Frame]) -> list[list[Detection]]:
        """Returns the boxes of each (H, W, 3) RGB frame in descending order of score."""
        return [self._find(frame) for frame in frames]

    def _find(self, frame: Frame) -> list[Detection]:
        height, width = frame.shape[:2]
        across, down = self._network.input_size
        if min(across / width, down / height) * min(height, width) < 1:  # nothing would be left after scaling
            return []
        boxes, points = self._network.detect(_bgr(frame))
        return [Detection(row[:4], float(row[4]), None if points is None else points[i]) for i, row in enumerate(boxes)]


class InsightFaceDetector(_ScrfdDetector):
    """The face detector of a pack of insightface: boxes and, if the network has them, five points.

    Args:
        pack: `buffalo_l` (SCRFD-10G), `buffalo_s` (SCRFD-500M, fast), `antelopev2`, or the path of an ONNX file or of a
            folder with a pack's files.
        device: `cuda`, `cuda:N`, `cpu`, or by default a GPU if onnxruntime supports one.
        min_score: detections with a lower score are dropped.
        max_side: side of the square input of the network in pixels, a multiple of 32; networks with a fixed input size
            keep theirs.
        threads: number of threads on a CPU; by default 1 in worker processes, otherwise the number of cores.

    Raises:
        WeightsError: the weights are missing or belong to another model.
        DetectorNotFoundError: insightface or onnxruntime is not installed.
    """

    def __init__(
        self,
        pack: str | Path = "buffalo_l",
        device: str | None = None,
        min_score: float = 0.6,
        max_side: int = 640,
        threads: int | None = None,
    ) -> None:
        super().__init__(find_weights(pack, "detection"), device, min_score, max_side, 0.4, threads)


class InsightFacePersons(_ScrfdDetector):
    """Detects whole persons with insightface's `scrfd_person_2.5g.onnx`.

    Its detections have no points: the points of this network span the visible part of the body, while the points of a
    `Detection` are eyes, nose and mouth.

    Args:
        weights: the file of weights; by default the one in the folder of all packs.
        device: see `InsightFaceDetector`.
        min_score: detections with a lower score are dropped.
        max_side: see `InsightFaceDetector`.
        threads: see `InsightFaceDetector`.

    Raises:
        WeightsError: the weights are missing or belong to another model.
        DetectorNotFoundError: insightface or onnxruntime is not installed.
    """

    def __init__(
        self,
        weights: Path | None = None,
        device: str | None = None,
        min_score: float = 0.5,
        max_side: int = 640,
        threads: int | None = None,
    ) -> None:
        path = weights or models_folder() / PERSONS.name
        if not path.is_file():
            raise WeightsError(
                f"insightface's person detector needs its weights {PERSONS.name}, but {path} does not exist.\n"
                f"Download {RELEASE}{PERSONS.name} into {path.parent}. {LICENCE}"
            )
        super().__init__(path, device, min_score, max_side, 0.5, threads)  # the overlap of insightface's own example

    def _find(self, frame: Frame) -> list[Detection]:
        return [Detection(person.box, person.score) for person in super()._find(frame)]


class InsightFaceEmbedder:
    """Embeds faces by identity (ArcFace, Deng et al. 2019, https://arxiv.org/abs/1801.07698) as unit vectors.

    Faces of the same person have a high cosine similarity. The face is aligned by its five points, as in ArcFace's
    training, or by its box if it has none.

    Args:
        pack: see `InsightFaceDetector`; an ONNX file must be a recognition network.
        device: see `InsightFaceDetector`.
        threads: see `InsightFaceDetector`.

    Raises:
        WeightsError: the weights are missing or belong to another model.
        DetectorNotFoundError: insightface or onnxruntime is not installed.
    """

    name = "insightface"

    def __init__(self, pack: str | Path = "buffalo_l", device: str | None = None, threads: int | None = None) -> None:
        weights, kind = find_weights(pack, "recognition"), package("insightface.model_zoo").ArcFaceONNX
        session = onnx_session(weights, device, threads)
        self.device = str(session.get_providers()[0])
        shape = session.get_inputs()[0].shape
        if len(session.get_outputs()) != 1 or len(shape) != 4 or shape[1:] != [3, 112, 112]:
            raise _wrong_model(weights, "a recognition network: 3 x 112 x 112 pixels -> one vector", session)
        self._network = kind(model_file=str(weights), session=session)

    def __call__(self, frame: Frame, detection: Detection) -> NDArray[np.float32]:
        """Returns the (D,) unit vector of a face in an (H, W, 3) RGB frame.

        Raises:
            ValueError: the network returned zeros or values that are not finite.
        """
        crop = align(frame, detection.box, detection.points, 112, 0.0).crop
        vector = np.asarray(self._network.get_feat(_bgr(crop)), np.float32).ravel()
        length = float(np.linalg.norm(vector))
        if not (np.isfinite(length) and length > 0):
            raise ValueError(f"{self._network.model_file}: found an embedding of length {length}; is the file damaged?")
        return np.asarray(vector / length, np.float32)


class InsightFaceLandmarks:
    """Finds 68 landmarks in 3D: the last 68 of the 1103 vertices that `1k3d68.onnx` predicts.

    insightface does not document the direction of the third coordinate. The mean face that it ships for head pose uses
    the network's axes (x to the right of the image, y down) and has the nose at positive z and the ears at negative z:
    z points towards the camera, as in the 3DMM of its training data. It is negated here. Its zero is inside the head,
    so only differences are meaningful.

    Args:
        device: see `InsightFaceDetector`.
        pack: see `InsightFaceDetector`; an ONNX file must be a network of these landmarks. All packs have the same one.
        threads: see `InsightFaceDetector`.

    Raises:
        WeightsError: the weights are missing or belong to another model.
        DetectorNotFoundError: insightface or onnxruntime is not installed.
    """

    name = "insightface"

    def __init__(self, device: str | None = None, pack: str | Path = "buffalo_l", threads: int | None = None) -> None:
        weights, kind = find_weights(pack, "landmarks"), package("insightface.model_zoo").Landmark
        session = onnx_session(weights, device, threads)
        self.device = str(session.get_providers()[0])
        outputs = session.get_outputs()
        if session.get_inputs()[0].shape[1:] != [3, 192, 192] or len(outputs) != 1 or outputs[0].shape[1:] != [3309]:
            raise _wrong_model(weights, "3D landmarks: 3 x 192 x 192 pixels -> 1103 x 3 values", session)
        self._network = kind(model_file=str(weights), session=session)
        self._face = package("insightface.app.common").Face

    def find(self, frame: Frame, face: Detection) -> NDArray[np.float32] | None:
        """Finds the landmarks of a face in an (H, W, 3) RGB frame.

        Returns:
            (68, 3) in pixels of the frame, the third coordinate away from the camera; None if the box has no area or is
            outside the frame, or if the network returns values that are not finite.
        """
        (height, width), (left, top, right, bottom) = frame.shape[:2], (float(value) for value in face.box)
        if not (max(left, 0) < min(right, width) and max(top, 0) < min(bottom, height)):
            return None
        vertices = self._network.get(_bgr(frame), self._face(bbox=np.asarray(face.box, np.float64)))
        points = np.asarray(vertices * np.array([1, 1, -1]), np.float32)
        return points if np.isfinite(points).all() else None


def _wrong_model(path: Path, expected: str, session: Any) -> WeightsError:
    inputs = ", ".join(str(value.shape) for value in session.get_inputs())
    outputs = ", ".join(str(value.shape) for value in session.get_outputs())
    return WeightsError(
        f"{path}: found an ONNX model with inputs of shape {inputs} and outputs {outputs}; expected {expected}. "
        f"The published files are in {RELEASE}{PACKS[0].name}.zip"
    )


def _bgr(frame: Frame) -> Frame:
    """Converts RGB to BGR, which insightface expects, like OpenCV."""
    return np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), dtype=np.uint8)
