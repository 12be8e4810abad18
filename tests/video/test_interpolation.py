import cv2
import numpy as np
import pytest

from data_modules.faces.alignment import align
from data_modules.faces.detection import five_points
from data_modules.synthetic.clip import ClipSettings, render_clip
from data_modules.video.interpolation import interpolate, lengthen, warp_along_flow

RNG = np.random.default_rng(0)
TEXTURE = cv2.GaussianBlur(RNG.integers(0, 256, (40, 40, 3)).astype(np.uint8), (0, 0), 1.5)
BACKGROUND = cv2.GaussianBlur(RNG.integers(60, 120, (96, 96, 3)).astype(np.uint8), (0, 0), 3)


def square_at(x: float, y: float = 28) -> np.ndarray:
    """(96, 96, 3): a textured square whose corner is at (x, y), which need not be whole numbers."""
    matrix = np.array([[1, 0, x], [0, 1, y]], np.float32)
    inside = cv2.warpAffine(np.ones((40, 40), np.float32), matrix, (96, 96))[..., None]
    square = cv2.warpAffine(TEXTURE, matrix, (96, 96), borderMode=cv2.BORDER_REPLICATE)
    return np.rint(BACKGROUND * (1 - inside) + square * inside).astype(np.uint8)


def error(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(int) - b).mean())


def fade(a: np.ndarray, b: np.ndarray, share: float) -> np.ndarray:
    return cv2.addWeighted(a, 1 - share, b, share, 0)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2)))


@pytest.mark.parametrize(("count", "length"), [(2, 16), (4, 16), (7, 16), (15, 16), (13, 105), (53, 105), (104, 105)])
def test_ends_and_given_frames_are_kept(count, length):
    given = [np.full((16, 16, 3), 2 * i, np.uint8) for i in range(count)]
    longer = lengthen(given, length)
    assert len(longer.crops) == len(longer.position) == len(longer.interpolated) == length
    assert longer.crops[0] is given[0]
    assert longer.crops[-1] is given[-1]
    np.testing.assert_allclose(longer.position, np.linspace(0, count - 1, length), atol=1e-12)
    assert (np.diff(longer.position) > 0).all()
    kept = np.flatnonzero(~longer.interpolated)
    assert kept.tolist() == [i for i in range(length) if i * (count - 1) % (length - 1) == 0]
    for i in kept:
        assert longer.position[i] == int(longer.position[i])
        assert longer.crops[i] is given[int(longer.position[i])]


def test_time_runs_forward():
    """A picture that only brightens tells the time of each made frame."""
    given = [np.full((32, 32, 3), 40 * i, np.uint8) for i in range(6)]
    longer = lengthen(given, 23)
    seen = np.array([crop.mean() for crop in longer.crops])
    np.testing.assert_allclose(seen, 40 * longer.position, atol=0.51)


@pytest.mark.parametrize("distance", [3, 6, 10])
def test_a_moving_square_is_where_it_should_be(distance):
    low, high = square_at(20), square_at(20 + distance)
    longer = lengthen([low, high], 5)
    for i, share in ((1, 0.25), (2, 0.5), (3, 0.75)):
        true = square_at(20 + share * distance)
        made = error(longer.crops[i], true)
        assert made < 0.2 * error(fade(low, high, share), true)
        assert made < 0.2 * min(error(low, true), error(high, true))


def test_both_directions_and_both_axes():
    low, high = square_at(20, 20), square_at(25, 28)
    there, back = lengthen([low, high], 4), lengthen([high, low], 4)
    for i in (1, 2):
        assert error(there.crops[i], square_at(20 + 5 * i / 3, 20 + 8 * i / 3)) < 0.5
        assert error(there.crops[i], back.crops[3 - i]) < 0.1


def test_flow_is_followed_from_where_things_start():
    """A flow that stretches: what starts at x is at x * (1 + share / 4) afterwards."""
    x = np.arange(64, dtype=np.float32)
    frame = np.repeat(np.tile((3 * x).astype(np.uint8), (64, 1))[..., None], 3, axis=2)
    flow = np.zeros((64, 64, 2), np.float32)
    flow[..., 0] = x / 4
    for share in (0.5, 1.0):
        moved = warp_along_flow(frame, flow, share)[32, :60, 0]
        np.testing.assert_allclose(moved, 3 * x[:60] / (1 + share / 4), atol=2.5)


def test_a_still_clip_stays_still():
    frame = square_at(20)
    for crop in lengthen([frame] * 3, 16).crops:
        np.testing.assert_array_equal(crop, frame)


def test_where_the_flow_explains_nothing_frames_are_blended():
    rng = np.random.default_rng(1)
    low, high = (rng.integers(0, 256, (64, 64, 3)).astype(np.uint8) for _ in range(2))
    made = lengthen([low, high], 3).crops[1]
    assert error(made, fade(low, high, 0.5)) < 0.35 * error(low, high)


def test_one_frame_is_repeated():
    frame = square_at(20)
    longer = lengthen([frame], 16)
    assert len(longer.crops) == 16
    assert all(crop is frame for crop in longer.crops)
    assert not longer.position.any()
    assert not longer.interpolated.any()


@pytest.mark.parametrize("count", [16, 17, 40])
def test_long_clips_stay(count):
    given = [np.full((8, 8, 3), i, np.uint8) for i in range(count)]
    longer = lengthen(given, 16)
    assert len(longer.crops) == count
    assert all(a is b for a, b in zip(longer.crops, given, strict=True))
    assert longer.position.tolist() == list(range(count))
    assert not longer.interpolated.any()


def test_what_cannot_be_lengthened_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        lengthen([], 16)
    with pytest.raises(ValueError, match="20 x 20, 24 x 20"):
        lengthen([np.zeros((20, 20, 3), np.uint8), np.zeros((20, 24, 3), np.uint8)], 16)
    with pytest.raises(ValueError, match="at least 16 x 16"):
        lengthen([np.zeros((15, 30, 3), np.uint8)] * 2, 16)


@pytest.mark.parametrize("size", [(16, 16), (16, 400), (400, 16), (17, 31), (45, 16), (500, 300)])
def test_any_size_from_sixteen_on(size):
    low, high = (np.random.default_rng(i).integers(0, 256, (*size, 3)).astype(np.uint8) for i in range(2))
    assert lengthen([low, high], 3).crops[1].shape == (*size, 3)


def test_numbers_between_two_frames():
    low, high = np.zeros((68, 3), np.float32), np.ones((68, 3), np.float32)
    np.testing.assert_allclose(interpolate(low, high, 0.25), 0.25)
    assert interpolate(1.0, 3.0, 0.5) == 2.0
    assert interpolate(None, 3.0, 0.5) is None
    assert interpolate(low, None, 0.5) is None


@pytest.mark.parametrize("difficulty", ["lab", "wild"])
def test_faces_are_made_better_than_by_cross_fading(difficulty):
    """Every fourth frame is given, the others are made again."""
    clip = render_clip(ClipSettings(difficulty, 203, "happiness"))
    count = (min(len(clip.frames), 41) - 1) // 4 * 4 + 1
    truth = clip.truth
    crops = [align(clip.frames[i], truth.box[i], five_points(truth.landmarks[i]), 128, 0.25).crop for i in range(count)]
    longer = lengthen(crops[::4], count)
    made = [i for i in range(count) if i % 4]
    assert np.flatnonzero(longer.interpolated).tolist() == made
    ours = np.mean([psnr(longer.crops[i], crops[i]) for i in made])
    faded = np.mean([psnr(fade(crops[i // 4 * 4], crops[i // 4 * 4 + 4], i % 4 / 4), crops[i]) for i in made])
    repeated = np.mean([psnr(crops[round(i / 4) * 4], crops[i]) for i in made])
    assert ours > repeated + 0.5
    assert ours > faded
