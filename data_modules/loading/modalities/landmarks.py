"""The modality of 68 three-dimensional face landmarks."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data_modules.loading.modalities.modality import FrameModality, FrameSelection
from data_modules.store.clip_file import LANDMARKS, ClipSummary


class Landmarks(FrameModality):
    """The (T, 68, 3) landmarks in pixels of the crop that the model receives; NaN in frames without any."""

    field, setting = "landmarks", "landmarks"

    def missing_reason(self, clip: ClipSummary) -> str:
        """Return why a clip has no landmarks; empty if it has."""
        if clip.num_landmarks > 0:
            return ""
        return "no landmarks found" if clip.num_faces > 0 else clip.reason or "no face found"

    def read(self, frames: FrameSelection) -> Tensor:
        """Read the (T, 68, 3) landmarks, transformed like the images.

        Raises:
            ValueError: the file of the clip contains no landmarks.
        """
        return torch.from_numpy(transformed_landmarks(frames))

    def placeholder(self, frames: int, size: int) -> Tensor:
        """Return (T, 68, 3) zeros."""
        return torch.zeros(frames, *LANDMARKS)


def transformed_landmarks(frames: FrameSelection) -> NDArray[np.float32]:
    """Return (T, 68, 3) landmarks in pixels of the crop, transformed like the images.

    Raises:
        ValueError: the file of the clip contains no landmarks.
    """
    points = frames.clip.optional("landmarks")
    if points is None:
        raise ValueError(
            f"clip {frames.clip.summary.clip_id!r} has no landmarks, but the model needs them; prepare the data set "
            "with `faces.landmarks: mesh` or another landmark detector"
        )
    centre = np.array([0.5, 0.5, 0.0], dtype=np.float32)  # centre of a pixel
    scale = np.float32(frames.size / frames.clip.crop_size)
    points = (points[frames.positions] + centre) * scale - centre
    return frames.transform.points(points) if frames.transform else points
