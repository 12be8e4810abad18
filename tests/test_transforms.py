import cv2
import numpy as np
import pytest
import torch

from data_modules.transforms import MIRROR_68, ClipAugmentation, normalise, resize_clip

STRONG = ClipAugmentation(rotation=25, scale=0.2, translation=0.1, brightness=0.3, contrast=0.3)


def dot_picture(x, y, size=96):
    picture = np.zeros((size, size, 3), np.uint8)
    cv2.circle(picture, (x, y), 3, (255, 255, 255), -1, cv2.LINE_AA)
    return picture


@pytest.mark.parametrize("seed", range(12))
def test_landmarks_follow_the_picture(seed):
    change = ClipAugmentation(rotation=25, scale=0.2, translation=0.1).draw(96, torch.Generator().manual_seed(seed))
    moved = change.image(dot_picture(40, 55))
    y, x = (moved[..., 0].astype(float) / moved[..., 0].sum() * np.indices((96, 96))).sum(axis=(1, 2))
    landmarks = np.tile(np.array([40, 55, 10], np.float32), (1, 68, 1))
    assert change.points(landmarks)[0, 0, :2] == pytest.approx([x, y], abs=0.3)


def test_mirroring_swaps_the_names_of_left_and_right():
    assert sorted(MIRROR_68) == list(range(68))
    assert (MIRROR_68[MIRROR_68] == np.arange(68)).all(), "twice is back"
    draws = (ClipAugmentation(flip=True).draw(96, torch.Generator().manual_seed(seed)) for seed in range(20))
    change = next(draw for draw in draws if draw.mirrored)
    face = np.zeros((1, 68, 3), np.float32)
    face[0, 36], face[0, 45] = (20, 40, 0), (70, 40, 0)  # outer corners: image-left eye, image-right eye
    moved = change.points(face)
    assert moved[0, 36] == pytest.approx([95 - 70, 40, 0])
    assert moved[0, 45] == pytest.approx([95 - 20, 40, 0])


def test_depth_scales_with_the_picture():
    augmentation = ClipAugmentation(flip=False, scale=0.5, rotation=30)
    change = augmentation.draw(96, torch.Generator().manual_seed(1))
    face = np.random.default_rng(0).normal(size=(1, 68, 3)).astype(np.float32) * 10
    moved = change.points(face)
    before = np.linalg.norm(face[0, :, None] - face[0, None], axis=-1)
    after = np.linalg.norm(moved[0, :, None] - moved[0, None], axis=-1)
    ratio = after[before > 0] / before[before > 0]
    assert ratio == pytest.approx(ratio[0], rel=1e-4), "a similarity keeps the shape in all three dimensions"


def test_no_augmentation_changes_nothing():
    change = ClipAugmentation(flip=False).draw(32, torch.Generator())
    picture = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    assert (change.image(picture) == picture).all()


def test_the_same_draw_does_the_same_to_every_frame():
    change = STRONG.draw(48, torch.Generator().manual_seed(4))
    picture = np.random.default_rng(0).integers(0, 255, (48, 48, 3), dtype=np.uint8)
    assert (change.image(picture) == change.image(picture.copy())).all()


def test_values_stay_within_their_limits():
    for seed in range(50):
        change = STRONG.draw(100, torch.Generator().manual_seed(seed))
        assert 0.8 - 1e-9 <= np.sqrt(abs(np.linalg.det(change.matrix[:, :2]))) <= 1.2 + 1e-9
        assert 0.7 <= change.brightness <= 1.3
        middle = change.matrix @ [49.5, 49.5, 1]
        assert np.abs(middle - 49.5).max() <= 10 + 1e-9


def test_normalise_and_resize():
    face = torch.full((2, 3, 4, 4), 255, dtype=torch.uint8)
    assert normalise(face)[0, :, 0, 0].tolist() == pytest.approx(
        [(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    )
    crops = np.random.default_rng(0).integers(0, 255, (3, 64, 64, 3), dtype=np.uint8)
    assert resize_clip(crops, 32).shape == (3, 32, 32, 3)
    assert np.abs(resize_clip(crops, 32)[0, 0, 0] - crops[0, :2, :2].mean(axis=(0, 1))).max() <= 1
    assert resize_clip(crops, 64) is crops
