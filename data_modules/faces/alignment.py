"""Cuts aligned square crops of faces: rotated, scaled and shifted so that eyes and mouth have fixed positions.

Training and prediction use the same functions. Outside the frame, its border pixels are repeated: a black border would
be a stronger edge than any in a face, and would reveal where in the frame the face was.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from data_modules.faces.settings import Alignment
from data_modules.video.source import Frame

Matrix = NDArray[np.float32]
"""(2, 3) affine map from frame pixels to crop pixels: x' = M[:, :2] x + M[:, 2]."""

ARCFACE = np.array(
    [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)], np.float64
)
"""Positions of the five points in insightface's crop of 112 x 112 pixels, which is as tight as a face box."""


@dataclass(frozen=True)
class Aligned:
    """A crop of a face and the matrix it was cut with."""

    crop: Frame  # (S, S, 3)
    matrix: Matrix


def template(size: int, margin: float) -> NDArray[np.float64]:
    """Returns (5, 2) positions of the five points in a crop of `size` pixels with a margin (a share of the face)."""
    return ((ARCFACE - 55.5) / (112 * (1 + margin)) + 0.5) * size - 0.5


def similarity(source: NDArray[np.floating], target: NDArray[np.floating]) -> Matrix:
    """Fits the rotation, uniform scale and shift that map points onto others in the least-squares sense.

    This is the closed form of Umeyama (1991, https://doi.org/10.1109/34.88573) without reflection, which in the plane
    is a quotient of complex numbers.

    Args:
        source: (N, 2) points.
        target: (N, 2) points that they should be mapped to.

    Raises:
        ValueError: all source points coincide, so that no scale is defined.
    """
    x, y = (points.astype(np.float64) @ np.array([1, 1j]) for points in (source, target))
    dx, dy = x - x.mean(), y - y.mean()
    spread = float((np.abs(dx) ** 2).sum())
    if not spread > 1e-9 or not np.isfinite(spread):
        raise ValueError(
            f"all {len(source)} points coincide; a similarity transform needs at least two different points"
        )
    rotation = (dx.conj() @ dy) / spread  # scale times e^(i angle)
    shift = y.mean() - rotation * x.mean()
    return np.array(
        [[rotation.real, -rotation.imag, shift.real], [rotation.imag, rotation.real, shift.imag]], np.float32
    )


def box_matrix(box: NDArray[np.floating], size: int, margin: float) -> Matrix:
    """Returns the matrix that cuts the square around a box, enlarged by the share `margin`, to `size` pixels."""
    left, top, right, bottom = (float(value) for value in box)
    scale = size / (max(right - left, bottom - top, 1.0) * (1 + margin))
    x, y = (left + right) / 2, (top + bottom) / 2  # in edge coordinates: pixel i covers [i, i + 1)
    return np.array([[scale, 0, size / 2 - scale * x], [0, scale, size / 2 - scale * y]], dtype=np.float32) + np.array(
        [[0, 0, scale / 2 - 0.5]] * 2, dtype=np.float32
    )


def face_matrix(
    box: NDArray[np.floating],
    points: NDArray[np.floating] | None,
    size: int,
    margin: float,
    by: Alignment = "points",
) -> Matrix:
    """Returns the matrix that cuts a face by its points, or by its box if requested or if no usable points exist."""
    if points is not None and by != "box":
        used = slice(0, 2) if by == "eyes" else slice(None)
        try:
            return similarity(points[used], template(size, margin)[used])
        except ValueError:
            pass
    return box_matrix(box, size, margin)


def align(
    frame: Frame,
    box: NDArray[np.floating],
    points: NDArray[np.floating] | None,
    size: int,
    margin: float,
    by: Alignment = "points",
) -> Aligned:
    """Cuts an aligned face out of a frame.

    Args:
        frame: (H, W, 3) RGB.
        box: (4,) left, top, right, bottom in pixels.
        points: (5, 2) points as in `detection.Detection`, or None.
        size: side of the crop in pixels.
        margin: how much larger than the tight face the crop is, as a share.
        by: what is aligned.
    """
    matrix = face_matrix(box, points, size, margin, by)
    return Aligned(warp(frame, matrix, size), matrix)


def resize(frame: Frame, size: int) -> Aligned:
    """Scales the whole frame to a square crop, each side by its own factor; a frame of that size is unchanged."""
    height, width = frame.shape[:2]
    x, y = size / width, size / height
    matrix = np.array([[x, 0, x / 2 - 0.5], [0, y, y / 2 - 0.5]], dtype=np.float32)
    if (height, width) == (size, size):
        return Aligned(frame, matrix)
    method = cv2.INTER_AREA if max(x, y) < 1 else cv2.INTER_LINEAR
    return Aligned(np.asarray(cv2.resize(frame, (size, size), interpolation=method), dtype=np.uint8), matrix)


def warp(frame: Frame, matrix: Matrix, size: int) -> Frame:
    """Returns the (size, size, 3) crop that the matrix cuts; much larger faces are averaged to avoid aliasing."""
    factor = int(1 / max(float(np.hypot(matrix[0, 0], matrix[1, 0])), 1e-6))
    if factor >= 2:
        height, width = frame.shape[:2]
        small = max(1, width // factor), max(1, height // factor)
        scale = np.array([width / small[0], height / small[1]])
        frame = np.asarray(cv2.resize(frame, small, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        # pixel centres: x = (x' + 0.5) * scale - 0.5
        linear = matrix[:, :2] * scale
        shift = matrix[:, 2] + matrix[:, :2] @ (scale / 2 - 0.5)
        matrix = np.column_stack([linear, shift]).astype(np.float32)
    crop = cv2.warpAffine(frame, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(crop, dtype=np.uint8)


def transform_points(points: NDArray[np.floating], matrix: Matrix) -> NDArray[np.float32]:
    """Maps (..., 2 or 3) points of the frame to points of the crop; a third coordinate is scaled by the same factor."""
    moved = points[..., :2] @ matrix[:, :2].T + matrix[:, 2]
    if points.shape[-1] == 3:
        depth = points[..., 2:] * np.sqrt(abs(np.linalg.det(matrix[:, :2].astype(np.float64))))
        moved = np.concatenate([moved, depth], axis=-1)
    return moved.astype(np.float32)
