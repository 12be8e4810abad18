import cv2
import numpy as np
import pytest
from skimage.transform import SimilarityTransform

from data_modules.faces.alignment import (
    align,
    box_matrix,
    face_matrix,
    resize,
    similarity,
    template,
    transform_points,
    warp,
)

POINTS = np.array([(40, 50), (80, 46), (61, 72), (46, 92), (78, 90)], np.float32)


def random_points(seed: int, count: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 200, (count, 2)).astype(np.float32)


@pytest.mark.parametrize("seed", range(8))
def test_similarity_is_umeyamas(seed):
    source, target = random_points(seed), random_points(seed + 100)
    reference = SimilarityTransform()
    reference = SimilarityTransform.from_estimate(source, target)
    ours = similarity(source, target)
    error = np.linalg.norm(transform_points(source, ours) - target)
    assert error <= np.linalg.norm(reference(source) - target) + 1e-3, "the best of all similarities"
    assert ours == pytest.approx(np.asarray(reference.params)[:2], abs=1e-3)


def test_similarity_never_mirrors():
    mirrored = random_points(1) * np.array([-1, 1], np.float32)
    assert np.linalg.det(similarity(random_points(1), mirrored)[:, :2]) > 0


@pytest.mark.parametrize(("angle", "scale", "shift"), [(0, 1, (0, 0)), (30, 2.5, (10, -7)), (-170, 0.1, (300, 5))])
def test_similarity_finds_what_was_done(angle, scale, shift):
    turn = np.deg2rad(angle)
    rotation = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    moved = POINTS @ rotation.T + np.array(shift)
    assert similarity(POINTS, moved) == pytest.approx(np.column_stack([rotation, shift]), abs=1e-3)


def test_points_in_one_place_fall_back_on_the_box():
    same = np.full((5, 2), 7, np.float32)
    with pytest.raises(ValueError, match="all 5 points coincide"):
        similarity(same, template(112, 0.0))
    box = np.array([10, 20, 50, 60], np.float32)
    assert np.array_equal(face_matrix(box, same, 64, 0.25), box_matrix(box, 64, 0.25))
    assert np.array_equal(face_matrix(box, np.full((5, 2), np.nan, np.float32), 64, 0.25), box_matrix(box, 64, 0.25))


def test_the_template_is_insightfaces_and_scales():
    assert template(112, 0.0)[0] == pytest.approx((38.2946, 51.6963))
    for size in (64, 112, 256):
        for margin in (0.0, 0.25, 1.0):
            centred = template(size, margin) - (size - 1) / 2
            assert centred == pytest.approx((template(112, 0.0) - 55.5) * size / 112 / (1 + margin))
    points = template(256, 0.25)
    assert points[0, 0] < points[1, 0], "image left first"
    assert points[:2, 1].max() < points[2, 1] < points[3:, 1].min()


@pytest.mark.parametrize("angle", [-35, 0, 20])
def test_a_turned_and_scaled_face_gives_the_same_crop(angle):
    """The picture and its points turned together: the crop must not change."""
    rng = np.random.default_rng(0)
    frame = cv2.GaussianBlur(rng.integers(0, 255, (300, 300, 3), dtype=np.uint8), (0, 0), 4)
    points = POINTS + 80
    turn = cv2.getRotationMatrix2D((140, 150), angle, 1.3).astype(np.float32)
    turned = np.asarray(cv2.warpAffine(frame, turn, (300, 300)), dtype=np.uint8)
    box = np.array([100, 100, 180, 190], np.float32)
    straight = align(frame, box, points, 64, 0.0)
    again = align(turned, box, transform_points(points, turn), 64, 0.0)
    assert np.abs(straight.crop.astype(int) - again.crop).mean() < 2
    landmarks = rng.uniform(100, 180, (68, 2)).astype(np.float32)
    assert transform_points(landmarks, straight.matrix) == pytest.approx(
        transform_points(transform_points(landmarks, turn), again.matrix), abs=0.05
    )


def test_points_land_on_the_template_when_they_have_its_shape():
    points = (template(100, 0.25) * 1.7 + 12).astype(np.float32)
    crop = align(np.zeros((300, 300, 3), np.uint8), np.zeros(4, np.float32), points, 100, 0.25)
    assert transform_points(points, crop.matrix) == pytest.approx(template(100, 0.25), abs=1e-2)


def test_depth_is_scaled_with_the_face():
    landmarks = np.concatenate([random_points(3, 68), np.full((68, 1), 10, np.float32)], axis=1)
    turned = np.array([[0, -3, 5], [3, 0, 7]], np.float32)
    moved = transform_points(landmarks, turned)
    assert moved.shape == (68, 3)
    assert moved[:, 2] == pytest.approx(np.full(68, 30.0))
    assert moved[0, :2] == pytest.approx([-3 * landmarks[0, 1] + 5, 3 * landmarks[0, 0] + 7], rel=1e-5)


def test_box_crop_is_a_square_around_the_centre():
    frame = np.zeros((100, 200, 3), np.uint8)
    frame[20:60, 50:70] = 255
    crop = align(frame, np.array([50, 20, 70, 60], np.float32), None, 80, 1.0).crop  # 80 pixels around (60, 40)
    rows, columns = np.flatnonzero(crop[:, 40, 0] > 127), np.flatnonzero(crop[40, :, 0] > 127)
    assert (rows[0], rows[-1], columns[0], columns[-1]) == (20, 59, 30, 49)
    whole = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    assert np.array_equal(align(whole, np.array([0, 0, 64, 64], np.float32), None, 64, 0.0).crop, whole)


def test_beyond_the_border_the_last_pixels_are_repeated():
    frame = np.full((50, 50, 3), 77, np.uint8)
    crop = align(frame, np.array([-30, -30, 10, 10], np.float32), None, 32, 0.5).crop
    assert (crop == 77).all()


@pytest.mark.parametrize("factor", [2, 3.5, 8])
def test_large_faces_are_averaged_and_stay_in_place(factor):
    stripes = np.zeros((480, 480, 3), np.uint8)
    stripes[:, ::2] = 255
    matrix = np.array([[1 / factor, 0, 0], [0, 1 / factor, 0]], np.float32)
    crop = warp(stripes, matrix, 40)
    assert crop[4:-4, 4:-4].std() < 40, "no moire"
    dot = np.zeros((480, 480, 3), np.uint8)
    dot[190:210, 140:160] = 255  # centre at (149.5, 199.5)
    small = warp(dot, matrix, 480)[..., 0].astype(float)
    y, x = (float((small.sum(axis) * np.arange(480)).sum() / small.sum()) for axis in (1, 0))
    assert (x, y) == pytest.approx((149.5 / factor, 199.5 / factor), abs=0.3)


def test_resize_takes_the_whole_frame():
    frame = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    assert np.array_equal(resize(frame, 64).crop, frame)
    wide = np.zeros((40, 80, 3), np.uint8)
    wide[:20, :40] = 200
    cut = resize(wide, 32)
    assert cut.crop.shape == (32, 32, 3)
    assert (cut.crop[:15, :15] == 200).all()
    assert (cut.crop[17:] == 0).all()
    corners = np.array([(-0.5, -0.5), (79.5, 39.5)], np.float32)  # the outer edges of the outermost pixels
    assert transform_points(corners, cut.matrix) == pytest.approx(np.array([(-0.5, -0.5), (31.5, 31.5)]))
