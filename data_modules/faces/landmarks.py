"""Models that find the 68 iBUG landmarks of a face in 3D: their protocol, and MediaPipe's face mesh."""

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

SIDE = 192  # side of the network's square input, pixels
FIRST_MARGIN = 0.3  # [our choice] lowest error on rendered faces, both by points (0.25 to 0.4) and by box (0.25)
SECOND_SCALE = 1.5  # MediaPipe's ratio of the crop's side to that of the points' box
EYE_CORNERS = (33, 263)  # the outer ones, image left and right

# The mesh's vertices for each of the 68 points: the midpoint of two, or one vertex twice. iBUG's points are spaced
# evenly along a contour, the mesh's vertices are not. From each contour (its edges are in the mesh's public topology)
# we took the vertices, or midpoints of neighbours, that come closest to even spacing on frontal faces; of several
# equally good ones, those closest to the known points of rendered faces.
MESH_TO_68 = np.array(
    [
        # jaw: from beside the eyes down the face's oval to the chin (152), the oval's lower 23 vertices. They are fixed
        # on the head, as 3D points are: on a rotated head, the far ones are not on the visible outline.
        *((127, 127), (234, 234), (93, 93), (132, 58), (58, 172), (136, 136), (150, 149), (176, 148)),
        (152, 152),
        *((377, 400), (378, 379), (365, 365), (397, 288), (288, 361), (323, 323), (454, 454), (356, 356)),
        # brows: the upper of the mesh's two rows, outer to inner end, then inner to outer; at the inner end the
        # midpoint of both rows, as the upper one ends above the brow there
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
        # inner lips: corners (78, 308), middles (13, 14), and the vertices below and above the cupid's bow's peaks
        *((78, 78), (81, 82), (13, 13), (312, 311), (308, 308), (317, 402), (14, 14), (87, 178)),
    ]
)
"""(68, 2) vertex numbers of the face mesh in iBUG's order."""


@runtime_checkable
class LandmarkModel(Protocol):
    """Finds the 68 points of one face in one frame."""

    name: str
    device: str  # the device that it runs on

    def find(self, frame: Frame, face: Detection) -> NDArray[np.float32] | None:
        """Returns (68, 3) landmarks in pixels of the (H, W, 3) RGB frame, or None if there is no face.

        The third coordinate points away from the camera. Its zero depends on the model, so only differences are
        meaningful.
        """
        ...


class LandmarksNotFoundError(DetectorNotFoundError):
    """A landmark model's package or weights are missing; the message says how to get them."""


@dataclass(frozen=True)
class Mesh:
    """The network's output for one image."""

    vertices: NDArray[np.float32]  # (468, 3) in pixels of the frame, depth too
    score: float  # probability that there is a face


class FaceMesh:
    """MediaPipe's face mesh (Kartynnik et al. 2019, https://arxiv.org/abs/1907.06724), which runs on the CPU.

    The network is a file in the wheel of mediapipe 0.10.14 (Apache-2.0); mediapipe itself is not imported, and its
    dependencies are not needed. The network runs twice on each face: first on a crop by the detector's points or box,
    then on a crop by the vertices just found, as MediaPipe does while it tracks a face. The result hardly depends on
    the detector's style of boxes. A face that leans by more than about 45 degrees is found only if the detector returns
    points. An instance must be used by a single thread.

    Args:
        path: path of `face_landmark.tflite`; by default that in the installed wheel.
        min_score: minimum probability of a face.
        threads: number of threads of the network.

    Raises:
        LandmarksNotFoundError: a package or the file is missing, or the file has another checksum.
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
        """Finds landmarks as `LandmarkModel.find` does."""
        mesh = self.find_mesh(frame, face)
        return None if mesh is None else mesh.vertices[MESH_TO_68].mean(1)

    def find_mesh(self, frame: Frame, face: Detection) -> Mesh | None:
        """Returns all vertices, or None if either of the two passes finds no face."""
        first = self._run(frame, first_crop(frame, face))
        if first.score < self._min_score:
            return None
        second = self._run(frame, second_crop(first.vertices))
        return second if second.score >= self._min_score else None

    def _run(self, frame: Frame, matrix: Matrix) -> Mesh:
        self._network.set_tensor(self._input, np.float32(warp(frame, matrix, SIDE)[None]) / 255)
        self._network.invoke()
        vertices = self._network.get_tensor(self._vertices).reshape(468, 3)
        logit = float(self._network.get_tensor(self._flag).item())
        # the network counts from the image's edge (a mirrored image gives 192 - x), frames from the centre of a pixel
        centred = vertices - np.array([0.5, 0.5, 0], np.float32)
        inverse = cv2.invertAffineTransform(matrix).astype(np.float32)
        return Mesh(transform_points(centred, inverse), float(1 / (1 + np.exp(-logit))))


def first_crop(frame: Frame, face: Detection) -> Matrix:
    """Returns the matrix of the first crop: around the detection, or the whole frame if that is the detected face."""
    height, width = frame.shape[:2]
    left, top, right, bottom = face.box
    if face.points is None and left <= 0 and top <= 0 and right >= width and bottom >= height:
        return box_matrix(face.box, SIDE, margin=0.0)
    return face_matrix(face.box, face.points, SIDE, FIRST_MARGIN)


def second_crop(vertices: NDArray[np.float32]) -> Matrix:
    """Returns the matrix of the square around (468, 3) vertices with level eyes, as MediaPipe cuts it for tracking."""
    points = vertices[:, :2].astype(np.float64)
    left, right = points[list(EYE_CORNERS)]
    along = (right - left) / max(float(np.linalg.norm(right - left)), 1e-6)
    axes = np.stack([along, [-along[1], along[0]]])
    rotated = points @ axes.T
    low, high = rotated.min(0), rotated.max(0)
    centre = (low + high) / 2 @ axes
    half = along * float((high - low).max()) / 2 * SECOND_SCALE
    middle = (SIDE - 1) / 2
    return similarity(np.stack([centre - half, centre + half]), np.array([[-0.5, middle], [SIDE - 0.5, middle]]))


def _network(path: Path | None) -> bytes:
    """Reads the network's file and verifies its checksum."""
    if path is None:
        package = importlib.util.find_spec("mediapipe")  # locates the package without importing it
        if package is None or package.origin is None:
            raise _missing("the package mediapipe, which is not installed")
        path = Path(package.origin).parent / PACKAGE_FILE
    if not path.is_file():
        raise _missing(f"{path}, which does not exist")
    size = path.stat().st_size
    if size != SIZE_IN_BYTES:
        raise _missing(f"another version of {path}: found {size} bytes, expected {SIZE_IN_BYTES}")
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != SHA256:
        raise _missing(f"another version of {path}: found SHA-256 {digest}, expected {SHA256}")
    return content


def _missing(requirement: str) -> LandmarksNotFoundError:
    return LandmarksNotFoundError(
        f"the landmarks `mesh` need {requirement}.\n"
        f"The network {PACKAGE_FILE.name} (Apache-2.0) is in the wheel of mediapipe 0.10.14 on PyPI.\n"
        "Install it without its dependencies:\n"
        "pip install --force-reinstall --no-deps mediapipe==0.10.14"
    )


def make_landmarks(name: Literal["mesh", "insightface"], device: str | None = None) -> LandmarkModel:
    """Creates the landmark model of that name with its default settings; the mesh always runs on the CPU.

    Raises:
        LandmarksNotFoundError: packages or the file of the mesh are missing.
        DetectorNotFoundError: insightface is not installed.
        WeightsError: insightface's weights are missing or belong to another model.
        ValueError: there is no model of that name.
    """
    if name == "mesh":
        return FaceMesh()
    if name == "insightface":
        from data_modules.faces.insightface import InsightFaceLandmarks

        return InsightFaceLandmarks(device=device)
    raise ValueError(f"unknown landmark model {name!r}; expected mesh or insightface")
