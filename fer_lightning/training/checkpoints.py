"""A run's checkpoints: written whole, and of use wherever the run's folder is moved to."""

import zipfile
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Callback, ModelCheckpoint
from pytorch_lightning.plugins import CheckpointIO

from data_modules.utils.files import atomic_file
from fer_lightning.runs.version_0_1_0 import upgrade_checkpoint
from fer_lightning.training.loggers import write_curves
from fer_lightning.weights import read_checkpoint

LAST, PREVIOUS, BEST = "last.ckpt", "last.previous.ckpt", "best.ckpt"
"""A run's checkpoints: of the last epoch, of the one before, and of the best one."""


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning's goes through the system's temporary folder, often another disk: a kill while it copies from there
    would leave half a `last.ckpt`, and nothing to go on from.
    """

    def load_checkpoint(self, path: Any, *arguments: Any, **options: Any) -> dict[str, Any]:
        """Reads a checkpoint; one of version 0.1.0 in the words of this one."""
        return upgrade_checkpoint(super().load_checkpoint(path, *arguments, **options))

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Writes a checkpoint, whole or not at all; `last.ckpt` leaves the one that it replaces as its fallback."""
        target = Path(path)
        with atomic_file(target) as temporary:
            torch.save(checkpoint, temporary)
            if target.name == LAST and zipfile.is_zipfile(target):  # a damaged one never replaces a good fallback
                target.replace(target.with_name(PREVIOUS))


def with_atomic_checkpoints(plugins: Any) -> list[Any]:
    """A trainer's plugins, and `AtomicCheckpointIO` unless they bring a checkpoint IO of their own.

    Args:
        plugins: as Lightning's `Trainer` takes them: None, one, or several.
    """
    configured = list(plugins) if isinstance(plugins, list | tuple) else [plugins] if plugins else []
    if any(isinstance(plugin, CheckpointIO) for plugin in configured):
        return configured
    return [*configured, AtomicCheckpointIO()]


class RunCheckpoint(ModelCheckpoint):
    """Lightning's forgets the best score when the run's folder was moved, and then overwrites the best epoch; and it
    writes a checkpoint before the curves that lead to it.
    """

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the curves, then the checkpoint: after a kill in between, the epoch is trained again."""
        write_curves(trainer)
        super().on_train_epoch_end(trainer, pl_module)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over the state of an earlier session, its paths in this folder."""
        here = Path(str(self.dirpath))

        def moved(path: str) -> str:
            return str(here / Path(path).name) if path else path

        paths = ("best_model_path", "kth_best_model_path", "last_model_path")
        state = state_dict | {name: moved(state_dict[name]) for name in paths} | {"dirpath": self.dirpath}
        best_k = {moved(path): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict(state | {"best_k_models": best_k})


def checkpoints(run: Path, selection: str, monitor: str) -> list[Callback]:
    """`last.ckpt` after every epoch, from which a killed run goes on, and `best.ckpt` where an epoch is chosen."""
    folder = run / "checkpoints"
    last = RunCheckpoint(folder, Path(LAST).stem, save_on_train_epoch_end=True, enable_version_counter=False)
    if selection == "last":
        return [last]
    best = RunCheckpoint(
        folder, Path(BEST).stem, monitor, mode="max", save_on_train_epoch_end=True, enable_version_counter=False
    )
    return [best, last]


def latest_checkpoint(folder: Path) -> tuple[Path, dict[str, object]] | None:
    """The checkpoint that a run goes on from, and what it holds; None where the run has none yet.

    That is `last.ckpt`, or the one of the epoch before where that one is missing or damaged.

    Args:
        folder: of the run's checkpoints.

    Raises:
        ValueError: there are checkpoints, but none can be read.
    """
    found = [folder / name for name in (LAST, PREVIOUS) if (folder / name).exists()]
    faults = []
    for path in found:
        try:
            return path, read_checkpoint(path)
        except ValueError as error:
            faults.append(f"  {path.name} ({path.stat().st_size} bytes): {type(error.__cause__ or error).__name__}")
    if faults:
        raise ValueError(
            f"no checkpoint in {folder} can be read:\n" + "\n".join(faults) + "\n"
            f"Restore one of them from a copy, or delete {folder} to train this run from its beginning"
        )
    return None
