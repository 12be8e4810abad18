"""The share of time for which training on the synthetic set waits for data."""

from collections.abc import Sequence

from fer_lightning.bench.two_epochs import train_two_epochs
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
    """Returns the share of an epoch's steps, see `train_two_epochs`, on random weights."""
    own = ("--data.num_workers", str(workers), "--model.init_args.backbone.init_args.weights", "random")
    cli = train_two_epochs(experiment, size, (*arguments, *own), steps)
    (wait,) = (callback for callback in cli.trainer_defaults["callbacks"] if isinstance(callback, DataWait))
    return wait.waited / (wait.waited + wait.worked)
