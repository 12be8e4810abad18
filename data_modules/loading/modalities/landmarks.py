"""68 landmarks of the face in three dimensions."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data_modules.loading.modalities.modality import FrameModality, FrameSelection
from data_modules.store.clip_file import LANDMARKS, ClipSummary


class Landmarks(FrameModality):
    """(T, 68, 3) in pixels of the crop that the model sees; NaN in frames where none were found."""

    field, setting = "landmarks", "landmarks"

    def missing(self, clip: ClipSummary) -> str:
        """See `Modality.missing`."""
        if clip.num_landmarks > 0:
            return ""
        return "no landmarks found" if clip.num_faces > 0 else clip.reason or "no face found"

    def read(self, frames: FrameSelection) -> Tensor:
        """See `FrameModality.read`."""
        return torch.from_numpy(changed_landmarks(frames))

    def nothing(self, frames: int, size: int) -> Tensor:
        """See `FrameModality.nothing`."""
        return torch.zeros(frames, *LANDMARKS)


def changed_landmarks(frames: FrameSelection) -> NDArray[np.float32]:
    """(T, 68, 3) in pixels of the crop, changed as the pictures are.

    Raises:
        ValueError: the clip's file has no landmarks.
    """
    points = frames.clip.optional("landmarks")
    if points is None:
        raise ValueError(
            f"clip {frames.clip.summary.clip_id!r} has no landmarks, but the model asks for them; prepare the data set "
            "with `faces.landmarks: mesh` or another that finds them"
        )
    centre = np.array([0.5, 0.5, 0.0], dtype=np.float32)  # of a pixel
    scale = np.float32(frames.size / frames.clip.crop_size)
    points = (points[frames.positions] + centre) * scale - centre
    return frames.change.points(points) if frames.change else points
