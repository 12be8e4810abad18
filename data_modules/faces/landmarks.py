"""68 3D points (the iBUG scheme) of a face in a frame: models behind one protocol, and the one that runs anywhere."""

import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import cv2
import numpy as np
from numpy.typing import NDArray

from data_modules.faces.alignment import Matrix, box_matrix, face_matrix, similarity, transform_points, warp
from data_modules.faces.detection import Detection
from data_modules.faces.errors import DetectorNotFoundError
from data_modules.video.source import Frame

PACKAGE_FILE = Path("modules/face_landmark/face_landmark.tflite")
SIZE_IN_BYTES = 1_242_398
SHA256 = "1055cb9d4a9ca8b8c688902a3a5194311138ba256bcc94e336d8373a5f30c814"

SIDE = 192  # of the square picture that the network looks at
FIRST_MARGIN = 0.3  # [our choice] the least error on rendered faces by points (0.25 to 0.4) and by box (0.25) alike
SECOND_SCALE = 1.5  # MediaPipe's: the side of the cut over that of the points' box
EYE_CORNERS = (33, 263)  # the outer ones, image left and right

# The mesh's vertices for each of the 68 points: the middle of two, or one vertex twice. On a closed or open contour
# iBUG's points are spread evenly, the mesh's vertices are not: of a contour's vertices (its edges are the mesh's public
# topology) those, or the middle of those neighbours, were taken that lie nearest to even spacing on frontal faces;
# where that leaves a choice, those that lie nearest to the known points of rendered faces.
MESH_TO_68 = np.array(
    [
        # jaw: from beside the eyes down the face's oval to the chin (152), the oval's lower 23 vertices. They stay at
        # their place on the head, as a 3D point does: on a turned head the far ones are not on the outline seen.
        *((127, 127), (234, 234), (93, 93), (132, 58), (58, 172), (136, 136), (150, 149), (176, 148)),
        (152, 152),
        *((377, 400), (378, 379), (365, 365), (397, 288), (288, 361), (323, 323), (454, 454), (356, 356)),
        # brows: the upper of the mesh's two rows, outer to inner end, then inner to outer; at the inner end the middle
        # of both rows, as the upper one alone ends above the brow there
        *((70, 70), (63, 105), (105, 66), (66, 107), (107, 55)),
        *((285, 336), (296, 336), (296, 334), (293, 334), (300, 300)),
        # nose: down the ridge's middle line from between the eyes to the tip; then along its lower edge, from the
        # wing (between the base's outermost vertex and the wing's lower one) under the nostril to the septum (2)
        *((168, 168), (6, 197), (195, 5), (4, 4)),
        *((98, 64), (97, 97), (2, 2), (326, 326), (294, 327)),
        # eyes: both corners, and the vertices at about 1/3 and 2/3 of each lid
        *((33, 33), (160, 160), (158, 158), (133, 133), (153, 153), (144, 144)),
        *((362, 362), (385, 385), (387, 387), (263, 263), (373, 373), (380, 380)),
        # outer lips: corners (61, 291), the cupid's bow's peaks (37, 267) and dip (0), the lower edge's middle (17)
        *((61, 61), (40, 39), (37, 37), (0, 0), (267, 267), (269, 270), (291, 291)),
        *((321, 405), (314, 314), (17, 17), (84, 84), (91, 181)),
        # inner lips: corners (78, 308), middles (13, 14), and what lies below and above the cupid's bow's peaks
        *((78, 78), (81, 82), (13, 13), (312, 311), (308, 308), (317, 402), (14, 14), (87, 178)),
    ]
)
"""(68, 2) vertices of the face mesh, in iBUG's order."""


@runtime_checkable
class LandmarkModel(Protocol):
    """Finds the 68 points of one face in one frame."""

    name: str
    device: str  # where it runs

    def find(self, frame: Frame, face: Detection) -> NDArray[np.float32] | None:
        """(68, 3) in pixels of the (H, W, 3) RGB frame, the third away from the camera; None where there is no face.

        Where the third coordinate is zero is the model's own affair: only differences mean something.
        """
        ...


class LandmarksNotFoundError(DetectorNotFoundError):
    """A landmark model's package or weights are missing; the message says how to get them."""


@dataclass(frozen=True)
class Mesh:
    """What the network says of one picture."""

    vertices: NDArray[np.float32]  # (468, 3) in pixels of the frame, depth scaled alike
    score: float  # 0 to 1: that there is a face


class FaceMesh:
    """MediaPipe's face mesh (Kartynnik et al. 2019), whose network lies in the wheel of mediapipe 0.10.14 (Apache-2.0).

    The wheel is a place for the file only: mediapipe is not imported, and its dependencies are not needed. The network
    runs twice on each face: first on a cut by the detector's points or box, then on one by the points just found, as
    MediaPipe does while it follows a face. That makes it independent of how a detector draws its boxes; but a face that
    leans by more than about 45 degrees is only found where the detector gives points. It runs on the CPU. An instance
    belongs to one thread of one process.

    Args:
        path: of `face_landmark.tflite`; by default that of the installed wheel.
        min_score: below this probability of a face, there is none.
        threads: of the network's.

    Raises:
        LandmarksNotFoundError: a package or the file is missing, or the file is not the one that is expected.
    """

    name, device = "mesh", "cpu"

    def __init__(self, path: Path | None = None, min_score: float = 0.5, threads: int = 1) -> None:
        content = _network(path)
        try:
            from ai_edge_litert.interpreter import (  # type: ignore[import-untyped, import-not-found, unused-ignore]
                Interpreter,
            )
        except ImportError as error:
            raise LandmarksNotFoundError(
                "the landmarks `mesh` need the package ai-edge-litert (Apache-2.0), which is not installed: "
                f"pip install ai-edge-litert ({error})"
            ) from error
        self._min_score = min_score
        self._network: Any = Interpreter(model_content=content, num_threads=threads)
        self._network.allocate_tensors()
        self._input: int = self._network.get_input_details()[0]["index"]
        outputs = {int(np.prod(output["shape"])): output["index"] for output in self._network.get_output_details()}
        self._vertices, self._flag = outputs[468 * 3], outputs[1]

    def find(self, frame: Frame, face: Detection) -> NDArray[np.float32] | None:
        """See `LandmarkModel.find`."""
        mesh = self.find_mesh(frame, face)
        return None if mesh is None else mesh.vertices[MESH_TO_68].mean(1)

    def find_mesh(self, frame: Frame, face: Detection) -> Mesh | None:
        """All vertices, or None where one of the two passes sees no face."""
        first = self._look(frame, first_cut(frame, face))
        if first.score < self._min_score:
            return None
        second = self._look(frame, second_cut(first.vertices))
        return second if second.score >= self._min_score else None

    def _look(self, frame: Frame, matrix: Matrix) -> Mesh:
        self._network.set_tensor(self._input, np.float32(warp(frame, matrix, SIDE)[None]) / 255)
        self._network.invoke()
        vertices = self._network.get_tensor(self._vertices).reshape(468, 3)
        logit = float(self._network.get_tensor(self._flag).item())
        # it counts from the picture's edge (a mirrored picture gives 192 - x), the frame's pixels from their centres
        centred = vertices - np.array([0.5, 0.5, 0], np.float32)
        back = cv2.invertAffineTransform(matrix).astype(np.float32)
        return Mesh(transform_points(centred, back), float(1 / (1 + np.exp(-logit))))


def first_cut(frame: Frame, face: Detection) -> Matrix:
    """The square that a detector's finding suggests; the whole frame where that is what somebody cropped before."""
    height, width = frame.shape[:2]
    left, top, right, bottom = face.box
    if face.points is None and left <= 0 and top <= 0 and right >= width and bottom >= height:
        return box_matrix(face.box, SIDE, margin=0.0)
    return face_matrix(face.box, face.points, SIDE, FIRST_MARGIN)


def second_cut(vertices: NDArray[np.float32]) -> Matrix:
    """(468, 3) vertices -> the square around them with the eyes level, as MediaPipe cuts it to follow a face."""
    points = vertices[:, :2].astype(np.float64)
    left, right = points[list(EYE_CORNERS)]
    along = (right - left) / max(float(np.linalg.norm(right - left)), 1e-6)
    axes = np.stack([along, [-along[1], along[0]]])
    turned = points @ axes.T
    low, high = turned.min(0), turned.max(0)
    centre = (low + high) / 2 @ axes
    half = along * float((high - low).max()) / 2 * SECOND_SCALE
    middle = (SIDE - 1) / 2
    return similarity(np.stack([centre - half, centre + half]), np.array([[-0.5, middle], [SIDE - 0.5, middle]]))


def _network(path: Path | None) -> bytes:
    """The network's file, once its checksum is right."""
    if path is None:
        package = importlib.util.find_spec("mediapipe")  # finds it, without importing it
        if package is None or package.origin is None:
            raise _missing("the package mediapipe, which is not installed")
        path = Path(package.origin).parent / PACKAGE_FILE
    if not path.is_file():
        raise _missing(f"{path}, which does not exist")
    size = path.stat().st_size
    if size != SIZE_IN_BYTES:
        raise _missing(f"another file than {path}: it has {size} bytes, not {SIZE_IN_BYTES}")
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != SHA256:
        raise _missing(f"another file than {path}: its SHA-256 is {digest}, not {SHA256}")
    return content


def _missing(what: str) -> LandmarksNotFoundError:
    return LandmarksNotFoundError(
        f"the landmarks `mesh` need {what}.\n"
        f"The network {PACKAGE_FILE.name} (Apache-2.0) lies in the wheel of mediapipe 0.10.14 on PyPI.\n"
        "Install that alone, its dependencies are not needed:\n"
        "pip install --force-reinstall --no-deps mediapipe==0.10.14"
    )


def make_landmarks(name: Literal["mesh", "insightface"], device: str | None = None) -> LandmarkModel:
    """The landmark model of that name with its default settings; the mesh runs on the CPU, whatever the device.

    Raises:
        LandmarksNotFoundError: the mesh's packages or file are missing.
        DetectorNotFoundError, WeightsError: insightface's are, see `InsightFaceLandmarks`.
        ValueError: there is no model of that name.
    """
    if name == "mesh":
        return FaceMesh()
    if name == "insightface":
        from data_modules.faces.insightface import InsightFaceLandmarks

        return InsightFaceLandmarks(device=device)
    raise ValueError(f"no landmarks {name!r}; there are mesh and insightface")
