"""The complete configuration of a model's experiment, read without building anything."""

from typing import Any

from fer_lightning.experiments.lightning_cli import FerCLI
from fer_lightning.experiments.request import ExperimentRequest


class ReadCLI(FerCLI):
    """A command line that only reads the configuration."""

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
