"""The share of time for which training on the synthetic set waits for data."""

import tempfile
from collections.abc import Sequence

from fer_lightning.experiments.lightning_cli import FerCLI
from fer_lightning.experiments.request import ExperimentRequest
from fer_lightning.experiments.system import Size
from fer_lightning.training.callbacks import DataWait


def run(quick: bool = False) -> None:
    """Prints the share of a training step that is spent waiting for data, with 0 and 2 workers."""
    for workers in (0, 2):
        share = waiting_share("ceflnet_synthetic", workers, steps=5 if quick else 40)
        print(f"{workers} workers: {100 * share:.1f} % of a training step is waiting for data")


def waiting_share(
    experiment: str, workers: int, steps: int, size: Size | None = None, arguments: Sequence[str] = ()
) -> float:
    """Trains two short epochs and returns the share of the second one, as the first includes start-up."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = ExperimentRequest(experiment, size=size, arguments=tuple(arguments)).command_line()
        arguments += ["--trainer.default_root_dir", folder, "--trainer.logger", "false", "--trainer.max_epochs", "2"]
        arguments += ["--trainer.limit_train_batches", str(steps), "--data.num_workers", str(workers)]
        arguments += ["--data.selection", "last", "--model.init_args.backbone.init_args.weights", "random"]
        cli = FerCLI(arguments, run=False)
        cli.trainer.fit(cli.model, cli.datamodule)
        (wait,) = (callback for callback in cli.trainer_defaults["callbacks"] if isinstance(callback, DataWait))
        return wait.waited / (wait.waited + wait.worked)
