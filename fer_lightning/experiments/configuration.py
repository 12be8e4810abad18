"""The complete configuration of a model's experiment, read without building anything."""

from typing import Any

from fer_lightning.experiments.lightning_cli import FerCLI
from fer_lightning.experiments.request import ExperimentRequest


class ReadCLI(FerCLI):
    """A command line that only reads the configuration."""

    def before_instantiate_classes(self) -> None:
        """Leaves open what the machine decides that trains, which need not be this one."""
        super().before_instantiate_classes()
        if self.chooses_precision:
            self.own_config.trainer.precision = None
        if self.own_config.data.per_device_batch_size is not None:
            self.own_config.data.batch_size = None

    def instantiate_classes(self) -> None:
        """Does nothing, so that no model and no data module is created."""


def read_model(request: ExperimentRequest) -> dict[str, Any]:
    """Returns the complete configuration of a model.

    Raises:
        ValueError: a key does not exist or a value is not valid; the message names the experiment.
    """
    try:
        return ReadCLI(request.command_line(), run=False).plain_config()
    except ValueError as error:
        raise ValueError(f"{request.experiment}: {error}") from error
