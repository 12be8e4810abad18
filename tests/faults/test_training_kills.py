"""A training is killed at any time: it goes on, and ends as one that nothing killed, to the last bit."""

import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch

from data_modules.utils.files import is_temporary
from fer_lightning.cli.main import main
from fer_lightning.training.checkpoints import AtomicCheckpointIO, latest_checkpoint
from tests.faults.forked import Forked, run
from tests.training.test_resuming import (  # noqa: F401 - fixtures
    COMMAND,
    data,
    no_report,
    own_run,
    refuse_differences,
    unbroken,
)

pytestmark = pytest.mark.slow

SAVE, REPLACE = AtomicCheckpointIO.save_checkpoint, Path.replace


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def half_a_checkpoint(name: str, epoch: int, patch: pytest.MonkeyPatch) -> None:
    """The process is killed when half of a checkpoint's bytes are written."""

    def save_checkpoint(self, checkpoint, path, storage_options=None):
        if (Path(path).name, checkpoint["epoch"]) == (name, epoch):
            patch.setattr(torch, "save", lambda content, file: (file.write(b"PK\3\4"), file.flush(), die()))
        SAVE(self, checkpoint, path, storage_options)

    patch.setattr(AtomicCheckpointIO, "save_checkpoint", save_checkpoint)


def before_a_rename(name: str, epoch: int, patch: pytest.MonkeyPatch) -> None:
    """It is killed when a checkpoint is written and has not got its name yet; `last.ckpt` is already moved aside."""
    renamed = []

    def replace(path, target):
        if is_temporary(path) and Path(target).name == name:
            renamed.append(target)
            if len(renamed) == epoch + 1:
                die()
        return REPLACE(path, target)

    patch.setattr(Path, "replace", replace)


@pytest.mark.parametrize("kill", [half_a_checkpoint, before_a_rename])
@pytest.mark.parametrize(("name", "epoch"), [("last.ckpt", 2), pytest.param("best.ckpt", 0, marks=pytest.mark.slow)])
def test_a_kill_within_a_checkpoint_costs_one_epoch_at_most(tmp_path, monkeypatch, unbroken, kill, name, epoch):  # noqa: F811
    with monkeypatch.context() as patch:
        kill(name, epoch, patch)
        assert run(COMMAND, tmp_path)[0] == -signal.SIGKILL
    for path in own_run().checkpoints.glob("*.ckpt"):
        if not is_temporary(path):
            torch.load(path, weights_only=True)  # nothing half-written has the name of a checkpoint
    status, said = run(COMMAND, tmp_path)
    assert status == 0, said
    assert ("goes on after epoch 2" in said) == (epoch == 2)
    refuse_differences(unbroken)


@pytest.fixture(scope="module")
def duration(unbroken, tmp_path_factory):  # noqa: F811
    """Seconds that an unbroken training takes here."""
    folder = tmp_path_factory.mktemp("timed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FER_DATA", str(unbroken / "data"))
        patch.setenv("FER_RUNS", str(folder / "runs"))
        start = time.monotonic()
        assert run(COMMAND, folder)[0] == 0
    return time.monotonic() - start


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_a_kill_at_any_time_changes_no_result(tmp_path, unbroken, duration, seed):  # noqa: F811
    """With and without processes that load; some are killed again while they go on."""
    draw = random.Random(seed)
    command = [*COMMAND, "--data.num_workers", str(seed % 2)]
    for _ in range(1 + seed % 3):
        Forked(command, tmp_path / "messages.txt").kill_after(draw.uniform(0, duration))
    if own_run().finished:  # it was faster than the kill: nothing was lost
        refuse_differences(unbroken)
        shutil.rmtree(own_run().path)
    latest = latest_checkpoint(own_run().checkpoints)
    status, said = run(command, tmp_path)
    assert status == 0, said
    assert said.count("goes on after epoch") == bool(latest)
    assert not latest or f"{own_run().path}: goes on after epoch {latest[1]['epoch'] + 1}" in said
    refuse_differences(unbroken)
    assert not list(own_run().checkpoints.glob("*.previous.ckpt"))
    assert main(command) == 0, "the finished run is taken for finished"
