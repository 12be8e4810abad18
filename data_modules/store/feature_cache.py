"""Caches the outputs of a model's frozen parts, computed once for each view of a clip.

A view is one draw of frames with one augmentation; views for evaluation are stored apart from those for training. The
name of the cache's folder depends on everything that the features depend on.
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
class CachedFeatures:
    """The features of one view of a clip; either may be missing."""

    frames: Tensor | None = None  # (T, D)
    clip: Tensor | None = None  # (E,)


class FeatureCache:
    """A folder with two files per clip: one for its training views, one for its evaluation views."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, clip_id: str, group: str) -> Path:
        """Returns the path of a clip's `TRAIN_VIEWS` or `EVALUATION` features, which need not exist.

        Raises:
            ValueError: the clip id points outside the folder.
        """
        return clip_path(self.folder / group, clip_id)

    def count(self, clip_id: str, group: str) -> int:
        """Returns the number of cached views; 0 if there is no file."""
        path = self.path(clip_id, group)
        if not path.exists():
            return 0
        with safe_open(path, framework="pt") as file:
            counts = [file.get_slice(name).get_shape()[0] for name in file.keys()]  # noqa: SIM118 - not a dictionary
        return min(counts, default=0)

    def write(self, clip_id: str, group: str, features: Sequence[CachedFeatures]) -> None:
        """Writes the features of all views atomically."""
        tensors = {}
        for name in PARTS:
            parts: list[Tensor | None] = [getattr(feature, name) for feature in features]
            present = [part for part in parts if part is not None]
            if present:
                tensors[name] = torch.stack(present).contiguous()
        with atomic_file(self.path(clip_id, group)) as temporary:
            save_file(tensors, temporary)

    def read(self, clip_id: str, group: str, number: int) -> CachedFeatures:
        """Reads the features of one view.

        Raises:
            FileNotFoundError: the clip has no cached features.
        """
        with safe_open(self.path(clip_id, group), framework="pt") as file:
            names = set(file.keys())
            return CachedFeatures(*(file.get_slice(name)[number] if name in names else None for name in PARTS))
