"""Runs that were killed, or whose checkpoint was damaged: what they go on from, and that nothing is lost."""

import multiprocessing
import os
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from pytorch_lightning import Trainer
from pytorch_lightning.plugins import AsyncCheckpointIO
from pytorch_lightning.plugins.environments import LightningEnvironment

from data_modules.utils.files import atomic_file
from fer_lightning.cli.main import main
from fer_lightning.experiments import fit
from fer_lightning.experiments.lightning_cli import FerCLI
from fer_lightning.experiments.request import ExperimentRequest
from fer_lightning.runs.folder import RunFolder
from fer_lightning.training.checkpoints import AtomicCheckpointIO
from tests.experiments.test_experiments import MADE
from tests.small_runs import read_rows, table_epochs

TINY = (
    *("--data.dataset", MADE),
    *("--data.num_workers", "0", "--data.batch_size", "4", "--data.augmentation.rotation", "10"),
    *("--model.init_args.dropout", "0.2", "--trainer.max_epochs", "4"),
    *("--trainer.precision", "32-true", "--trainer.accelerator", "cpu", "--trainer.devices", "1"),
)
COMMAND = ["train", "lmed_synthetic", *TINY]
CURVES = ("train/loss", "train/war", "train/uar", "lr", "inner/loss", "inner/war", "inner/uar")
SAVE = AtomicCheckpointIO.save_checkpoint


@pytest.fixture(autouse=True)
def no_report(monkeypatch):
    """Leaves the report's figures out: they take longer than these trainings."""

    def written(run):
        with atomic_file(run.report) as temporary:
            temporary.write_text("report")

    monkeypatch.setattr(fit, "write_report", written)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """A run that nothing stopped, without workers, and the data that it was trained on."""
    folder = tmp_path_factory.mktemp("unbroken")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FER_DATA", str(folder / "data"))
        patch.setenv("FER_RUNS", str(folder / "runs"))
        patch.setattr(fit, "write_results", lambda *_: None)
        assert main(COMMAND) == 0
    return folder


@pytest.fixture(autouse=True)
def data(unbroken, monkeypatch):
    monkeypatch.setenv("FER_DATA", str(unbroken / "data"))


def run_in(folder: Path) -> RunFolder:
    return RunFolder(folder / "lmed_synthetic" / "1-0")


def own_run() -> RunFolder:
    return run_in(Path(os.environ["FER_RUNS"]))


def epoch_of(path: Path) -> int:
    return int(torch.load(path, weights_only=True)["epoch"])


def killed(monkeypatch, arguments: Sequence[str] = COMMAND, after=1):
    """Trains in a process of its own, which is killed as soon as the `last.ckpt` of an epoch is written."""

    def save_checkpoint(self, checkpoint, path, storage_options=None):
        SAVE(self, checkpoint, path, storage_options)
        if Path(path).name == "last.ckpt" and checkpoint["epoch"] == after:
            os.kill(os.getpid(), signal.SIGKILL)

    with monkeypatch.context() as patch:
        patch.setattr(AtomicCheckpointIO, "save_checkpoint", save_checkpoint)
        process = multiprocessing.get_context("fork").Process(target=main, args=(arguments,))
        process.start()
        process.join(120)
    assert process.exitcode == -signal.SIGKILL


def refuse_differences(unbroken):
    """The run's curves and tables are those of the run that nothing stopped, to the last bit."""
    run, expected = own_run(), run_in(unbroken / "runs")
    for column in CURVES:
        found = table_epochs(read_rows(run.path), column)
        assert found.keys() == {0, 1, 2, 3}, column
        assert found == table_epochs(read_rows(expected.path), column), column
    for split in ("inner", "test"):
        assert run.predictions(split).read_bytes() == expected.predictions(split).read_bytes()


@pytest.fixture
def trainers(monkeypatch):
    """The trainers that are told to fit, which they do not."""
    made: list[Trainer] = []
    monkeypatch.setattr(Trainer, "fit", lambda self, *_, **__: made.append(self))
    return made


def test_fit_writes_its_checkpoints_whole(trainers):
    assert main(["fit", *ExperimentRequest("lmed_synthetic", arguments=TINY).command_line()]) == 0
    assert [type(trainer.strategy.checkpoint_io) for trainer in trainers] == [AtomicCheckpointIO]


def test_train_writes_its_checkpoints_whole(trainers, monkeypatch):
    monkeypatch.setattr(Trainer, "test", lambda *_, **__: None)
    monkeypatch.setattr(fit, "write_results", lambda *_: None)
    assert main(COMMAND) == 0
    assert [type(trainer.strategy.checkpoint_io) for trainer in trainers] == [AtomicCheckpointIO]


class OwnEnvironment(LightningEnvironment):
    """A plugin that nobody else adds."""


def trainer_with(plugins: str) -> Trainer:
    arguments = (*TINY, "--trainer.strategy", "ddp", "--trainer.plugins", plugins)
    return FerCLI(ExperimentRequest("lmed_synthetic", arguments=arguments).command_line(), run=False).trainer


def test_plugins_that_are_asked_for_stay():
    trainer = trainer_with('[{"class_path": "tests.training.test_resuming.OwnEnvironment"}]')
    assert isinstance(trainer.strategy.cluster_environment, OwnEnvironment)
    assert type(trainer.strategy.checkpoint_io) is AtomicCheckpointIO
    single = trainer_with('{"class_path": "tests.training.test_resuming.OwnEnvironment"}')
    assert isinstance(single.strategy.cluster_environment, OwnEnvironment)
    assert type(single.strategy.checkpoint_io) is AtomicCheckpointIO
    other = trainer_with('[{"class_path": "pytorch_lightning.plugins.AsyncCheckpointIO"}]')
    assert type(other.strategy.checkpoint_io) is AsyncCheckpointIO


def test_the_previous_checkpoint_stays_until_a_run_finishes(monkeypatch):
    killed(monkeypatch, after=2)
    folder = own_run().checkpoints
    assert {path.name for path in folder.iterdir()} == {"best.ckpt", "last.ckpt", "last.previous.ckpt"}
    assert (epoch_of(folder / "last.ckpt"), epoch_of(folder / "last.previous.ckpt")) == (2, 1)
    assert main(COMMAND) == 0
    assert {path.name for path in folder.iterdir()} == {"best.ckpt", "last.ckpt"}


def test_a_run_took_as_long_as_all_of_its_sessions(monkeypatch):
    command = [*COMMAND, "--trainer.max_time", "01:00:00:00"]  # for which Lightning adds a timer of its own
    killed(monkeypatch, command)
    last = own_run().checkpoints / "last.ckpt"
    checkpoint = torch.load(last, weights_only=True)
    times = checkpoint["callbacks"]["TrainingTime"]["time_elapsed"]
    assert 0 < times["train"] < 120
    times["train"] = 5000.0
    torch.save(checkpoint, last)
    assert main(command) == 0
    assert 5000 < own_run().read_info().seconds < 5120
    own_run().report.unlink()
    assert main(command) == 0, "evaluated again, which is no training"
    assert 5000 < own_run().read_info().seconds < 5120


def test_a_kill_right_after_a_checkpoint_loses_no_curves(monkeypatch, unbroken):
    killed(monkeypatch)
    assert table_epochs(read_rows(own_run().path), "train/loss").keys() == {0, 1}
    assert main(COMMAND) == 0
    refuse_differences(unbroken)


def test_a_run_resumed_with_workers_equals_an_unbroken_one(monkeypatch, unbroken):
    """Order, frames, augmentation and dropout are those of a run that nothing stopped, which had no workers at all."""
    with_workers = [*COMMAND, "--data.num_workers", "2"]
    killed(monkeypatch, with_workers, after=0)
    assert main(with_workers) == 0
    refuse_differences(unbroken)


@pytest.mark.parametrize("damage", ["empty", "truncated", "missing"])
def test_a_run_resumes_before_a_damaged_checkpoint_and_says_so(monkeypatch, unbroken, capsys, damage):
    killed(monkeypatch, after=2)
    last = own_run().checkpoints / "last.ckpt"
    content = last.read_bytes()
    if damage == "missing":
        last.unlink()
    else:
        last.write_bytes(b"" if damage == "empty" else content[: len(content) // 2])
    assert main(COMMAND) == 0
    said = capsys.readouterr().out
    assert said.count("last.previous.ckpt") == 1
    assert "goes on after epoch 2, from last.previous.ckpt: last.ckpt is missing or damaged" in said
    refuse_differences(unbroken)


def test_a_run_of_which_the_previous_checkpoint_is_left_has_begun(monkeypatch, capsys):
    killed(monkeypatch, after=2)
    (own_run().checkpoints / "last.ckpt").unlink()
    assert main([*COMMAND, "--data.batch_size", "6"]) == 2
    said = capsys.readouterr().err
    assert "was begun with other settings" in said
    assert "data.batch_size" in said


def test_a_damaged_checkpoint_never_replaces_the_fallback(tmp_path):
    io, last = AtomicCheckpointIO(), tmp_path / "last.ckpt"
    for epoch in (0, 1):
        io.save_checkpoint({"epoch": epoch}, last)
    last.write_bytes(last.read_bytes()[:100])
    io.save_checkpoint({"epoch": 2}, last)
    assert (epoch_of(last), epoch_of(tmp_path / "last.previous.ckpt")) == (2, 0)


def test_a_run_without_readable_checkpoints_does_not_restart(monkeypatch, capsys):
    killed(monkeypatch)
    folder = own_run().checkpoints
    for name, content in (("last.ckpt", b""), ("last.previous.ckpt", b"PK\3\4 half of it")):
        (folder / name).write_bytes(content)
    curves = own_run().curves.read_bytes()
    assert main(COMMAND) == 2
    said = capsys.readouterr().err
    for part in (
        f"no checkpoint in {folder} can be read",
        "last.ckpt (0 bytes): EOFError",
        "last.previous.ckpt (15 bytes)",
    ):
        assert part in said
    assert f"delete {folder}" in said
    assert own_run().curves.read_bytes() == curves
