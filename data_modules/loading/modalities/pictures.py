"""The modalities of image crops: the face, and the person around it."""

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from data_modules.loading.modalities.modality import FrameModality, FrameSelection
from data_modules.loading.transforms import resize_clip
from data_modules.store.clip_file import ClipSummary


class Pictures(FrameModality):
    """The (T, 3, S, S) uint8 RGB crops.

    Args:
        field: `face` or `person`.
    """

    is_replaced_by_features = True

    def __init__(self, field: Literal["face", "person"]) -> None:
        self.field = field
        if field == "person":
            self.setting = "person"
            self.choices = (
                "insightface",
                "insightface_tracked",
                "frame",
                "annotation if the data set has person boxes",
            )

    def missing_reason(self, clip: ClipSummary) -> str:
        """Return why a clip has no crops; empty if it has."""
        return "" if clip.num_faces > 0 else clip.reason or "no face found"

    def read(self, frames: FrameSelection) -> Tensor:
        """Read the (T, 3, S, S) crops, resized and transformed."""
        side = frames.transform.source_side(frames.size) if frames.transform else frames.size
        crops = resize_clip(frames.clip.crops(frames.positions, side, self.field), side)
        if frames.transform:
            crops = np.stack([frames.transform.image(crop, frames.size) for crop in crops])
        return torch.from_numpy(np.ascontiguousarray(crops)).permute(0, 3, 1, 2)

    def placeholder(self, frames: int, size: int) -> Tensor:
        """Return (T, 3, S, S) black images."""
        return torch.zeros(frames, 3, size, size, dtype=torch.uint8)
