"""`fer predict` reads the first video while the model is loaded, whose errors are named as ever."""

import subprocess
import sys
import threading

import pytest

from data_modules.utils.background import Background
from fer_lightning.cli.main import main
from fer_lightning.ensemble.trained import load_run
from fer_lightning.predict.recogniser import Recogniser
from fer_lightning.predict.stages import Stages
from tests.videos import numbered_frame, write_video

PATIENCE = 120.0  # seconds, on a busy machine


@pytest.fixture
def video(tmp_path):
    return write_video(tmp_path / "a.mp4", [numbered_frame(i) for i in range(40)])


@pytest.fixture
def frames_read(monkeypatch) -> threading.Event:
    """Is set when a part of a video has been decoded and looked at."""
    happened, update = threading.Event(), Stages.update_faces

    def watched(self, record, share):
        if share > 0:
            happened.set()
        update(self, record, share)

    monkeypatch.setattr(Stages, "update_faces", watched)
    return happened


def test_frames_are_read_before_the_model_is_loaded(video, tmp_path, frames_read, monkeypatch, capsys):
    seen = []

    def load(run, options):
        seen.append(frames_read.wait(PATIENCE))
        return Recogniser(run, options)

    monkeypatch.setattr("fer_lightning.predict.run.Recogniser", load)
    assert main(["predict", str(video), "--out", str(tmp_path / "out"), "--no-video"]) == 0
    assert seen == [True]
    said = capsys.readouterr().out
    assert said.index("trained on") < said.index("a.mp4: "), "what the model is comes before what it recognises"
    assert (tmp_path / "out" / "a" / "expressions.csv").is_file()


@pytest.mark.parametrize("workers", [0, 1])
def test_a_model_that_cannot_be_loaded_ends_the_command_with_its_error(
    video, tmp_path, frames_read, monkeypatch, capsys, workers
):
    def load(run):
        frames_read.wait(PATIENCE)
        return load_run(tmp_path / "nowhere")  # as if the file had been moved meanwhile

    monkeypatch.setattr("fer_lightning.predict.recogniser.load_run", load)
    words = ["predict", str(video), "--out", str(tmp_path / "out"), "--workers", str(workers)]
    assert main(words) == 2
    assert f"fer predict: no checkpoint in {tmp_path / 'nowhere'}" in capsys.readouterr().err
    assert not list((tmp_path / "out").iterdir()), "neither results nor faces are left"


def test_a_process_that_extracts_faces_imports_no_models():
    code = "import sys, fer_lightning.predict.preparer; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "data_modules.faces.extraction" in modules
    assert not {"pytorch_lightning", "timm", "torchmetrics", "fer_lightning.predict.recogniser"} & set(modules)


def test_a_call_in_the_background_gives_its_result_or_its_error():
    go = threading.Event()
    waiting = Background(lambda: go.wait(PATIENCE) and 3)
    waiting.check()  # which does not wait
    go.set()
    assert waiting.result() == 3
    failed = Background(lambda: 1 / 0)
    for ask in (failed.result, failed.check):
        with pytest.raises(ZeroDivisionError):
            ask()
