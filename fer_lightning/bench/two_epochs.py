"""A short training that benchmarks measure in its second epoch, as the first includes start-up."""

import tempfile
from collections.abc import Sequence

import pytorch_lightning as L

from fer_lightning.experiments.lightning_cli import FerCLI
from fer_lightning.experiments.request import ExperimentRequest
from fer_lightning.experiments.system import Size


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
