"""The Python API: one model, applied to files, frames and images without a command and without files."""

import csv
import io
import re
import shutil
import subprocess
import sys
import threading
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import fer_lightning
from data_modules.labels import SEVEN
from data_modules.video.reader import open_video
from data_modules.video.source import UnreadableVideoError
from fer_lightning import Recogniser, RecognitionOptions, Window
from fer_lightning.predict.settings import NO_FACE
from tests.predict.test_predict import fake_detector, fer_predict, table, write_checkpoint, write_video  # noqa: F401

ON_CPU = RecognitionOptions(device="cpu", every=2)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("trained") / "1-0")


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> Path:
    """Two seconds with a face, then two without."""
    return write_video(tmp_path_factory.mktemp("video") / "talk.mp4", [True] * 20 + [False] * 20, audio=True)


@pytest.fixture
def recogniser(run, fake_detector):  # noqa: F811
    return Recogniser(run, ON_CPU)


def test_the_call_and_the_command_say_the_same(run, video, recogniser, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pd = pytest.importorskip("pandas")
    timeline = recogniser.video(video)
    assert list(tmp_path.iterdir()) == []  # no file unless asked
    assert fer_predict(video, "--checkpoint", run, "--out", "out", "--every", 2, "--no-video") == 0
    rows = table(tmp_path / "out" / "talk")
    frame = timeline.to_pandas()
    assert list(frame.columns) == list(rows[0])
    assert frame.expression.tolist() == [row["expression"] for row in rows]
    for name in ("start", "end", "confidence", "p_anger", "face_share"):
        written = pd.to_numeric(pd.Series([row[name] for row in rows]), errors="coerce")
        np.testing.assert_allclose(frame[name], written, atol=6e-4)
    timeline.save_csv("mine.csv")
    assert list(csv.DictReader(io.StringIO(Path("mine.csv").read_text()))) == rows


def test_windows_have_typed_values(recogniser, video):
    timeline = recogniser.video(str(video))
    windows = list(timeline)
    assert len(timeline) == len(windows) == 8
    first, last = windows[0], windows[-1]
    assert isinstance(first, Window)
    assert (first.start, first.end, first.face_share, first.audio, first.reason) == (0.0, 0.5, 1.0, True, "")
    assert sum(first.probabilities.values()) == pytest.approx(1, abs=1e-4)
    assert first.expression == max(first.probabilities, key=first.probabilities.get)
    assert first.confidence == max(first.probabilities.values())
    assert (last.expression, last.confidence, last.probabilities, last.reason) == (NO_FACE, None, None, NO_FACE)
    assert timeline.track.time == pytest.approx(np.arange(20) / 10)
    assert np.abs(timeline.track.box - [20, 30, 80, 90]).max() < 4
    assert (timeline.video.width, timeline.video.frames_with_face) == (160, 20)


def test_windows_come_one_by_one(recogniser, video, monkeypatch):
    """The first is there before the second part is classified."""
    monkeypatch.setattr("fer_lightning.predict.recogniser.PART", 3)
    classified = []
    predict = recogniser._classifier.predict
    monkeypatch.setattr(
        recogniser._classifier,
        "predict",
        lambda faces, rows, advance: classified.append(len(rows.start)) or predict(faces, rows, advance),
    )
    windows = recogniser.windows(video)
    first = next(windows)
    assert classified == [3]
    assert [window.start for window in (first, *windows)] == [0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5]
    assert classified == [3, 3, 2]


def test_frames_in_memory_are_a_video_without_sound(recogniser, video):
    frames = np.stack([frame for _, frame in open_video(video).frames()])
    made, read = recogniser.frames(frames, fps=10), recogniser.video(video)
    assert [window.expression for window in made] == [window.expression for window in read]
    assert made.timeline.probabilities[:4] == pytest.approx(read.timeline.probabilities[:4], abs=1e-6)
    assert (made.video.audio, made.video.name, made.video.fps) == (0, "frames", 10)


@pytest.mark.parametrize(
    ("frames", "fps", "message"),
    [
        (np.zeros((4, 8, 8, 3)), 25, "found an array of float64 with shape"),
        (np.zeros((8, 8, 3), np.uint8), 25, "expected RGB frames, uint8"),
        (np.zeros((0, 8, 8, 3), np.uint8), 25, "expected RGB frames, uint8"),
        (np.zeros((4, 8, 8, 3), np.uint8), 0, "fps 0: expected frames per second"),
    ],
)
def test_frames_of_another_kind_are_refused(recogniser, frames, fps, message):
    with pytest.raises(ValueError, match=message):
        recogniser.frames(frames, fps)


def test_images_are_judged_one_by_one(recogniser, video, tmp_path):
    pictures = [frame for index, frame in open_video(video).frames() if index in (3, 30)]
    paths = [tmp_path / f"{number}.png" for number in range(2)]
    for path, picture in zip(paths, pictures, strict=True):
        cv2.imwrite(str(path), picture[..., ::-1])
    (with_face,), (without,) = recogniser.images(paths)
    assert with_face.expression in SEVEN
    assert without.expression == NO_FACE
    with pytest.raises(UnreadableVideoError, match=r"none\.png"):
        list(recogniser.images([tmp_path / "none.png"]))


def test_the_model_is_loaded_once(run, fake_detector, video, monkeypatch):  # noqa: F811
    loaded = []
    read = torch.load
    monkeypatch.setattr("torch.load", lambda *args, **kwargs: loaded.append(args[0]) or read(*args, **kwargs))
    recogniser = Recogniser(run, ON_CPU)
    for _ in range(2):
        recogniser.video(video)
    assert len(loaded) == 1
    assert len(recogniser._preparers) == 1
    assert list(Path(recogniser._scratch.name).iterdir()) == []


def test_threads_may_share_a_recogniser(recogniser, video):
    expected, found = recogniser.video(video).timeline.probabilities, {}
    threads = [
        threading.Thread(target=lambda n=n: found.update({n: recogniser.video(video).timeline.probabilities}))
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [0, 1, 2, 3]
    for values in found.values():
        np.testing.assert_array_equal(values, expected)


@pytest.mark.skipif(find_spec("facenet_pytorch") is None, reason="facenet-pytorch is not installed")
def test_no_main_guard_is_needed(run, tmp_path):
    """A script of three lines, with a real detector; a still without a face."""
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((64, 64, 3), 90, np.uint8))
    program = (
        "from fer_lightning import Recogniser\n"
        f"timeline = Recogniser({str(run)!r}).video('grey.png')\n"
        "print([window.expression for window in timeline])"
    )
    (tmp_path / "script.py").write_text(program)
    command = [sys.executable, "script.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout == "['no face']\n", done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["grey.png", "script.py"]


def test_load_gives_the_trained_model_in_evaluation_mode(run):
    model = fer_lightning.load(run)
    assert not model.training
    assert model.class_names == SEVEN
    saved = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert all(torch.equal(value, saved[name]) for name, value in model.state_dict().items())
    with pytest.raises(FileNotFoundError, match="no run or checkpoint none"):
        fer_lightning.load("none")


def test_options_are_checked():
    with pytest.raises(ValueError, match="0 < hop <= window"):
        RecognitionOptions(hop=3)


def test_the_example_of_the_read_me_runs(video, fake_detector, tmp_path, monkeypatch, capsys):  # noqa: F811
    pytest.importorskip("pandas")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FER_RUNS", "runs")
    write_checkpoint(tmp_path / "runs" / "ceflnet_synthetic" / "1-0")
    shutil.copy(video, "talk.mp4")
    text = (Path(__file__).parents[2] / "README.md").read_text()
    exec(re.search(r"```python\n(from fer_lightning import .*?)```", text, re.DOTALL)[1], {})
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["0.0", "0.5", "1.0", "1.5", "2.0", "2.5", "3.0", "3.5"]
    assert "talk.mp4" in Path("talk.html").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["runs", "talk.html", "talk.mp4"]
