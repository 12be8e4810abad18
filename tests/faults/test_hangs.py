"""What would block for ever: named pipes, links in a circle, a decoder that hangs, a disk that does not answer."""

import itertools
import os
import signal
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from data_modules.datasets.own import Own
from data_modules.faces.settings import FaceSettings
from data_modules.prepare.clip_preparer import ClipPreparer
from data_modules.prepare.faces import prepare_faces
from data_modules.utils import time_limit
from data_modules.utils.time_limit import with_time_limit
from data_modules.video.reader import VideoFile
from tests.faults.commands import index_of, make_faces, predict, prepare_own, quarantined
from tests.videos import numbered_frame, write_video

PIPE = "a named pipe or a device"


@pytest.fixture(autouse=True)
def no_hang(tmp_path, monkeypatch):
    """Ends a test that blocks, which nothing else would."""

    def stop(*_: object) -> None:
        raise AssertionError("blocked for two minutes")

    monkeypatch.setenv("FER_STORE", str(tmp_path / "store"))
    signal.signal(signal.SIGALRM, stop)
    signal.alarm(120)
    yield
    signal.alarm(0)


@pytest.fixture
def videos(tmp_path) -> Path:
    """A good video, a named pipe, and links that lead to each other and nowhere."""
    folder = tmp_path / "own" / "anger"
    folder.mkdir(parents=True)
    write_video(folder / "good.mp4", [numbered_frame(number) for number in range(4)])
    os.mkfifo(folder / "pipe.mp4")
    (folder / "here.mp4").symlink_to("there.mp4")
    (folder / "there.mp4").symlink_to("here.mp4")
    (folder / "nowhere.mp4").symlink_to("gone.mp4")
    return folder


def test_pipes_and_circles_cost_their_clips_alone_in_prepare(videos, tmp_path):
    assert prepare_own(videos.parent).status == 0
    index = index_of(tmp_path / "store")
    assert index["anger/good"].num_faces == 4
    assert PIPE in index["anger/pipe"].reason
    for name in ("here", "there", "nowhere"):
        assert "no such file or folder" in index[f"anger/{name}"].reason
    assert set(quarantined(tmp_path / "store")) == set(index) - {"anger/good"}


def test_pipes_and_circles_cost_their_videos_alone_in_faces(videos, tmp_path):
    ended = make_faces(videos, tmp_path / "out")
    assert ended.status == 1
    assert PIPE in next(line for line in ended.out.splitlines() if line.startswith("pipe.mp4"))
    assert len(list((tmp_path / "out" / "good").glob("*.jpg"))) == 4


def test_pipes_and_circles_cost_their_videos_alone_in_predict(videos, tmp_path, run):
    ended = predict(videos, run, tmp_path / "out", "--no-video")
    assert ended.status == 1
    assert "4 of 5 videos could not be read" in ended.out
    assert PIPE in next(line for line in ended.out.splitlines() if "pipe.mp4" in line)
    assert (tmp_path / "out" / "good" / "expressions.csv").exists()


def test_a_pipe_among_frames_leaves_its_number_out(tmp_path):
    frames = tmp_path / "own" / "anger" / "clip"
    frames.mkdir(parents=True)
    write_video(frames.parent / "other.mp4", [numbered_frame(0)])
    for number in (1, 2, 4):
        Image.fromarray(numbered_frame(number)).save(frames / f"{number}.jpg")
    os.mkfifo(frames / "3.jpg")
    assert prepare_own(tmp_path / "own").status == 0
    row = index_of(tmp_path / "store")["anger/clip"]
    assert (row.num_frames, row.num_faces, row.broken) == (4, 3, 1)


def test_a_disk_that_stops_to_answer_costs_the_annotated_video_alone(tmp_path, run, monkeypatch):
    """The faces were found; then reading the video again blocks, as from a lost network disk."""
    video = write_video(tmp_path / "good.mp4", [numbered_frame(number) for number in range(30)])
    read = VideoFile.frames

    def blocked(source, *arguments, **options):
        for index, frame in read(source, *arguments, **options):
            if index == 7 and threading.current_thread() is not threading.main_thread():
                threading.Event().wait()
            yield index, frame

    monkeypatch.setattr(VideoFile, "frames", blocked)
    monkeypatch.setattr("fer_lightning.predict.run.TIME_LIMIT", 2.0)
    ended = predict(video, run, tmp_path / "out")
    assert ended.status == 1
    assert "annotated.mp4 could not be written: no sign of life for 2 s: does its disk answer?" in ended.out
    left = {path.name for path in (tmp_path / "out" / "good").iterdir()}
    assert {"expressions.csv", "expressions.json", "timeline.png", "index.html"} <= left
    assert "annotated.mp4" not in left
    assert not [name for name in left if name.startswith(".")], "nothing half-written is left"


def test_work_within_its_time_is_handed_on_whole():
    assert list(with_time_limit(lambda: iter(range(5)), 5.0)) == list(range(5))
    with pytest.raises(ZeroDivisionError):
        list(with_time_limit(lambda: (1 // number for number in (1, 0)), 5.0))


def test_time_in_which_the_process_is_stopped_does_not_count(monkeypatch):
    """As by Ctrl-Z: every wait is found to have lasted much longer than it was to last."""

    def late():
        time.sleep(0.5)
        yield 1

    monkeypatch.setattr(time_limit, "time", SimpleNamespace(monotonic=itertools.count(0, 1000).__next__))
    assert list(with_time_limit(late, 0.1)) == [1]


class Hanging(ClipPreparer):
    """Hangs over one clip as a decoder may, until there is a file `enough`."""

    def __call__(self, record):
        if record.clip_id == "anger/b" and not (self._folder / "enough").exists():
            time.sleep(600)
        return super().__call__(record)


@pytest.mark.slow
def test_a_decoder_that_hangs_costs_its_clip_for_now(tmp_path, monkeypatch):
    folder = tmp_path / "own" / "anger"
    folder.mkdir(parents=True)
    for name in "abc":
        write_video(folder / f"{name}.mp4", [np.full((64, 64, 3), 90, np.uint8)] * 3)
    monkeypatch.setattr("data_modules.prepare.faces.ClipPreparer", Hanging)
    dataset = Own(tmp_path / "own", faces=FaceSettings("crop", size=32), made_folds=2)
    index = prepare_faces(dataset, 1, time_limit=5.0).read_index()
    assert index["anger/b"].reason == "failed for now: no sign of life for 5 s; its process was stopped"
    assert {index["anger/a"].num_faces, index["anger/c"].num_faces} == {3}
    (tmp_path / "own" / "enough").touch()
    assert prepare_faces(dataset, 1, time_limit=60.0).read_index()["anger/b"].num_faces == 3
