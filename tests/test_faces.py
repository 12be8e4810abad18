import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image

from data_modules.alignment import template
from data_modules.datasets.dataset import FaceSettings, VideoDataset
from data_modules.detection import AnnotatedFaces, Detection, DetectorNotFoundError, WholeFrame
from data_modules.faces import extract, prepare_faces, store_of
from data_modules.manifest import VideoRecord
from data_modules.pool import Failure, run_in_processes
from data_modules.source import UnreadableVideoError
from data_modules.video import open_video
from tests.videos import cut, numbered_frame, read_number, truth_of, write_sound, write_video

ANNOTATION = FaceSettings("annotation", size=48)
CROP = FaceSettings("crop", size=64)


@dataclass
class Clips(VideoDataset):
    """Clips that a test wrote."""

    clips: list[VideoRecord] = field(default_factory=list)
    name: ClassVar[str] = "clips"
    licence: ClassVar[str] = ""
    how_to_get: ClassVar[str] = ""

    @property
    def class_names(self) -> tuple[str, ...]:
        return ("happiness", "sadness")

    def records(self) -> list[VideoRecord]:
        return self.clips


@pytest.fixture(autouse=True)
def own_store(tmp_path, monkeypatch):
    monkeypatch.setenv("FER_STORE", str(tmp_path / "store"))


def clip(root: Path, name: str, frames: int = 12, hidden: tuple[int, ...] = ()) -> VideoRecord:
    root.mkdir(exist_ok=True)
    write_video(root / f"{name}.mp4", [numbered_frame(i) for i in range(frames)])
    truth_of(frames, hidden=hidden).save(root / f"{name}.safetensors")
    return VideoRecord(name, f"{name}.mp4", "happiness", truth=f"{name}.safetensors")


@pytest.fixture
def dataset(tmp_path):
    root = tmp_path / "clips"
    return Clips(root, faces=ANNOTATION, clips=[clip(root, "a"), clip(root, "b", 8, (2, 3)), clip(root, "c", 5)])


def test_annotated_faces_become_crops_with_their_truth(tmp_path):
    record, truth = clip(tmp_path, "a", 12, hidden=(4,)), truth_of(12, hidden=(4,))
    faces = list(extract(open_video(tmp_path / record.path), AnnotatedFaces(truth), ANNOTATION, truth))
    assert [face.index for face in faces] == [i for i in range(12) if i != 4]
    assert [face.intensity for face in faces] == pytest.approx([i / 11 for i in range(12) if i != 4])
    for face in faces:
        assert face.crop.shape == (48, 48, 3)
        assert np.array_equal(face.box, truth.box[face.index])
        assert face.landmarks is not None
        eyes = np.stack([face.landmarks[36:42, :2].mean(0), face.landmarks[42:48, :2].mean(0)])
        assert eyes == pytest.approx(template(48, 0.25)[:2], abs=3), "the landmarks are in pixels of the crop"
    shift = faces[1].landmarks[:, :2] - faces[0].landmarks[:, :2]  # type: ignore[index]
    assert np.abs(shift).max() < 1e-2, "the face moves in the frame, not in the crop"


def test_the_crop_shows_what_is_in_the_box(tmp_path):
    """A mark on the face in the frame is where the landmark says it is in the crop."""
    truth, frames = truth_of(6), []
    for i in range(6):
        frame = np.full((64, 96, 3), 90, np.uint8)
        x, y = truth.landmarks[i, 30, :2].round().astype(int)
        frame[y - 1 : y + 2, x - 1 : x + 2] = 255
        frames.append(frame)
    path = write_video(tmp_path / "a.mp4", frames)
    for face in extract(open_video(path), AnnotatedFaces(truth), ANNOTATION, truth):
        bright = np.argwhere(face.crop[..., 1] > 190)
        assert bright.mean(0)[::-1] == pytest.approx(face.landmarks[30, :2], abs=1.0)  # type: ignore[index]


def test_whole_frames_are_resized(tmp_path):
    path = write_video(tmp_path / "a.mp4", [numbered_frame(i) for i in range(5)])
    faces = list(extract(open_video(path), WholeFrame(96, 64), CROP))
    assert [read_number(face.crop) for face in faces] == list(range(5))
    assert faces[0].landmarks is faces[0].intensity is None


def test_truth_of_another_length_is_an_error(tmp_path):
    path = write_video(tmp_path / "a.mp4", [numbered_frame(i) for i in range(5)])
    for count in (4, 6):
        with pytest.raises(ValueError, match=rf"5 frames, but ground truth of {count}"):
            list(extract(open_video(path), AnnotatedFaces(truth_of(count)), ANNOTATION, truth_of(count)))


class RedCornerDetector:
    """Finds the red field of `numbered_frame`, and remembers what it saw."""

    name = "red"

    def __init__(self) -> None:
        self.seen: list[int] = []

    def detect(self, frames):
        self.seen += [read_number(frame) for frame in frames]
        return [[self._field(frame)] for frame in frames]

    def _field(self, frame):
        y, x = np.nonzero((frame[..., 0] > 150) & (frame[..., 1] < 80))
        return Detection(np.array([x.min(), y.min(), x.max() + 1, y.max() + 1], np.float32), 0.97)


@pytest.mark.parametrize(("every", "looks"), [(1, list(range(40))), (4, list(range(0, 40, 4))), (13, [0, 13, 26, 39])])
def test_a_detector_looks_at_each_nth_frame_and_all_get_crops(tmp_path, every, looks):
    path, detector = write_video(tmp_path / "a.mp4", [numbered_frame(i) for i in range(40)]), RedCornerDetector()
    settings = FaceSettings("mtcnn", size=32, margin=0.0, every=every)
    faces = list(extract(open_video(path), detector, settings))
    assert detector.seen == looks
    assert [face.index for face in faces] == list(range(40))
    for face in faces:
        assert face.box == pytest.approx([0, 32, 48, 64], abs=2)
        assert face.crop[8:-8, 4:-4, 0].mean() > 150
        assert face.score == pytest.approx(0.97)


def test_frames_are_not_kept_in_memory(tmp_path, monkeypatch):
    """Frames that are alive at once: a detector's batch at most, however long the clip is."""
    import data_modules.faces as module

    monkeypatch.setattr(module, "BATCH", 4)
    sizes: list[int] = []
    detector = RedCornerDetector()
    detect: Callable = detector.detect  # type: ignore[type-arg]
    monkeypatch.setattr(detector, "detect", lambda frames: sizes.append(len(frames)) or detect(frames))
    path = write_video(tmp_path / "a.mp4", [numbered_frame(i) for i in range(30)])
    iterator = extract(open_video(path), detector, FaceSettings("mtcnn", size=32))
    assert next(iterator).index == 0
    assert max(sizes) == 4
    assert sum(sizes) == 30


@pytest.mark.parametrize("workers", [0, 2])
def test_a_data_set_is_prepared(dataset, workers, capsys):
    store = prepare_faces(dataset, workers)
    index = store.read_index()
    assert {name: (row.num_frames, row.num_faces) for name, row in index.items()} == {
        "a": (12, 12),
        "b": (8, 6),
        "c": (5, 5),
    }
    opened = store.open("b")
    assert opened.frame_index.tolist() == [0, 1, 4, 5, 6, 7]
    assert opened.summary == index["b"]
    assert opened.crops([0, 5]).shape == (2, 48, 48, 3)
    assert opened.optional("landmarks").shape == (6, 68, 3)  # type: ignore[union-attr]
    assert opened.optional("intensity") == pytest.approx(np.array([0, 1, 4, 5, 6, 7]) / 7)
    assert "3 of 3 clips have faces, in 91.7 % of their frames" in capsys.readouterr().out


def test_what_is_there_stays(dataset, monkeypatch):
    store = prepare_faces(dataset, 0)
    times = {name: store.path(name).stat().st_mtime_ns for name in "abc"}
    monkeypatch.setattr("data_modules.faces.open_video", lambda path: pytest.fail("opened a clip that is prepared"))
    monkeypatch.setattr("data_modules.faces.StoredClip", lambda path: pytest.fail("read more than the index"))
    again = prepare_faces(dataset, 0)
    assert again.folder == store.folder
    assert times == {name: store.path(name).stat().st_mtime_ns for name in "abc"}


def test_a_killed_run_goes_on(dataset):
    store = prepare_faces(dataset, 0)
    expected = store.read_index()
    (store.folder / "index.csv").unlink()  # written last
    store.path("b").unlink()
    before = store.path("a").stat().st_mtime_ns
    prepare_faces(dataset, 0)
    assert store.read_index() == expected
    assert store.path("a").stat().st_mtime_ns == before
    assert store.path("b").exists()


def test_a_deleted_file_is_made_again_though_the_index_knows_it(dataset):
    store = prepare_faces(dataset, 0)
    store.path("b").unlink()
    prepare_faces(dataset, 0)
    assert len(store.open("b")) == 6


def test_a_limit_and_then_the_rest(dataset):
    assert set(prepare_faces(dataset, 0, limit=2).read_index()) == {"a", "b"}
    assert set(prepare_faces(dataset, 0).read_index()) == {"a", "b", "c"}
    assert set(prepare_faces(dataset, 0, limit=1).read_index()) == {"a", "b", "c"}


def test_clips_without_faces_and_broken_ones_stay_with_their_reason(dataset, capsys):
    root = dataset.folder
    nobody = clip(root, "nobody", 6, hidden=tuple(range(6)))
    bad = [VideoRecord(name, f"{name}.mp4", "sadness", truth=nobody.truth) for name in ("text", "cut", "gone", "sound")]
    (root / "text.mp4").write_text("not a video")
    cut(write_video(root / "cut.mp4", [numbered_frame(0)] * 9), 0.4)
    write_sound(root / "sound.mp4", np.zeros(8000, np.float32))
    short = VideoRecord("short", "a.mp4", "sadness", truth=nobody.truth)
    untold = VideoRecord("untold", "a.mp4", "sadness")
    dataset.clips += [nobody, *bad, short, untold]
    store = prepare_faces(dataset, 0)
    reasons = {name: row.reason for name, row in store.read_index().items()}
    assert len(reasons) == 10
    assert reasons["a"] == ""
    assert reasons["nobody"] == "no face found in 6 frames"
    for name, words in (
        ("text", "text of 11 bytes"),
        ("cut", "moov"),
        ("gone", "no such file"),
        ("sound", "expected a picture"),
        ("short", "12 frames, but ground truth of 6"),
        ("untold", "no ground truth"),
    ):
        assert reasons[name].startswith("unreadable: ")
        assert words in reasons[name]
    out = capsys.readouterr().out
    assert "3 of 10 clips have faces" in out
    assert "nobody: no face found in 6 frames" in out


def test_a_broken_clip_is_tried_again_when_its_file_changed(dataset):
    bad = dataset.folder / "bad.mp4"
    bad.write_text("not yet")
    os.utime(bad, (1, 1))
    dataset.clips.append(VideoRecord("bad", "bad.mp4", "sadness", truth="c.safetensors"))
    store = prepare_faces(dataset, 0)
    assert "unreadable" in store.read_index()["bad"].reason
    written = store.index_time()
    prepare_faces(dataset, 0)
    assert store.index_time() == written, "the same broken file is not read again"
    write_video(bad, [numbered_frame(i) for i in range(5)])
    os.utime(bad, (written + 10, written + 10))
    prepare_faces(dataset, 0)
    assert store.read_index()["bad"].num_faces == 5


def test_a_folder_with_a_broken_image(tmp_path, capsys):
    folder = tmp_path / "clips" / "frames"
    folder.mkdir(parents=True)
    for i in range(12):
        Image.fromarray(numbered_frame(i)).save(folder / f"{i}.jpg", quality=95)
    (folder / "10.jpg").write_bytes(b"broken")
    data = Clips(tmp_path / "clips", faces=CROP, clips=[VideoRecord("f", "frames", "sadness")])
    store = prepare_faces(data, 0)
    assert (store.read_index()["f"].num_frames, store.read_index()["f"].num_faces) == (12, 11)
    assert [read_number(crop) for crop in store.open("f").crops(range(11))] == [*range(10), 11]
    assert "clip 'f' has 1 packets or images that do not decode" in capsys.readouterr().out


@pytest.mark.parametrize(
    "record",
    [
        VideoRecord("x", "../secret.mp4", "sadness"),
        VideoRecord("../x", "a.mp4", "sadness"),
        VideoRecord("x", "/etc/passwd", "sadness"),
        VideoRecord("x", "a.mp4", "sadness", truth="../../truth"),
    ],
)
def test_no_record_leaves_the_data_set(dataset, record):
    dataset.clips.append(record)
    with pytest.raises(ValueError, match="outside the data set"):
        prepare_faces(dataset, 0)


def test_annotation_without_any_ground_truth_is_a_mistake_of_the_settings(dataset):
    dataset.clips = [VideoRecord("a", "a.mp4", "sadness")]
    with pytest.raises(ValueError, match="no ground truth"):
        prepare_faces(dataset, 0)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_missing_detector_stops_everything(dataset, workers, monkeypatch, tmp_path):
    monkeypatch.setenv("FER_INSIGHTFACE", str(tmp_path))
    dataset.faces = FaceSettings("insightface")
    with pytest.raises(DetectorNotFoundError, match="non-commercial"):
        prepare_faces(dataset, workers)
    assert not (store_of(dataset).folder / "index.csv").exists()


def test_stores_are_kept_apart_by_folder_and_settings_but_not_by_place(tmp_path):
    def name(root: Path, settings: FaceSettings) -> str:
        root.mkdir(parents=True, exist_ok=True)
        return store_of(Clips(root, faces=settings)).folder.name

    wild, lab = name(tmp_path / "clips-wild-0", ANNOTATION), name(tmp_path / "clips-lab-0", ANNOTATION)
    assert wild.startswith("clips-wild-0-")
    assert len({wild, lab, name(tmp_path / "clips-wild-0", CROP), name(tmp_path / "other", CROP)}) == 4
    assert name(tmp_path / "moved" / "clips-wild-0", ANNOTATION) == wild
    assert name(tmp_path / "other", CROP).startswith("clips-other-")


# What the worker processes run must be importable from there.


def double(item: int) -> int:
    if item == 3:
        os._exit(7)  # as a decoder does that crashes
    if item == 5:
        time.sleep(60)
    if item == 6:
        raise UnreadableVideoError("six")
    return 2 * item


def make_double() -> Callable[[int], int]:
    return double


def make_nothing() -> Callable[[int], int]:
    raise DetectorNotFoundError("install it")


def test_a_process_that_hangs_or_crashes_is_replaced_and_its_item_named():
    start = time.monotonic()
    results = dict(run_in_processes(make_double, list(range(10)), workers=2, time_limit=1.0))
    assert time.monotonic() - start < 40
    assert sorted(results) == list(range(10))
    assert {i: r for i, r in results.items() if not isinstance(r, Failure)} == {i: 2 * i for i in (0, 1, 2, 4, 7, 8, 9)}
    assert results[3] == Failure("the process that read it crashed (exit code 7)")
    assert results[5] == Failure("not done after 1 s; its process was stopped")
    assert results[6] == Failure("UnreadableVideoError: six")


@pytest.mark.parametrize("workers", [0, 1])
def test_what_cannot_start_raises(workers):
    with pytest.raises(DetectorNotFoundError, match="install it"):
        list(run_in_processes(make_nothing, [1, 2], workers, time_limit=5))
    assert list(run_in_processes(make_double, [], workers, time_limit=5)) == []
