"""Finds the model that a user names: a run, a file, a model of the zoo, or one of the Hugging Face Hub."""

import difflib
import logging
from pathlib import Path

from fer_lightning.runs.ensemble_record import NAME as ENSEMBLE
from fer_lightning.runs.lookup import find_run
from fer_lightning.zoo.entries import ZOO, ZooModel, zoo
from fer_lightning.zoo.hub import HubModel

RUNS = ("checkpoints/*.ckpt", ENSEMBLE)
"""Files that make a folder that of a run, or of an ensemble."""
log = logging.getLogger(__name__)


def find_model(name: str | Path) -> Path:
    """Returns the path of a run, a folder of runs or a file with a model.

    A run of the name of a zoo's model is taken, and a line says so; a folder of that name that is no run is not.

    Args:
        name: a path, the name of a run below `runs/`, a name in `zoo.yaml`, or `hf:OWNER/NAME`, a model that
            `fer pull` has fetched; a `Path` is a path or a run, even if it reads like one of the others.

    Raises:
        FileNotFoundError: there is none of these; the message suggests similar names.
        ValueError: a file of the zoo has another content, or the name of a model on the Hub is none.
    """
    if isinstance(name, Path):
        return find_run(name)
    if HubModel.is_named_by(name):
        return HubModel.parse(name).cached()
    models = zoo()
    if name in models:
        return _of_zoo(models[name])
    try:
        return find_run(name)
    except FileNotFoundError as error:
        similar = difflib.get_close_matches(name, models, n=3) or models
        raise FileNotFoundError(f"{error}; models that come by name (fer pull --list): {', '.join(similar)}") from None


def is_shared(path: Path) -> bool:
    """Whether a file is of the zoo or of the Hub's cache, whose folder is not the place for results."""
    return path.parent == ZOO.parent or HubModel.caches(path)


def _of_zoo(model: ZooModel) -> Path:
    """Returns the run of a model's name if there is one, otherwise the model's file."""
    try:
        run = find_run(model.name)
    except FileNotFoundError:
        return model.path()
    if run.is_dir() and not any(True for files in RUNS for below in ("", "*/") for _ in run.glob(below + files)):
        return model.path()
    log.warning("%s is the run %s here, not the model of that name that the suite knows", model.name, run)
    return run
