"""Long-lived processes: a hundred predictions take no more memory and handles than a few, and leave nothing behind."""

import gc
import multiprocessing
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from skimage.data import astronaut

from fer_lightning import Recogniser, RecognitionOptions
from fer_lightning.predict.run import ResultWriter
from tests import videos
from tests.faults.forked import run as run_forked
from tests.predict.conftest import trusted_test_models  # noqa: F401 - a fixture
from tests.predict.test_predict import fake_detector, fer_predict, write_checkpoint, write_video  # noqa: F401

WARM, PREDICTIONS, SHARE = 20, 100, 0.05


def resident() -> int:
    """Bytes of memory that this process holds."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def handles() -> list[str]:
    return sorted(str(path.readlink()) for path in Path("/proc/self/fd").iterdir() if path.exists())


def film(path: Path) -> Path:
    """A face that moves for half a second, which the default detector finds."""
    picture = astronaut()[:256, 96:352]
    return videos.write_video(path, [np.roll(picture, 2 * step, axis=1) for step in range(12)])


@pytest.fixture
def predict(tmp_path, request):
    """Predicts a video with the suite's own model and detector, or with small ones, in memory or with all files."""
    if request.param == "own model":
        recogniser, path = Recogniser(options=RecognitionOptions(device="cpu")), film(tmp_path / "film.mp4")
        assert recogniser.video(path).timeline.has_prediction.all(), "it would not be the network that is measured"
        return lambda: recogniser.video(path)
    request.getfixturevalue("fake_detector")
    run = write_checkpoint(tmp_path / "trained" / "1-0")
    video = write_video(tmp_path / "talk.mp4", [True] * 20 + [False] * 10, audio=True)
    if request.param == "command":
        out = ("--out", tmp_path / "out", "--device", "cpu")
        return lambda: fer_predict(video, "--checkpoint", run, *out)
    recogniser = Recogniser(run, RecognitionOptions(device="cpu"))
    return lambda: recogniser.video(video)


@pytest.mark.slow
@pytest.mark.parametrize("predict", ["own model", "memory", "command"], indirect=True)
def test_a_hundred_predictions_hold_memory_and_handles(predict):
    for _ in range(WARM):
        predict()
    memory, open_files = resident(), handles()
    for _ in range(PREDICTIONS):
        predict()
    assert resident() < memory * (1 + SHARE)
    assert handles() == open_files
    assert not multiprocessing.active_children()


@pytest.mark.slow
def test_ctrl_c_ends_a_prediction_and_all_of_its_processes(tmp_path, monkeypatch):
    """While a process finds the faces of the second video; what is left of the command fails in `run_forked`."""

    def interrupt(*_):
        os.killpg(os.getpid(), signal.SIGINT)  # as a terminal does
        time.sleep(60)

    paths = [str(film(tmp_path / f"{number}.mp4")) for number in range(2)]
    monkeypatch.setattr(ResultWriter, "__call__", interrupt)
    status, said = run_forked(["predict", *paths, "--out", str(tmp_path / "out"), "--device", "cpu"], tmp_path)
    assert status == 130, said
    assert "Traceback" not in said
    assert not list((tmp_path / "out").iterdir()), "the faces of the videos are temporary"
