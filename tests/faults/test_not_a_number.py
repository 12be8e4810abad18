"""Trainings that really diverge, and models whose evaluation is no number: no report is made of them."""

import pytest
import torch

from fer_lightning import VideoClassifier
from fer_lightning.cli.main import main
from tests.training.test_diverging import COMMAND, own_run, refuse_bad_checkpoints
from tests.training.test_resuming import data, no_report, unbroken  # noqa: F401 - fixtures


def said_by(arguments: list[str], capsys) -> str:
    capsys.readouterr()
    assert main(arguments) == 2
    said = capsys.readouterr().err.strip()
    assert len(said.splitlines()) == 1
    return said


@pytest.mark.parametrize(
    ("rate", "named"),
    [
        (
            "1e30",
            "the loss is nan in epoch 1, step 2, at learning rate 5e+29; the training ends here",
        ),  # half of it: warm-up
        ("1e38", "a setting is too large for the numbers of the model, such as its learning rate"),
    ],
)
def test_a_learning_rate_that_is_far_too_high_is_one_message(capsys, rate, named):
    assert named in said_by([*COMMAND, "--model.init_args.optimizer.init_args.lr", rate], capsys)
    assert not list(own_run().checkpoints.glob("*"))
    assert not own_run().finished


@pytest.mark.slow
def test_a_run_that_diverged_goes_on_from_its_last_good_checkpoint_and_ends_again(monkeypatch, capsys):
    step = VideoClassifier.training_step

    def training_step(self, batch, batch_idx):
        return step(self, batch, batch_idx) * (float("nan") if self.current_epoch == 2 else 1.0)

    monkeypatch.setattr(VideoClassifier, "training_step", training_step)
    for _ in range(2):
        assert "the loss is nan in epoch 3, step 7" in said_by(COMMAND, capsys)
        refuse_bad_checkpoints(1)


@pytest.mark.parametrize("when", [pytest.param("after each epoch", marks=pytest.mark.slow), "at the end"])
def test_predictions_that_are_no_numbers_make_no_report(monkeypatch, capsys, when):
    """The weights are finite, so that only what is predicted shows it, as with statistics that overflow."""
    forward = VideoClassifier.clip_predictions

    def clip_predictions(self, output, batch):
        if when == "after each epoch" or self.trainer.testing:
            output.logits[0] = torch.nan
        return forward(self, output, batch)

    monkeypatch.setattr(VideoClassifier, "clip_predictions", clip_predictions)
    said = said_by(COMMAND, capsys)
    assert "has the model diverged to NaN?" in said
    assert not own_run().finished
    assert not own_run().predictions("test").exists()
