"""insightface's networks for faces, persons, landmarks and identities, from ONNX files that the user has downloaded.

The package's code is under the MIT licence; its weights are for non-commercial research only, so nothing is downloaded
automatically. insightface's own code decodes boxes and points and removes overlaps; `onnx_session` opens the files,
which it does not trust.
"""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from data_modules.faces.alignment import align
from data_modules.faces.detection import Detection
from data_modules.faces.errors import WeightsError
from data_modules.faces.onnx_session import onnx_session, package, sha256
from data_modules.video.source import Frame

log = logging.getLogger(__name__)

RELEASE = "https://github.com/deepinsight/insightface/releases/download/v0.7/"
LICENCE = "Licence: the weights are for non-commercial research only; insightface's code is under the MIT licence."

Task = Literal["detection", "recognition", "landmarks"]


@dataclass(frozen=True)
class Weights:
    """A published file of weights.

    insightface publishes no checksums. These are the ones on which public projects that ship or pin the files agree.
    A file with another checksum is therefore used, but with a warning.
    """

    name: str
    sha256: str | None = None


@dataclass(frozen=True)
class Pack:
    """A pack of models as insightface releases it."""

    name: str
    detection: Weights
    recognition: Weights
    landmarks: Weights


_SCRFD_10G = "5838f7fe053675b1c7a08b633df49e7af5495cee0493c7dcf6697200b85b5b91"
_LANDMARKS = Weights("1k3d68.onnx", "df5c06b8a0c12e422b2ed8947b8869faa4105387f199c477af038aa01f9a45cc")
PACKS = (
    Pack(
        "buffalo_l",
        Weights("det_10g.onnx", _SCRFD_10G),
        Weights("w600k_r50.onnx", "4c06341c33c2ca1f86781dab0e829f88ad5b64be9fba56e56bc9ebdefc619e43"),
        _LANDMARKS,
    ),
    Pack(
        "buffalo_s",
        Weights("det_500m.onnx", "5e4447f50245bbd7966bd6c0fa52938c61474a04ec7def48753668a9d8b4ea3a"),
        Weights("w600k_mbf.onnx", "9cc6e4a75f0e2bf0b1aed94578f144d15175f357bdc05e815e5c4a02b319eb4f"),
        _LANDMARKS,
    ),
    Pack(
        "antelopev2",
        Weights("scrfd_10g_bnkps.onnx", _SCRFD_10G),
        Weights("glintr100.onnx", "4ab1d6435d639628a6f3e5008dd4f929edf4c4124b1a7169e1048f9fef534cdf"),
        _LANDMARKS,
    ),
)
PERSONS = Weights("scrfd_person_2.5g.onnx")


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


def models_folder() -> Path:
    """Returns the folder of all packs: FER_WEIGHTS/insightface, or insightface's own default."""
    root = os.environ.get("FER_WEIGHTS")
    return Path(root).expanduser() / "insightface" if root else Path("~/.insightface/models").expanduser()


def find_weights(pack: str | Path, task: Task) -> Path:
    """Returns the path of a pack's file for a task.

    Args:
        pack: name of a pack, path of an ONNX file, or path of a folder with a pack's files.
        task: the task of the network.

    Raises:
        WeightsError: the file does not exist; the message says how to get it.
    """
    location = Path(pack).expanduser()
    if location.suffix == ".onnx":
        if not location.is_file():
            raise WeightsError(f"{location} does not exist; expected an ONNX file with weights for {task}")
        return location
    named = [candidate for candidate in PACKS if candidate.name == pack]
    candidates = named or PACKS
    folder = models_folder() / named[0].name if named else location
    for candidate in candidates:
        weights: Weights = getattr(candidate, task)
        for path in (folder / weights.name, folder / candidate.name / weights.name):  # antelopev2.zip has a folder
            if path.is_file():
                _verify_checksum(path, weights)
                return path
    files = " or ".join(dict.fromkeys(getattr(candidate, task).name for candidate in candidates))
    url = f"{RELEASE}{candidates[0].name}.zip"
    raise WeightsError(
        f"insightface's {task} needs its weights {files}, but they are not in {folder.absolute()}.\n"
        f"Download {url} and unpack it there; the packs are {', '.join(known.name for known in PACKS)}. {LICENCE}"
        + (
            "\nAlternatively, use the detector `mtcnn`, whose wheel contains weights under the MIT licence."
            * (task == "detection")
        )
    )


def _verify_checksum(path: Path, weights: Weights) -> None:
    checksum = sha256(path)
    if weights.sha256 and checksum != weights.sha256:
        log.warning(
            "%s has the sha256 %s, while that of the published file is %s: the file is damaged or another one. "
            "Unpack the release again unless this is intended",
            path,
            checksum,
            weights.sha256,
        )


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
