"""Long-lived processes: a hundred predictions take no more memory and handles than a few, and leave nothing behind."""

import gc
import multiprocessing
import os
from pathlib import Path

import pytest

from fer_lightning import Recogniser, RecognitionOptions
from tests.predict.conftest import trusted_test_models  # noqa: F401 - a fixture
from tests.predict.test_predict import fake_detector, fer_predict, write_checkpoint, write_video  # noqa: F401

WARM, PREDICTIONS, SHARE = 20, 100, 0.05


def resident() -> int:
    """Bytes of memory that this process holds."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def handles() -> list[str]:
    return sorted(str(path.readlink()) for path in Path("/proc/self/fd").iterdir() if path.exists())


@pytest.fixture
def predict(tmp_path, fake_detector, request):  # noqa: F811
    """Predicts a video, in memory or with the command and all of its files."""
    run = write_checkpoint(tmp_path / "trained" / "1-0")
    video = write_video(tmp_path / "talk.mp4", [True] * 20 + [False] * 10, audio=True)
    if request.param == "command":
        out = ("--out", tmp_path / "out", "--device", "cpu")
        return lambda: fer_predict(video, "--checkpoint", run, *out)
    recogniser = Recogniser(run, RecognitionOptions(device="cpu"))
    return lambda: recogniser.video(video)


@pytest.mark.slow
@pytest.mark.parametrize("predict", ["memory", "command"], indirect=True)
def test_a_hundred_predictions_hold_memory_and_handles(predict):
    for _ in range(WARM):
        predict()
    memory, open_files = resident(), handles()
    for _ in range(PREDICTIONS):
        predict()
    assert resident() < memory * (1 + SHARE)
    assert handles() == open_files
    assert not multiprocessing.active_children()
