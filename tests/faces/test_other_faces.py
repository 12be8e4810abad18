"""In which frames somebody else is seen than the person of the main face, by hand."""

import numpy as np

from data_modules.faces.detection import Detection
from data_modules.faces.main_face import MainFace
from data_modules.faces.other_faces import frames_of_others
from data_modules.faces.tracking import FaceTracker

SIZE = (200, 100)


def face(left: float) -> Detection:
    return Detection(np.array([left, 10, left + 40, 60], np.float32), 0.9)


def others(looks: dict[int, list[float]], every: int = 4, last: int = 100) -> list[int]:
    """The frames with others, in a clip at 25 frames a second whose faces begin at these left edges."""
    tracker = FaceTracker()
    for index in range(0, last, every):
        tracker.update(index, [face(left) for left in looks.get(index, [])])
    return frames_of_others(tracker, MainFace(tracker, SIZE, every), SIZE, every, 25.0).tolist()


def test_others_are_there_from_half_a_step_before_to_half_a_step_after():
    looks = {index: [10.0] for index in range(0, 72, 4)}
    for index in range(60, 96, 4):
        looks.setdefault(index, []).append(120.0)
    assert others(looks) == list(range(58, 95))


def test_a_gap_is_filled_if_it_is_short():
    looks = {index: [10.0] for index in range(0, 100, 4)}
    for index in (*range(20, 44, 4), *range(52, 64, 4), *range(80, 96, 4)):  # gaps of 12 and 20 frames
        looks[index].append(120.0)
    assert others(looks)[:1] == [18]
    assert set(range(18, 63)) <= set(others(looks))
    assert not set(range(63, 78)) & set(others(looks))


def test_who_is_seen_for_less_than_a_second_is_nobody():
    looks = {index: [10.0] for index in range(0, 100, 4)}
    for index in range(20, 44, 4):  # six looks of four frames
        looks[index].append(120.0)
    assert others(looks) == []


def test_others_are_not_there_across_a_cut():
    """The detector looks at every fourth frame and, beside the cut, at frames 61 and 62."""
    tracker = FaceTracker()
    for index in sorted((*range(0, 100, 4), 61, 62)):
        if index == 62:
            tracker.begin_shot(index)
        tracker.update(index, [face(10.0), *([face(120.0)] if index < 62 else [])])
    assert frames_of_others(tracker, MainFace(tracker, SIZE, 4), SIZE, 4, 25.0).tolist() == list(range(62))


def test_nobody_else():
    assert others({index: [10.0] for index in range(0, 100, 4)}) == []
    assert others({}) == []
