"""The grid of an ablation as a sweep of Weights & Biases, whose agents train the same runs on any machines.

`fer ablate` finds the runs that agents have trained on this machine: they have the names of its rows.
"""

from pathlib import Path
from typing import Any

import yaml

from data_modules.utils.files import atomic_write
from fer_lightning.ensemble.training import resolved
from fer_lightning.experiments.overrides import Override
from fer_lightning.experiments.request import ExperimentRequest
from fer_lightning.tables.ablation import Ablation, axes, base_request
from fer_lightning.tables.plan import TableRequest, protocol_folds

FILE = "sweep.yaml"
HEAD = """# wandb sweep {path}
# wandb agent ID         (as `wandb sweep` prints it; on as many machines as you like)
# fer ablate {name}      (the table of the runs that are on this machine)
# `method: bayes` chooses settings by the inner split, never by the reported one.
"""


def sweep(ablation: Ablation, asked: TableRequest) -> dict[str, Any]:
    """Returns the configuration of a sweep over an ablation's grid, folds and seeds.

    Args:
        ablation: the ablation, with a grid.
        asked: where and how it is run.

    Raises:
        FileNotFoundError: there is no such experiment or data set.
        ValueError: a setting does not exist.
    """
    request = base_request(ablation, asked)
    config = resolved(request)
    varied = {axis.key: [_value(Override(axis.key, value)) for value in axis.values] for axis in axes(ablation, config)}
    runs = {"fold": list(asked.folds or protocol_folds(request.dataset)), "seed": list(asked.seeds)}
    return {
        "name": ablation.name,
        "program": "fer",  # W&B asks for it; the command has it
        "method": "grid",
        "metric": {"name": "chosen/war", "goal": "maximize"},
        "parameters": {name: {"values": values} for name, values in (varied | runs).items()},
        "command": ["${env}", "fer", "train", *_options(ablation, request), "${args}"],
    }


def _options(ablation: Ablation, request: ExperimentRequest) -> list[str]:
    size = ["--size", request.size] if request.size else []
    return [request.experiment, *size, "--name", "auto", "--group", ablation.name, "--job-type", "ablation"]


def _value(override: Override) -> Any:
    """Returns a value that the agent writes as `fer train` reads it: it would write null as None."""
    return override.value if isinstance(override.value, (bool, int, float, str)) else override.text


def write_sweep(ablation: Ablation, asked: TableRequest, folder: Path) -> Path:
    """Writes the sweep of an ablation's grid as `sweep.yaml` and returns its path.

    Args:
        ablation: the ablation, with a grid.
        asked: where and how it is run.
        folder: of its results.
    """
    path = folder / FILE
    content = yaml.safe_dump(sweep(ablation, asked), sort_keys=False)
    atomic_write(path, (HEAD.format(path=path, name=ablation.name) + content).encode())
    return path
