"""Which way the head is turned, from the landmarks."""

import torch
from torch import Tensor

from data_modules.faces.head_pose import ANGLES, crop_angle, head_pose, upright
from data_modules.loading.modalities.landmarks import Landmarks, changed_landmarks
from data_modules.loading.modalities.modality import FrameSelection


class HeadPose(Landmarks):
    """(T, 3) yaw, pitch and roll in degrees, as `faces.head_pose` has them; NaN in frames without landmarks.

    They are those in the frames of the video, not in the crop, whose eyes may have been made level. The augmentation
    turns and mirrors them with the pictures.
    """

    field = "head_pose"

    def read(self, frames: FrameSelection) -> Tensor:
        """See `FrameModality.read`."""
        pose, matrix = head_pose(changed_landmarks(frames)), frames.clip.optional("matrix")
        if matrix is None:
            raise ValueError(
                f"clip {frames.clip.summary.clip_id!r} was prepared before the store kept how faces are cut, so the "
                "roll of the head is not known, but the model asks for its pose; delete the store's folder and prepare "
                "the data set again"
            )
        angle = crop_angle(matrix[frames.positions])
        return torch.from_numpy(upright(pose, -angle if frames.change and frames.change.mirrored else angle))

    def nothing(self, frames: int, size: int) -> Tensor:
        """See `FrameModality.nothing`."""
        return torch.zeros(frames, len(ANGLES))
