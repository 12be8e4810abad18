"""insightface's networks: faces, persons, landmarks and identities, from ONNX files that the user has fetched.

The package's code is under the MIT licence; its weights are for non-commercial research only, so nothing is ever
downloaded by itself. Boxes, points and overlaps are decoded by insightface's own code; its
files are opened by `onnx_session`, as files from others.
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
    """A published file.

    insightface publishes no checksums. These are the ones on which public projects that ship or pin the files agree,
    so that a file which differs is used, but with a warning.
    """

    name: str
    sha256: str | None = None


@dataclass(frozen=True)
class Pack:
    """A pack of insightface's models, as its release has it."""

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
    """SCRFD (Guo et al. 2021) as insightface runs it.

    Frames run one by one: the published files have a batch of one in their graphs, and insightface decodes one frame
    at a time. On a CPU a stack of convolutions of this size (7 GMAC) was not faster in a batch of 4 either.
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
            self._find(np.zeros((max_side, max_side, 3), np.uint8))  # a file of another kind shows only when it runs
        except Exception as error:
            expected = (
                f"an SCRFD detector (6, 9, 10 or 15 outputs) that runs on {max_side} x {max_side} pixels ({error})"
            )
            raise _other(weights, expected, session) from error

    def detect(self, frames: Sequence[Frame]) -> list[list[Detection]]:
        """The boxes of each (H, W, 3) RGB frame, the surest first."""
        return [self._find(frame) for frame in frames]

    def _find(self, frame: Frame) -> list[Detection]:
        height, width = frame.shape[:2]
        across, down = self._network.input_size
        if min(across / width, down / height) * min(height, width) < 1:  # nothing would be left of it once scaled down
            return []
        boxes, points = self._network.detect(_bgr(frame))
        return [Detection(row[:4], float(row[4]), None if points is None else points[i]) for i, row in enumerate(boxes)]


class InsightFaceDetector(_ScrfdDetector):
    """The face detector of a pack of insightface: boxes and, where the network has them, five points.

    Args:
        pack: `buffalo_l` (SCRFD-10G), `buffalo_s` (SCRFD-500M, fast), `antelopev2`, or the path of an ONNX file or of a
            folder with a pack's files.
        device: `cuda`, `cuda:N`, `cpu`, or by default a GPU where onnxruntime has one.
        min_score: detections below are left out.
        max_side: the side of the square that the network looks at, in pixels, a multiple of 32; a network with an input
            of fixed size keeps its own.
        threads: of onnxruntime on a CPU; by default 1 in worker processes, otherwise as many as there are cores.

    Raises:
        WeightsError: the weights are missing or of another kind.
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
    """Finds whole persons with insightface's `scrfd_person_2.5g.onnx`.

    Its detections never have points: those of this network span the visible part of the body, while the points of a
    `Detection` are eyes, nose and mouth.

    Args:
        weights: the file; by default in the folder of all packs.
        device: see `InsightFaceDetector`.
        min_score: detections below are left out.
        max_side: see `InsightFaceDetector`.
        threads: see `InsightFaceDetector`.

    Raises:
        WeightsError: the weights are missing or of another kind.
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
                f"insightface's person detector needs its weights {PERSONS.name}, and {path} is no file.\n"
                f"Download {RELEASE}{PERSONS.name} into {path.parent}. {LICENCE}"
            )
        super().__init__(path, device, min_score, max_side, 0.5, threads)  # the overlap of insightface's own example

    def _find(self, frame: Frame) -> list[Detection]:
        return [Detection(person.box, person.score) for person in super()._find(frame)]


class InsightFaceEmbedder:
    """Whose face it is, as a unit vector (ArcFace, Deng et al. 2019): cosines of one person's faces are high.

    The face is cut by its five points as ArcFace was trained, or by its box where there are none.

    Args:
        pack: see `InsightFaceDetector`; an ONNX file is one of recognition.
        device: see `InsightFaceDetector`.
        threads: see `InsightFaceDetector`.

    Raises:
        WeightsError: the weights are missing or of another kind.
        DetectorNotFoundError: insightface or onnxruntime is not installed.
    """

    name = "insightface"

    def __init__(self, pack: str | Path = "buffalo_l", device: str | None = None, threads: int | None = None) -> None:
        weights, kind = find_weights(pack, "recognition"), package("insightface.model_zoo").ArcFaceONNX
        session = onnx_session(weights, device, threads)
        self.device = str(session.get_providers()[0])
        shape = session.get_inputs()[0].shape
        if len(session.get_outputs()) != 1 or len(shape) != 4 or shape[1:] != [3, 112, 112]:
            raise _other(weights, "a recognition network: 3 x 112 x 112 pixels -> one vector", session)
        self._network = kind(model_file=str(weights), session=session)

    def __call__(self, frame: Frame, detection: Detection) -> NDArray[np.float32]:
        """(D,) of length 1 for a face in a (H, W, 3) RGB frame.

        Raises:
            ValueError: the network answered with zeros or with what is no number.
        """
        crop = align(frame, detection.box, detection.points, 112, 0.0).crop
        vector = np.asarray(self._network.get_feat(_bgr(crop)), np.float32).ravel()
        length = float(np.linalg.norm(vector))
        if not (np.isfinite(length) and length > 0):
            raise ValueError(
                f"{self._network.model_file}: a vector of length {length} for a face; is the file damaged?"
            )
        return np.asarray(vector / length, np.float32)


class InsightFaceLandmarks:
    """68 landmarks in 3D: the last 68 of the 1103 vertices that `1k3d68.onnx` finds.

    insightface documents no direction of the third coordinate. The mean face that it ships for its head pose lies in
    the network's own axes (x to the image's right, y down) and has the nose at positive z, before the ears at negative:
    z points towards the camera, as in the 3DMM of its training data. It is negated here. Its zero is inside of the
    head, so that only differences say something.

    Args:
        device: see `InsightFaceDetector`.
        pack: see `InsightFaceDetector`; an ONNX file is one of these landmarks. All packs have the same.
        threads: see `InsightFaceDetector`.

    Raises:
        WeightsError: the weights are missing or of another kind.
        DetectorNotFoundError: insightface or onnxruntime is not installed.
    """

    name = "insightface"

    def __init__(self, device: str | None = None, pack: str | Path = "buffalo_l", threads: int | None = None) -> None:
        weights, kind = find_weights(pack, "landmarks"), package("insightface.model_zoo").Landmark
        session = onnx_session(weights, device, threads)
        self.device = str(session.get_providers()[0])
        outputs = session.get_outputs()
        if session.get_inputs()[0].shape[1:] != [3, 192, 192] or len(outputs) != 1 or outputs[0].shape[1:] != [3309]:
            raise _other(weights, "3D landmarks: 3 x 192 x 192 pixels -> 1103 x 3 values", session)
        self._network = kind(model_file=str(weights), session=session)
        self._face = package("insightface.app.common").Face

    def find(self, frame: Frame, face: Detection) -> NDArray[np.float32] | None:
        """The landmarks of a face in a (H, W, 3) RGB frame.

        Returns:
            (68, 3) in pixels of the frame, the third coordinate away from the camera in pixels too; None where the box
            has no area or lies outside of the frame, or the network answers with what is no number.
        """
        (height, width), (left, top, right, bottom) = frame.shape[:2], (float(value) for value in face.box)
        if not (max(left, 0) < min(right, width) and max(top, 0) < min(bottom, height)):
            return None
        found = self._network.get(_bgr(frame), self._face(bbox=np.asarray(face.box, np.float64)))
        points = np.asarray(found * np.array([1, 1, -1]), np.float32)
        return points if np.isfinite(points).all() else None


def models_folder() -> Path:
    """Where the packs' folders lie: FER_WEIGHTS/insightface, or where insightface itself has them."""
    root = os.environ.get("FER_WEIGHTS")
    return Path(root).expanduser() / "insightface" if root else Path("~/.insightface/models").expanduser()


def find_weights(pack: str | Path, task: Task) -> Path:
    """The file of a pack for a task.

    Args:
        pack: a pack's name, the path of an ONNX file, or of a folder with a pack's files.
        task: what the file is for.

    Raises:
        WeightsError: there is no such file; the message says how to get it.
    """
    given = Path(pack).expanduser()
    if given.suffix == ".onnx":
        if not given.is_file():
            raise WeightsError(f"{given} is no file; expected an ONNX file with weights for {task}")
        return given
    named = [known for known in PACKS if known.name == pack]
    folder = models_folder() / named[0].name if named else given
    for known in named or PACKS:
        wanted: Weights = getattr(known, task)
        for path in (folder / wanted.name, folder / known.name / wanted.name):  # antelopev2.zip holds a folder
            if path.is_file():
                _check_sum(path, wanted)
                return path
    files = " or ".join(dict.fromkeys(getattr(known, task).name for known in named or PACKS))
    url = f"{RELEASE}{(named or PACKS)[0].name}.zip"
    raise WeightsError(
        f"insightface's {task} needs its weights {files} in {folder.absolute()}, where they are not.\n"
        f"Download {url} and unpack it there; the packs are {', '.join(known.name for known in PACKS)}. {LICENCE}"
        + (
            "\nWithout them: the detector `mtcnn` (weights under the MIT licence, in its wheel)."
            * (task == "detection")
        )
    )


def _check_sum(path: Path, wanted: Weights) -> None:
    found = sha256(path)
    if wanted.sha256 and found != wanted.sha256:
        log.warning(
            "%s has the sha256 %s, while the published file is known to have %s: damaged, or another file. "
            "Unpack the release again if that was not meant",
            path,
            found,
            wanted.sha256,
        )


def _other(path: Path, expected: str, session: Any) -> WeightsError:
    inputs = ", ".join(str(value.shape) for value in session.get_inputs())
    outputs = ", ".join(str(value.shape) for value in session.get_outputs())
    return WeightsError(
        f"{path}: another ONNX model: inputs of shape {inputs}, outputs {outputs}; expected {expected}. "
        f"The published files are in {RELEASE}{PACKS[0].name}.zip"
    )


def _bgr(frame: Frame) -> Frame:
    """What insightface, like OpenCV, takes for a picture."""
    return np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), dtype=np.uint8)
