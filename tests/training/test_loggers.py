"""Curves that go on where an earlier session stopped, and Weights & Biases without a network."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch
import wandb

from data_modules.utils.files import atomic_write
from fer_lightning import VideoClassifier
from fer_lightning.cli.main import main
from fer_lightning.experiments import fit
from fer_lightning.experiments.request import ExperimentRequest
from fer_lightning.runs.folder import RunFolder
from fer_lightning.training.curves import CurvesLogger, drop_rows_after
from fer_lightning.training.wandb_logger import RunWandbLogger
from tests.fakes import write_dfew
from tests.small_runs import experiment, read_rows, table_epochs


def log(folder, *rows):
    logger = CurvesLogger(str(folder))
    for step, values in rows:
        logger.log_metrics(values, step)
        logger.save()


def test_a_second_session_continues_the_table_and_its_columns(tmp_path):
    log(tmp_path, (3, {"epoch": 0, "train/loss": torch.tensor(2.0)}), (7, {"epoch": 1, "train/loss": 1.5}))
    log(tmp_path, (11, {"epoch": 2, "train/loss": 1.0}), (11, {"epoch": 2, "inner/war": 0.5}))
    rows = read_rows(tmp_path)
    assert [row["step"] for row in rows] == ["3", "7", "11", "11"]
    assert [row["train/loss"] for row in rows] == ["2.0", "1.5", "1.0", ""]
    assert [row["inner/war"] for row in rows] == ["", "", "", "0.5"]
    assert (tmp_path / "metrics.csv").read_text().splitlines()[0] == "epoch,inner/war,step,train/loss"


def test_the_table_is_whole_at_any_time(tmp_path, monkeypatch):
    """Lightning appends to it, and writes it anew for a new column; a kill must leave no half of either."""
    log(tmp_path, (3, {"epoch": 0, "train/loss": 2.0}))
    before = (tmp_path / "metrics.csv").read_text()

    def broken(path, content):
        with path.open("wb") as file:
            file.write(content[: len(content) // 2])
        raise OSError("the disk is full")

    monkeypatch.setattr(Path, "write_bytes", broken)
    with pytest.raises(OSError, match="full"):
        log(tmp_path, (7, {"epoch": 1, "inner/war": 0.1}))
    assert (tmp_path / "metrics.csv").read_text() == before
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.csv"]


def test_what_was_logged_after_a_checkpoint_is_taken_out(tmp_path):
    log(tmp_path, *((step, {"epoch": step // 4, "train/loss": 1.0}) for step in (3, 7, 8, 11)))
    drop_rows_after(tmp_path / "metrics.csv", 8)
    assert [row["step"] for row in read_rows(tmp_path)] == ["3", "7"]
    log(tmp_path, (11, {"epoch": 2, "train/loss": 0.5}))
    assert [row["step"] for row in read_rows(tmp_path)] == ["3", "7", "11"]
    drop_rows_after(tmp_path / "metrics.csv", 0)
    assert read_rows(tmp_path) == []
    log(tmp_path, (3, {"epoch": 0, "other": 0.5}))
    assert len(read_rows(tmp_path)) == 1


def test_nothing_is_taken_out_of_nothing(tmp_path):
    drop_rows_after(tmp_path / "metrics.csv", 8)
    assert not list(tmp_path.iterdir())


def test_the_first_logger_sets_the_folder_of_the_run(tmp_path):
    assert Path(CurvesLogger(str(tmp_path)).log_dir) == tmp_path


def test_a_run_keeps_its_id_and_is_named_after_its_folder(tmp_path):
    folder = tmp_path / "ceflnet_dfew" / "1-0"
    first, second = (RunWandbLogger(str(folder), mode="disabled") for _ in range(2))
    assert first.version == second.version == (folder / "wandb_id.txt").read_text()
    assert first._wandb_init["name"] == "ceflnet_dfew/1-0"
    other = RunWandbLogger(str(tmp_path / "other"), mode="disabled")
    assert other.version != first.version


@pytest.mark.parametrize(
    ("variable", "key", "expected"),
    [("disabled", True, "disabled"), ("offline", True, "offline"), ("", True, "online"), ("", False, "offline")],
)
def test_auto_is_online_only_with_a_key(tmp_path, monkeypatch, variable, key, expected):
    monkeypatch.setenv("WANDB_MODE", variable)
    monkeypatch.setattr(wandb, "login", lambda **_: key)
    logger = RunWandbLogger(str(tmp_path), mode="auto")
    assert logger._wandb_init["mode"] == expected
    assert logger._wandb_init["resume"] == ("allow" if expected == "online" else None)


def test_offline_curves_lie_in_the_runs_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    wandb.finish()  # that of an earlier training in this process would be gone on with
    try:
        logger = RunWandbLogger(str(tmp_path), mode="auto")
        logger.log_metrics({"train/loss": 1.0}, 3)
        assert not logger.experiment.disabled
        assert logger.experiment.id == (tmp_path / "wandb_id.txt").read_text()
    finally:
        wandb.finish()
    (run,) = (tmp_path / "wandb").glob("offline-run-*")
    assert run.name.endswith(logger.version)
    assert [path for path in run.glob("*.wandb") if path.stat().st_size > 0]


def test_a_row_that_is_logged_twice_stands_once(tmp_path):
    """`train/*` is written ahead of the checkpoint, and once more by Lightning; other values keep their own row."""
    log(
        tmp_path,
        (7, {"epoch": 1, "inner/war": 0.5}),
        (7, {"epoch": 1, "train/loss": 1.5}),
        (7, {"epoch": 1, "train/loss": 1.5, "train/extra": 2.0}),
        (11, {"epoch": 2, "train/loss": 1.0}),
    )
    rows = read_rows(tmp_path)
    assert [row["step"] for row in rows] == ["7", "7", "11"]
    assert [row["train/loss"] for row in rows] == ["", "1.5", "1.0"]
    assert [row["train/extra"] for row in rows] == ["", "2.0", ""]
    assert [row["inner/war"] for row in rows] == ["0.5", "", ""]


@pytest.fixture
def small_training(tmp_path, monkeypatch, offline_wandb):
    """The command of a training of two epochs, without the report's figures; W&B is offline."""
    write_dfew(tmp_path / "data", train=14, test=7)
    monkeypatch.setattr(fit, "write_report", lambda run: atomic_write(run.report, b"report"))
    return experiment("--trainer.max_epochs", "2")


def finished_without_wandb(command, capsys) -> str:
    """What is said of W&B when a training ends well; the curves are whole."""
    assert main(command) == 0
    run = ExperimentRequest("ceflnet_dfew").run
    assert run.finished
    rows = read_rows(run.path)
    assert all(table_epochs(rows, column).keys() == {0, 1} for column in ("train/loss", "inner/loss"))
    (said,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("W&B")]
    assert str(run.curves) in said
    assert "WANDB_MODE=disabled" in said
    return said


def refuses(*_, **__):
    raise wandb.errors.CommError("no network")


@pytest.mark.parametrize("name", ["init", "login", "Settings", "Table"])
def test_a_training_goes_on_where_wandb_fails(small_training, monkeypatch, capsys, name):
    monkeypatch.setenv("WANDB_MODE", "" if name == "login" else "offline")
    monkeypatch.setattr(wandb, name, refuses)
    assert "CommError: no network" in finished_without_wandb(small_training, capsys)


@pytest.mark.parametrize("name", ["log", "log_artifact"])
def test_a_training_goes_on_where_wandb_takes_nothing(small_training, monkeypatch, capsys, name):
    monkeypatch.setattr(wandb.Run, name, refuses)
    assert "CommError: no network" in finished_without_wandb(small_training, capsys)


def test_a_training_goes_on_where_wandbs_process_is_killed(small_training, monkeypatch, capsys):
    step, killed = VideoClassifier.training_step, []

    def training_step(self, batch, batch_idx):
        if self.current_epoch == 1 and not killed:
            command = ["ps", "-eww", "-o", "pid=,ppid=,args="]  # whole lines, whatever the width of the terminal is
            processes = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            rows = [line.split(maxsplit=2) for line in processes.splitlines()]
            killed.extend(int(pid) for pid, parent, args in rows if int(parent) == os.getpid() and "wandb-core" in args)
            assert len(killed) == 1, processes
            os.kill(killed[0], signal.SIGKILL)
            time.sleep(0.3)
        return step(self, batch, batch_idx)

    monkeypatch.setattr(VideoClassifier, "training_step", training_step)
    assert "Connection" in finished_without_wandb(small_training, capsys)


def test_a_fault_of_the_suite_is_not_taken_for_one_of_wandb(tmp_path):
    logger = RunWandbLogger(str(tmp_path), mode="disabled")
    with pytest.raises(FileNotFoundError, match="no prediction table"):
        logger.log_report(RunFolder(tmp_path), [])
