import logging
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from data_modules.detection import (
    AnnotatedFaces,
    Detection,
    DetectorNotFoundError,
    FaceDetector,
    FacePlaces,
    InsightFaceDetector,
    MTCNNDetector,
    WholeFrame,
    five_points,
    make_detector,
    onnx_providers,
)
from data_modules.faces import find_main_face
from data_modules.tracking import FaceTracker, MainFace, vote
from data_modules.video import open_video
from tests.videos import truth_of

CLIPS = Path(os.environ.get("FER_TEST_CLIPS", "/nowhere"))
real_clips = pytest.mark.skipif(not CLIPS.is_dir(), reason="FER_TEST_CLIPS names no folder")


def face(x: float, y: float = 50, size: float = 40, score: float = 0.99, points: bool = True) -> Detection:
    box = np.array([x, y, x + size, y + size], np.float32)
    five = np.array([(0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8)], np.float32) * size + box[:2]
    return Detection(box, score, five if points else None)


def follow(frames: dict[int, list[Detection]], every: int = 1, size: tuple[int, int] = (640, 360)) -> MainFace:
    tracker = FaceTracker()
    for index, faces in frames.items():
        tracker.update(index, faces)
    return MainFace(tracker, size, every)


def test_five_points_lie_where_the_template_has_them():
    points = five_points(truth_of(1).landmarks[0])
    assert points.shape == (5, 2)
    assert points - truth_of(1).box[0, :2] == pytest.approx(
        30 * np.array([(0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8)]), abs=1e-3
    )


def test_annotated_faces_say_what_the_truth_says():
    truth = truth_of(10, hidden=[3])
    places = AnnotatedFaces(truth)
    assert isinstance(places, FacePlaces)
    assert places.at(3) is None
    found = places.at(4)
    assert found is not None
    assert np.array_equal(found.box, truth.box[4])
    with pytest.raises(ValueError, match="covers 10"):
        places.at(10)


def test_jitter_has_its_size_and_its_seed():
    truth = truth_of(60)
    places, again, other = (AnnotatedFaces(truth, 0.1, clip_id) for clip_id in ("a", "a", "b"))
    drawn, exact = [places.at(i) for i in range(60)], AnnotatedFaces(truth)
    noise = np.concatenate([(d.points - exact.at(i).points).ravel() for i, d in enumerate(drawn)])  # type: ignore
    assert noise.std() == pytest.approx(3.0, rel=0.15), "a tenth of 30 pixels"
    assert abs(noise.mean()) < 0.5
    assert np.array_equal(again.at(7).points, drawn[7].points)  # type: ignore
    assert not np.array_equal(other.at(7).points, drawn[7].points)  # type: ignore


def test_whole_frame():
    found = WholeFrame(80, 60).at(5)
    assert found is not None
    assert found.box.tolist() == [0, 0, 80, 60]
    assert found.points is None


def test_missing_weights_say_where_to_get_them(tmp_path):
    with pytest.raises(DetectorNotFoundError) as error:
        InsightFaceDetector(tmp_path)
    for part in ("det_10g.onnx", str(tmp_path), "https://", "non-commercial", "mtcnn"):
        assert part in str(error.value)


def test_missing_package_says_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "facenet_pytorch", None)
    with pytest.raises(DetectorNotFoundError, match="pip install --no-deps facenet-pytorch"):
        MTCNNDetector()


def test_unknown_detector():
    with pytest.raises(ValueError, match="there are mtcnn and insightface"):
        make_detector("haar")  # type: ignore[arg-type]


def test_a_gpu_that_is_not_there_is_told(caplog):
    both, cpu = ["CUDAExecutionProvider", "CPUExecutionProvider"], ["CPUExecutionProvider"]
    with caplog.at_level(logging.WARNING):
        assert onnx_providers(None, cpu) == onnx_providers("cpu", both) == cpu
        assert onnx_providers("cuda", both) == onnx_providers(None, both) == both
        assert not caplog.records
        assert onnx_providers("cuda", cpu) == cpu
    assert "the CPU is used" in caplog.text


def test_a_moving_face_is_one_track_and_interpolated():
    main = follow({i: [face(10 + 4 * i)] for i in range(0, 30, 5)}, every=5)
    assert len(main.chosen) == 1
    for i in range(26):
        found = main.at(i)
        assert found is not None
        assert found.box == pytest.approx(face(10 + 4 * i).box, abs=1e-3)
        assert found.points == pytest.approx(face(10 + 4 * i).points, abs=1e-3)
    assert main.at(29) is not None, "nobody looked any more"
    assert main.at(30) is None


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
def test_the_vote(frames):
    main = follow(frames)
    assert all(main.at(i).box[0] == 10 for i in frames)  # type: ignore[union-attr]


def test_votes_are_weighted():
    tracker = FaceTracker()
    for i in range(10):
        tracker.update(i, [face(10, score=0.9)] + [face(300, size=80, score=0.9)] * (i < 5))
    long, large = vote(tracker.tracks, 10, (100, 100), (1, 0, 0)), vote(tracker.tracks, 10, (100, 100), (0, 1, 0))
    assert long == pytest.approx([1, 0.5])
    assert large == pytest.approx([0.4, 0.8])
    assert vote(tracker.tracks, 10, (100, 100), (0, 0, 1)) == pytest.approx([0.9, 0.9])
    assert vote([], 10, (100, 100)).shape == (0,)


def test_a_gap_is_bridged_a_long_absence_is_not():
    main = follow({i: [] if 10 <= i < 18 or 30 <= i < 60 else [face(10)] for i in range(80)})
    assert all(main.at(i) is not None for i in range(30))
    assert all(main.at(i) is None for i in range(30, 60))
    assert all(main.at(i) is not None for i in range(60, 80)), "the same person came back: nobody else was there"


def test_somebody_who_was_there_at_the_same_time_does_not_take_over():
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


def test_detections_without_points():
    main = follow({i: [face(10, points=False)] for i in range(0, 12, 3)}, every=3)
    found = main.at(4)
    assert found is not None
    assert found.points is None


@pytest.fixture(scope="module")
def mtcnn():
    pytest.importorskip("facenet_pytorch", reason="pip install --no-deps facenet-pytorch")
    return make_detector("mtcnn")


def test_mtcnn_on_pictures_without_faces(mtcnn):
    assert isinstance(mtcnn, FaceDetector)
    noise = np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8)
    flat = [np.zeros((90, 120, 3), np.uint8), np.full((200, 100, 3), 255, np.uint8), np.zeros((8, 8, 3), np.uint8)]
    assert mtcnn.detect([noise, *flat]) == [[], [], [], []]
    assert mtcnn.detect([]) == []


@real_clips
@pytest.mark.parametrize(
    ("name", "every", "first", "last"),
    [("single_face.mp4", 5, 0, 71), ("face_noface.mov", 5, 0, 71), ("no_face.mp4", 5, 0, -1)],
)
def test_mtcnn_on_real_clips(mtcnn, name, every, first, last):
    source = open_video(CLIPS / name)
    places = find_main_face(source, mtcnn, every)
    seen = [i for i in range(source.num_frames) if places.at(i) is not None]
    assert len(seen) >= 0.95 * (last - first + 1)
    assert not seen or (seen[0] == first and abs(seen[-1] - last) <= every)
    for i in seen[::9]:
        found = places.at(i)
        assert found is not None
        assert found.points is not None
        left, right, nose, mouth_left, mouth_right = found.points
        assert left[0] < right[0]
        assert mouth_left[0] < mouth_right[0]
        assert max(left[1], right[1]) < nose[1] < min(mouth_left[1], mouth_right[1])
        assert (found.points > found.box[:2]).all()
        assert (found.points < found.box[2:]).all()


@real_clips
def test_mtcnn_gives_the_same_alone_and_in_a_batch(mtcnn):
    frames = [frame for _, frame in open_video(CLIPS / "single_face.mp4").frames([0, 30, 60])]
    together, alone = mtcnn.detect(frames), [mtcnn.detect([frame])[0] for frame in frames]
    for a, b in zip(together, alone, strict=True):
        assert a[0].box == pytest.approx(b[0].box, abs=0.1)
        assert a[0].points == pytest.approx(b[0].points, abs=0.1)
