"""Cached features: what the frozen parts of a model make of a clip, computed once for each of its variants.

A variant is one draw of frames and one augmentation; the evaluation's draws are kept apart from those of the training.
The cache's folder is named after everything that the features depend on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from data_modules.store.clip_store import clip_path
from data_modules.utils.files import atomic_file

TRAIN_VIEWS, EVALUATION = "variants", "evaluation"
PARTS = ("frames", "clip")


@dataclass(frozen=True)
class Features:
    """The features of one variant of a clip; either may be missing."""

    frames: Tensor | None = None  # (T, D)
    clip: Tensor | None = None  # (E,)


class FeatureCache:
    """A folder with a file for the variants of each clip, and one for its draws in the evaluation."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, clip_id: str, group: str) -> Path:
        """Where the features of `TRAIN_VIEWS` or `EVALUATION` are or would be.

        Raises:
            ValueError: the clip's id would leave the folder.
        """
        return clip_path(self.folder / group, clip_id)

    def count(self, clip_id: str, group: str) -> int:
        """How many variants or draws there are; 0 where there is no file."""
        path = self.path(clip_id, group)
        if not path.exists():
            return 0
        with safe_open(path, framework="pt") as file:
            counts = [file.get_slice(name).get_shape()[0] for name in file.keys()]  # noqa: SIM118 - not a dictionary
        return min(counts, default=0)

    def write(self, clip_id: str, group: str, features: Sequence[Features]) -> None:
        """Writes the features of all variants or draws, whole or not at all."""
        tensors = {}
        for name in PARTS:
            parts: list[Tensor | None] = [getattr(feature, name) for feature in features]
            there = [part for part in parts if part is not None]
            if there:
                tensors[name] = torch.stack(there).contiguous()
        with atomic_file(self.path(clip_id, group)) as temporary:
            save_file(tensors, temporary)

    def read(self, clip_id: str, group: str, number: int) -> Features:
        """The features of one variant or draw.

        Raises:
            FileNotFoundError: they are not there.
        """
        with safe_open(self.path(clip_id, group), framework="pt") as file:
            names = set(file.keys())
            return Features(*(file.get_slice(name)[number] if name in names else None for name in PARTS))
