"""Head pose: against rotations made by hand, against rendered heads whose pose is known, and against its definition."""

from functools import cache

import numpy as np
import pytest

from data_modules.faces.extraction import ClipAnnotations, FaceExtractor
from data_modules.faces.head_pose import RIGID, crop_angle, head_pose, head_pose_in_frame, head_rotation, upright
from data_modules.faces.settings import FaceSettings
from data_modules.labels import SEVEN
from data_modules.store.clip_file import ClipSummary, FaceFrame
from data_modules.store.clip_store import ClipStore
from data_modules.synthetic.clip import ClipSettings, plan_clip, render_clip
from data_modules.synthetic.face_model import MEAN
from data_modules.synthetic.portrait import Portrait
from data_modules.synthetic.writer import write_video
from data_modules.video.reader import open_video

NOSE, BROWS, CHIN = 30, 27, 8


def turned(yaw: float = 0, pitch: float = 0, roll: float = 0) -> np.ndarray:
    """A frontal face, turned by rotations about the vertical, the horizontal and the viewing axis, one after another.

    Each is written for the point that shows it: the nose, at z < 0, goes to larger x or y, the right end of a line to
    larger y.
    """
    x, y, z = MEAN.astype(np.float64).T
    a, b, c = np.radians([yaw, pitch, roll])
    x, z = x * np.cos(a) - z * np.sin(a), x * np.sin(a) + z * np.cos(a)
    y, z = y * np.cos(b) - z * np.sin(b), y * np.sin(b) + z * np.cos(b)
    x, y = x * np.cos(c) - y * np.sin(c), x * np.sin(c) + y * np.cos(c)
    return np.stack([x, y, z], axis=1)


@pytest.mark.parametrize(
    "angles",
    [
        (0, 0, 0),
        (30, 0, 0),
        (-30, 0, 0),
        (0, 20, 0),
        (0, -20, 0),
        (0, 0, 45),
        (0, 0, -170),
        (35, -15, 10),
        (-70, 30, 120),
    ],
)
def test_a_face_that_was_turned_by_hand_has_these_angles(angles):
    points = 3.5 * turned(*angles) + np.array([400, 250, -90])
    assert head_pose(points) == pytest.approx(angles, abs=0.2)  # the reference is the mean face, rounded


def test_the_signs_are_those_of_the_pictures_axes():
    """Yaw: the nose's tip moves to the right; pitch: it moves down; roll: the brows move to the right of the chin."""
    frontal = turned()
    right, down, clockwise = turned(yaw=25), turned(pitch=25), turned(roll=25)
    assert right[NOSE, 0] > frontal[NOSE, 0] + 5
    assert down[NOSE, 1] > frontal[NOSE, 1] + 5
    assert clockwise[BROWS, 0] > clockwise[CHIN, 0] + 20
    poses = head_pose(np.stack([right, down, clockwise]))
    assert (poses.argmax(axis=1) == [0, 1, 2]).all()
    assert (poses.max(axis=1) > 20).all()


def test_a_mirrored_face_looks_to_the_other_side():
    points = turned(20, 10, 5)
    flipped = (points * np.array([-1, 1, 1]))[mirror_of_68()]
    yaw, pitch, roll = head_pose(points)
    assert head_pose(flipped) == pytest.approx([-yaw, pitch, -roll], abs=0.1)


def mirror_of_68() -> np.ndarray:
    """Which point of the mean face lies where each point's mirror image does."""
    distance = np.linalg.norm(MEAN[:, None] * np.array([-1, 1, 1]) - MEAN[None], axis=2)
    return distance.argmin(axis=1)


def test_the_answer_is_a_rotation_or_nan_without_landmarks():
    rng = np.random.default_rng(0)
    faces = np.stack([turned(*rng.uniform(-40, 40, 3)) + rng.normal(0, 2, (68, 3)) for _ in range(20)]).reshape(
        4, 5, 68, 3
    )
    faces[0, 1] *= [1, 1, -1]  # a depth that is inside out: nearest is a reflection, which no head can make
    faces[1, 2, RIGID[3]] = np.nan  # a point that is used
    faces[2, 0] = 7.0  # all in one place
    faces[3, 3] = np.linspace(0, 1, 68)[:, None]  # all on one line
    missing = np.zeros((4, 5), dtype=bool)
    missing[[1, 2, 3], [2, 0, 3]] = True
    found = head_rotation(faces)
    np.testing.assert_array_equal(np.isnan(found).any(axis=(2, 3)), missing)
    np.testing.assert_array_equal(np.isnan(head_pose(faces)).all(axis=2), missing)
    real = found[~missing]
    np.testing.assert_allclose(real @ np.swapaxes(real, 1, 2), np.broadcast_to(np.eye(3), real.shape), atol=1e-9)
    assert np.linalg.det(real) == pytest.approx(np.ones(17))
    faces[0, 0, 60] = np.nan  # a lip, which is not used
    assert np.isfinite(head_pose(faces)[0, 0]).all()


@cache
def rendered(subject: int) -> tuple[np.ndarray, np.ndarray]:
    """Landmarks (T, 68, 3) in the picture and true angles (T, 3) of a clip of another person and expression."""
    plan = plan_clip(ClipSettings("wild", subject, SEVEN[subject % 7], seed=1))
    pose, staging = plan.performance.pose, plan.staging
    portrait = Portrait(plan.person, plan.performance, staging.light, plan.size, staging.sunglasses)
    return portrait.landmarks, np.degrees(np.stack([pose.yaw, pose.pitch, pose.roll], axis=1))


def test_rendered_heads_of_other_shapes_are_off_by_few_degrees():
    """Yaw to 35 degrees, pitch and roll to 15; heads seen from behind are left out."""
    clips = [rendered(subject) for subject in range(12)]
    seen = [(points, true) for points, true in clips if np.abs(true).max() < 60]
    assert len(seen) >= 10
    errors = np.abs(np.concatenate([head_pose(points) - true for points, true in seen]))
    assert (errors.mean(axis=0) < 1).all()
    assert (errors.max(axis=0) < 3).all()
    assert np.ptp(np.concatenate([true for _, true in seen]), axis=0).min() > 15  # there was something to get wrong


def test_a_crop_with_level_eyes_does_not_hide_the_roll(tmp_path):
    """From the file to the store: the crops are turned, the pose is that of the frames."""
    settings = next(
        each
        for each in (ClipSettings("wild", subject, "fear", seed=2, size=128) for subject in range(40))
        if 8 < np.abs(np.degrees(plan_clip(each).performance.pose.roll)).mean() < 15
        and len(plan_clip(each).performance.pose.yaw) < 60
    )
    clip, pose = render_clip(settings), plan_clip(settings).performance.pose
    write_video(tmp_path / "a.mp4", clip.frames, None)
    extractor = FaceExtractor(FaceSettings("annotation", size=64, landmarks="annotation"))
    faces = extractor.extract(open_video(tmp_path / "a.mp4"), ClipAnnotations("a", clip.truth))
    store = ClipStore(tmp_path / "store")
    store.write(ClipSummary("a", len(clip.frames), 0), faces)
    stored = store.open("a")
    assert len(stored) > 5
    true = np.degrees(np.stack([pose.yaw, pose.pitch, pose.roll], axis=1))[stored.frame_index]
    assert np.abs(head_pose_in_frame(stored) - true).max() < 3
    in_crop = head_pose(stored.optional("landmarks"))
    assert np.abs(in_crop[:, 2]).mean() < 0.6 * np.abs(true[:, 2]).mean()


def test_the_turn_of_a_crop_is_taken_back_by_hand():
    quarter = np.array([[0, -2, 5], [2, 0, 5]], np.float32)  # the frame's right is the crop's down: clockwise
    assert crop_angle(quarter) == pytest.approx(90)
    pose = np.array([[1, 2, 100], [1, 2, -100]], np.float32)
    assert upright(pose, np.array([90.0, 90.0])).tolist() == [[1, 2, 10], [1, 2, 170]]
    assert np.isnan(upright(pose, np.array([np.nan, 0.0]))).tolist() == [[False, False, True], [False] * 3]


@pytest.mark.parametrize(("landmarks", "known"), [(True, [True, True, False]), (False, [False] * 3)])
def test_what_a_clip_lacks_is_nan(tmp_path, landmarks, known):
    """Without what tells how its crops were cut the roll is not known, without landmarks nothing is."""
    points = turned(10, 5, 0).astype(np.float32) if landmarks else None
    faces = [FaceFrame(i, np.zeros((8, 8, 3), np.uint8), np.zeros(4, np.float32), 1.0, points) for i in range(3)]
    store = ClipStore(tmp_path)
    store.write(ClipSummary("a", 3, 0), faces)
    pose = head_pose_in_frame(store.open("a"))
    assert np.isfinite(pose).tolist() == [known] * 3
