"""Which epoch `best.ckpt` holds: the one with the best value of what is monitored, whichever direction is better."""

import pytest
import pytorch_lightning as L
import torch

from fer_lightning.experiments.lightning_cli import FerCLI
from fer_lightning.experiments.request import ExperimentRequest
from fer_lightning.training.checkpoints import checkpoints
from tests.small_runs import TINY

VALUES = (0.5, 0.2, 0.9, 0.4)  # lowest in epoch 1, highest in epoch 2, both counted from 0


class LoggedValues(L.LightningModule):
    """Logs one of `VALUES` under a name in each epoch."""

    def __init__(self, name):
        super().__init__()
        self.name, self.weight = name, torch.nn.Parameter(torch.zeros(()))

    def train_dataloader(self):
        return torch.utils.data.DataLoader(torch.zeros(1))

    def training_step(self, batch, batch_idx):
        self.log(self.name, VALUES[self.current_epoch], on_step=False, on_epoch=True)
        return self.weight * 1.0

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)


@pytest.mark.parametrize(
    ("monitor", "epoch"),
    [
        ("inner/loss", 1),
        ("train/loss", 1),
        ("inner/peak_loss", 1),
        ("inner/std_accuracy", 1),  # a spread: lower is better
        ("inner/war", 2),
        ("inner/uar", 2),
        ("inner/macro_f1", 2),
        ("inner/top2", 2),  # not declared by the suite
    ],
)
def test_the_best_checkpoint_follows_the_monitored_value(tmp_path, monitor, epoch):
    trainer = L.Trainer(
        max_epochs=len(VALUES),
        callbacks=checkpoints(tmp_path, "inner", monitor),
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
    )
    trainer.fit(LoggedValues(monitor))
    folder = tmp_path / "checkpoints"
    epochs = [torch.load(folder / name, weights_only=True)["epoch"] for name in ("best.ckpt", "last.ckpt")]
    assert epochs == [epoch, 3]


@pytest.mark.parametrize(("monitor", "mode"), [("inner/loss", "min"), ("inner/uar", "max")])
def test_an_experiment_chooses_what_is_monitored(monitor, mode):
    request = ExperimentRequest("ceflnet_dfew", arguments=(*TINY, "--experiment.monitor", monitor))
    best, last = FerCLI(request.command_line(), run=False).trainer.checkpoint_callbacks
    assert (best.monitor, best.mode, last.monitor) == (monitor, mode, None)
