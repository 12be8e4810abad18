import itertools
import math
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import pytest

from data_modules.faces.appearance import GRID, FeatureHistory, colour_histograms
from data_modules.faces.detection import Detection, MTCNNDetector
from data_modules.faces.main_face import MainFace, vote
from data_modules.faces.persons import PersonFinder, person_of
from data_modules.faces.tracker_settings import CostTerm, TrackerSettings, VoteWeights
from data_modules.faces.tracking import FaceTracker, assign, total_cost
from data_modules.labels import SEVEN
from data_modules.synthetic import clip as clips
from data_modules.synthetic.dynamics import gaze
from data_modules.synthetic.face_model import Pose
from data_modules.synthetic.face_painter import Performance
from data_modules.synthetic.person import choose_clothes, sample_person
from data_modules.synthetic.staging import Figure

RED, BLUE, GREEN = (200, 40, 40), (40, 40, 200), (40, 180, 60)


def face(x: float, y: float = 50, size: float = 40, score: float = 0.99, points: bool = True) -> Detection:
    box = np.array([x, y, x + size, y + size], np.float32)
    five = np.array([(0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8)], np.float32) * size + box[:2]
    return Detection(box, score, five if points else None)


def paint(faces: Sequence[Detection], colours: Sequence[tuple[int, int, int]], size=(640, 360)) -> np.ndarray:
    """A grey frame with a coloured rectangle for each face, a little noisy."""
    frame = np.full((size[1], size[0], 3), 128, np.uint8)
    for found, colour in zip(faces, colours, strict=True):
        left, top, right, bottom = found.box.astype(int).clip(0)
        frame[top:bottom, left:right] = colour
        frame[top : (top + bottom) // 2, left:right] //= 2  # two kinds of pixels in each face
    return frame


def follow(frames: dict[int, list[Detection]], every: int = 1, size: tuple[int, int] = (640, 360)) -> MainFace:
    tracker = FaceTracker()
    for index, faces in frames.items():
        tracker.update(index, faces)
    return MainFace(tracker, size, every)


# --- histograms -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("box", [(3, 4, 40, 50), (2.3, 5.6, 20.2, 33.3), (-20, -9.5, 12, 17), (60, 30, 99, 99)])
def test_histograms_are_numpys(box):
    frame = np.random.default_rng(3).integers(0, 256, (64, 80, 3), dtype=np.uint8)
    left, top, right, bottom = box
    left, top, right, bottom = max(math.floor(left), 0), max(math.floor(top), 0), math.ceil(right), math.ceil(bottom)
    hsv = cv2.cvtColor(frame, cv2.COLOR_RGB2HSV)[top:bottom, left:right].reshape(-1, 3).astype(np.float64)
    colour = np.histogram2d(hsv[:, 0], hsv[:, 1], bins=(10, 10), range=((0, 180), (0, 256)))[0]
    value = np.histogram(hsv[:, 2], bins=20, range=(0, 256))[0]
    expected = np.concatenate([colour.ravel(), value]) / len(hsv)
    assert colour_histograms(frame, np.array(box, np.float32)) == pytest.approx(expected, abs=1e-6)


def test_known_colours_lie_in_their_bins():
    frame = np.zeros((10, 20, 3), np.uint8)
    frame[:, :10], frame[:, 10:] = (255, 0, 0), (0, 0, 128)  # red: hue 0; blue: hue 240 of 360 degrees
    red, blue = (colour_histograms(frame, np.array([x, 0, x + 10, 10], np.float32)) for x in (0, 10))
    assert np.flatnonzero(red).tolist() == [9, 119]
    assert np.flatnonzero(blue).tolist() == [69, 110]


def test_of_a_large_face_an_even_part_is_counted():
    frame = cv2.resize(np.random.default_rng(0).integers(0, 256, (9, 16, 3), dtype=np.uint8), (1600, 900))
    box = np.array([100, 50, 1300, 800], np.float32)
    sampled, small = colour_histograms(frame, box), colour_histograms(cv2.resize(frame, (160, 90)), box / 10)
    assert sampled[:100].sum() == pytest.approx(1)
    assert sampled[100:].sum() == pytest.approx(1)
    assert np.linalg.norm(sampled - small) < 0.05
    assert np.round(sampled * GRID * GRID) == pytest.approx(sampled * GRID * GRID, abs=1e-2)


def test_a_box_outside_has_the_nearest_pixel():
    frame = np.full((10, 10, 3), 255, np.uint8)
    for box in ((-50, -50, -20, -20), (30, 30, 60, 60), (4, 4, 4, 4), (8, 8, 2, 2)):
        assert colour_histograms(frame, np.array(box, np.float32)).sum() == pytest.approx(2)
    for odd in (frame[..., 0], frame.astype(np.float32), frame[:0]):
        with pytest.raises(ValueError, match="expected"):
            colour_histograms(odd, np.array([0, 0, 5, 5], np.float32))


def test_a_history_knows_the_last_k_and_the_mean_of_all():
    vectors = np.random.default_rng(0).random((12, 5)).astype(np.float32)
    history = FeatureHistory(vectors[0], 4)
    for count, vector in enumerate(vectors[1:], start=2):
        history.add(vector)
        assert history.recent == pytest.approx(vectors[max(0, count - 4) : count].mean(0), rel=1e-5)
        assert history.mean == pytest.approx(vectors[:count].mean(0), rel=1e-5)
    with pytest.raises(ValueError, match="3 numbers; expected 5"):
        history.add(vectors[0, :3])


# --- cost, assignment, vote: the paper's equations, written plainly ---------------------------------------------------


def plain_cost(distances: Sequence[np.ndarray], terms: Sequence[CostTerm]) -> np.ndarray:
    """Equations 5 and 6 in loops."""
    rows, columns = distances[0].shape
    cost = np.zeros((rows, columns))
    for distance, term in zip(distances, terms, strict=True):
        total = 0.0
        for i, j in itertools.product(range(rows), range(columns)):
            total += distance[i, j] if distance[i, j] <= term.threshold else 0.0
        for i, j in itertools.product(range(rows), range(columns)):
            share = 0.0 if total == 0 else distance[i, j] / total
            cost[i, j] += term.weight * share if distance[i, j] <= term.threshold else math.inf
    return cost


def plain_assignment(cost: np.ndarray) -> list[tuple[int, int]]:
    """Equation 7 by trying everything: most pairs first, then the least cost."""
    rows, columns = cost.shape
    best, best_pairs = (1, 0.0), []  # (minus the number of pairs, cost)
    for choice in itertools.permutations([*range(rows), *[-1] * columns], columns):
        pairs = sorted((i, j) for j, i in enumerate(choice) if i >= 0)
        value = -len(pairs), sum(float(cost[pair]) for pair in pairs)
        if math.isfinite(value[1]) and value < best:
            best, best_pairs = value, pairs
    return best_pairs


def test_the_cost_is_equation_6():
    rng = np.random.default_rng(0)
    for _ in range(50):
        shape = rng.integers(1, 6, 2)
        distances = [rng.random(shape) * rng.integers(0, 3) for _ in range(4)]
        terms = [CostTerm(rng.random(), 0.2 + rng.random()) for _ in range(4)]
        assert total_cost(distances, terms) == pytest.approx(plain_cost(distances, terms))


def test_the_assignment_is_the_best_of_all():
    rng = np.random.default_rng(1)
    for _ in range(150):
        cost = rng.random(rng.integers(1, 5, 2)) * 10 ** rng.uniform(-6, 6)
        cost[rng.random(cost.shape) < rng.random()] = math.inf
        assert assign(cost) == plain_assignment(cost)
    assert assign(np.full((3, 2), math.inf)) == []


def plain_tracks(looks: Sequence[tuple], settings: TrackerSettings, embed=None) -> list[list[int]]:
    """Equations 3 to 10 without any of the tracker's code: the numbers of each look's faces."""
    tracks: list[dict] = []
    answer = []
    for index, faces, frame in looks:
        live = [track for track in tracks if index - track["frame"] <= 15]
        seen = []
        for found in faces:
            left, top, right, bottom = (float(value) for value in found.box)
            hsv = cv2.cvtColor(frame[int(top) : math.ceil(bottom), int(left) : math.ceil(right)], cv2.COLOR_RGB2HSV)
            pixels = hsv.reshape(-1, 3).astype(float)
            colour = np.histogram2d(pixels[:, 0], pixels[:, 1], bins=10, range=((0, 180), (0, 256)))[0].ravel()
            value = np.histogram(pixels[:, 2], bins=20, range=(0, 256))[0]
            code = np.zeros(1) if embed is None else embed(frame, found) / np.linalg.norm(embed(frame, found))
            seen.append(
                {
                    "frame": index,
                    "colours": [np.concatenate([colour, value]) / len(pixels)],
                    "codes": [code],
                    "centre": ((left + right) / 2, (top + bottom) / 2),
                    "size": (right - left, bottom - top),
                }
            )
        distances = [np.zeros((len(live), len(seen))) for _ in range(4)]
        for (i, old), (j, new) in itertools.product(enumerate(live), enumerate(seen)):
            root = math.sqrt(index - old["frame"])
            side = (math.prod(old["size"]) * math.prod(new["size"])) ** 0.25
            ratio = [math.log(b / a) for a, b in zip(old["size"], new["size"], strict=True)]
            distances[0][i, j] = math.dist(np.mean(old["colours"][-settings.k :], 0), new["colours"][0])
            distances[1][i, j] = math.dist(np.mean(old["codes"][-settings.k :], 0), new["codes"][0])
            distances[2][i, j] = math.dist(old["centre"], new["centre"]) / side / root
            distances[3][i, j] = math.hypot(*ratio) / root
        terms = [settings.colour, settings.embedding, settings.position, settings.size]
        pairs = plain_assignment(plain_cost(distances, terms)) if live and seen else []
        numbers = [-1] * len(seen)
        for i, j in pairs:
            new, old = seen[j], live[i]
            old.update(new, colours=old["colours"] + new["colours"], codes=old["codes"] + new["codes"])
            numbers[j] = next(number for number, track in enumerate(tracks) if track is old)
        for j, new in enumerate(seen):
            if numbers[j] < 0:
                numbers[j] = len(tracks)
                tracks.append(new)
        answer.append(numbers)
    return answer


def crowd(seed: int, looks: int = 40) -> list[tuple[int, list[Detection], np.ndarray]]:
    """Three or so coloured faces that wander, come and go, now and then jump, in frames of irregular distance."""
    rng = np.random.default_rng(seed)
    colours = [RED, BLUE, (200, 60, 40)]
    place, answer, index = rng.uniform((20, 20), (160, 100), (3, 2)), [], 0
    for _ in range(looks):
        step = int(rng.choice((1, 1, 2, 5, 20), p=(0.5, 0.2, 0.15, 0.1, 0.05)))
        index += step
        place = np.clip(place + rng.normal(0, 5 * math.sqrt(step), place.shape), 0, (180, 110))
        who = [i for i in rng.permutation(3) if rng.random() < 0.85]
        faces = [face(*place[i], size=float(rng.uniform(30, 40)), score=float(rng.random())) for i in who]
        answer.append((index, faces, paint(faces, [colours[i] for i in who], (224, 152))))
    return answer


@pytest.mark.parametrize("seed", range(6))
def test_the_tracker_is_the_papers(seed):
    def embed(frame, found):
        return np.float32(1 + found.box[:2] % 16)

    settings = TrackerSettings(k=3, embedding=CostTerm(0.7, 0.6))
    looks = crowd(seed)
    for encode in (None, embed):
        tracker = FaceTracker(settings, encode)
        numbers = [tracker.update(*look) for look in looks]
        assert numbers == plain_tracks(looks, settings, encode)
        assert len(tracker.tracks) == 1 + max(map(max, filter(None, numbers)))
    assert 4 <= len(tracker.tracks) <= 60


def test_the_vote_is_equations_11_and_12():
    looks = crowd(9)
    tracker = FaceTracker()
    members: dict[int, list[Detection]] = {}
    for look in looks:
        for number, found in zip(tracker.update(*look), look[1], strict=True):
            members.setdefault(number, []).append(found)
    expected = []
    for number in range(len(members)):
        area = probability = 0.0
        for found in members[number]:
            left, top, right, bottom = (float(value) for value in found.box)
            area, probability = area + (right - left) * (bottom - top), probability + found.score
        count = len(members[number])
        expected.append(2.0 * count / 40 + 3.0 * area / (count * 224 * 152) + 0.5 * probability / count)
    assert vote(tracker.tracks, 40, (224, 152), (2.0, 3.0, 0.5)) == pytest.approx(expected)
    assert vote([], 10, (100, 100)).shape == (0,)
    with pytest.raises(ValueError, match="0 frames"):
        vote(tracker.tracks, 0, (224, 152))


def test_votes_are_weighted():
    tracker = FaceTracker()
    for i in range(10):
        tracker.update(i, [face(10, score=0.9)] + [face(300, size=80, score=0.9)] * (i < 5))
    assert vote(tracker.tracks, 10, (100, 100), (1, 0, 0)) == pytest.approx([1, 0.5])
    assert vote(tracker.tracks, 10, (100, 100), (0, 1, 0)) == pytest.approx([0.16, 0.64])
    assert vote(tracker.tracks, 10, (100, 100), (0, 0, 1)) == pytest.approx([0.9, 0.9])
    assert vote(tracker.tracks, 10, (100, 100)) == pytest.approx([2.06, 2.04])


# --- the tracker, by hand ---------------------------------------------------------------------------------------------


def test_crossing_faces_of_different_colours_keep_their_identity():
    def run(with_frames: bool, embed=None, colours=(RED, BLUE)) -> list[list[int]]:
        tracker, numbers = FaceTracker(embed=embed), []
        for i in range(0, 24, 4):  # between two looks, each face goes where the other one was
            pair = [face(20 + 10 * i), face(220 - 10 * i)]
            numbers.append(tracker.update(i, pair, paint(pair, colours) if with_frames else None))
        return numbers

    assert run(True) == [[0, 1]] * 6
    assert run(False)[3:] == [[1, 0]] * 3, "position alone confuses them"
    assert run(True, colours=(RED, RED))[3:] == [[1, 0]] * 3
    identities = iter(np.eye(2)[[0, 1] * 6])
    assert run(True, lambda frame, found: next(identities), (RED, RED)) == [[0, 1]] * 6


@pytest.mark.parametrize(
    ("found", "colour"), [(face(400), RED), (face(100, size=110), RED), (face(100), BLUE)], ids=["far", "large", "blue"]
)
def test_a_forbidden_pair_alone_begins_a_track(found, colour):
    tracker = FaceTracker()
    assert tracker.update(0, [face(100)], paint([face(100)], [RED])) == [0]
    assert tracker.update(1, [found], paint([found], [colour])) == [1]
    assert tracker.update(2, [face(100)], paint([face(100)], [RED])) == [0], "it was not lost meanwhile"


@pytest.mark.parametrize(("gap", "number"), [(15, 0), (16, 1)])
def test_a_face_that_comes_back(gap, number):
    tracker = FaceTracker()
    tracker.update(3, [face(100)])
    for i in range(4, 3 + gap):
        tracker.update(i, [])
    assert tracker.update(3 + gap, [face(100)]) == [number]


@pytest.mark.parametrize("passed", [1, 4, 9])
def test_the_way_a_face_may_go_grows_with_the_root_of_time(passed):
    for share, number in ((0.95, 0), (1.05, 1)):
        tracker = FaceTracker()
        tracker.update(0, [face(100)])
        assert tracker.update(passed, [face(100 + share * 0.6 * 40 * math.sqrt(passed))]) == [number]


def test_twice_the_resolution_gives_the_same_tracks():
    looks = crowd(3)
    small, large = FaceTracker(), FaceTracker()
    for index, faces, frame in looks:
        twice = [Detection(2 * found.box, found.score) for found in faces]
        double = frame.repeat(2, axis=0).repeat(2, axis=1)
        assert large.update(index, twice, double) == small.update(index, faces, frame)


def test_more_tracks_than_faces_and_none_at_all():
    tracker = FaceTracker()
    assert tracker.update(0, []) == []
    assert tracker.update(1, [face(10), face(100), face(200)]) == [0, 1, 2]
    assert tracker.update(2, [face(201)]) == [2]
    assert tracker.update(3, [face(102), face(300), face(11), face(202)]) == [1, 3, 0, 2]
    assert [len(track) for track in tracker.tracks] == [2, 2, 3, 1]


def test_wrong_use_is_refused():
    tracker, frame = FaceTracker(), paint([], [])
    tracker.update(5, [face(10)], frame)
    with pytest.raises(ValueError, match="found frame 5 after frame 5"):
        tracker.update(5, [], frame)
    with pytest.raises(ValueError, match="without its image"):
        tracker.update(6, [face(10)])
    with pytest.raises(ValueError, match="four finite numbers"):
        tracker.update(6, [face(math.nan)], frame)
    with pytest.raises(ValueError, match="finite and not zero"):
        FaceTracker(embed=lambda frame, found: np.zeros(4, np.float32)).update(0, [face(10)], frame)
    with pytest.raises(ValueError, match="colour"):
        TrackerSettings(colour=CostTerm(-1, 1))
    with pytest.raises(ValueError, match="k = 0"):
        TrackerSettings(k=0)
    with pytest.raises(ValueError, match="max_gap = -1"):
        FaceTracker(max_gap=-1)
    for weights in ((-1, 1, 1), (0, 0, 0)):
        with pytest.raises(ValueError, match="expected weights of 0 or more"):
            VoteWeights(*weights)


def test_the_person_of_a_face():
    near, far, around = np.array([90, 40, 200, 300]), np.array([400, 40, 500, 300]), np.array([0, 0, 640, 360])
    found = person_of(face(100).box, np.stack([far, around, near]))
    assert found is not None
    assert found.tolist() == near.tolist()
    assert person_of(face(100).box, [far]) is None
    assert person_of(face(100).box, []) is None
    assert person_of(face(100).box, np.zeros((0, 4), np.float32)) is None


def test_the_paper_prints_the_smallest_overlap_which_is_the_largest_box():
    near, far, around = np.array([90, 40, 200, 300]), np.array([400, 40, 500, 300]), np.array([0, 0, 640, 360])
    boxes = np.stack([far, near, around])
    assert person_of(face(100).box, boxes, smallest=True).tolist() == around.tolist()
    assert person_of(face(100).box, boxes).tolist() == near.tolist()
    assert person_of(face(100).box, [far], smallest=True) is None


class Still:
    """A main face at one place."""

    def at(self, index):
        return face(100)


def persons(rule, looks, frames=None):
    """Finds the persons of a face that stands still, seen in every fourth frame."""
    finder = PersonFinder(rule, every=4, max_gap=15)
    for number, boxes in enumerate(looks):
        found = [Detection(np.array(box, np.float32), 0.9) for box in boxes]
        finder.add(4 * number, found, None if frames is None else frames[number])
    return finder.located(Still())


OWN, MOVED, OTHER = (60, 40, 260, 480), (68, 40, 268, 480), (130, 60, 600, 480)  # OTHER touches the face's edge


def test_tracked_persons_are_those_that_hold_the_face_and_move_between_looks():
    found = persons("tracked", [[OTHER, OWN], [MOVED, OTHER], [OTHER]])
    own, moved = np.array(OWN, np.float32), np.array(MOVED, np.float32)
    assert found.at(0, face(100).box).tolist() == own.tolist()
    assert found.at(4, face(100).box).tolist() == moved.tolist()
    np.testing.assert_allclose(found.at(1, face(100).box), own + (moved - own) / 4)
    assert found.at(8, face(100).box) is None, "its own person is lost; the other one is another person"
    held = persons("largest", [[OTHER, OWN], [MOVED, OTHER], [OTHER]])
    assert held.at(1, face(100).box).tolist() == own.tolist(), "the nearest look, unchanged"
    assert held.at(8, face(100).box).tolist() == list(OTHER)


def test_persons_who_do_not_hold_the_face_are_not_its_person():
    assert persons("tracked", [[(400, 40, 500, 300)], []]).at(0, face(100).box) is None
    assert persons("tracked", [[], []]).at(0, face(100).box) is None
    with pytest.raises(ValueError, match="expected largest, smallest, tracked"):
        PersonFinder("nearest", 4, 15)


# --- streams ----------------------------------------------------------------------------------------------------------


def held(thing: object, seen: set[int] | None = None) -> int:
    """How many numbers an object and all it refers to hold."""
    if thing is None or isinstance(thing, int | float | np.number):
        return 1
    seen = set() if seen is None else seen
    if id(thing) in seen:
        return 0
    seen.add(id(thing))
    if isinstance(thing, np.ndarray):
        return thing.size
    if isinstance(thing, array):
        return len(thing)
    if isinstance(thing, list | tuple):
        return 1 + sum(held(item, seen) for item in thing)
    return 1 + sum(held(item, seen) for item in getattr(thing, "__dict__", {}).values())


@pytest.mark.parametrize("frames", [10_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_a_long_stream_leaves_the_tracker_as_small_as_it_was(frames):
    tracker, sizes, last = FaceTracker(record=False), [], 0
    for i in range(frames):
        (last,) = tracker.update(i, [face(10 + i % 7 + 300 * (i // 1000 % 2))])  # somebody else each 1000 frames
        if i % (frames // 5) == 500:
            sizes.append(held(tracker))
    assert last == frames // 1000 - 1
    assert len(sizes) == 5
    assert len(set(sizes)) == 1
    assert sizes[0] < 100


def test_features_do_not_grow_either():
    tracker, frame, sizes = FaceTracker(embed=lambda _, found: found.box, record=False), paint([face(10)], [RED]), []
    for i in range(600):
        assert tracker.update(i, [face(10)], frame) == [0]
        if i % 200 == 50:
            sizes.append(held(tracker))
    assert len(set(sizes)) == 1
    with pytest.raises(ValueError, match="record=False"):
        MainFace(tracker, (640, 360), 1)


def test_a_record_takes_68_bytes_a_detection_and_4_a_frame():
    tracker, frame = FaceTracker(), paint([face(10)], [RED])
    for i in range(0, 50_000, 100):
        tracker.update(i, [face(10)], frame)
    assert len(tracker.tracks) == 500
    assert tracker.detections is not None
    arrays = [value for value in vars(tracker.detections).values() if isinstance(value, array)]
    assert sum(len(values) * values.itemsize for values in arrays) == (68 + 4) * 500
    assert held(tracker.tracks) < 500 * 150


# --- the main face ----------------------------------------------------------------------------------------------------


def test_a_moving_face_is_one_track_and_interpolated():
    main = follow({i: [face(10 + 4 * i)] for i in range(0, 30, 5)}, every=5)
    assert len(main.chosen) == 1
    for i in range(26):
        found = main.at(i)
        assert found is not None
        assert main.is_detected(i) == (i % 5 == 0)
        assert found.box == pytest.approx(face(10 + 4 * i).box, abs=1e-3)
        assert found.points == pytest.approx(face(10 + 4 * i).points, abs=1e-3)
    assert main.at(29) is not None, "nobody looked any more"
    assert not main.is_detected(29)
    assert main.at(30) is None
    assert not main.is_detected(30)


@pytest.mark.parametrize("every", [1, 4])
def test_places_are_those_of_a_plain_search(every):
    rng = np.random.default_rng(every)
    seen = [i for i in range(0, 400, every) if rng.random() < 0.3]
    main = follow({i: [face(50 + 3 * math.sin(i))] if i in seen else [] for i in range(0, 400, every)}, every)
    chosen = sorted(frame for track in main.chosen for frame in seen if track.first_frame <= frame <= track.last_frame)
    for i in range(400):
        found, before, after = main.at(i), [f for f in chosen if f < i], [f for f in chosen if f > i]
        assert main.is_detected(i) == (i in chosen)
        if i in chosen:
            assert found is not None
            assert found.box == pytest.approx(face(50 + 3 * math.sin(i)).box)
        elif before and after and after[0] - before[-1] <= 15:
            share = (i - before[-1]) / (after[0] - before[-1])
            x = 50 + 3 * ((1 - share) * math.sin(before[-1]) + share * math.sin(after[0]))
            assert found is not None
            assert found.box == pytest.approx(face(x).box, abs=1e-3)
        elif min([i - f for f in before[-1:]] + [f - i for f in after[:1]]) > every // 2 and i < 396:
            assert found is None


def test_between_two_looks_a_face_stays_for_half_of_the_way():
    main = follow({i: [face(10)] if 10 <= i <= 20 else [] for i in range(0, 40, 5)}, every=5)
    assert [i for i in range(40) if main.at(i) is not None] == list(range(8, 23))


def test_crossing_faces_keep_apart():
    a, b = (lambda i: face(20 + 10 * i, 40)), (lambda i: face(320 - 10 * i, 200))
    main = follow({i: [a(i), b(i)] if i % 2 else [b(i), a(i)] for i in range(30)})
    assert len(main.chosen) == 1
    boxes = np.stack([main.at(i).box for i in range(30)])  # type: ignore[union-attr]
    assert len(set(boxes[:, 1])) == 1, "one of the two, and the same all the time"


@pytest.mark.parametrize(
    "frames",
    [
        {i: [face(10)] + [face(300)] * (i < 8) for i in range(20)},  # longer
        {i: [face(10, size=120), face(300)] for i in range(20)},  # larger
        {i: [face(10), face(300, score=0.5)] for i in range(20)},  # surer
    ],
)
def test_the_vote_decides(frames):
    main = follow(frames)
    assert all(main.at(i).box[0] == 10 for i in frames)  # type: ignore[union-attr]


def test_a_gap_is_bridged_a_long_absence_is_not():
    main = follow({i: [] if 10 <= i < 18 or 30 <= i < 60 else [face(10)] for i in range(80)})
    assert all(main.at(i) is not None for i in range(30))
    assert [i for i in range(30) if not main.is_detected(i)] == list(range(10, 18))
    assert all(main.at(i) is None for i in range(30, 60))
    assert all(main.at(i) is not None for i in range(60, 80)), "the same person came back: nobody else was there"


def test_nothing_is_interpolated_where_the_face_jumped():
    main = follow({i: [face(10)] if i < 10 else [face(400)] if i > 15 else [] for i in range(30)})
    assert len(main.chosen) == 2
    assert [i for i in range(30) if main.at(i) is None] == list(range(10, 16))


def test_who_looks_otherwise_does_not_join():
    def run(with_frames: bool) -> MainFace:
        tracker = FaceTracker()
        for i in range(90):  # the red one is away from 30 to 59; a blue one is seen then; a green one at the end
            colour = RED if i < 30 or 60 <= i < 80 else BLUE if i < 60 else GREEN
            faces = [face({RED: 10, BLUE: 300, GREEN: 500}[colour])]
            tracker.update(i, faces, paint(faces, [colour]) if with_frames else None)
        assert len(tracker.tracks) == 4
        return MainFace(tracker, (640, 360), 1)

    known, blind = run(True), run(False)
    assert [i for i in range(90) if known.at(i) is not None] == [*range(30), *range(60, 80)]
    assert all(blind.at(i) is not None for i in range(90)), "without frames nothing speaks against it"


def test_somebody_who_was_there_meanwhile_does_not_take_over():
    frames = {i: ([face(10, size=90)] if i < 30 else []) + ([face(300)] if i >= 25 else []) for i in range(50)}
    main = follow(frames)
    assert all(main.at(i) is not None for i in range(30))
    assert all(main.at(i) is None for i in range(30, 50))


def test_a_single_false_detection_among_many_looks_is_no_face():
    main = follow({i: [face(10)] if i < 20 else [face(400)] if i == 44 else [] for i in range(60)})
    assert main.at(44) is None
    assert follow({0: [face(10)]}).at(0) is not None, "a still has no second look"


def test_no_faces_at_all():
    assert follow({i: [] for i in range(5)}).at(2) is None
    assert follow({}).at(0) is None
    assert not follow({}).is_detected(0)


def test_detections_without_points():
    found = follow({i: [face(10, points=False)] for i in range(0, 12, 3)}, every=3).at(4)
    assert found is not None
    assert found.points is None


# --- measured on rendered clips ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scene:
    """A rendered clip with two people, and what was detected in it."""

    frames: np.ndarray  # (T, H, W, 3)
    main: np.ndarray  # (T, 4)
    other: np.ndarray  # (T, 4)
    visible: np.ndarray  # (T,) whether the main face can be seen
    faces: list[list[Detection]]  # T


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    common = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None).prod()
    return float(common / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - common))


def bystander_plans(size: int) -> Iterator[clips.Plan]:
    """The synthetic set's own wild clips with a second face: smaller, beside the main one."""
    for subject in itertools.count():
        plan = clips.plan_clip(clips.ClipSettings("wild", subject, SEVEN[subject % 7], size=size))
        if plan.staging.bystander is not None:
            yield plan


def crossing_plans(size: int) -> Iterator[clips.Plan]:
    """Harder: somebody nearly as large walks by behind the main person, hidden meanwhile."""
    for subject in itertools.count():
        plan = clips.plan_clip(clips.ClipSettings("wild", subject, SEVEN[subject % 7], size=size))
        pose, rng = plan.performance.pose, np.random.default_rng((7, subject))
        count = len(pose.yaw)
        if count < 24 or np.abs(pose.yaw).max() > 1.5 or pose.centre[:, 1].min() < 0.12 * size:
            continue
        pose = replace(pose, scale=pose.scale * np.float32(0.75))
        way = np.linspace(0.08, 0.92, count)[:: int(rng.choice((-1, 1)))] * size
        centre = np.stack([way, pose.centre[:, 1] + rng.uniform(-0.1, 0.04) * size], -1).astype(np.float32)
        zero, scale = np.zeros(count, np.float32), pose.scale * np.float32(rng.uniform(0.75, 0.95))
        performance = Performance(
            np.zeros_like(plan.performance.units), gaze(count, rng), Pose(*[zero] * 3, centre, scale)
        )
        figure = Figure(sample_person(rng), performance, plan.staging.light, choose_clothes(rng), size)
        staging = replace(plan.staging, bystander=figure, occluder=None)
        yield replace(plan, performance=replace(plan.performance, pose=pose), staging=staging)


def scene_of(plan: clips.Plan, detect) -> Scene:
    rendered = clips.render_plan(plan)
    assert plan.staging.bystander is not None
    other = clips.face_boxes(plan.staging.bystander.portrait.landmarks)
    truth = rendered.truth
    faces = detect(rendered.frames, truth.box, other)
    return Scene(rendered.frames, truth.box, other, truth.visible, faces)


@dataclass(frozen=True)
class Figures:
    """Over all scenes."""

    frames: float  # share of the frames with a visible main face where it was chosen, IoU >= 0.5
    clips: float  # share of the clips where that holds for most frames
    switches: float  # a clip: how often a track went from one person to the other


def measure(scenes: Sequence[Scene], every: int, with_frames: bool) -> Figures:
    right, switches = [], 0
    for scene in scenes:
        tracker, owner = FaceTracker(max_gap=max(15, 3 * every)), {}
        for i in range(0, len(scene.frames), every):
            numbers = tracker.update(i, scene.faces[i], scene.frames[i] if with_frames else None)
            for number, found in zip(numbers, scene.faces[i], strict=True):
                shares = overlap(found.box, scene.main[i]), overlap(found.box, scene.other[i])
                if max(shares) >= 0.5 and min(shares) < 0.3:  # else it is not clear whose face this is
                    who = shares[0] > shares[1]
                    switches += owner.setdefault(number, who) != who
                    owner[number] = who
        main = MainFace(tracker, scene.frames.shape[2:0:-1], every, max_gap=max(15, 3 * every))  # type: ignore[arg-type]
        places = [(main.at(i), scene.main[i]) for i in np.flatnonzero(scene.visible)]
        if places and any(scene.faces):
            right.append([found is not None and overlap(found.box, box) >= 0.5 for found, box in places])
    share = float(np.mean(np.concatenate(right)))
    return Figures(share, float(np.mean([np.mean(one) > 0.5 for one in right])), switches / len(scenes))


def known_faces(frames: np.ndarray, main: np.ndarray, other: np.ndarray) -> list[list[Detection]]:
    """Both faces a little inaccurately, the other one where the main one does not hide it."""
    rng, faces = np.random.default_rng(0), []
    for a, b in zip(main, other, strict=True):
        boxes = [a] if overlap(a, b) > 0.25 else [a, b]
        faces.append([Detection(box + rng.normal(0, 1, 4).astype(np.float32), 0.99) for box in boxes])
    return faces


@pytest.mark.parametrize("every", [1, 4])
def test_two_small_scenes(every):
    plans = [*itertools.islice(bystander_plans(96), 1), *itertools.islice(crossing_plans(96), 2)]
    figures = measure([scene_of(plan, known_faces) for plan in plans], every, with_frames=True)
    assert figures.frames > 0.95
    assert figures.clips == 1
    assert figures.switches == 0


@pytest.mark.slow
def test_the_main_face_of_rendered_clips():
    pytest.importorskip("facenet_pytorch", reason="pip install --no-deps facenet-pytorch")
    mtcnn = MTCNNDetector("cpu")

    def detect(frames, main, other):
        return [found for i in range(0, len(frames), 16) for found in mtcnn.detect(list(frames[i : i + 16]))]

    for name, plans, count in (("bystander", bystander_plans(256), 15), ("crossing", crossing_plans(256), 10)):
        scenes = [scene_of(plan, detect) for plan in itertools.islice(plans, count)]
        for every, with_frames in itertools.product((1, 4), (False, True)):
            figures = measure(scenes, every, with_frames)
            print(f"{name}, {count} clips, every={every}, histograms={with_frames}: {figures}")
            if with_frames:
                assert figures.frames > 0.96
                assert figures.clips > 0.96
                assert figures.switches < 0.2
