"""The complete configuration of a model's experiment, read without building anything."""

from copy import deepcopy
from functools import lru_cache
from pathlib import Path
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
    """Returns the complete configuration of a model, which belongs to the caller.

    Reading it takes a tenth of a second, and a table or an ablation asks for those of its rows several times: what was
    read from the same arguments and files is not read again.

    Raises:
        ValueError: a key does not exist or a value is not valid, or the settings state another run's fold, seed or
            folder; the message names the experiment.
    """
    arguments = request.command_line()
    files = [Path(argument) for argument in arguments if argument.endswith((".yaml", ".yml"))]
    try:
        contents = tuple(file.read_bytes() for file in files if file.is_file())
        config = deepcopy(_read(tuple(arguments), contents, Path.cwd()))
        request.refuse_another_run(config)
    except ValueError as error:
        raise ValueError(f"{request.experiment}: {error}") from error
    return config


@lru_cache(maxsize=4096)
def _read(arguments: tuple[str, ...], contents: tuple[bytes, ...], folder: Path) -> dict[str, Any]:
    """Reads a configuration; `contents` are those of the files that the arguments name in the working folder."""
    return ReadCLI(list(arguments), run=False).plain_config()
