"""Several processes: one of them dies, or two do the same work at once."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fer_lightning import VideoClassifier
from fer_lightning.cli.main import main
from fer_lightning.training.checkpoints import latest_checkpoint
from tests.faults.forked import Forked, members
from tests.training.test_resuming import (  # noqa: F401 - fixtures
    COMMAND,
    data,
    no_report,
    own_run,
    refuse_differences,
    unbroken,
)
from tests.videos import numbered_frame, write_video

pytestmark = pytest.mark.slow

MINUTE = 60.0
RANKS = """
import os, signal, sys, time
from pathlib import Path
from fer_lightning.cli.main import main
from fer_lightning.training.classifier import VideoClassifier

rank, fault, mark = int(os.environ["RANK_AT_FAULT"]), os.environ["FAULT"], Path(os.environ["MARK"])
step = VideoClassifier.training_step

def training_step(self, batch, batch_idx):
    loss = step(self, batch, batch_idx)
    if self.global_rank == rank and (self.current_epoch, batch_idx) == (1, 1):
        mark.write_text(str(time.time()))
        if fault == "nan":
            return loss * float("nan")
        os.killpg(0, signal.SIGTERM) if fault == "stopped" else os.kill(os.getpid(), signal.SIGKILL)
    return loss

VideoClassifier.training_step = training_step
if __name__ == "__main__":
    sys.exit(main())
"""
ENDED = "another process of this training ended or does not answer"
TWO = ("--trainer.devices", "2", "--trainer.strategy", "ddp")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rank", "fault", "status", "said"),
    [
        (0, "killed", -signal.SIGKILL, ENDED),
        (1, "killed", None, ENDED),  # Lightning may kill the first before it can say it
        (0, "nan", 2, "the loss is nan in epoch 2, step 5"),
        (1, "nan", None, "the loss is nan in epoch 2, step 5"),
        (0, "stopped", 143, "stopped; it will go on after epoch 1"),
    ],
)
def test_what_ends_one_rank_ends_all_within_a_minute(tmp_path, rank, fault, status, said):
    (tmp_path / "ranks.py").write_text(RANKS)
    mark = tmp_path / "mark"
    environment = os.environ | {"RANK_AT_FAULT": str(rank), "FAULT": fault, "MARK": str(mark), "OMP_NUM_THREADS": "1"}
    environment |= {"PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "ranks.py"), *COMMAND, *TWO],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    found, _ = process.communicate(timeout=600)
    assert process.returncode == status if status is not None else process.returncode != 0, found
    assert said in found or status is None, found
    assert "Traceback" not in found
    assert "looks like a bug" not in found
    while left := members(process.pid):
        assert time.time() - float(mark.read_text()) < MINUTE, left
        time.sleep(0.2)
    assert time.time() - float(mark.read_text()) < MINUTE
    assert latest_checkpoint(own_run().checkpoints)[1]["epoch"] == 0
    assert not own_run().finished


def test_a_loading_process_that_is_killed_within_a_step_is_one_message(monkeypatch, capsys):
    """Torch raises its error wherever the program happens to be, such as in the step."""
    step = VideoClassifier.training_step

    def training_step(self, batch, batch_idx):
        if (self.current_epoch, batch_idx) == (1, 1):
            os.kill(self.trainer.train_dataloader._iterator._workers[0].pid, signal.SIGKILL)
            time.sleep(2)
        return step(self, batch, batch_idx)

    monkeypatch.setattr(VideoClassifier, "training_step", training_step)
    assert main([*COMMAND, "--data.num_workers", "2"]) == 2
    said = capsys.readouterr().err.strip()
    assert "a process that loads data ended" in said
    assert "--data.num_workers 0" in said
    assert len(said.splitlines()) == 1
    assert latest_checkpoint(own_run().checkpoints)[1]["epoch"] == 0


def test_of_two_trainings_of_a_run_one_waits_and_finds_it_finished(tmp_path, unbroken):  # noqa: F811
    both = [Forked(COMMAND, tmp_path / f"{name}.txt") for name in "ab"]
    ended = [each.end() for each in both]
    assert [status for status, _ in ended] == [0, 0], ended
    waited = [said for _, said in ended if "is being trained by another process; waiting for it" in said]
    assert len(waited) == 1
    assert f"{own_run().path} is finished" in waited[0]
    assert "epoch 1/" not in waited[0]
    refuse_differences(unbroken)


def test_two_commands_may_fill_one_store_at_once(tmp_path):
    """Each file is written whole by either; the tables name all clips."""
    videos = tmp_path / "videos"
    videos.mkdir()
    for name in "abcdef":
        write_video(videos / f"{name}.mp4", [numbered_frame(i) for i in range(4)])
    command = ["faces", str(videos), "--detector", "crop", "--size", "64", "--workers", "0", "--out"]
    both = [Forked([*command, str(tmp_path / "out")], tmp_path / f"{name}.txt") for name in "12"]
    ended = [each.end() for each in both]
    assert [status for status, _ in ended] == [0, 0], ended
    assert main([*command, str(tmp_path / "alone")]) == 0
    files = {path.relative_to(tmp_path / "alone") for path in (tmp_path / "alone").rglob("*") if path.is_file()}
    assert files == {path.relative_to(tmp_path / "out") for path in (tmp_path / "out").rglob("*") if path.is_file()}
    for file in files:
        assert (tmp_path / "out" / file).read_bytes() == (tmp_path / "alone" / file).read_bytes(), file
