"""`fer fit`, `fer validate`: Lightning's own commands."""

import yaml

from fer_lightning.experiments.lightning_cli import FerCLI
from fer_lightning.experiments.request import ExperimentRequest
from fer_lightning.experiments.system import base_settings


def main(arguments: list[str]) -> None:
    """Runs one of Lightning's commands on an experiment, or on the settings that all experiments share."""
    command, *rest = arguments
    if rest and not rest[0].startswith("-"):
        FerCLI([command, *ExperimentRequest(rest[0], arguments=tuple(rest[1:])).command_line()])
    else:
        FerCLI([command, "--config", yaml.safe_dump(base_settings()), *rest])
