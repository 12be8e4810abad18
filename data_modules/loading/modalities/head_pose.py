"""The head pose modality, computed from landmarks."""

import torch
from torch import Tensor

from data_modules.faces.head_pose import ANGLES, crop_angle, head_pose, upright
from data_modules.loading.modalities.landmarks import Landmarks, transformed_landmarks
from data_modules.loading.modalities.modality import FrameSelection


class HeadPose(Landmarks):
    """The (T, 3) yaw, pitch and roll in degrees, as defined in `faces.head_pose`; NaN in frames without landmarks.

    The angles refer to the frames of the video, not to the crop, which may be rotated so that the eyes are level.
    Augmentation rotates and mirrors them together with the images.
    """

    field = "head_pose"

    def read(self, frames: FrameSelection) -> Tensor:
        """Compute the (T, 3) head pose from the landmarks.

        Raises:
            ValueError: the file of the clip contains no landmarks, or no crop matrix.
        """
        pose, matrix = head_pose(transformed_landmarks(frames)), frames.clip.optional("matrix")
        if matrix is None:
            raise ValueError(
                f"clip {frames.clip.summary.clip_id!r} was prepared before the store kept the crop matrix, so the roll "
                "of the head is unknown, but the model needs the head pose; delete the folder of the store and prepare "
                "the data set again"
            )
        angle = crop_angle(matrix[frames.positions])
        return torch.from_numpy(upright(pose, -angle if frames.transform and frames.transform.mirrored else angle))

    def placeholder(self, frames: int, size: int) -> Tensor:
        """Return (T, 3) zeros."""
        return torch.zeros(frames, len(ANGLES))
