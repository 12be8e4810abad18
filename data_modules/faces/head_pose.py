"""Head pose from 68 landmarks in three dimensions: yaw, pitch and roll.

The head is rotated first by its yaw, then by its pitch, then by its roll. In image coordinates (x to the right, y down)
the angles are positive as follows:

- yaw: the nose points to the right of the image, which is the person's own left;
- pitch: the nose points down;
- roll: the head leans clockwise, so that its top moves to the right of the image.

At zero the head faces the camera, along the line that joins them. At the border of the image this differs slightly from
facing straight ahead.
"""

import numpy as np
from numpy.typing import NDArray

from data_modules.store.face_sequence import FaceSequence

ANGLES = ("yaw", "pitch", "roll")
"""The columns of a head pose, in degrees."""

# The mean face of our renderer (`synthetic.face_model`) at the points that hardly move with speech and expression: x to
# the right, y down, z away from the camera; a unit is about a millimetre. [our choice] Aligning MediaPipe's canonical
# face with it gives a pitch of 1.2 degrees.
_LEFT = {
    0: (-74.0, 2.0, 61.8), 1: (-73.5, 22.0, 61.5), 2: (-71.0, 42.0, 61.7),  # upper jaw
    36: (-48.0, 3.5, 20.6), 39: (-17.0, 4.5, 8.7),  # corners of the eye
}  # fmt: skip
_MIDDLE = {27: (0.0, -6.0, -3.7), 28: (0.0, 7.0, -8.4), 29: (0.0, 20.0, -15.9), 33: (0.0, 48.5, -2.9)}  # nose
_MIRRORED = {0: 16, 1: 15, 2: 14, 36: 45, 39: 42}
_POINTS = _LEFT | _MIDDLE | {_MIRRORED[number]: (-x, y, z) for number, (x, y, z) in _LEFT.items()}
RIGID = np.array(sorted(_POINTS))
"""(14,) iBUG numbers of the landmarks that are used."""
REFERENCE = np.array([_POINTS[number] for number in RIGID.tolist()])
"""(14, 3) their positions on a head that faces the camera."""


def head_rotation(landmarks: NDArray[np.floating]) -> NDArray[np.float64]:
    """Fits the rotation that, with a scale and a shift, maps a frontal face onto landmarks in the least-squares sense.

    The closed form of Kabsch (1976, https://doi.org/10.1107/S0567739476001873) needs no camera parameters, as the depth
    of the landmarks is in pixels too.

    Args:
        landmarks: (..., 68, 3) in pixels, the third coordinate away from the camera.

    Returns:
        (..., 3, 3) rotations; NaN if one of the landmarks used is not finite, or if they are collinear.
    """
    points = np.asarray(landmarks, dtype=np.float64)[..., RIGID, :]
    valid = np.asarray(np.isfinite(points).all(axis=(-2, -1)))
    points = np.where(valid[..., None, None], points, 0.0)
    spread = np.swapaxes(points - points.mean(axis=-2, keepdims=True), -1, -2) @ (REFERENCE - REFERENCE.mean(axis=0))
    left, size, right = np.linalg.svd(spread)
    valid &= size[..., 1] > 1e-6 * np.maximum(size[..., 0], 1e-6)
    left[..., 2] *= np.sign(np.linalg.det(left @ right))[..., None]  # a rotation, not a reflection
    return np.where(valid[..., None, None], left @ right, np.nan)


def head_pose(landmarks: NDArray[np.floating]) -> NDArray[np.float32]:
    """Computes yaw, pitch and roll in the image that the landmarks refer to.

    Args:
        landmarks: (..., 68, 3) in pixels, the third coordinate away from the camera.

    Returns:
        (..., 3) degrees with the signs described above: yaw and roll from -180 to 180, pitch from -90 to 90; NaN if
        unknown.
    """
    rotation = head_rotation(landmarks)
    yaw = np.arctan2(rotation[..., 2, 0], rotation[..., 2, 2])
    pitch = np.arcsin(np.clip(rotation[..., 2, 1], -1, 1))
    roll = np.arctan2(-rotation[..., 0, 1], rotation[..., 1, 1])
    return np.asarray(np.degrees(np.stack([yaw, pitch, roll], axis=-1)), dtype=np.float32)


def crop_angle(matrix: NDArray[np.floating]) -> NDArray[np.float64]:
    """Returns (...) degrees by which crops are rotated clockwise, given their (..., 2, 3) frame-to-crop matrices."""
    return np.asarray(np.degrees(np.arctan2(matrix[..., 1, 0], matrix[..., 0, 0])), dtype=np.float64)


def upright(pose: NDArray[np.float32], angle: NDArray[np.float64]) -> NDArray[np.float32]:
    """Converts (..., 3) head pose in images rotated by (...) degrees to the pose in the images before rotation."""
    original = pose.copy()
    original[..., 2] = (pose[..., 2] - angle + 180) % 360 - 180
    return original


def head_pose_in_frame(clip: FaceSequence) -> NDArray[np.float32]:
    """Computes (M, 3) yaw, pitch and roll in degrees of each face of a clip, relative to the upright frame.

    Crops may be rotated to level the eyes; that rotation is undone. Faces without landmarks have NaN. In files of the
    store that lack the matrices of the crops, the roll is NaN.
    """
    landmarks, matrix = clip.optional("landmarks"), clip.optional("matrix")
    if landmarks is None:
        return np.full((len(clip), len(ANGLES)), np.nan, dtype=np.float32)
    return upright(head_pose(landmarks), np.full(len(clip), np.nan) if matrix is None else crop_angle(matrix))
