"""A short training that benchmarks measure in its second epoch, as the first includes start-up."""

import tempfile
from collections.abc import Sequence

import pytorch_lightning as L

from data_modules.loading.datamodule import VideoDataModule
from fer_lightning.experiments.lightning_cli import FerCLI
from fer_lightning.experiments.request import ExperimentRequest
from fer_lightning.experiments.system import Size


class RepeatedClips(L.Callback):
    """Repeats the training clips, so that a few make an epoch that is long enough to measure.

    Args:
        times: that each clip is there.
    """

    def __init__(self, times: int) -> None:
        self.times = times

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Repeats the clips, which the data module has found by now."""
        data = trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(data, VideoDataModule)
        data.clips += [clip for clip in data.clips if clip.record.split == "train"] * (self.times - 1)


def train_two_epochs(
    experiment: str,
    size: Size | None,
    arguments: Sequence[str],
    steps: int | None,
    callbacks: Sequence[L.Callback] = (),
) -> FerCLI:
    """Trains an experiment for two epochs in a temporary folder, and returns what trained it.

    Args:
        experiment: its name.
        size: `small` or `paper`; None for the experiment's own.
        arguments: further ones, such as random weights.
        steps: at most, of an epoch.
        callbacks: added to those of every run.
    """
    with tempfile.TemporaryDirectory() as folder:
        options = ExperimentRequest(experiment, size=size, arguments=tuple(arguments)).command_line()
        options += ["--trainer.default_root_dir", folder, "--trainer.logger", "false", "--trainer.max_epochs", "2"]
        options += ["--data.selection", "last"]
        if steps is not None:
            options += ["--trainer.limit_train_batches", str(steps)]
        cli = FerCLI(options, run=False)
        cli.trainer.callbacks.extend(callbacks)  # type: ignore[attr-defined]
        cli.trainer.fit(cli.model, cli.datamodule)
        return cli
