"""Who is who in films of several people: measured against the known truth, and the rule that joins tracks by hand."""

from dataclasses import replace

import numpy as np
import pytest

from data_modules.faces.detection import Detection, MTCNNDetector
from data_modules.faces.extraction import ClipAnnotations, FaceExtractor, FaceLocations
from data_modules.faces.models import FaceModels
from data_modules.faces.people import PeopleSettings, groups_of, locate_main, locate_people
from data_modules.faces.settings import FaceSettings
from data_modules.faces.track import Track
from data_modules.faces.tracking import FaceTracker
from data_modules.utils.pool import run_to_end
from data_modules.video.frame_array import FrameArray
from tests.people import Film, KnownFaces, Shot, Walk, film, identity_f1, identity_switches

LEFT, MIDDLE, RIGHT = (10, 16), (130, 16), (250, 16)
OUT_LEFT, OUT_RIGHT = (-100, 16), (360, 16)
FILMS = {
    "two cross": [Shot(75, 3, [Walk(3, OUT_LEFT, OUT_RIGHT), Walk(4, OUT_RIGHT, OUT_LEFT)])],
    "one leaves and is back": [Shot(150, 2, [Walk(1, LEFT), Walk(3, RIGHT, stop=55), Walk(3, MIDDLE, first=95)])],
    "three with cuts": [
        Shot(50, 1, [Walk(1, LEFT), Walk(2, MIDDLE), Walk(3, RIGHT)]),
        Shot(40, 3, [Walk(2, MIDDLE)]),
        Shot(40, 4, [Walk(1, MIDDLE)]),
        Shot(40, 5, [Walk(3, MIDDLE)]),
        Shot(50, 6, [Walk(3, LEFT), Walk(1, MIDDLE), Walk(2, RIGHT)]),
    ],
    "four cross, leave and come back, with cuts": [
        Shot(75, 1, [Walk(5, OUT_LEFT, OUT_RIGHT), Walk(6, OUT_RIGHT, OUT_LEFT)]),
        Shot(60, 2, [Walk(7, LEFT), Walk(8, RIGHT)]),
        Shot(50, 1, [Walk(5, (60, 16)), Walk(8, (200, 16))]),
        Shot(75, 4, [Walk(7, RIGHT, LEFT), Walk(6, LEFT, RIGHT)]),
    ],
}  # fmt: skip


def locate(known: Film, detector, every: int) -> list[FaceLocations]:
    extractor = FaceExtractor(FaceSettings("mtcnn", every=every), models=FaceModels(detector))
    return run_to_end(extractor.locate(FrameArray(known.frames, 25), ClipAnnotations(), everybody=True))


def scores(known: Film, people: list[FaceLocations]) -> tuple[float, int]:
    """IDF1 over all frames, and the number of identity switches."""
    found = [
        {number: face.box for number, each in enumerate(people) if (face := each.faces.at(index)) is not None}
        for index in range(len(known.frames))
    ]
    truth = [{who: face.box for who, face in faces.items()} for faces in known.faces]
    return identity_f1(truth, found), identity_switches(truth, found)


@pytest.mark.parametrize("every", [1, 4])
@pytest.mark.parametrize("name", FILMS)
def test_everybody_keeps_a_number(name, every):
    known = film(FILMS[name])
    people = locate(known, KnownFaces(known), every)
    f1, switches = scores(known, people)
    assert len(people) == len({who for faces in known.faces for who in faces})
    assert f1 > 0.94
    assert switches == 0


@pytest.mark.slow
def test_everybody_keeps_a_number_with_a_real_detector():
    """Small faces at the edge are found later by MTCNN than they count as visible."""
    pytest.importorskip("facenet_pytorch", reason="pip install --no-deps facenet-pytorch")
    known = film(FILMS["three with cuts"], 480, 180)
    people = locate(known, MTCNNDetector("cpu"), 4)
    f1, switches = scores(known, people)
    print(f"MTCNN: {len(people)} people, IDF1 {f1:.3f}, {switches} switches")
    assert len(people) == 3
    assert f1 > 0.9
    assert switches == 0


@pytest.mark.parametrize("every", [1, 4])
def test_the_main_face_is_followed_across_cuts_only_where_it_is_sure(every):
    """One person, then another at the same place, then both, then the first; nobody's box reaches across a cut."""
    shots = [(50, 1, [Walk(1, MIDDLE)]), (40, 3, [Walk(3, MIDDLE)]), (40, 2, [Walk(3, LEFT), Walk(1, RIGHT)])]
    known = film([*(Shot(*each) for each in shots), Shot(40, 4, [Walk(1, MIDDLE)])])
    extractor = FaceExtractor(FaceSettings("mtcnn", every=every), models=FaceModels(KnownFaces(known)))
    source = FrameArray(known.frames, 25)
    (main,) = run_to_end(extractor.locate(source, ClipAnnotations(), shots=True))
    found = [main.faces.at(index) for index in range(len(known.frames))]
    assert main.cuts.tolist() == known.cuts
    assert [index for index in range(50, 90) if found[index] is not None] == []
    seen = [index for index, face in enumerate(found) if face is not None]
    assert len(seen) > 0.9 * 130
    for index in seen:
        assert np.abs(found[index].box - known.faces[index][1].box).max() < 8
    assert set(range(55, 85)) <= set(main.others.tolist())
    (before,) = run_to_end(extractor.locate(source, ClipAnnotations()))
    assert before.cuts is None


@pytest.mark.parametrize("every", [4, 9])
def test_nobody_in_a_new_shot_is_without_a_box(every):
    """The shots begin at frames of every kind between two that are looked at anyway."""
    casts = [[Walk(1, LEFT), Walk(2, RIGHT)], [Walk(3, MIDDLE)], [], [Walk(2, LEFT), Walk(3, RIGHT)], [Walk(1, MIDDLE)]]
    known = film([Shot(40 + i, i, cast) for i, cast in enumerate(casts)])
    people = locate(known, KnownFaces(known), every)
    for index, faces in enumerate(known.faces):
        found = [face.box for each in people if (face := each.faces.at(index)) is not None]
        assert len(found) == len(faces), index
        for face in faces.values():
            assert min(np.abs(box - face.box).max() for box in found) < 8, index


def test_who_is_lost_within_a_shot_is_the_main_face_again_and_after_a_cut_is_not():
    """A face turns away for a moment and has other colours then, which no cut explains."""

    def locate_after(cut: int) -> list[int]:
        tracker = FaceTracker(describe=lambda frame, face: frame[19, 19] / np.float32(255), max_gap=2)
        picture = np.full((20, 20, 3), 100, np.uint8)
        for index in range(40):
            if index == cut:
                tracker.begin_shot(index)
            faces = [] if 15 <= index < 25 else [Detection(box(0), 0.9)]
            picture[19, 19] = 100 if index < 20 else 140
            tracker.update(index, faces, picture)
        return [track.first_frame for track in locate_main(tracker, (640, 360), every=1).chosen]

    assert locate_after(cut=-1) == [0, 25]
    assert locate_after(cut=20) == [0]


# --- the measures, by hand ------------------------------------------------------------------------------------------


def box(x: float) -> np.ndarray:
    return np.array([x, 0, x + 10, 10], np.float32)


def test_idf1_and_switches_by_hand():
    """Person A has number 1 in 3 of 4 frames and number 2 in one; B has number 2 in 2 frames and is missed in two."""
    truth = [{"A": box(0), "B": box(50)}] * 4
    found = [{1: box(0), 2: box(50)}, {1: box(1), 2: box(50)}, {1: box(0)}, {2: box(0)}]
    # A with 1: 3 frames, B with 2: 2 frames; 8 true boxes, 6 found ones
    assert identity_f1(truth, found) == pytest.approx(2 * 5 / (8 + 6))
    assert identity_switches(truth, found) == 1
    assert identity_f1(truth, [{1: box(7)}] * 4) == 0  # an overlap of 3 / 17 is none


# --- which tracks are of one person ---------------------------------------------------------------------------------


def track(number: int, first: int, last: int, *features: tuple[float, ...]) -> Track:
    face = Detection(box(0), 0.9)
    vectors = [np.array(each, np.float32) for each in features]
    made = Track(number, first, face, vectors, 10)
    made.add(last, face, vectors)
    return made


def groups(*tracks: Track, ratio: float = 0.8) -> list[list[int]]:
    return groups_of(tracks, 0.25, ratio)


def test_alike_and_never_together_is_one_person():
    assert groups(track(0, 0, 9, (0, 0)), track(1, 20, 29, (0.1, 0)), track(2, 40, 49, (1, 0))) == [[0, 1], [2]]


def test_together_is_never_one_person():
    assert groups(track(0, 0, 9, (0, 0)), track(1, 9, 20, (0, 0))) == [[0], [1]]


def test_joined_tracks_are_together_with_whom_each_of_them_was():
    """The third is like both others, but was there with the second, which is the first one."""
    tracks = [track(0, 0, 9, (0, 0)), track(1, 20, 29, (0.01, 0)), track(2, 25, 40, (0.2, 0))]
    assert groups(*tracks) == [[0, 1], [2]]


def test_the_most_alike_are_joined_first():
    """Two come, two come back: each is nearest to itself, although all are within the limit."""
    tracks = [
        track(0, 0, 9, (0, 0)),
        track(1, 0, 9, (0.2, 0)),
        track(2, 20, 29, (0.21, 0)),
        track(3, 20, 29, (0.01, 0)),
    ]
    assert groups(*tracks) == [[0, 3], [1, 2]]


def test_who_may_be_either_of_two_is_somebody_new():
    tracks = [track(0, 0, 9, (0, 0)), track(1, 0, 9, (0.2, 0)), track(2, 20, 29, (0.1, 0))]
    assert groups(*tracks) == [[0], [1], [2]]
    assert groups(*tracks, ratio=1.0) == [[0, 2], [1]]


def test_the_last_of_the_features_decides():
    """In other light, colours are far apart, and the embeddings are the same."""
    same = [track(0, 0, 9, (0, 0), (1, 0)), track(1, 20, 29, (1, 0), (0.9, 0))]
    other = [track(0, 0, 9, (0, 0), (1, 0)), track(1, 20, 29, (0, 0), (-1, 0))]
    assert groups(*same) == [[0, 1]]
    assert groups(*other) == [[0], [1]]


def test_many_tracks_of_few_people():
    """By chance, in any order: always the same people."""
    rng = np.random.default_rng(0)
    centres = np.eye(4)
    whose = rng.integers(0, 4, 60)
    order = rng.permutation(60)  # of time
    tracks = [
        track(i, 10 * int(order[i]), 10 * int(order[i]) + 5, tuple(centres[who] + rng.normal(0, 0.02, 4)))
        for i, who in enumerate(whose)
    ]
    found = groups(*tracks)
    assert sorted(sorted(group) for group in found) == sorted(np.flatnonzero(whose == who).tolist() for who in range(4))
    assert all(np.diff([tracks[i].first_frame for i in group]).min() > 0 for group in found)


def tracked(spans: dict[int, range], count: int) -> FaceTracker:
    """Faces at a place of their own each, seen in these frames, without pictures."""
    tracker = FaceTracker()
    for index in range(count):
        tracker.update(index, [Detection(box(100 * who), 0.9) for who, span in spans.items() if index in span])
    return tracker


def test_who_is_seen_for_less_than_a_second_is_nobody():
    tracker = tracked({0: range(60), 1: range(24), 2: range(26)}, 60)
    people = locate_people(tracker, (640, 360), every=1, fps=25)
    assert [len(each.chosen[0]) for each in people] == [60, 26]


def test_everybody_in_a_still_counts():
    assert len(locate_people(tracked({0: range(1), 1: range(1)}, 1), (640, 360), every=4, fps=25)) == 2


def test_without_a_face_there_is_one_person_who_is_never_seen():
    (nobody,) = locate_people(tracked({}, 10), (640, 360), every=1, fps=25)
    assert [nobody.at(index) for index in range(10)] == [None] * 10


def test_the_main_face_is_the_first_and_others_are_warned_of(caplog):
    tracker = tracked({0: range(30), 1: range(60), 2: range(45)}, 60)
    people = locate_people(tracker, (640, 360), 1, 25, settings=replace(PeopleSettings(), most=2))
    assert [each.chosen[0].number for each in people] == [1, 2]
    assert "3 people were found; the first 2 are kept" in caplog.text


def test_tracks_end_at_a_cut():
    tracker = FaceTracker()
    for index in range(10):
        if index == 5:
            tracker.begin_shot(index)
        tracker.update(index, [Detection(box(0), 0.9)])
    assert [(each.first_frame, each.last_frame) for each in tracker.tracks] == [(0, 4), (5, 9)]


@pytest.mark.parametrize(
    ("missed", "places"), [((), [[*range(7)], [*range(7, 16)]]), ((6, 7), [[*range(6)], [*range(8, 16)]])]
)
def test_nobody_is_located_across_a_cut_nor_where_the_detector_saw_nobody(missed, places):
    """Looks at 0, 4, 8 and 12, and on both sides of a cut before 7; the clip ends with frame 15."""
    tracker = FaceTracker()
    for index in (0, 4, 6, 7, 8, 12):
        if index == 7:
            tracker.begin_shot(index)
        faces = [] if index in missed else [Detection(box(index if index < 7 else 500), 0.9)]
        tracker.update(index, faces)
    people = locate_people(tracker, (640, 360), every=4, fps=8)
    assert [[i for i in range(16) if person.at(i) is not None] for person in people] == places


def test_settings_out_of_range():
    for wrong in ({"seconds": -1}, {"colour": 0}, {"embedding": 0}, {"ratio": 0}, {"ratio": 1.1}, {"most": 0}):
        with pytest.raises(ValueError, match="expected seconds"):
            PeopleSettings(**wrong)


def test_everybodys_faces_are_not_lengthened():
    extractor = FaceExtractor(FaceSettings("mtcnn", lengthen=8), models=FaceModels())
    with pytest.raises(ValueError, match="expected 0"):
        run_to_end(
            extractor.locate(FrameArray(np.zeros((2, 8, 8, 3), np.uint8), 25), ClipAnnotations(), everybody=True)
        )
