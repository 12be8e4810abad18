"""Runs of Weights & Biases that are made of others: a cross-validation, an ensemble, an evaluation, a table."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fer_lightning.runs.ensemble_record import Record, member_folder
from fer_lightning.runs.folder import RunFolder
from fer_lightning.runs.labels import RunLabels
from fer_lightning.training.wandb_logger import RunWandbLogger


def summary_logger(folder: Path, labels: RunLabels, runs: Mapping[str, RunFolder]) -> RunWandbLogger | None:
    """Returns the logger of a W&B run that uses the models of others, in their project and mode.

    Args:
        folder: where the W&B run is kept.
        labels: its group, kind and tags.
        runs: what a run is called in the summary -> the run.

    Returns:
        None if the runs are configured without W&B.
    """
    settings = _settings(next(iter(runs.values())))
    if settings is None:
        return None
    given = {name: settings[name] for name in ("project", "mode") if name in settings}
    logger = RunWandbLogger(str(folder), labels=labels, **given)
    logger.use_models(runs)
    return logger


def _settings(run: RunFolder) -> dict[str, Any] | None:
    """Returns the arguments of the logger with which a run was trained, for an ensemble those of its first member."""
    try:
        record = Record.read(run)
        if record is not None:
            return _settings(RunFolder(member_folder(run, record.members[0])))
        loggers = run.read_config()["trainer"]["logger"]
    except (FileNotFoundError, KeyError):  # such as a member that was deleted
        return None
    entries = loggers if isinstance(loggers, list) else [loggers]
    ours = [entry for entry in entries if isinstance(entry, dict) and entry["class_path"].endswith(".RunWandbLogger")]
    return dict(ours[0].get("init_args") or {}) if ours else None
