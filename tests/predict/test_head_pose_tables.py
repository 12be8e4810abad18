"""Head pose in the tables of `fer predict` and `fer faces`, on a rendered person whose pose is known."""

import csv
import json
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from data_modules.synthetic.clip import ClipSettings, plan_clip, render_clip
from data_modules.synthetic.writer import write_video
from fer_lightning.cli import faces as fer_faces
from fer_lightning.cli import predict
from fer_lightning.predict.faces import head_poses
from fer_lightning.predict.timeline import Timeline
from tests.faces.test_head_pose import turned
from tests.predict.test_predict import frame_rows, table, write_checkpoint

ANGLES = ("yaw", "pitch", "roll")
SETTINGS = ClipSettings("wild", 4, "neutral", seed=1, size=200)  # 21 frames; looks to the right by about 23 degrees
has_networks = find_spec("mediapipe") and find_spec("ai_edge_litert") and find_spec("facenet_pytorch")
with_networks = pytest.mark.skipif(not has_networks, reason="the face mesh or MTCNN is not installed")


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("video") / "head.mp4"
    write_video(path, render_clip(SETTINGS).frames, None)
    return path


def true_pose() -> np.ndarray:
    """(T, 3) degrees."""
    pose = plan_clip(SETTINGS).performance.pose
    return np.degrees(np.stack([pose.yaw, pose.pitch, pose.roll], axis=1))


def angles_of(row: dict[str, str]) -> list[float]:
    return [float(row[name]) for name in ANGLES]


@with_networks
def test_fer_faces_writes_the_pose_of_each_face(video, tmp_path):
    """With the networks' own landmarks, whose error this is: 4 degrees, of 23."""
    assert fer_faces.main(["faces", str(video), "--out", str(tmp_path), "--workers", "0", "--landmarks", "mesh"]) == 0
    rows = list(csv.DictReader((tmp_path / "head" / "faces.csv").open()))
    assert len(rows) == 21
    errors = np.array([angles_of(row) for row in rows]) - true_pose()[[int(row["frame"]) for row in rows]]
    assert np.abs(errors).max() < 6


@with_networks
def test_fer_faces_without_landmarks_leaves_the_columns_empty(video, tmp_path):
    assert fer_faces.main(["faces", str(video), "--out", str(tmp_path), "--workers", "0", "--every", "10"]) == 0
    rows = list(csv.DictReader((tmp_path / "head" / "faces.csv").open()))
    assert rows
    assert {row[name] for row in rows for name in ANGLES} == {""}


@with_networks
def test_fer_faces_says_how_to_get_a_landmark_model(video, tmp_path, monkeypatch):
    monkeypatch.setattr("data_modules.faces.landmarks.SIZE_IN_BYTES", 1)  # so the file is another one
    with pytest.raises(ValueError, match="pip install --force-reinstall --no-deps mediapipe"):
        fer_faces.main(["faces", str(video), "--out", str(tmp_path), "--workers", "0", "--landmarks", "mesh"])


@with_networks
def test_fer_predict_writes_the_mean_pose_of_each_window(video, tmp_path):
    run = write_checkpoint(tmp_path / "1-0")
    options = [
        "--checkpoint",
        run,
        "--device",
        "cpu",
        "--workers",
        "0",
        "--no-video",
        "--window",
        "0.5",
        "--hop",
        "0.3",
    ]
    assert predict.main(list(map(str, ["predict", video, "--out", tmp_path / "with", "--head-pose", *options]))) == 0
    rows, content = (
        table(tmp_path / "with" / "head"),
        json.loads((tmp_path / "with" / "head" / "expressions.json").read_text()),
    )
    true, times = true_pose(), np.arange(21) / 25
    assert len(rows) == 3
    for row, same in zip(rows, content["rows"], strict=True):
        window = np.abs(times - float(row["time"])) <= 0.25
        assert angles_of(row) == pytest.approx(true[window].mean(axis=0), abs=6)
        assert [same[name] for name in ANGLES] == angles_of(row)
    assert predict.main(list(map(str, ["predict", video, "--out", tmp_path / "without", *options]))) == 0
    rows = table(tmp_path / "without" / "head")
    assert {row[name] for row in rows for name in ANGLES} == {""}
    content = json.loads((tmp_path / "without" / "head" / "expressions.json").read_text())
    assert all(row[name] is None for row in content["rows"] for name in ANGLES)


def test_the_mean_over_a_window_is_one_of_directions():
    """By hand: rolls of 170 and -170 make 180; a face without landmarks counts for nothing; no face, no pose."""
    rolls = [170, -170, 30, 50, 0]
    points = np.stack([turned(10, -5, roll) for roll in rolls])
    points[4] = np.nan
    clip = SimpleNamespace(optional={"landmarks": points, "matrix": np.tile(np.eye(2, 3), (5, 1, 1))}.get)
    index = np.array([0, 1, 4, 5, 6])
    faces = SimpleNamespace(clip=clip, position_ranges=lambda frames: np.searchsorted(index, frames))
    seen = np.array([[0, 2], [4, 6], [5, 7], [6, 9], [2, 4]])
    found = head_poses(faces, frame_rows(seen, seen))
    assert found[:3, :2] == pytest.approx(np.tile([10, -5], (3, 1)), abs=0.3)
    assert np.abs(found[0, 2]) == pytest.approx(180, abs=0.3)
    assert found[1:3, 2] == pytest.approx([40, 50], abs=0.3)
    assert np.isnan(found[3:]).all()


def test_angles_are_written_with_two_digits():
    pose = np.array([[1.234, -5.0, np.nan], [np.nan] * 3])
    rows = (np.array([0.0, 1]), np.array([1.0, 2]), np.ones(2), np.zeros(2, bool), np.full((2, 2), 0.5))
    timeline = Timeline(("anger", "fear"), *rows, head_pose=pose)
    assert timeline.angles == [[1.23, -5.0, None], [None] * 3]
    assert Timeline(("anger", "fear"), *rows).angles == [[None] * 3] * 2
