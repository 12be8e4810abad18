"""Issue of signals: a command stops at once, says where it goes on, and leaves no process behind."""

import os
import signal
import subprocess
import threading
import time

import pytest

from fer_lightning.cli import compare, slurm
from fer_lightning.cli.main import main
from fer_lightning.training.checkpoints import latest_checkpoint
from tests.faults.forked import run
from tests.small_runs import at_step
from tests.training.test_resuming import (  # noqa: F401 - fixtures
    COMMAND,
    data,
    no_report,
    own_run,
    refuse_differences,
    unbroken,
)

WORKERS = [*COMMAND, "--data.num_workers", "2"]


def send(number: signal.Signals, group: bool) -> None:
    """Sends a signal as a terminal or a scheduler does, to all processes of the command, or as `kill` does."""
    (os.killpg if group else os.kill)(os.getpid(), number)


@pytest.mark.parametrize(
    ("number", "group"),
    [
        pytest.param("SIGINT", True, marks=pytest.mark.slow),
        ("SIGTERM", True),
        pytest.param("SIGTERM", False, marks=pytest.mark.slow),
    ],
)
def test_a_training_stops_and_says_where_it_goes_on(tmp_path, monkeypatch, number, group):
    """In the third of four epochs, while two processes load; with a signal to these as well."""
    with monkeypatch.context() as patch:
        at_step(patch, 2, 1, lambda: send(signal.Signals[number], group))
        status, said = run(WORKERS, tmp_path)
    assert status == 128 + signal.Signals[number]
    assert f"{own_run().path}: stopped; it will go on after epoch 2" in said
    assert said.count("the same command resumes where it stopped") == 1
    assert "Traceback" not in said
    assert "bug" not in said
    assert latest_checkpoint(own_run().checkpoints)[1]["epoch"] == 1
    assert not own_run().finished


@pytest.mark.slow
def test_a_stopped_training_goes_on_from_there(tmp_path, monkeypatch, unbroken, capsys):  # noqa: F811
    with monkeypatch.context() as patch:
        at_step(patch, 1, 2, lambda: send(signal.SIGTERM, True))
        assert run(COMMAND, tmp_path)[0] == 143
    assert main(COMMAND) == 0
    assert "goes on after epoch 1" in capsys.readouterr().out
    refuse_differences(unbroken)


def test_a_training_that_is_stopped_in_its_first_epoch_begins_again(tmp_path, monkeypatch):
    at_step(monkeypatch, 0, 1, lambda: send(signal.SIGTERM, True))
    status, said = run(COMMAND, tmp_path)
    assert (status, "it will go on at its beginning" in said) == (143, True)
    assert not list(own_run().checkpoints.glob("*"))


@pytest.fixture
def job(tmp_path, monkeypatch):
    """A job of Slurm, whose `scontrol` notes its arguments."""
    for name, value in {"JOB_ID": "123", "NTASKS": "1", "JOB_NAME": "fer", "PROCID": "0", "LOCALID": "0"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    asked = tmp_path / "asked.txt"
    stub = tmp_path / "bin" / "scontrol"
    stub.parent.mkdir()
    stub.write_text(f'#!/bin/sh\necho "$@" >> {asked}\n')
    stub.chmod(0o755)
    monkeypatch.setenv("PATH", f"{stub.parent}:{os.environ['PATH']}")
    return asked


@pytest.mark.slow
def test_a_job_that_is_about_to_end_is_queued_again_and_goes_on(tmp_path, monkeypatch, job, unbroken, capsys):  # noqa: F811
    with monkeypatch.context() as patch:
        at_step(patch, 1, 1, lambda: send(signal.SIGUSR1, True))
        status, said = run(WORKERS, tmp_path)
    assert status == 128 + signal.SIGUSR1
    assert job.read_text() == "requeue 123\n"
    for part in ("it will go on after epoch 1", "stopped by SIGUSR1", "the job 123 is queued again"):
        assert said.count(part) == 1, said
    assert "Traceback" not in said
    assert not list(own_run().path.glob("hpc_ckpt*")), "Lightning's checkpoint is of the middle of a step"
    assert main(COMMAND) == 0
    assert "goes on after epoch 1" in capsys.readouterr().out
    refuse_differences(unbroken)


def test_what_scontrol_says_is_passed_on(job, monkeypatch):
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "120")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "4")
    assert slurm.requeue() == "the job 120_4 is queued again"
    assert job.read_text() == "requeue 120_4\n"
    (job.parent / "bin" / "scontrol").write_text("#!/bin/sh\necho Job is not permitted >&2\nexit 1\n")
    assert "120_4 could not be queued again (Job is not permitted); submit it again" in slurm.requeue()
    monkeypatch.setenv("PATH", str(job.parent))
    assert "No such file or directory" in slurm.requeue()


def test_a_command_that_is_told_to_end_ends_what_it_started(monkeypatch, capsys):
    """As `fer cv`, which trains in processes of their own."""
    started: list[subprocess.Popen[bytes]] = []
    popen = subprocess.Popen

    def wait(arguments):
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGTERM)).start()
        subprocess.run(["sleep", "60"], check=True)

    monkeypatch.setattr(compare, "main", wait)
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: started.append(popen(*a, **k)) or started[-1])
    start = time.monotonic()
    assert main(["compare"]) == 143
    assert time.monotonic() - start < 30
    assert started[0].returncode is not None
    assert "fer compare: stopped by SIGTERM; files that were written are complete" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, "the command's handler ends with it"
