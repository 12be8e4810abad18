"""Tables of faces that others' tools write: each kind, and what goes wrong with them."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest

from data_modules.faces.detection import FaceLocator, five_points
from data_modules.faces.face_table import find_face_table, read_face_table
from data_modules.faces.landmarks import MESH_TO_68
from data_modules.manifest import VideoRecord
from data_modules.video.reader import open_video
from tests.videos import numbered_frame, read_number, truth_of

FACES = truth_of(4).landmarks  # (4, 68, 3) in pixels, depth away from the camera


def write(path: Path, header: list[str], rows: list[list[object]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def numbered(letters: str, count: int, blank: str = "") -> list[str]:
    return [f"{blank}{letter}_{number}" for letter in letters for number in range(count)]


HEAD = ["frame", " face_id", " timestamp", " confidence", " success", " gaze_0_x"]


def openface_row(frame: int, points: np.ndarray, person: int = 0, success: int = 1, focal: float = 500.0) -> list:
    """Points (68, 3) in pixels as a camera of that focal length sees them at 600 mm, and OpenFace's row of them."""
    depth = points[:, 2] - points[:, 2].mean()
    scale = focal / 600.0  # pixels of a millimetre
    solid = np.column_stack([(points[:, :2] - (48, 32)) / scale, 600.0 + depth / scale])
    values = [*points[:, 0], *points[:, 1], *solid.T.reshape(-1)]
    return [frame, person, f"{frame / 25:.3f}", 0.98, success, -0.1, *(f"{value:.4f}" for value in values)]


def openface(path: Path, rows: list[list[object]]) -> Path:
    return write(path, [*HEAD, *numbered("xy", 68, " "), *numbered("XYZ", 68, " ")], rows)


def test_openface_counts_from_one_and_knows_what_it_did_not_see(tmp_path):
    failed = openface_row(3, FACES[2], success=0)
    failed[6:] = ["-nan(ind)"] * (len(failed) - 6)
    path = openface(tmp_path / "a.csv", [openface_row(1, FACES[0]), openface_row(2, FACES[1]), failed])
    table = read_face_table(path)
    assert isinstance(table, FaceLocator)
    for index in (0, 1):
        found = table.at(index)
        assert found is not None
        assert found.score == pytest.approx(0.98)
        flat = FACES[index][:, :2]
        assert np.allclose(found.box, [*flat.min(0), *flat.max(0)], atol=1e-3)
        assert np.allclose(found.points, five_points(FACES[index]), atol=1e-3)
    assert all(table.at(index) is None and table.landmarks(index) is None for index in (2, 3, 99))


def test_openface_depth_is_in_pixels_and_away_from_the_camera(tmp_path):
    """Against the pixels that the millimetres were made from, for two cameras."""
    for focal in (300.0, 2000.0):
        path = openface(tmp_path / "a.csv", [openface_row(1, FACES[0], focal=focal)])
        found = read_face_table(path).landmarks(0)
        assert found is not None
        wanted = FACES[0] - [0, 0, FACES[0][:, 2].mean()]
        assert np.allclose(found, wanted, atol=2e-2)


def test_openface_takes_who_is_seen_most_then_the_largest(tmp_path):
    small, large = FACES[0] * 0.5, FACES[0] * 2
    rows = [openface_row(f, large, 0) for f in (1, 2)] + [openface_row(f, small, 3) for f in (1, 2, 3)]
    found = read_face_table(openface(tmp_path / "a.csv", rows))
    assert [found.at(index) is None for index in range(4)] == [False, False, False, True]
    assert np.allclose(found.landmarks(0)[:, :2], small[:, :2], atol=1e-2)
    found = read_face_table(openface(tmp_path / "a.csv", [*rows[:2], *rows[2:4]]))
    assert np.allclose(found.landmarks(1)[:, :2], large[:, :2], atol=1e-2)


def test_openface_in_two_dimensions_gives_places_only(tmp_path):
    rows = [openface_row(1, FACES[0])[: len(HEAD) + 136]]
    table = read_face_table(write(tmp_path / "a.csv", [*HEAD, *numbered("xy", 68, " ")], rows))
    assert table.at(0) is not None
    with pytest.raises(ValueError, match=r"a.csv: found no landmarks in three dimensions; .* -3Dfp"):
        table.landmarks(0)


def test_openface_that_saw_nobody(tmp_path):
    table = read_face_table(openface(tmp_path / "a.csv", [openface_row(1, FACES[0], success=0)]))
    assert table.at(0) is None
    assert read_face_table(openface(tmp_path / "a.csv", [])).landmarks(0) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({0: "0"}, r"line 3: found frame '0'; expected a whole number of at least 1"),
        ({0: "x"}, r"line 3: found frame 'x'"),
        ({0: "1"}, r"two faces in frame 0"),
        ({3: "1.5"}, r"line 3: found confidence 1.5; expected a number from 0 to 1"),
        ({4: "2"}, r"line 3: found success 2; expected 0 or 1"),
        ({8: ""}, r"line 3: found could not convert"),
        ({8: "nan"}, r"line 3: found 'nan' as x_2; expected a finite number"),
        ({8: "inf"}, r"line 3: found 'inf' as x_2"),
        (None, r"line 3: found 5 fields; expected 346, as the header has"),
    ],
)
def test_rows_that_are_none_are_named(tmp_path, change, message):
    row = openface_row(2, FACES[1])
    for place, value in (change or {}).items():
        row[place] = value
    path = openface(tmp_path / "a.csv", [openface_row(1, FACES[0]), row if change else row[:5]])
    with pytest.raises(ValueError, match=message):
        read_face_table(path)


@pytest.mark.parametrize("sizes", [False, True])
@pytest.mark.parametrize("extra", [(), ("score",), ("score", "points")])
def test_boxes(tmp_path, sizes, extra):
    header = ["frame", *(("x", "y", "width", "height") if sizes else ("left", "top", "right", "bottom"))]
    corners = np.array([[10, 20, 40, 60], [12, 20, 42.5, 60]], float)
    told = np.column_stack([corners[:, :2], corners[:, 2:] - corners[:, :2]]) if sizes else corners
    points = np.arange(20).reshape(2, 5, 2)
    rows = [[frame, *told[place]] for place, frame in enumerate((5, 0))]
    if "score" in extra:
        header, rows = [*header, "score"], [[*row, 0.5] for row in rows]
    if "points" in extra:
        header += [f"{axis}_{number}" for number in range(5) for axis in "xy"]
        rows = [[*row, *each.reshape(-1)] for row, each in zip(rows, points, strict=True)]
    table = read_face_table(write(tmp_path / "a.csv", header, rows))
    assert [table.at(index) is not None for index in range(7)] == [True, *[False] * 4, True, False]
    first, last = table.at(5), table.at(0)
    assert np.allclose([first.box, last.box], corners)
    assert first.score == (0.5 if extra else 1.0)
    assert np.array_equal(first.points, points[0]) if "points" in extra else first.points is None
    with pytest.raises(ValueError, match="three dimensions"):
        table.landmarks(0)


@pytest.mark.parametrize("row", [(0, 10, 10, 10, 20), (0, 10, 10, 20, 5)])
def test_boxes_without_extent(tmp_path, row):
    path = write(tmp_path / "a.csv", ["frame", "left", "top", "right", "bottom"], [list(row)])
    with pytest.raises(ValueError, match=r"line 2: found a box of .*; expected one with a width and a height"):
        read_face_table(path)


@pytest.mark.parametrize("shares", [False, True])
@pytest.mark.parametrize("vertices", [468, 478])
def test_the_face_mesh_in_pixels_and_in_shares(tmp_path, shares, vertices):
    rng = np.random.default_rng(0)
    pixels = rng.uniform((100, 50, -20), (300, 250, 20), (2, vertices, 3))
    told = pixels / (640, 360, 640) if shares else pixels
    rows = [[frame, *told[place].T.reshape(-1)] for place, frame in enumerate((0, 2))]
    rows.insert(1, [1, *[""] * (3 * vertices)])
    path = write(tmp_path / "a.csv", ["frame", *numbered("xyz", vertices)], rows)
    table = read_face_table(path, (640, 360))
    assert [table.at(index) is None for index in range(4)] == [False, True, False, True]
    for place, index in enumerate((0, 2)):
        wanted = pixels[place][MESH_TO_68].mean(1)
        assert np.allclose(table.landmarks(index), wanted, atol=1e-3)
        assert np.allclose(table.at(index).points, five_points(wanted), atol=1e-3)
        mesh = pixels[place, :468, :2]
        assert np.allclose(table.at(index).box, [*mesh.min(0), *mesh.max(0)], atol=1e-3)
    if shares:
        with pytest.raises(ValueError, match="relative to the frame's size; expected pixels, or `size`"):
            read_face_table(path)


@pytest.mark.parametrize("kind", ["openface", "boxes", "mesh", "mesh in shares"])
def test_tables_of_stored_pixels_fit_the_square_ones(tmp_path, kind):
    """OpenFace and OpenCV see the frames as they are stored: here squeezed to 45 of 64 columns."""
    squeeze = np.array([45 / 64, 1, 1])
    wanted = read_face_table(face_table_of(tmp_path / "square.csv", kind, np.ones(3)), (640, 360))
    stored = face_table_of(tmp_path / "stored.csv", kind, np.ones(3) if kind == "mesh in shares" else squeeze)
    found = read_face_table(stored, (640, 360), (64 / 45, 1.0))
    assert np.allclose(found.at(0).box, wanted.at(0).box, atol=1e-2)
    assert np.allclose(found.at(0).points, wanted.at(0).points, atol=1e-2)
    if kind != "boxes":
        assert np.allclose(found.landmarks(0)[:, :2], wanted.landmarks(0)[:, :2], atol=1e-2)


def face_table_of(path: Path, kind: str, factors: np.ndarray) -> Path:
    """A table of one face whose coordinates (.., 3) in pixels are multiplied by the factors."""
    if kind == "openface":
        return openface(path, [openface_row(1, FACES[0] * factors)])
    if kind == "boxes":
        header = ["frame", "x", "y", "width", "height", *(f"{axis}_{number}" for number in range(5) for axis in "xy")]
        box, points = np.array([[10, 20], [30, 40]]) * factors[:2], five_points(FACES[0]) * factors[:2]
        return write(path, header, [[0, *box.reshape(-1), *points.reshape(-1)]])
    pixels = np.random.default_rng(0).uniform((100, 50, -20), (300, 250, 20), (468, 3)) * factors
    told = pixels / (640, 360, 640) if kind == "mesh in shares" else pixels
    return write(path, ["frame", *numbered("xyz", 468)], [[0, *told.T.reshape(-1)]])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "line 1: found nothing; expected OpenFace's columns"),
        (b"a,b,c\n1,2,3\n", "line 1: found a, b, c; expected OpenFace's columns"),
        (b"frame,left,top,right\n", "found frame, left, top, right; expected"),
        (b"\xff\xfe\x00", "line 0: found .*codec"),
        (b"frame,left,top,right,bottom\n0," + b"1" * 200_000, "line 2: found field larger"),
        (b"frame,left,top,right,bottom\n-1,0,0,5,5\n", "found frame '-1'"),
        (b"frame,left,top,right,bottom\n\xb2,0,0,5,5\n", "codec"),
    ],
)
def test_other_tables_are_none(tmp_path, content, message):
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_face_table(tmp_path / "a.csv")


@pytest.mark.parametrize("path", ["x/clip.mp4", "x/clip", "x/clip.tar.gz", "x/clip.jpg"])
def test_where_tables_lie(tmp_path, path):
    record = VideoRecord("part/0001", path, "fear")
    assert find_face_table(tmp_path, record) is None
    for place in ("OpenFace/part/0001.csv", "faces/part/0001.csv", "x/clip.csv"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).touch()
        assert find_face_table(tmp_path, record) == tmp_path / place


def test_a_folder_with_a_dot_in_its_name(tmp_path):
    (tmp_path / "clip.2").mkdir()
    (tmp_path / "clip.csv").touch()
    assert find_face_table(tmp_path, VideoRecord("a", "clip.2", "fear")) is None
    (tmp_path / "clip.2.csv").touch()
    assert find_face_table(tmp_path, VideoRecord("a", "clip.2", "fear")) == tmp_path / "clip.2.csv"


def test_the_faces_that_openface_aligned_are_a_folder_of_frames(tmp_path):
    for number in (1, 2, 9, 10, 11):
        cv2.imwrite(str(tmp_path / f"frame_det_00_{number:06d}.bmp"), numbered_frame(number)[..., ::-1])
    assert [read_number(frame) for _, frame in open_video(tmp_path).frames()] == [1, 2, 9, 10, 11]
