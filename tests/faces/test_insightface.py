import logging
import socket
from pathlib import Path

import numpy as np
import onnx
import pytest

pytest.importorskip("insightface")
pytest.importorskip("onnxruntime")

from data_modules.faces import onnx_session as sessions
from data_modules.faces.alignment import align
from data_modules.faces.detection import Detection, FaceDetector
from data_modules.faces.errors import DetectorNotFoundError, WeightsError
from data_modules.faces.factory import make_detector, make_person_detector
from data_modules.faces.insightface import (
    InsightFaceDetector,
    InsightFaceEmbedder,
    InsightFaceLandmarks,
    InsightFacePersons,
)
from data_modules.faces.insightface_weights import PACKS, find_weights, models_folder
from data_modules.faces.landmarks import LandmarkModel
from data_modules.faces.onnx_session import check_onnx_file, onnx_providers, onnx_session
from data_modules.utils.checksum import file_sha256
from data_modules.video.reader import open_video
from tests import onnx_models
from tests.videos import CLIPS

Box = tuple[int, int, int, int]


def picture(width: int, height: int, *boxes: Box, colour: tuple[int, int, int] = (255, 0, 0)) -> np.ndarray:
    frame = np.zeros((height, width, 3), np.uint8)
    frame[..., 2] = 200  # counts for nothing, unless red and blue were swapped
    for left, top, right, bottom in boxes:
        frame[top:bottom, left:right] = colour
    return frame


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return tmp_path_factory.mktemp("onnx")


@pytest.fixture(scope="module")
def detector(models):
    return InsightFaceDetector(onnx_models.scrfd(models / "det.onnx"), "cpu", threads=1)


@pytest.mark.parametrize(
    ("width", "height", "box"),
    [
        (640, 640, (101, 203, 228, 370)),  # the network's own size: nothing is scaled
        (1280, 720, (801, 102, 1150, 505)),
        (360, 640, (40, 300, 170, 470)),
        (300, 200, (200, 20, 290, 130)),  # enlarged
        (1919, 1081, (0, 600, 333, 1081)),  # at the border
        (2000, 100, (1500, 10, 1580, 90)),  # far from square
    ],
)
def test_boxes_and_points_of_known_faces(detector, width, height, box):
    (faces,) = detector.detect([picture(width, height, box)])
    assert len(faces) == 1, "many anchors see it, overlaps are removed"
    scale = max(width, height) / 640
    assert faces[0].box == pytest.approx(np.array(box), abs=1.5 * max(scale, 1))
    corner, size = np.array(box[:2]), np.array(box[2:]) - box[:2]
    assert faces[0].points == pytest.approx(corner + onnx_models.FIVE * size, abs=1.5 * max(scale, 1))
    assert faces[0].score == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("stride", [8, 16, 32])
def test_each_level_of_the_pyramid(models, stride):
    found = InsightFaceDetector(onnx_models.scrfd(models / f"{stride}.onnx", stride), "cpu", threads=1)
    (faces,) = found.detect([picture(640, 400, (99, 100, 301, 290))])
    assert len(faces) == 1
    assert faces[0].box == pytest.approx(np.array([99, 100, 301, 290]), abs=0.01), "nothing is scaled: exact"


def test_two_faces_none_and_what_is_too_thin(detector):
    two = picture(800, 600, (100, 60, 180, 160), (500, 300, 640, 480))
    two[60:160, 100:180] = (255, 55, 0)  # less sure
    blue, green = (
        picture(640, 480, (100, 100, 200, 200), colour=(0, 0, 255)),
        np.full((90, 120, 3), (0, 255, 0), np.uint8),
    )
    found = detector.detect([two, blue, green, np.full((1, 2000, 3), 255, np.uint8), np.zeros((1, 1, 3), np.uint8)])
    assert [len(faces) for faces in found] == [2, 0, 0, 0, 0]
    assert found[0][0].box == pytest.approx(np.array([500, 300, 640, 480]), abs=2), "the surest first"
    assert found[0][1].box == pytest.approx(np.array([100, 60, 180, 160]), abs=2)
    assert found[0][1].score == pytest.approx(200 / 255, abs=0.02)
    assert detector.detect([]) == []
    assert isinstance(detector, FaceDetector)
    assert detector.device == "CPUExecutionProvider"


def test_scores_below_the_threshold_are_left_out(models):
    path = onnx_models.scrfd(models / "threshold.onnx")
    grey = picture(640, 640, (100, 100, 200, 200), colour=(255, 115, 0))
    assert not InsightFaceDetector(path, "cpu", min_score=0.6).detect([grey])[0]
    assert len(InsightFaceDetector(path, "cpu", min_score=0.5).detect([grey])[0]) == 1


def test_another_side_of_the_input(models):
    small = InsightFaceDetector(onnx_models.scrfd(models / "side.onnx", reach=256), "cpu", max_side=320)
    (faces,) = small.detect([picture(1280, 640, (100, 200, 900, 480))])
    assert faces[0].box == pytest.approx(np.array([100, 200, 900, 480]), abs=6), "200 pixels of the scaled frame"
    with pytest.raises(ValueError, match="multiple of 32, not 300"):
        InsightFaceDetector(models / "side.onnx", "cpu", max_side=300)


def test_overlaps(models):
    """Two crossed bars are three boxes: each bar, and the whole, which overlaps them by 45 %."""
    path = onnx_models.scrfd(models / "cross.onnx")
    cross = picture(640, 640, (100, 200, 300, 290), (160, 140, 250, 340))
    whole = np.array([100, 140, 300, 340])
    faces, persons = (
        InsightFaceDetector(path, "cpu").detect([cross])[0],
        InsightFacePersons(path, "cpu").detect([cross])[0],
    )
    assert [len(faces), len(persons)] == [2, 3], "40 and 50 % are the limits"
    assert sum(box.box == pytest.approx(whole, abs=1) for box in persons) == 1


def test_a_detector_without_points(models):
    found = InsightFaceDetector(onnx_models.scrfd(models / "boxes.onnx", points=False), "cpu")
    ((face,),) = found.detect([picture(640, 640, (100, 100, 200, 200))])
    assert face.box == pytest.approx(np.array([100, 100, 200, 200]), abs=0.01)
    assert face.points is None


@pytest.mark.parametrize("points", [False, True])
def test_persons_never_have_points_of_faces(models, points):
    persons = InsightFacePersons(onnx_models.scrfd(models / f"person{points}.onnx", 16, points), "cpu", threads=1)
    boxes = (100, 50, 220, 390), (700, 420, 830, 700)
    found, nobody = persons.detect([picture(1280, 720, *boxes), picture(640, 480)])
    assert nobody == []
    assert sorted(person.box[0] for person in found) == pytest.approx([100, 700], abs=3)
    for box in boxes:
        assert any(person.box == pytest.approx(np.array(box), abs=3) for person in found)
    assert [person.points for person in found] == [None, None]


@pytest.mark.parametrize("points", [True, False])
def test_embeddings_are_those_of_the_aligned_crop(models, points):
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(147, 512))
    embed = InsightFaceEmbedder(onnx_models.recognition(models / "w.onnx", matrix), "cpu", threads=1)
    frame = rng.integers(0, 256, (360, 480, 3), dtype=np.uint8)
    box = np.array([120, 80, 260, 240], np.float32)
    five = np.float32(box[:2] + onnx_models.FIVE * [140, 160]) if points else None
    found = embed(frame, Detection(box, 0.9, five))
    crop = align(frame, box, five, 112, 0.0).crop.astype(np.float64)
    means = ((crop - 127.5) / 127.5).reshape(7, 16, 7, 16, 3).mean((1, 3)).transpose(2, 0, 1).ravel()
    expected = means @ matrix
    assert found == pytest.approx(expected / np.linalg.norm(expected), abs=1e-5)
    assert found.dtype == np.float32
    assert np.linalg.norm(found) == pytest.approx(1)


def test_an_embedding_of_zeros_is_refused(models):
    embed = InsightFaceEmbedder(onnx_models.recognition(models / "zeros.onnx", np.zeros((147, 8))), "cpu")
    with pytest.raises(ValueError, match=r"zeros\.onnx: found an embedding of length 0"):
        embed(picture(200, 200), Detection(np.array([10, 10, 90, 90], np.float32), 1.0))


@pytest.mark.parametrize("box", [(100, 60, 200, 160), (300, 200, 380, 360), (-30, -20, 50, 40)])
def test_landmarks_lie_where_the_network_says(models, box):
    points = np.random.default_rng(1).uniform(-0.9, 0.9, (68, 3))
    finder = InsightFaceLandmarks("cpu", onnx_models.landmarks(models / "lm.onnx", points), threads=1)
    found = finder.find(picture(480, 400), Detection(np.array(box, np.float32), 1.0))
    left, top, right, bottom = box
    half = 0.75 * max(right - left, bottom - top)  # the crop is a square 1.5 times the box; its border is at 1
    expected = points * half * [1, 1, -1] + [(left + right) / 2, (top + bottom) / 2, 0]
    assert found == pytest.approx(expected, abs=0.01)
    assert isinstance(finder, LandmarkModel)
    assert finder.device == "CPUExecutionProvider"


def test_landmarks_are_found_in_rgb_and_only_in_the_frame(models):
    finder = InsightFaceLandmarks("cpu", onnx_models.landmarks(models / "red.onnx", np.zeros((68, 3)), red_depth=1.0))
    red, face = picture(300, 300, (0, 0, 300, 300)), Detection(np.array([100, 100, 200, 200], np.float32), 1.0)
    depth = finder.find(red, face)[:, 2]
    assert depth == pytest.approx(np.full(68, -75 * 127.5 / 128), rel=1e-3), "(255 - 127.5) / 128 of half of 150 pixels"
    for box in [(100, 100, 100, 200), (100, 200, 200, 100), (300, 0, 400, 90), (-50, 0, 0, 90), (np.nan, 0, 9, 9)]:
        assert finder.find(red, Detection(np.array(box, np.float32), 1.0)) is None


def test_the_third_coordinate_points_away_from_the_camera(models):
    """insightface takes its own mean face, as a network's answer, for a frontal face: those are the network's axes."""
    from insightface.app.common import Face
    from insightface.data import get_object
    from insightface.model_zoo import Landmark

    path = onnx_models.landmarks(models / "mean.onnx", 0.5 * get_object("meanshape_68.pkl"))
    pose = Face(bbox=np.array([100.0, 100, 300, 300]))
    Landmark(str(path)).get(picture(400, 400), pose)
    assert pose.pose == pytest.approx(np.zeros(3), abs=0.1), "pitch, yaw, roll"
    found = InsightFaceLandmarks("cpu", path).find(picture(400, 400), Detection(np.float32([100, 100, 300, 300]), 1.0))
    assert found[:, 1].argmax() in range(6, 11), "the chin is lowest: y goes down"
    assert found[:17, 0].argmin() < 3 < 14 < found[:17, 0].argmax(), "x goes to the right"
    assert found[:, 2].argmin() == 30, "the tip of the nose is nearest"
    assert found[[0, 16], 2].min() > np.median(found[:, 2]), "the ears are far"


def test_missing_weights_say_where_to_get_them(tmp_path, monkeypatch):
    monkeypatch.setenv("FER_WEIGHTS", str(tmp_path))
    monkeypatch.setattr(socket, "socket", None)  # nothing is fetched by itself
    cases = (
        (lambda: make_detector("insightface"), "det_10g.onnx", "v0.7/buffalo_l.zip", "buffalo_l"),
        (lambda: InsightFaceDetector("buffalo_s"), "det_500m.onnx", "v0.7/buffalo_s.zip", "buffalo_s"),
        (lambda: InsightFaceEmbedder(), "w600k_r50.onnx", "v0.7/buffalo_l.zip", "buffalo_l"),
        (lambda: InsightFaceLandmarks(pack="antelopev2"), "1k3d68.onnx", "v0.7/antelopev2.zip", "antelopev2"),
        (lambda: make_person_detector(), "scrfd_person_2.5g.onnx", "v0.7/scrfd_person_2.5g.onnx", ""),
    )
    for make, file, address, folder in cases:
        with pytest.raises(WeightsError) as error:
            make()
        for part in (file, address, str(tmp_path / "insightface" / folder), "non-commercial", "MIT"):
            assert part in str(error.value)
    with pytest.raises(WeightsError, match="buffalo_l, buffalo_s, antelopev2"):
        InsightFaceDetector("bufalo")
    with pytest.raises(WeightsError, match=r"none\.onnx does not exist"):
        InsightFaceDetector(tmp_path / "none.onnx")
    assert not list(tmp_path.iterdir())
    assert issubclass(WeightsError, DetectorNotFoundError)


def test_where_packs_lie(tmp_path, monkeypatch):
    monkeypatch.setenv("FER_WEIGHTS", str(tmp_path))
    for pack, sub in zip(PACKS, ("", "", "antelopev2"), strict=True):
        folder = models_folder() / pack.name / sub
        folder.mkdir(parents=True)
        (folder / pack.landmarks.name).write_bytes(b"x")
        assert find_weights(pack.name, "landmarks") == folder / "1k3d68.onnx"
        assert find_weights(models_folder() / pack.name / sub, "landmarks") == folder / "1k3d68.onnx"
    monkeypatch.delenv("FER_WEIGHTS")
    assert models_folder() == Path("~/.insightface/models").expanduser()


def test_a_pack_runs_and_a_strange_checksum_is_told(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("FER_WEIGHTS", str(tmp_path))
    path = onnx_models.scrfd(models_folder() / "buffalo_l" / "det_10g.onnx")
    with caplog.at_level(logging.INFO):
        found = make_detector("insightface", "cpu").detect([picture(640, 640, (100, 100, 200, 200))])
    assert len(found[0]) == 1
    (warning,) = (record.getMessage() for record in caplog.records if record.levelno == logging.WARNING)
    assert str(path) in warning
    assert file_sha256(path) in warning
    assert PACKS[0].detection.sha256 in warning
    assert f"{path} runs on onnxruntime's CPUExecutionProvider; sha256 {file_sha256(path)}" in caplog.text


@pytest.mark.parametrize("content", [b"", b"version https://git-lfs.github.com/spec/v1\n", b"\xff" * 99, None])
def test_damaged_files_are_named(models, tmp_path, content):
    path = tmp_path / "bad.onnx"
    whole = onnx_models.scrfd(models / "whole.onnx").read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if content is None else content)
    for make in (InsightFaceDetector, InsightFaceEmbedder, lambda file: InsightFaceLandmarks(pack=file)):
        with pytest.raises(WeightsError, match=r"bad\.onnx"):
            make(path)


def test_models_of_another_kind_are_named(models):
    faces = onnx_models.scrfd(models / "faces.onnx")
    marks = onnx_models.landmarks(models / "marks.onnx", np.zeros((68, 3)))
    vectors = onnx_models.recognition(models / "vectors.onnx", np.ones((147, 4)))
    for make in (
        InsightFaceDetector,
        InsightFacePersons,
        InsightFaceEmbedder,
        lambda file: InsightFaceLandmarks(pack=file),
    ):
        fitting = {InsightFaceEmbedder: vectors, InsightFaceDetector: faces, InsightFacePersons: faces}.get(make, marks)
        make(fitting)
        for other in {faces, marks, vectors} - {fitting}:
            with pytest.raises(WeightsError, match=f"{other.name}: found an ONNX model"):
                make(other)


def test_six_outputs_alone_do_not_make_a_detector(tmp_path):
    graph = onnx_models.Graph()
    means = [(graph.add("GlobalAveragePool", "picture"), [1, 3, 1, 1]) for _ in range(6)]
    with pytest.raises(WeightsError, match=r"six\.onnx: found an ONNX model.*runs on 640 x 640"):
        InsightFaceDetector(graph.save(tmp_path / "six.onnx", [1, 3, "h", "w"], means), "cpu")


def test_files_too_large_are_refused(models, tmp_path, monkeypatch):
    path = tmp_path / "large.onnx"
    with path.open("wb") as file:
        file.truncate(sessions.MAX_BYTES + 1)  # takes no space
    with pytest.raises(WeightsError, match=r"large\.onnx: 2147483649 bytes"):
        InsightFaceDetector(path)


def with_external_data(path: Path, location: str) -> Path:
    model = onnx.load(onnx_models.recognition(path, np.ones((147, 64))))
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    path.write_bytes(model.SerializeToString())
    return path


def test_external_data_stays_in_the_folder(tmp_path, monkeypatch):
    folder, secret = tmp_path / "pack", tmp_path / "secret"
    folder.mkdir()
    secret.write_bytes(np.ones((147, 64), np.float32).tobytes())
    (folder / "link").symlink_to(secret)
    for location in ("../secret", str(secret), "link", "sub/../../secret"):
        with pytest.raises(WeightsError, match="outside of the file's folder"):
            InsightFaceEmbedder(with_external_data(folder / "evil.onnx", location), "cpu")
    with pytest.raises(WeightsError, match=r"lost.data, which does not exist"):
        InsightFaceEmbedder(with_external_data(folder / "lost.onnx", "lost.data"), "cpu")
    (folder / "own.data").write_bytes(secret.read_bytes())
    embed = InsightFaceEmbedder(with_external_data(folder / "good.onnx", "own.data"), "cpu")
    assert embed(picture(200, 200), Detection(np.float32([10, 10, 90, 90]), 1.0)).shape == (64,)
    monkeypatch.setattr(sessions, "MAX_BYTES", 10_000)
    with pytest.raises(WeightsError, match="with its data"):
        check_onnx_file(folder / "good.onnx")


def test_external_data_of_a_subgraph_is_seen(tmp_path):
    inner = onnx.helper.make_graph([], "inner", [], [])
    inner.initializer.add(name="x").external_data.add(key="location", value="/etc/passwd")
    node = onnx.helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)
    path = tmp_path / "if.onnx"
    path.write_bytes(onnx.helper.make_model(onnx.helper.make_graph([node], "g", [], [])).SerializeToString())
    with pytest.raises(WeightsError, match="/etc/passwd"):
        check_onnx_file(path)


def test_threads(models, monkeypatch):
    path = onnx_models.recognition(models / "threads.onnx", np.ones((147, 4)))

    def threads(given: int | None) -> int:
        return onnx_session(path, "cpu", given).get_session_options().intra_op_num_threads

    assert [threads(None), threads(1), threads(3)] == [0, 1, 3], "0: as onnxruntime sees fit"
    monkeypatch.setattr(sessions, "parent_process", lambda: object())
    assert [threads(None), threads(2)] == [1, 2], "in a worker process"


def test_devices(caplog):
    both, cpu = ["CUDAExecutionProvider", "CPUExecutionProvider"], ["CPUExecutionProvider"]
    with caplog.at_level(logging.WARNING):
        assert onnx_providers(None, cpu) == onnx_providers("cpu", both) == cpu
        assert onnx_providers("cuda", both) == onnx_providers("cuda:1", both) == onnx_providers(None, both) == both
        assert not caplog.records
        assert onnx_providers("cuda:1", cpu) == cpu
    assert "the CPU is used" in caplog.text
    assert "onnxruntime-gpu" in caplog.text
    for device in ("mps", "gpu", "cuda:x", "cpu:0"):
        with pytest.raises(ValueError, match="expected cpu, cuda or cuda:N"):
            onnx_providers(device, both)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_gpu_that_does_not_start_is_told(models, monkeypatch, caplog):
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has a GPU")
    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]
    )
    path = onnx_models.scrfd(models / "gpu.onnx")
    with caplog.at_level(logging.WARNING):
        assert InsightFaceDetector(path, "cuda:0").device == "CPUExecutionProvider"
    assert "gpu.onnx: the GPU did not start" in caplog.text
    assert "onnxruntime-gpu" in caplog.text


def test_real_weights_on_a_real_face():
    try:
        detector, embed, marks = InsightFaceDetector(), InsightFaceEmbedder(), InsightFaceLandmarks()
    except WeightsError as error:
        pytest.skip(str(error).splitlines()[0])
    if not CLIPS.is_dir():
        pytest.skip("FER_TEST_CLIPS names no folder")
    frames = [frame for _, frame in open_video(CLIPS / "single_face.mp4").frames([0, 40])]
    first, last = (faces[0] for faces in detector.detect(frames))
    points = marks.find(frames[0], first)
    assert abs(points[36:48, :2].mean(0) - first.points[:2].mean(0)).max() < 0.1 * np.ptp(first.box[::2])
    assert points[30, 2] < points[[0, 16], 2].mean(), "the nose is nearer than the ears"
    assert embed(frames[0], first) @ embed(frames[1], last) > 0.5
