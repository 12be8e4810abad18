"""The face mesh against rendered faces, whose points are known, against another detector, and against itself."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest

from data_modules.faces.alignment import align, transform_points
from data_modules.faces.detection import AnnotatedFaces, Detection, MTCNNDetector, WholeFrame, five_points
from data_modules.faces.landmarks import (
    EYE_CORNERS,
    MESH_TO_68,
    PACKAGE_FILE,
    SIDE,
    FaceMesh,
    LandmarkModel,
    LandmarksNotFoundError,
    first_crop,
    make_landmarks,
    second_crop,
)
from data_modules.loading.transforms import MIRROR_68
from data_modules.synthetic.clip import ClipSettings, render_clip
from data_modules.video.reader import open_video
from tests.videos import CLIPS, real_clips

there = all(importlib.util.find_spec(name) for name in ("mediapipe", "ai_edge_litert"))
with_mesh = pytest.mark.skipif(not there, reason="the face mesh is not installed: mediapipe==0.10.14, ai-edge-litert")

REGIONS = {
    "jaw": slice(0, 17),
    "brows": slice(17, 27),
    "nose": slice(27, 36),
    "eyes": slice(36, 48),
    "lips": slice(48, 68),
}


@pytest.fixture(scope="module")
def mesh():
    return FaceMesh()


@pytest.fixture(scope="module")
def faces():
    """(frame, detection, (68, 3) true points) of six people, four frames each."""
    found = []
    for difficulty, subject, emotion in (
        ("lab", 100, "happiness"),
        ("lab", 101, "surprise"),
        ("lab", 102, "neutral"),
        ("wild", 100, "anger"),
        ("wild", 101, "disgust"),
        ("wild", 102, "fear"),
    ):
        clip = render_clip(ClipSettings(difficulty, subject, emotion))
        places = AnnotatedFaces(clip.truth)
        seen = np.flatnonzero(clip.truth.visible)
        times = seen[np.linspace(0, len(seen) - 1, 4).astype(int)].tolist()
        found += [(clip.frames[t], places.at(t), clip.truth.landmarks[t]) for t in times]
    return found


def interocular(points: np.ndarray) -> float:
    """The distance of the eyes' outer corners."""
    return float(np.linalg.norm(points[36, :2] - points[45, :2]))


def distances(found: np.ndarray, true: np.ndarray) -> np.ndarray:
    """(68,) in units of the interocular distance."""
    return np.linalg.norm(found[:, :2] - true[:, :2], axis=1) / interocular(true)


def test_map_has_a_place_for_each_point():
    assert MESH_TO_68.shape == (68, 2)
    assert MESH_TO_68.min() >= 0
    assert MESH_TO_68.max() < 468
    assert len({tuple(sorted(pair)) for pair in MESH_TO_68.tolist()}) == 68


def edges(name: str) -> list[tuple[int, int]]:
    """Edges of the mesh as mediapipe's wheel lists them, in a file that is read and not run."""
    package = importlib.util.find_spec("mediapipe")
    assert package is not None
    assert package.origin is not None
    text = (Path(package.origin).parent / "python/solutions/face_mesh_connections.py").read_text()
    block = re.search(rf"^{name} = frozenset\(\[(.*?)\]\)", text, re.S | re.M)
    assert block is not None
    return [(int(a), int(b)) for a, b in re.findall(r"\((\d+),\s*(\d+)\)", block[1])]


def mirrored_vertices() -> dict[int, int]:
    """Each vertex's mirror image, from the topology alone.

    An edge of the middle line has a triangle on either side, whose tips mirror each other; from there on, where an
    edge and its mirror image have their two triangles each, and one tip is known, the other tips mirror each other.
    """
    neighbours: list[set[int]] = [set() for _ in range(468)]
    for a, b in edges("FACEMESH_TESSELATION"):
        neighbours[a].add(b)
        neighbours[b].add(a)
    mirror = {10: 10, 151: 151}  # on the forehead
    left, right = neighbours[10] & neighbours[151]
    mirror |= {left: right, right: left}
    todo, done = [(10, left), (151, left)], set()
    while todo:
        edge = todo.pop()
        a, b = edge
        done |= {(a, b), (b, a)}
        tips, others = neighbours[a] & neighbours[b], neighbours[mirror[a]] & neighbours[mirror[b]]
        if len(tips) != 2 or len(others) != 2:
            continue  # the border, or the list lacks a triangle here
        new, images = [t for t in tips if t not in mirror], [t for t in others if t not in mirror]
        if len(new) == len(images) == 1:
            mirror |= {new[0]: images[0], images[0]: new[0]}
        todo += [(x, tip) for tip in tips if tip in mirror for x in edge if (x, tip) not in done]
    return mirror


@with_mesh
def test_map_is_symmetric_on_the_mesh():
    mirror = mirrored_vertices()
    assert [v for v in (10, 151, 168, 4, 2, 0, 17, 152) if mirror[v] != v] == []
    for point, pair in enumerate(MESH_TO_68[MIRROR_68].tolist()):
        assert {mirror[vertex] for vertex in pair} == set(MESH_TO_68[point].tolist()), point


@with_mesh
@pytest.mark.parametrize(
    ("contour", "points"),
    [
        ("FACEMESH_FACE_OVAL", range(0, 17)),
        ("FACEMESH_RIGHT_EYEBROW", range(17, 22)),  # the subject's right is left in the image
        ("FACEMESH_LEFT_EYEBROW", range(22, 27)),
        ("FACEMESH_NOSE", range(27, 36)),
        ("FACEMESH_RIGHT_EYE", range(36, 42)),
        ("FACEMESH_LEFT_EYE", range(42, 48)),
        ("FACEMESH_LIPS", range(48, 68)),
    ],
)
def test_points_lie_on_their_contour_of_the_mesh(contour, points):
    assert set(MESH_TO_68[list(points)].ravel().tolist()) <= {v for edge in edges(contour) for v in edge}


@with_mesh
def test_points_are_near_the_truth(mesh, faces):
    errors, depths = [], []
    for frame, face, true in faces:
        found = mesh.find(frame, face)
        assert found is not None
        assert found.shape == (68, 3)
        assert found.dtype == np.float32
        errors.append(distances(found, true))
        depths.append(np.corrcoef(found[:, 2], true[:, 2])[0, 1])
    for region, part in REGIONS.items():
        assert np.mean([error[part] for error in errors]) < 0.07, region
    each = np.mean(errors, axis=0)
    assert each.max() < 0.1, f"point {each.argmax()}"
    assert np.mean(errors) < 0.05
    assert np.max([error.mean() for error in errors]) < 0.12
    assert np.mean(depths) > 0.9
    assert min(depths) > 0.75


@with_mesh
def test_eyes_and_mouth_open_where_they_open_in_truth(mesh, faces):
    """Expressions must show: openings correlate with the true ones over frames."""
    pairs = [(mesh.find(frame, face) / interocular(true), true / interocular(true)) for frame, face, true in faces]
    for upper, lower, least in ((62, 66, 0.8), (51, 57, 0.8)):
        found, true = np.array([[p[lower, 1] - p[upper, 1] for p in pair] for pair in pairs]).T
        assert np.corrcoef(found, true)[0, 1] > least


@with_mesh
@pytest.mark.parametrize("by", ["points", "box"])
@pytest.mark.parametrize(("angle", "scale", "shift"), [(0, 1, (17, -9)), (0, 1.6, (0, 0)), (20, 0.8, (10, 20))])
def test_points_follow_the_frame(mesh, faces, by, angle, scale, shift):
    moves = []
    for frame, face, true in faces[::6]:
        middle = tuple(float(v) for v in true[:, :2].mean(0))
        matrix = cv2.getRotationMatrix2D(middle, angle, scale).astype(np.float32)
        matrix[:, 2] += np.array([128, 128]) - middle + shift
        moved = cv2.warpAffine(frame, matrix, (280, 290), borderMode=cv2.BORDER_REPLICATE)
        points = transform_points(face.points, matrix)
        corners = transform_points(face.box[[0, 1, 2, 1, 2, 3, 0, 3]].reshape(4, 2), matrix)
        box = np.concatenate([corners.min(0), corners.max(0)])
        points_there = points if by == "points" else None
        points_here = face.points if by == "points" else None
        before = mesh.find(frame, Detection(face.box, 1.0, points_here))
        after = mesh.find(moved, Detection(box, 1.0, points_there))
        expected = transform_points(before, matrix)
        moves.append(distances(after, expected).mean())
        depth = expected[:, 2] - expected[:, 2].mean() - after[:, 2] + after[:, 2].mean()
        assert np.abs(depth).mean() / interocular(expected) < 0.04
    assert np.mean(moves) < 0.025


@with_mesh
def test_a_mirrored_frame_has_mirrored_points(mesh, faces):
    moves, sides = [], []
    for frame, face, _ in faces[1::4]:
        last = frame.shape[1] - 1
        box = np.array([last + 1 - face.box[2], face.box[1], last + 1 - face.box[0], face.box[3]], np.float32)
        points = (face.points * (-1, 1) + (last, 0))[[1, 0, 2, 4, 3]].astype(np.float32)
        before = mesh.find(frame, face)
        after = mesh.find(np.ascontiguousarray(frame[:, ::-1]), Detection(box, 1.0, points))
        expected = (before * (-1, 1, 1) + (last, 0, 0))[MIRROR_68]
        moves.append(distances(after, expected).mean())
        sides.append((after - expected)[:, 0].mean())
    assert np.mean(moves) < 0.03
    assert abs(np.mean(sides)) < 0.5, "pixels; half a pixel's error in the mesh's coordinates would show twice"


@with_mesh
def test_a_loose_or_shifted_box_hardly_matters(mesh, faces):
    for frame, face, true in faces[::5]:
        width, height = face.box[2:] - face.box[:2]
        for grow, across in ((0.25, 0.0), (-0.1, 0.0), (0.05, 0.12)):
            change = np.array([across - grow, -grow, across + grow, grow]) * np.array([width, height, width, height])
            found = mesh.find(frame, Detection((face.box + change).astype(np.float32), 1.0))
            assert found is not None
            assert distances(found, true).mean() < 0.1


@with_mesh
def test_a_crop_that_somebody_made_is_looked_at_as_a_whole(mesh, faces):
    for margin in (0.1, 0.5):
        errors = []
        for frame, face, true in faces[::4]:
            cut = align(frame, face.box, face.points, 160, margin)
            found = mesh.find(cut.crop, WholeFrame(160, 160).at(0))
            assert found is not None
            errors.append(distances(found, transform_points(true, cut.matrix)).mean())
        assert np.mean(errors) < 0.06


def test_first_cut():
    frame = np.zeros((100, 160, 3), np.uint8)
    corners = np.array([[-0.5, -30.5], [159.5, 129.5]])  # the square around the frame, its pixels' centres at integers
    whole = transform_points(corners, first_crop(frame, WholeFrame(160, 100).at(0)))
    np.testing.assert_allclose(whole, [[-0.5, -0.5], [SIDE - 0.5, SIDE - 0.5]], atol=1e-3)
    box = np.array([40, 20, 80, 70], np.float32)
    middle = transform_points(np.array([[59.5, 44.5]]), first_crop(frame, Detection(box, 1.0)))
    np.testing.assert_allclose(middle, [[SIDE / 2 - 0.5] * 2], atol=1e-3)


def test_second_cut_levels_the_eyes_and_holds_all_points():
    rng = np.random.default_rng(0)
    for angle in (0, 30, 90, 180, -100):
        upright = rng.uniform((-40, -60, 0), (40, 60, 1), (468, 3))
        upright[list(EYE_CORNERS)] = (-25, -10, 0), (25, -10, 0)
        turn = cv2.getRotationMatrix2D((0, 0), -angle, 2.0)
        vertices = np.column_stack([upright[:, :2] @ turn[:, :2].T + (300, 200), upright[:, 2]]).astype(np.float32)
        seen = transform_points(vertices, second_crop(vertices))
        left, right = seen[list(EYE_CORNERS), :2]
        assert left[1] == pytest.approx(right[1], abs=1e-2)
        assert left[0] < right[0]
        low, high = seen[:, :2].min(0), seen[:, :2].max(0)
        np.testing.assert_allclose((low + high) / 2, SIDE / 2 - 0.5, atol=1e-2)
        assert (high - low).max() == pytest.approx(SIDE / 1.5, abs=1e-2)


@with_mesh
def test_no_face(mesh, faces):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (200, 200, 3)).astype(np.uint8)
    box = Detection(np.array([40, 40, 160, 160], np.float32), 1.0)
    for frame in (np.zeros_like(noise), np.full_like(noise, 128), noise, cv2.GaussianBlur(noise, (0, 0), 12)):
        assert mesh.find(frame, box) is None
    frame, _, true = faces[0]
    chest = Detection(np.array([100, 215, 140, 255], np.float32), 1.0)
    assert true[:, 1].max() < 215
    assert mesh.find(frame, chest) is None


@with_mesh
@real_clips
def test_real_clip_without_a_face(mesh):
    found = [
        mesh.find(frame, Detection(np.array([x, 100, x + 300, 400], np.float32), 1.0))
        for _, frame in open_video(CLIPS / "no_face.mp4").frames(every=10)
        for x in (100, 400, 650)
    ]
    assert len(found) > 20
    assert sum(points is not None for points in found) <= 1


@with_mesh
@real_clips
def test_real_faces_agree_with_another_detector(mesh):
    pytest.importorskip("facenet_pytorch")
    detector = MTCNNDetector("cpu")
    errors, steps = [], []
    for _, frame in open_video(CLIPS / "single_face.mp4").frames(every=12):
        face = detector.detect([frame])[0][0]
        found = mesh.find(frame, face)
        assert found is not None
        assert face.points is not None
        errors.append(np.linalg.norm(five_points(found) - face.points, axis=1) / interocular(found))
        box_only = mesh.find(frame, Detection(face.box, 1.0))
        assert box_only is not None
        steps.append(distances(box_only, found).mean())
    assert np.mean(errors) < 0.06
    assert np.max(errors) < 0.15
    assert np.mean(steps) < 0.02, "it matters little by what the first cut was made"


@with_mesh
def test_mediapipe_is_not_imported():
    code = (
        "import sys; from data_modules.faces.landmarks import FaceMesh; FaceMesh(); print('mediapipe' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def assert_helpful(error: LandmarksNotFoundError) -> None:
    for part in (PACKAGE_FILE.name, "Apache-2.0", "PyPI", "--no-deps mediapipe==0.10.14"):
        assert part in str(error)


def test_missing_package_says_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "mediapipe", None)
    with pytest.raises(LandmarksNotFoundError, match="which is not installed") as error:
        FaceMesh()
    assert_helpful(error.value)


@with_mesh
def test_missing_runtime_says_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(LandmarksNotFoundError, match="pip install ai-edge-litert"):
        FaceMesh()


def test_missing_or_other_file_is_named(tmp_path):
    path = tmp_path / "face_landmark.tflite"
    with pytest.raises(LandmarksNotFoundError, match="does not exist") as error:
        FaceMesh(path)
    assert str(path) in str(error.value)
    assert_helpful(error.value)
    path.write_bytes(b"something else")
    with pytest.raises(LandmarksNotFoundError, match="found 14 bytes, expected 1242398") as error:
        FaceMesh(path)
    assert_helpful(error.value)


@with_mesh
def test_one_wrong_byte_is_noticed(tmp_path):
    package = importlib.util.find_spec("mediapipe")
    assert package is not None
    assert package.origin is not None
    content = bytearray((Path(package.origin).parent / PACKAGE_FILE).read_bytes())
    path = tmp_path / "copy.tflite"
    path.write_bytes(content)
    assert FaceMesh(path).name == "mesh"
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(LandmarksNotFoundError, match=r"found SHA-256 [0-9a-f]{64}, expected 1055cb9d") as error:
        FaceMesh(path)
    assert_helpful(error.value)


@with_mesh
def test_models_by_name():
    model = make_landmarks("mesh", device="cuda")
    assert isinstance(model, FaceMesh)
    assert isinstance(model, LandmarkModel)
    with pytest.raises(ValueError, match="expected mesh or insightface"):
        make_landmarks("dlib")  # type: ignore[arg-type]


def test_insightface_is_imported_when_it_is_asked_for(monkeypatch):
    class InsightFaceLandmarks:
        def __init__(self, device=None):
            self.device = device

    module = ModuleType("data_modules.faces.insightface")
    module.InsightFaceLandmarks = InsightFaceLandmarks  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    assert make_landmarks("insightface", device="cpu").device == "cpu"  # type: ignore[attr-defined]
