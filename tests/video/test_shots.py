"""Shot changes in rendered films: cuts are found where they are; flashes, people and a camera that moves are none."""

import cv2
import numpy as np
import pytest

from data_modules.synthetic.scene import BACKGROUNDS, background
from data_modules.video.shots import ShotSettings, with_cuts
from tests.people import Shot, Walk, film

HERE, THERE = (10, 16), (130, 16)
WIDTH, HEIGHT = 384, 144


def cuts(frames, every: int = 1) -> list[int]:
    found = list(with_cuts(enumerate(frames), every))
    begins = [index for index, _, is_cut in found if is_cut]
    looks = {*range(0, len(frames), every), *begins, *(index - 1 for index in begins)}
    assert [index for index, _, _ in found] == sorted(looks), "each look comes once, in order"
    assert all(np.array_equal(frame, frames[index]) for index, frame, _ in found)
    return begins


def panorama() -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.concatenate([background(kind, WIDTH, rng)[:HEIGHT] for kind in BACKGROUNDS], axis=1)


@pytest.mark.parametrize("every", [1, 4, 5, 7])
def test_cuts_are_found_at_the_first_frame_after_them(every):
    """Also before a short shot of ten frames, and between, before and at frames that are looked at anyway."""
    shots = [
        Shot(30, 1, [Walk(1, HERE), Walk(2, THERE)]),
        Shot(30, 2, [Walk(4, THERE)]),
        Shot(30, 4, [Walk(5, THERE)]),
        Shot(10, 3, [Walk(1, HERE)]),
        Shot(20, 1, [Walk(1, HERE)]),
    ]
    made = film(shots)
    assert made.cuts == [30, 60, 90, 100]
    assert cuts(made.frames, every) == made.cuts


@pytest.mark.parametrize("every", [1, 4])
def test_a_cut_in_the_same_room_to_somebody_elses_close_up(every):
    made = film([Shot(24, 1, [Walk(4, (0, 16))]), Shot(24, 1, [Walk(3, (0, 16))])], 144)
    assert cuts(made.frames, every) == [24]


@pytest.mark.parametrize("every", [1, 4])
@pytest.mark.parametrize("bright", [1, 2, 4])
def test_people_who_walk_and_a_flash_are_no_cut(every, bright):
    frames = film([Shot(60, 1, [Walk(1, (-120, 16), (380, 16)), Walk(2, (380, 16), (-120, 16))])]).frames
    frames[30 : 30 + bright] = np.clip(frames[30 : 30 + bright].astype(int) * 1.5 + 90, 0, 255)
    assert cuts(frames, every) == []


@pytest.mark.parametrize("every", [1, 4])
@pytest.mark.parametrize("speed", [4, 10, 20, 40])
def test_a_camera_that_stands_and_then_pans_is_no_cut(every, speed):
    wide = panorama()
    count = 20 + min(60, (wide.shape[1] - WIDTH) // speed)
    assert cuts([wide[:, max(0, t - 20) * speed :][:, :WIDTH] for t in range(count)], every) == []


@pytest.mark.parametrize("every", [1, 4])
def test_a_zoom_is_no_cut(every):
    wide = panorama()
    frames = [cv2.resize(wide[20:124, 100 + 2 * t : 484 - 2 * t], (WIDTH, HEIGHT)) for t in range(60)]
    assert cuts(frames, every) == []


@pytest.mark.parametrize(("greys", "expected"), [([90], []), ([0, 90], [1]), ([0, 90, 90], [1]), ([0, 0, 90], [2])])
def test_clips_of_few_frames(greys, expected):
    assert cuts([np.full((8, 8, 3), grey, np.uint8) for grey in greys]) == expected


def test_settings_out_of_range():
    for wrong in ({"distance": 0}, {"ratio": 0.5}, {"flash": -1}):
        with pytest.raises(ValueError, match="expected a distance"):
            ShotSettings(**wrong)
