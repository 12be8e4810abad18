import cv2
import numpy as np
import pytest
import torch

from data_modules.loading.transforms import MIRROR_68, ClipAugmentation, resized
from data_modules.sampling import RandomSampler, SegmentSampler
from tests.small_runs import made_data

STRONG = ClipAugmentation(rotation=25, scale=0.2, translation=0.1, brightness=0.3, contrast=0.3)


def dot_image(x, y, size=96):
    image = np.zeros((size, size, 3), np.uint8)
    cv2.circle(image, (x, y), 3, (255, 255, 255), -1, cv2.LINE_AA)
    return image


@pytest.mark.parametrize("seed", range(12))
def test_landmarks_follow_the_picture(seed):
    transform = ClipAugmentation(rotation=25, scale=0.2, translation=0.1).draw(96, torch.Generator().manual_seed(seed))
    moved = transform.image(dot_image(40, 55), 96)
    y, x = (moved[..., 0].astype(float) / moved[..., 0].sum() * np.indices((96, 96))).sum(axis=(1, 2))
    landmarks = np.tile(np.array([40, 55, 10], np.float32), (1, 68, 1))
    assert transform.points(landmarks)[0, 0, :2] == pytest.approx([x, y], abs=0.3)


def test_mirroring_swaps_the_names_of_left_and_right():
    assert sorted(MIRROR_68) == list(range(68))
    assert (MIRROR_68[MIRROR_68] == np.arange(68)).all(), "twice is back"
    draws = (ClipAugmentation(flip=True).draw(96, torch.Generator().manual_seed(seed)) for seed in range(20))
    transform = next(draw for draw in draws if draw.mirrored)
    face = np.zeros((1, 68, 3), np.float32)
    face[0, 36], face[0, 45] = (20, 40, 0), (70, 40, 0)  # outer corners: image-left eye, image-right eye
    moved = transform.points(face)
    assert moved[0, 36] == pytest.approx([95 - 70, 40, 0])
    assert moved[0, 45] == pytest.approx([95 - 20, 40, 0])


def test_depth_scales_with_the_picture():
    augmentation = ClipAugmentation(flip=False, scale=0.5, rotation=30)
    transform = augmentation.draw(96, torch.Generator().manual_seed(1))
    face = np.random.default_rng(0).normal(size=(1, 68, 3)).astype(np.float32) * 10
    moved = transform.points(face)
    before = np.linalg.norm(face[0, :, None] - face[0, None], axis=-1)
    after = np.linalg.norm(moved[0, :, None] - moved[0, None], axis=-1)
    ratio = after[before > 0] / before[before > 0]
    assert ratio == pytest.approx(ratio[0], rel=1e-4), "a similarity keeps the shape in all three dimensions"


def test_no_augmentation_changes_nothing():
    transform = ClipAugmentation(flip=False).draw(32, torch.Generator())
    image = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    assert (transform.image(image, 32) == image).all()


def test_the_same_draw_does_the_same_to_every_frame():
    transform = STRONG.draw(48, torch.Generator().manual_seed(4))
    image = np.random.default_rng(0).integers(0, 255, (48, 48, 3), dtype=np.uint8)
    assert (transform.image(image, 48) == transform.image(image.copy(), 48)).all()


def test_values_stay_within_their_limits():
    for seed in range(50):
        transform = STRONG.draw(100, torch.Generator().manual_seed(seed))
        assert 0.8 - 1e-9 <= np.sqrt(abs(np.linalg.det(transform.matrix[:, :2]))) <= 1.2 + 1e-9
        assert 0.7 <= transform.brightness <= 1.3
        middle = transform.matrix @ [49.5, 49.5, 1]
        assert np.abs(middle - 49.5).max() <= 10 + 1e-9


def test_resize():
    crop = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    assert resized(crop, 32).shape == (32, 32, 3)
    assert np.abs(resized(crop, 32)[0, 0] - crop[:2, :2].mean(axis=(0, 1))).max() <= 1
    assert resized(crop, 64) is crop


CROP = ClipAugmentation(flip=False, crop=0.875)


def test_a_crop_is_the_window_at_its_place_enlarged():
    """Of 256 pixels, 224 are seen: a slice of the image, once it has its size again."""
    image = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 255, (256, 256, 3), dtype=np.uint8), (0, 0), 6)
    for seed in range(5):
        transform = CROP.draw(256, torch.Generator().manual_seed(seed))
        left, top = -(
            (transform.matrix[:, 2] + 0.5) * 0.875 - 0.5
        )  # as a pixel's edge: p' = (p + 0.5 - start) / crop - 0.5
        assert 0 <= left <= 32
        assert 0 <= top <= 32
        x, y = (np.arange(256) + 0.5) * 0.875 + left - 0.5, (np.arange(256) + 0.5) * 0.875 + top - 0.5
        columns, rows = np.meshgrid(x.astype(np.float32), y.astype(np.float32))
        expected = cv2.remap(image, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        assert np.abs(transform.image(image, 256).astype(int) - expected).max() <= 2


def test_the_evaluation_cuts_the_middle_224_of_256_pixels():
    """No pixel is interpolated: a slice of the image as it is stored."""
    image = np.random.default_rng(0).integers(0, 255, (256, 256, 3), dtype=np.uint8)
    transform = CROP.evaluation(224)
    assert transform.source_side(224) == 256
    np.testing.assert_array_equal(transform.image(image, 224), image[16:240, 16:240])


@pytest.mark.parametrize("seed", range(4))
def test_a_crop_for_training_keeps_every_detail(seed):
    """White noise, cut out between its pixels, has the power of a shifted image, not that of an enlarged one."""
    image = np.random.default_rng(1).integers(0, 255, (256, 256, 3), dtype=np.uint8)
    transform = CROP.draw(224, torch.Generator().manual_seed(seed))
    cut = transform.image(image, 224)
    first = cv2.invertAffineTransform(transform.matrix) @ [-0.5, -0.5, 1]  # the corner, in an image of 224 pixels
    left, top = (first + 0.5) * 256 / 224
    columns, rows = np.meshgrid(np.arange(224, dtype=np.float32) + left, np.arange(224, dtype=np.float32) + top)
    expected = cv2.remap(image, columns.astype(np.float32), rows.astype(np.float32), cv2.INTER_LINEAR)
    assert np.abs(cut.astype(int) - expected)[2:-2, 2:-2].mean() < 4


def test_a_crop_is_read_from_the_store_with_its_own_pixels():
    """Through the data module: stored at 48 pixels, 36 of them are seen at 36."""
    options = {"sampler": SegmentSampler(frames=2)}
    cropped = made_data(augmentation=ClipAugmentation(flip=False, crop=0.75), size=36, **options)
    cut, whole = cropped.clip_dataset("test")[1].face, made_data(size=48, **options).clip_dataset("test")[1].face
    np.testing.assert_array_equal(cut.numpy(), whole.numpy()[..., 6:42, 6:42])


def test_crops_reach_every_place_and_show_nothing_from_outside():
    starts = []
    for seed in range(300):
        transform = CROP.draw(256, torch.Generator().manual_seed(seed))
        inverse = cv2.invertAffineTransform(transform.matrix)
        start, end = inverse @ [-0.5, -0.5, 1], inverse @ [255.5, 255.5, 1]
        assert end - start == pytest.approx([224, 224])
        assert (start >= -0.5 - 1e-9).all()
        assert (end <= 255.5 + 1e-9).all()
        starts.append(start)
    low, high = np.min(starts, axis=0), np.max(starts, axis=0)
    assert (low < 1).all()
    assert (high > 30).all()
    assert np.corrcoef(np.transpose(starts))[0, 1] == pytest.approx(0, abs=0.2), "two places, not one"


@pytest.mark.parametrize("seed", range(6))
def test_landmarks_follow_a_crop(seed):
    transform = ClipAugmentation(rotation=25, scale=0.2, crop=0.8).draw(96, torch.Generator().manual_seed(seed))
    moved = transform.image(dot_image(45, 50), 96)
    y, x = (moved[..., 0].astype(float) / moved[..., 0].sum() * np.indices((96, 96))).sum(axis=(1, 2))
    landmarks = np.tile(np.array([45, 50, 10], np.float32), (1, 68, 1))
    assert transform.points(landmarks)[0, 0, :2] == pytest.approx([x, y], abs=0.3)


def test_evaluation_crops_the_centre_at_the_training_size():
    assert ClipAugmentation(rotation=5).evaluation(96) is None
    transform = ClipAugmentation(rotation=5, brightness=0.5, crop=0.75).evaluation(96)
    assert transform.matrix @ [47.5, 47.5, 1] == pytest.approx([47.5, 47.5])
    assert transform.matrix[:, :2] == pytest.approx(np.eye(2) / 0.75)
    assert (transform.mirrored, transform.brightness, transform.contrast) == (False, 1, 1)
    drawn = ClipAugmentation(crop=0.75).draw(96, torch.Generator())
    assert abs(np.linalg.det(drawn.matrix[:, :2])) == pytest.approx(np.linalg.det(transform.matrix[:, :2]))


def test_a_crop_does_not_change_the_other_draws():
    generators = [torch.Generator().manual_seed(7) for _ in range(2)]
    whole, cut = STRONG.draw(96, generators[0]), ClipAugmentation(crop=0.9, rotation=25).draw(96, generators[1])
    assert whole.mirrored == cut.mirrored
    assert torch.rand((), generator=generators[0]) != torch.rand((), generator=generators[1])


@pytest.mark.parametrize("crop", [0, -0.5, 1.1])
def test_impossible_crops_are_refused(crop):
    with pytest.raises(ValueError, match=f"crop = {crop}: .* at most 1"):
        ClipAugmentation(crop=crop)


AREA = ClipAugmentation(flip=False, area=0.08)


def window(transform, size):
    """Left, top, width and height of what a transform shows, in shares of an image's side."""
    first, last = (cv2.invertAffineTransform(transform.matrix) @ [edge, edge, 1] for edge in (-0.5, size - 0.5))
    return *((first + 0.5) / size), *((last - first) / size)


def test_random_areas_are_those_of_torchvision():
    """Down to 8 % of the area, sides of 3:4 to 4:3, everywhere; by the mean of the areas, uniformly."""
    windows = np.array([window(AREA.draw(112, torch.Generator().manual_seed(seed)), 112) for seed in range(2000)])
    left, top, width, height = windows.T
    assert min(left.min(), top.min()) >= -1e-9
    assert max((left + width).max(), (top + height).max()) <= 1 + 1e-9
    whole = np.maximum(width, height) < 1 - 1e-9  # not cut at the border
    assert ((width / height)[whole] >= 3 / 4 - 1e-9).all()
    assert ((width / height)[whole] <= 4 / 3 + 1e-9).all()
    areas = width * height
    assert areas.min() == pytest.approx(0.08, abs=0.01)
    assert np.quantile(areas, [0.25, 0.5]) == pytest.approx([0.08 + 0.92 / 4, 0.08 + 0.92 / 2], abs=0.03)
    assert areas.max() > 0.95
    assert np.corrcoef(width[whole], height[whole])[0, 1] > 0.7
    assert np.quantile((left / (1 - width))[whole], 0.5) == pytest.approx(0.5, abs=0.05)


def test_a_random_area_is_the_window_stretched_to_the_square():
    image = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 255, (224, 224, 3), dtype=np.uint8), (0, 0), 6)
    for seed in range(5):
        transform = AREA.draw(112, torch.Generator().manual_seed(seed))
        left, top, width, height = (224 * value for value in window(transform, 112))
        x, y = ((np.arange(112) + 0.5) * side / 112 + start - 0.5 for side, start in ((width, left), (height, top)))
        columns, rows = np.meshgrid(x.astype(np.float32), y.astype(np.float32))
        expected = cv2.remap(image, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        assert np.abs(transform.image(image, 112).astype(int) - expected).max() <= 3
        assert transform.shown == pytest.approx(max(width, height) / 224)


def test_random_areas_change_no_other_draw_and_not_the_evaluation():
    for seed in range(3):
        without, with_area = (
            ClipAugmentation(brightness=0.2, area=area).draw(100, torch.Generator().manual_seed(seed))
            for area in (1.0, 0.5)
        )
        assert (without.mirrored, without.brightness) == (with_area.mirrored, with_area.brightness)
    assert AREA.evaluation(112) is None


def test_impossible_areas_are_refused():
    for area in (0.0, 1.2):
        with pytest.raises(ValueError, match=f"area = {area}: expected a share of the area above 0 and at most 1"):
            ClipAugmentation(area=area)
    with pytest.raises(ValueError, match=r"crop = 0\.875 and area = 0\.5: expected one of them"):
        ClipAugmentation(crop=0.875, area=0.5)


def test_landmark_noise_differs_by_frame_and_has_its_strength():
    points = np.zeros((40, 68, 3), np.float32)
    augmentation = ClipAugmentation(flip=False, landmark_noise=2.0)
    transform = augmentation.draw(112, torch.Generator().manual_seed(3))
    noisy = transform.points(points)
    assert noisy.std() == pytest.approx(2.0 * 112 / 224, rel=0.03)  # pixels of a crop of 224
    assert abs(np.corrcoef(noisy[0].ravel(), noisy[1].ravel())[0, 1]) < 0.3
    assert (transform.points(points) == noisy).all()
    other = augmentation.draw(112, torch.Generator().manual_seed(4))
    assert not np.allclose(other.points(points), noisy)


def test_landmark_noise_does_not_change_the_other_draws():
    augmentations = [ClipAugmentation(rotation=20, landmark_noise=sigma) for sigma in (0.0, 1.0)]
    with_none, with_some = (each.draw(64, torch.Generator().manual_seed(5)) for each in augmentations)
    assert (with_none.matrix == with_some.matrix).all()
    assert with_none.noise == 0


def test_evaluation_has_the_noise_of_training_only_if_it_is_asked_for():
    points = np.zeros((40, 68, 3), np.float32)
    assert ClipAugmentation(landmark_noise=2).evaluation(112) is None
    assert ClipAugmentation(noisy_evaluation=True).evaluation(112) is None
    noisy = ClipAugmentation(rotation=20, landmark_noise=2, noisy_evaluation=True)
    found = noisy.evaluation(112, noise_seed=3).points(points)
    assert found.std() == pytest.approx(1, rel=0.03)  # 2 pixels of a crop of 224
    assert (noisy.evaluation(112, noise_seed=3).points(points) == found).all()
    assert not np.allclose(noisy.evaluation(112, noise_seed=4).points(points), found)
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    assert (noisy.evaluation(32).image(image, 32) == image).all(), "pixels are as they were"


def test_batches_of_the_evaluation_have_noise_that_stays_with_the_clip():
    """The landmarks of every clip and view, less those without noise; alike in other orders and batches."""
    options = {"sampler": RandomSampler(frames=3, eval_views=2), "size": 48, "inputs": frozenset({"landmarks"})}
    augmentation = ClipAugmentation(landmark_noise=2.0, noisy_evaluation=True)
    errors = []
    for batch_size in (4, 5):
        found = {}
        loaders = [
            made_data(augmentation=each, batch_size=batch_size, **options).test_dataloader()[1]
            for each in (augmentation, ClipAugmentation())
        ]
        for noisy, plain in zip(*loaders, strict=True):
            for row, clip in enumerate(noisy.clip_id):
                found[clip, row % 2] = (noisy.landmarks - plain.landmarks)[row]
        errors.append(found)
    assert torch.stack(list(errors[0].values())).std() == pytest.approx(2 * 48 / 224, rel=0.03)
    assert errors[0].keys() == errors[1].keys()
    assert all(torch.equal(error, errors[1][key]) for key, error in errors[0].items())
    assert len({error.sum().item() for error in errors[0].values()}) == len(errors[0]), "no two alike"


def test_a_negative_noise_is_refused():
    with pytest.raises(ValueError, match=r"landmark_noise = -1"):
        ClipAugmentation(landmark_noise=-1)


@pytest.mark.parametrize("crop", [1.0, 0.875])
def test_the_mirrored_view_of_the_evaluation_is_the_other_one_reversed(crop):
    augmentation = ClipAugmentation(crop=crop, eval_flip=True)
    image = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    plain, mirrored = (augmentation.evaluation(56, mirrored=flip) for flip in (False, True))
    shown = cv2.resize(image, (56, 56), interpolation=cv2.INTER_LINEAR) if plain is None else plain.image(image, 56)
    difference = mirrored.image(image, 56).astype(int) - shown[:, ::-1]
    assert np.abs(difference).max() <= 2  # interpolated from the other side
    assert (plain is None, mirrored.mirrored) == (crop == 1, True)


@pytest.mark.parametrize("shift", [0.0, 0.125])
def test_the_evaluation_moves_a_clip_over_a_grid_of_nine_positions(shift):
    dots = [(32, 32)] if shift == 0 else [(32 + right, 32 + down) for right in (0, -8, 8) for down in (0, -8, 8)]
    augmentation = ClipAugmentation(eval_shift=shift)
    found = []
    for each in augmentation.eval_shifts:
        transform = augmentation.evaluation(64, shift=each)
        image = dot_image(32, 32, 64)
        moved = image if transform is None else transform.image(image, 64)
        y, x = (moved[..., 0].astype(float) / moved[..., 0].sum() * np.indices((64, 64))).sum(axis=(1, 2))
        found.append((round(x), round(y)))
    assert found == dots
    assert augmentation.evaluation(64) is None, "the first view is the clip as it is"


@pytest.mark.parametrize("shift", [-0.1, 0.5])
def test_a_shift_out_of_the_image_is_refused(shift):
    with pytest.raises(ValueError, match=rf"eval_shift = {shift}: expected a fraction"):
        ClipAugmentation(eval_shift=shift)
