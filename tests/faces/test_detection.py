import logging
import sys

import numpy as np
import pytest

from data_modules.faces.detection import (
    AnnotatedFaces,
    FaceDetector,
    FaceLocator,
    MTCNNDetector,
    WholeFrame,
    five_points,
)
from data_modules.faces.errors import DetectorNotFoundError
from data_modules.faces.factory import make_detector
from data_modules.faces.insightface import InsightFaceDetector
from data_modules.faces.main_face import MainFace
from data_modules.faces.onnx_session import onnx_providers
from data_modules.faces.tracking import FaceTracker
from data_modules.video.reader import open_video
from tests.videos import CLIPS, real_clips, truth_of


def test_five_points_lie_where_the_template_has_them():
    points = five_points(truth_of(1).landmarks[0])
    assert points.shape == (5, 2)
    assert points - truth_of(1).box[0, :2] == pytest.approx(
        30 * np.array([(0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8)]), abs=1e-3
    )


def test_annotated_faces_say_what_the_truth_says():
    truth = truth_of(10, hidden=[3])
    places = AnnotatedFaces(truth)
    assert isinstance(places, FaceLocator)
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
    with pytest.raises(ValueError, match="expected mtcnn or insightface"):
        make_detector("haar")  # type: ignore[arg-type]


def test_a_gpu_that_is_not_there_is_told(caplog):
    both, cpu = ["CUDAExecutionProvider", "CPUExecutionProvider"], ["CPUExecutionProvider"]
    with caplog.at_level(logging.WARNING):
        assert onnx_providers(None, cpu) == onnx_providers("cpu", both) == cpu
        assert onnx_providers("cuda", both) == onnx_providers(None, both) == both
        assert not caplog.records
        assert onnx_providers("cuda", cpu) == cpu
    assert "the CPU is used" in caplog.text


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
    tracker = FaceTracker()
    for index, frame in source.frames(every=every):
        tracker.update(index, mtcnn.detect([frame])[0], frame)
    places = MainFace(tracker, (source.width, source.height), every)
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
