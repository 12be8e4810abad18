"""Reads boxes and landmarks from tables of other tools: OpenFace, MediaPipe's face mesh, or plain boxes."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_modules.faces.detection import Detection, five_points
from data_modules.faces.number_table import NumberTable
from data_modules.manifest import VideoRecord
from data_modules.video.archives import clip_stem

Floats = NDArray[np.float32]
FOLDERS = ("faces", "OpenFace")
CORNERS, SIZES = ("left", "top", "right", "bottom"), ("x", "y", "width", "height")
POINTS, LANDMARKS, VERTICES = 5, 68, 468
MAX_BYTES = 1 << 33  # a row of OpenFace has about 5 kB
NORMALISED = 2.0  # if no coordinate is larger, they are shares of the frame's width and height
EXPECTED = (
    "OpenFace's columns (frame, success, x_0 to x_67, y_0 to y_67), a face mesh's (frame, x_0 to x_467, y_0 ..., z_0 "
    f"...), or boxes (frame, and {', '.join(CORNERS)} or {', '.join(SIZES)})"
)


@dataclass(frozen=True)
class FaceTable:
    """The face of each frame that shows one, in pixels of the upright frame; a `FaceLocator`."""

    path: Path
    frame: NDArray[np.int64]  # (N,) ascending, from 0
    box: Floats  # (N, 4): left, top, right, bottom
    score: Floats  # (N,) 0 to 1
    points: Floats | None = None  # (N, 5, 2) in the order of `Detection.points`
    landmark: Floats | None = None  # (N, 68, 3), iBUG; the third away from the camera, around 0

    def at(self, index: int) -> Detection | None:
        """Returns the face in frame `index`, or None if the table has none."""
        row = self._row(index)
        if row is None:
            return None
        return Detection(self.box[row], float(self.score[row]), None if self.points is None else self.points[row])

    def landmarks(self, index: int) -> Floats | None:
        """Returns (68, 3) landmarks in pixels, the third away from the camera, or None if frame `index` shows no face.

        Raises:
            ValueError: the table has no landmarks in three dimensions.
        """
        if self.landmark is None:
            raise ValueError(
                f"{self.path}: found no landmarks in three dimensions; expected those of OpenFace "
                "(written with the options -2Dfp -3Dfp) or of a face mesh"
            )
        row = self._row(index)
        return None if row is None else self.landmark[row]

    def _row(self, index: int) -> int | None:
        row = int(np.searchsorted(self.frame, index))
        return row if row < len(self.frame) and self.frame[row] == index else None


def find_face_table(folder: Path, record: VideoRecord) -> Path | None:
    """Returns the path of a clip's table of faces, or None if there is none.

    The table is beside the clip (`clip.csv` for `clip.mp4`, `clip/` or `clip.zip`), or named `<clip_id>.csv` in one of
    the folders `faces/` and `OpenFace/` below the data set's root.
    """
    clip = folder / record.path
    candidates = [clip.with_name(f"{clip.name if clip.is_dir() else clip_stem(clip)}.csv")]
    candidates += [folder / name / f"{record.clip_id}.csv" for name in FOLDERS]
    return next((path for path in candidates if path.is_file()), None)


def read_face_table(
    path: Path, size: tuple[int, int] | None = None, stretch: tuple[float, float] = (1.0, 1.0)
) -> FaceTable:
    """Reads a table of one clip's faces; the format is recognised by its header.

    - OpenFace 2 (FeatureExtraction, FaceLandmarkVidMulti): `frame, face_id, timestamp, confidence, success, ... x_0 ...
      x_67, y_0 ..., X_0 ..., Y_0 ..., Z_0 ...`. Frames count from 1; a row with `success` 0 has no face. Of several
      faces, the one in most frames is used, then the largest. X, Y and Z are in millimetres.
    - Boxes: `frame, left, top, right, bottom` or `frame, x, y, width, height`, optionally `score` and five points
      `x_0, y_0 ... x_4, y_4` (eyes, nose, corners of the mouth, image left first). Frames count from 0.
    - MediaPipe's face mesh: `frame, x_0 ... x_467, y_0 ..., z_0 ...` (further vertices are ignored). Frames count from
      0; a row without coordinates has no face. Coordinates are pixels, or shares of the frame's width (x and z) and
      height (y), as MediaPipe writes them; the latter is assumed if all of x and y are below 2.

    Frames without a row show no face. Tables without boxes get the bounding boxes of the landmarks.

    Args:
        path: the table.
        size: width and height of the upright frames in pixels; needed if coordinates are shares of them.
        stretch: see `VideoSource`; pixels of tables are stored ones, since OpenFace and OpenCV read these.

    Raises:
        ValueError: the format is unknown, or a row is invalid; the message names file and line.
    """
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path}: {path.stat().st_size} bytes; expected at most {MAX_BYTES} for the faces of one clip")
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = NumberTable(path, file)
        if rows.has_columns(["frame", *_numbered("xyz", VERTICES)]):
            return _mesh(rows, size, stretch)
        if rows.has_columns(["frame", "success", *_numbered("xy", LANDMARKS)]):
            return _openface(rows, stretch)
        for corners in (CORNERS, SIZES):
            if rows.has_columns(["frame", *corners]):
                return _boxes(rows, corners, stretch)
        found = ", ".join(rows.names[:8]) + (f", ... ({len(rows.names)} columns)" if len(rows.names) > 8 else "")
        raise ValueError(f"{path}, line 1: found {found or 'nothing'}; expected {EXPECTED}")


def _numbered(letters: str, count: int) -> tuple[str, ...]:
    """Returns the column names x_0, x_1, ..., y_0, y_1, ..."""
    return tuple(f"{letter}_{number}" for letter in letters for number in range(count))


@dataclass(frozen=True)
class _Face:
    """One row: a face in a frame."""

    frame: int
    person: str
    score: float
    values: Floats


def _in_order(rows: NumberTable, faces: list[_Face]) -> list[_Face]:
    """Sorts faces by frame and checks that no frame has two."""
    ordered = sorted(faces, key=lambda face: face.frame)
    for face, following in pairwise(ordered):
        if face.frame == following.frame:
            raise ValueError(f"{rows.path}: found two faces in frame {face.frame} (from 0); expected one in each")
    return ordered


def _stack(faces: list[_Face], *shape: int) -> Floats:
    return np.array([face.values for face in faces], dtype=np.float32).reshape(-1, *shape)


def _make(
    rows: NumberTable, faces: list[_Face], box: Floats, points: Floats | None, landmark: Floats | None
) -> FaceTable:
    frame = np.array([face.frame for face in faces], dtype=np.int64)
    score = np.array([face.score for face in faces], dtype=np.float32)
    return FaceTable(rows.path, frame, box, score, points, landmark)


def _hulls(points: Floats) -> Floats:
    """Returns the (N, 4) bounding boxes of (N, P, 2 or 3) points."""
    return np.concatenate([points[..., :2].min(1), points[..., :2].max(1)], axis=1)


def _five(landmarks: Floats) -> Floats:
    return np.array([five_points(each) for each in landmarks], dtype=np.float32).reshape(-1, POINTS, 2)


def _score(rows: NumberTable, row: Sequence[str], name: str) -> float:
    if not rows.has_columns([name]):
        return 1.0
    score = float(rows.numbers(row, rows.column_indices([name]))[0])
    if not 0 <= score <= 1:
        rows.error(f"{name} {score:g}", "a number from 0 to 1")
    return score


def _boxes(rows: NumberTable, names: tuple[str, ...], stretch: tuple[float, float]) -> FaceTable:
    points = [f"{axis}_{number}" for number in range(POINTS) for axis in "xy"]
    has_points = rows.has_columns(points)
    columns = rows.column_indices([*names, *points] if has_points else names)
    faces = []
    for row in rows:
        values = rows.numbers(row, columns)
        if names == SIZES:
            values[2:4] += values[:2]
        if not (values[2:4] > values[:2]).all():
            rows.error(f"a box of {names} {values[:4].tolist()}", "one with a width and a height")
        faces.append(_Face(rows.frame(row, 0), "", _score(rows, row, "score"), values))
    faces = _in_order(rows, faces)
    values = _stack(faces, len(columns)) * np.array(stretch * (len(columns) // 2), dtype=np.float32)
    return _make(rows, faces, values[:, :4], values[:, 4:].reshape(-1, POINTS, 2) if has_points else None, None)


def _mesh(rows: NumberTable, size: tuple[int, int] | None, stretch: tuple[float, float]) -> FaceTable:
    from data_modules.faces.landmarks import (
        MESH_TO_68,
    )  # imported here, as its dependencies are only needed for a face mesh

    columns = rows.column_indices(_numbered("xyz", VERTICES))
    faces = [
        _Face(rows.frame(row, 0), "", 1.0, rows.numbers(row, columns))
        for row in rows
        if any(row[column].strip().lower() not in ("", "nan") for column in columns)
    ]
    faces = _in_order(rows, faces)
    vertices = np.moveaxis(_stack(faces, 3, VERTICES), 1, 2)  # (N, 468, 3)
    if len(faces) and np.abs(vertices[..., :2]).max() < NORMALISED:
        if size is None:
            raise ValueError(
                f"{rows.path}: found coordinates relative to the frame's size; expected pixels, or `size` to be given"
            )
        stretch = size
    vertices = vertices * np.array([*stretch, stretch[0]], dtype=np.float32)
    landmarks = np.asarray(vertices[:, MESH_TO_68].mean(2), dtype=np.float32)  # (N, 68, 3)
    return _make(rows, faces, _hulls(vertices), _five(landmarks), landmarks)


def _openface(rows: NumberTable, stretch: tuple[float, float]) -> FaceTable:
    solid = rows.has_columns(_numbered("XYZ", LANDMARKS))
    columns = rows.column_indices(_numbered("xyXYZ" if solid else "xy", LANDMARKS))
    faces = []
    for row in rows:
        (success,) = rows.numbers(row, rows.column_indices(["success"]))
        if success not in (0, 1):
            rows.error(f"success {success:g}", "0 or 1")
        if success:  # other rows contain zeros or invalid numbers
            person = row[rows.column_indices(["face_id"])[0]].strip() if rows.has_columns(["face_id"]) else ""
            score = _score(rows, row, "confidence")
            faces.append(_Face(rows.frame(row, 1), person, score, rows.numbers(row, columns)))
    faces = _in_order(rows, _main_person(faces))
    values = np.moveaxis(_stack(faces, len(columns) // LANDMARKS, LANDMARKS), 1, 2)  # (N, 68, 2 or 5)
    flat = np.ascontiguousarray(values[..., :2] * np.array(stretch, dtype=np.float32))
    landmarks = np.concatenate([flat, _depth(flat, values[..., 2:])[..., None]], axis=2) if solid else None
    return _make(rows, faces, _hulls(flat), _five(flat), landmarks)


def _main_person(faces: list[_Face]) -> list[_Face]:
    """Returns the faces of the person in most frames; of several, the one with the largest faces."""

    def rank(person: str) -> tuple[int, float]:
        points = np.array([face.values[: 2 * LANDMARKS] for face in faces if face.person == person])
        sides = np.ptp(points.reshape(-1, 2, LANDMARKS), axis=2)
        return len(points), float(sides.prod(1).mean())

    persons = sorted({face.person for face in faces})
    main = max(persons, key=rank, default="")
    return [face for face in faces if face.person == main]


def _depth(flat: Floats, solid: Floats) -> Floats:
    """Converts depth from millimetres to pixels, with 0 at the mean of the face.

    At the distance of the face, a millimetre has the same length in pixels in depth as across. The factor is that which
    maps X and Y to x and y, all relative to their means, with the least squared error.

    Args:
        flat: (N, 68, 2) pixels.
        solid: (N, 68, 3) millimetres in camera space.

    Returns:
        (N, 68) depth in pixels.
    """
    flat, solid = flat - flat.mean(1, keepdims=True), solid - solid.mean(1, keepdims=True)
    across = solid[..., :2]
    scale = (flat * across).sum((1, 2)) / np.maximum((across**2).sum((1, 2)), 1e-6)
    return np.asarray(solid[..., 2] * scale[:, None], dtype=np.float32)
