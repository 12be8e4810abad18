"""A training whose loss or weights are no numbers any more ends at once, and leaves its last good checkpoint."""

import os
from pathlib import Path

import pytest
import torch

from fer_lightning import VideoClassifier
from fer_lightning.cli.main import main
from fer_lightning.runs.folder import RunFolder
from tests.small_runs import read_rows, table_epochs
from tests.training.test_resuming import TINY

COMMAND = ["train", "lmed_synthetic", *TINY]


@pytest.fixture
def steps(monkeypatch):
    """(epoch, batch) of every training step, whose loss is multiplied by what a test sets for it."""
    made: dict[tuple[int, int], float] = {}
    factors: dict[tuple[int, int], float] = {}
    step = VideoClassifier.training_step

    def training_step(self, batch, batch_idx):
        place = (self.current_epoch, batch_idx)
        made[place] = self.trainer.optimizers[0].param_groups[0]["lr"]
        return step(self, batch, batch_idx) * factors.get(place, 1.0)

    monkeypatch.setattr(VideoClassifier, "training_step", training_step)
    return made, factors


def own_run() -> RunFolder:
    return RunFolder(Path(os.environ["FER_RUNS"], "lmed_synthetic", "1-0"))


def refuse_bad_checkpoints(epoch: int) -> None:
    run = own_run()
    for name in ("best.ckpt", "last.ckpt"):
        content = torch.load(run.checkpoints / name, weights_only=True)
        assert content["epoch"] <= epoch
        weights = [value for name, value in content["state_dict"].items() if "split_metrics" not in name]
        assert all(value.isfinite().all() for value in weights)
    assert torch.load(run.checkpoints / "last.ckpt", weights_only=True)["epoch"] == epoch
    assert not run.report.exists()
    assert not (run.path / "run.json").exists()
    assert table_epochs(read_rows(run.path), "train/loss").keys() == set(range(epoch + 1))


@pytest.mark.parametrize("factor", ["nan", "inf"])
@pytest.mark.parametrize("batch", [1, 2])
def test_a_loss_that_is_no_number_ends_the_training(steps, capsys, factor, batch):
    """In the middle of an epoch of three steps, and in its last one, after which a checkpoint would be written."""
    made, factors = steps
    factors[(1, batch)] = float(factor)
    assert main(COMMAND) == 2
    said = capsys.readouterr().err.strip()
    assert len(said.splitlines()) == 1
    assert f"the loss is {factor} in epoch 2, step {4 + batch}, at learning rate {made[(1, batch)]:g};" in said
    for part in ("lower learning rate", "--trainer.gradient_clip_val", "--name"):
        assert part in said
    assert max(made) == (1, 2)
    refuse_bad_checkpoints(0)


def test_weights_that_are_no_numbers_reach_no_checkpoint(monkeypatch, steps, capsys):
    """The last step of an epoch has a finite loss, but its update is none."""
    made, _ = steps
    step = torch.optim.AdamW.step

    def update(self, closure=None):
        loss = step(self, closure)
        if max(made) == (1, 2):
            self.param_groups[0]["params"][0].data.fill_(float("nan"))
        return loss

    monkeypatch.setattr(torch.optim.AdamW, "step", update)
    assert main(COMMAND) == 2
    assert "the weights are not finite in epoch 2, step 6, at learning rate" in capsys.readouterr().err
    refuse_bad_checkpoints(0)
