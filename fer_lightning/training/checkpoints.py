"""A run's checkpoints: written whole, and of use wherever the run's folder is moved to."""

from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO
from pytorch_lightning.callbacks import Callback, ModelCheckpoint

from data_modules.utils.files import whole_file


class WholeCheckpointIO(TorchCheckpointIO):
    """Lightning's goes through the system's temporary folder, often another disk: a kill while it copies from there
    would leave half a `last.ckpt`, and nothing to go on from.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Writes a checkpoint, whole or not at all."""
        with whole_file(Path(path)) as temporary:
            torch.save(checkpoint, temporary)


class RunCheckpoint(ModelCheckpoint):
    """Lightning's forgets the best score when the run's folder was moved, and then overwrites the best epoch."""

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
    last = RunCheckpoint(folder, "last", save_on_train_epoch_end=True, enable_version_counter=False)
    if selection == "last":
        return [last]
    best = RunCheckpoint(
        folder, "best", monitor, mode="max", save_on_train_epoch_end=True, enable_version_counter=False
    )
    return [best, last]
