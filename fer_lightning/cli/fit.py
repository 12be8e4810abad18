"""`fer fit`, `fer validate`: Lightning's own commands."""

from fer_lightning.experiments.lightning_cli import FerCLI
from fer_lightning.experiments.request import experiments_folder


def main(arguments: list[str]) -> None:
    """Runs one of Lightning's commands with the settings that all experiments share."""
    command, *rest = arguments
    FerCLI([command, "--config", str(experiments_folder() / "_base.yaml"), *rest])
