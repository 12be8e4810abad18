"""Head pose from 68 landmarks in three dimensions: yaw, pitch and roll.

A head is turned first by its yaw, then by its pitch, then by its roll. All three are positive where the picture's
coordinates, x to the right and y down, grow:

- yaw: the nose points to the picture's right, which is the person's own left;
- pitch: the nose points down;
- roll: the head leans clockwise, so that its top moves to the picture's right.

Zero is a head that looks along the line from it to the camera: at the picture's border it is not quite one that looks
straight ahead.
"""

import numpy as np
from numpy.typing import NDArray

from data_modules.store.face_sequence import FaceSequence

ANGLES = ("yaw", "pitch", "roll")
"""The columns of a head pose, degrees."""

# The mean face of our renderer (`synthetic.face_model`) at the points that talk and expressions hardly move: x to the
# right, y down, z away from the camera, about a millimetre a unit [our choice]; turning MediaPipe's canonical face onto
# it gives a pitch of 1.2 degrees.
_LEFT = {
    0: (-74.0, 2.0, 61.8), 1: (-73.5, 22.0, 61.5), 2: (-71.0, 42.0, 61.7),  # upper jaw
    36: (-48.0, 3.5, 20.6), 39: (-17.0, 4.5, 8.7),  # corners of the eye
}  # fmt: skip
_MIDDLE = {27: (0.0, -6.0, -3.7), 28: (0.0, 7.0, -8.4), 29: (0.0, 20.0, -15.9), 33: (0.0, 48.5, -2.9)}  # nose
_MIRRORED = {0: 16, 1: 15, 2: 14, 36: 45, 39: 42}
_POINTS = _LEFT | _MIDDLE | {_MIRRORED[number]: (-x, y, z) for number, (x, y, z) in _LEFT.items()}
RIGID = np.array(sorted(_POINTS))
"""(14,) the landmarks that are used, by their iBUG numbers."""
REFERENCE = np.array([_POINTS[number] for number in RIGID.tolist()])
"""(14, 3) where they are on a head that looks into the camera."""


def head_rotation(landmarks: NDArray[np.floating]) -> NDArray[np.float64]:
    """The rotation that, with a scale and a shift, brings a frontal face nearest to landmarks in least squares.

    The closed form of Kabsch (1976, https://doi.org/10.1107/S0567739476001873), which needs no camera: the depth of
    landmarks is in pixels too.

    Args:
        landmarks: (..., 68, 3) in pixels, the third away from the camera.

    Returns:
        (..., 3, 3); NaN where a landmark that is used is not finite, or where they lie on one line.
    """
    points = np.asarray(landmarks, dtype=np.float64)[..., RIGID, :]
    known = np.asarray(np.isfinite(points).all(axis=(-2, -1)))
    points = np.where(known[..., None, None], points, 0.0)
    spread = np.swapaxes(points - points.mean(axis=-2, keepdims=True), -1, -2) @ (REFERENCE - REFERENCE.mean(axis=0))
    left, size, right = np.linalg.svd(spread)
    known &= size[..., 1] > 1e-6 * np.maximum(size[..., 0], 1e-6)
    left[..., 2] *= np.sign(np.linalg.det(left @ right))[..., None]  # a rotation, never a reflection
    return np.where(known[..., None, None], left @ right, np.nan)


def head_pose(landmarks: NDArray[np.floating]) -> NDArray[np.float32]:
    """Yaw, pitch and roll in the picture that landmarks lie in.

    Args:
        landmarks: (..., 68, 3) in pixels, the third away from the camera.

    Returns:
        (..., 3) degrees, signs as above: yaw and roll from -180 to 180, pitch from -90 to 90; NaN where not known.
    """
    turn = head_rotation(landmarks)
    yaw = np.arctan2(turn[..., 2, 0], turn[..., 2, 2])
    pitch = np.arcsin(np.clip(turn[..., 2, 1], -1, 1))
    roll = np.arctan2(-turn[..., 0, 1], turn[..., 1, 1])
    return np.asarray(np.degrees(np.stack([yaw, pitch, roll], axis=-1)), dtype=np.float32)


def crop_angle(matrix: NDArray[np.floating]) -> NDArray[np.float64]:
    """(..., 2, 3) how faces were cut, frame pixels -> crop pixels: (...) degrees of the turn, positive clockwise."""
    return np.asarray(np.degrees(np.arctan2(matrix[..., 1, 0], matrix[..., 0, 0])), dtype=np.float64)


def upright(pose: NDArray[np.float32], angle: NDArray[np.float64]) -> NDArray[np.float32]:
    """(..., 3) head pose in a picture that was turned by so many degrees (...) -> before it was."""
    turned = pose.copy()
    turned[..., 2] = (pose[..., 2] - angle + 180) % 360 - 180
    return turned


def head_pose_in_frame(clip: FaceSequence) -> NDArray[np.float32]:
    """(M, 3) yaw, pitch and roll of each face in the upright frames of its video, degrees.

    A crop may be turned until the eyes are level; its turn is taken back. NaN stands where a face has no landmarks, and
    for the roll alone in files from before the store kept how crops were cut.
    """
    landmarks, matrix = clip.optional("landmarks"), clip.optional("matrix")
    if landmarks is None:
        return np.full((len(clip), len(ANGLES)), np.nan, dtype=np.float32)
    return upright(head_pose(landmarks), np.full(len(clip), np.nan) if matrix is None else crop_angle(matrix))
