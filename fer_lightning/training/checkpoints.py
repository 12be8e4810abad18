"""Checkpoints of a run: written atomically, resumed from, and usable after the run's folder was moved."""

import zipfile
from pathlib import Path
from typing import Any, Literal, cast

import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Callback, ModelCheckpoint
from pytorch_lightning.plugins import CheckpointIO

from data_modules.utils.files import atomic_file, writing_to
from fer_lightning.evaluation.calibration_file import NAME as CALIBRATION
from fer_lightning.evaluation.metrics import METRICS
from fer_lightning.runs.folder import RunFolder
from fer_lightning.runs.version_0_1_0 import upgrade_checkpoint
from fer_lightning.training.curves import write_curves
from fer_lightning.weights import ENTRY, read_checkpoint

LAST, PREVIOUS, BEST = "last.ckpt", "last.previous.ckpt", "best.ckpt"
"""File names of the checkpoints of the last epoch, of the one before it, and of the chosen epoch."""


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint to a temporary file beside its place and renames it.

    Lightning's own writer copies from the system's temporary folder, which is often on another disk: a process that is
    killed during the copy leaves half a `last.ckpt` and nothing to resume from.
    """

    def load_checkpoint(self, path: Any, *arguments: Any, **options: Any) -> dict[str, Any]:
        """Reads a checkpoint; one of version 0.1.0 in the words of this one."""
        return upgrade_checkpoint(super().load_checkpoint(path, *arguments, **options))

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Writes a checkpoint; `last.ckpt` keeps the one that it replaces as a fallback."""
        target = Path(path)
        with atomic_file(target) as temporary:
            _save(checkpoint, temporary)
            if target.name == LAST and zipfile.is_zipfile(target):  # a damaged file never replaces a good fallback
                target.replace(target.with_name(PREVIOUS))


def _save(checkpoint: dict[str, Any], path: Path) -> None:
    """Writes a checkpoint; if that fails, raises the error of the system, which torch hides behind one of its own."""
    with writing_to(path.parent), path.open("wb") as file:
        try:
            torch.save(checkpoint, file)
        except RuntimeError as error:
            raise error.__context__ if isinstance(error.__context__, OSError) else error from None


def add_calibration(path: Path, run: RunFolder) -> None:
    """Adds a run's `calibration.json`, if it has one, to a checkpoint, so that the temperature goes where it is taken.

    Args:
        path: of a checkpoint that `fer train` wrote.
        run: the run.
    """
    calibration = run.path / CALIBRATION
    if not calibration.is_file():
        return
    content = cast(dict[str, Any], read_checkpoint(path))
    content[ENTRY]["calibration"] = calibration.read_text()
    with atomic_file(path) as temporary:
        _save(content, temporary)


def with_atomic_checkpoints(plugins: Any) -> list[Any]:
    """Adds `AtomicCheckpointIO` to a trainer's plugins unless they include another checkpoint IO.

    Args:
        plugins: None, one plugin or several, as Lightning's `Trainer` takes them.
    """
    configured = list(plugins) if isinstance(plugins, list | tuple) else [plugins] if plugins else []
    if any(isinstance(plugin, CheckpointIO) for plugin in configured):
        return configured
    return [*configured, AtomicCheckpointIO()]


class RunCheckpoint(ModelCheckpoint):
    """Lightning's `ModelCheckpoint` with two differences.

    It keeps the best score when the run's folder was moved; Lightning's would overwrite the best epoch. It writes the
    curves of an epoch before the epoch's checkpoint.
    """

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the curves, then the checkpoint: if the process dies in between, the epoch is trained again."""
        write_curves(trainer)
        super().on_train_epoch_end(trainer, pl_module)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores the state of an earlier session with its paths changed to the folder of today."""
        folder = Path(str(self.dirpath))

        def moved(path: str) -> str:
            return str(folder / Path(path).name) if path else path

        paths = ("best_model_path", "kth_best_model_path", "last_model_path")
        state = state_dict | {name: moved(state_dict[name]) for name in paths} | {"dirpath": self.dirpath}
        best_k = {moved(path): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict(state | {"best_k_models": best_k})


def monitor_mode(monitor: str) -> Literal["min", "max"]:
    """Tells whether the epoch with the lowest or with the highest value of a logged quantity is the best one.

    Losses are minimised, and so are declared metrics for which lower is better. Everything else is maximised, values
    that only a model of one's own logs included.

    Args:
        monitor: name of the logged value, such as `inner/war` or `inner/loss`.
    """
    name = monitor.rpartition("/")[2]
    lower_is_better = {metric.name for metric in METRICS if not metric.higher_is_better}
    return "min" if name in lower_is_better or name == "loss" or name.endswith("_loss") else "max"


def checkpoints(run: Path, selection: str, monitor: str) -> list[Callback]:
    """Creates the callbacks that write `last.ckpt` after every epoch and, unless no epoch is chosen, `best.ckpt`.

    Args:
        run: the run's folder.
        selection: how the epoch is chosen; `last` chooses none.
        monitor: the logged value whose best epoch is chosen, see `monitor_mode`.
    """
    folder = run / "checkpoints"
    last = RunCheckpoint(folder, Path(LAST).stem, save_on_train_epoch_end=True, enable_version_counter=False)
    if selection == "last":
        return [last]
    best = RunCheckpoint(
        folder,
        Path(BEST).stem,
        monitor,
        mode=monitor_mode(monitor),
        save_on_train_epoch_end=True,
        enable_version_counter=False,
    )
    return [best, last]


def chosen_checkpoint(run: RunFolder, selection: str) -> Path:
    """Returns where a run keeps the checkpoint of the epoch that is evaluated.

    Args:
        run: the run.
        selection: how the epoch is chosen; `last` chooses none.
    """
    return run.checkpoints / (LAST if selection == "last" else BEST)


def latest_checkpoint(folder: Path) -> tuple[Path, dict[str, object]] | None:
    """Finds the checkpoint that a run is resumed from and reads it; returns None if the run has no checkpoint yet.

    That is `last.ckpt`, or the checkpoint of the epoch before if `last.ckpt` is missing or damaged.

    Args:
        folder: the run's folder of checkpoints.

    Raises:
        ValueError: there are checkpoints, but none can be read.
    """
    damaged = []
    for path in (folder / name for name in (LAST, PREVIOUS) if (folder / name).exists()):
        try:
            return path, read_checkpoint(path)
        except ValueError as error:
            damaged.append(f"  {path.name} ({path.stat().st_size} bytes): {type(error.__cause__ or error).__name__}")
    if damaged:
        raise ValueError(
            f"no checkpoint in {folder} can be read:\n" + "\n".join(damaged) + "\n"
            f"Restore one of them from a copy, or delete {folder} to train this run from its beginning"
        )
    return None
