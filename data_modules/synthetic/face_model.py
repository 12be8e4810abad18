"""A 3D model of 68 face points (iBUG): the mean shape, the differences between people, and the effect of action units.

Coordinates in head space are about a millimetre per unit: x points right in the image, y down, z away from the camera.
The origin lies between the eyes. The points lie on `surface`, from which the shaded mesh is also built.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_modules.synthetic.action_units import NAMES, unit

Array = NDArray[np.floating[Any]]
"""An array of floats; large arrays have single precision."""

JAW, BROWS, NOSE, EYES, MOUTH = slice(0, 17), slice(17, 27), slice(27, 36), slice(36, 48), slice(48, 68)

# The image's left half and the middle; the other half is its mirror image (`MIRROR`).
_LEFT = {
    0: (-74, 2), 1: (-73.5, 22), 2: (-71, 42), 3: (-66, 62), 4: (-57, 80), 5: (-45, 95), 6: (-30, 105.5),
    7: (-15, 111.5), 8: (0, 113), 17: (-60, -19), 18: (-51, -28), 19: (-39, -31.5), 20: (-27, -30), 21: (-15, -25.5),
    27: (0, -6), 28: (0, 7), 29: (0, 20), 30: (0, 33), 31: (-14.5, 44), 32: (-8, 47), 33: (0, 48.5),
    36: (-48, 3.5), 37: (-40, -4.5), 38: (-27, -5), 39: (-17, 4.5), 40: (-26.5, 8.5), 41: (-39, 8.5),
    48: (-26, 77), 49: (-16, 71.5), 50: (-6.5, 68), 51: (0, 70), 57: (0, 88), 58: (-8.5, 87.5), 59: (-17.5, 84),
    60: (-22.5, 77), 61: (-9, 75.8), 62: (0, 76.4), 66: (0, 77.2), 67: (-9, 76.8),
}  # fmt: skip
_PAIRS = (
    *((i, 16 - i) for i in range(8)), *((17 + i, 26 - i) for i in range(5)), (31, 35), (32, 34),
    (36, 45), (37, 44), (38, 43), (39, 42), (40, 47), (41, 46),
    (48, 54), (49, 53), (50, 52), (58, 56), (59, 55), (60, 64), (61, 63), (67, 65),
)  # fmt: skip


def _mirror() -> NDArray[np.int64]:
    order = np.arange(68)
    for left, right in _PAIRS:
        order[left], order[right] = right, left
    return order


MIRROR = _mirror()
"""(68,) index of the mirror image of each point."""


def half_width(y: Array) -> Array:
    """Return half the width of the face at each height; the jaw points lie on this outline."""
    heights = (-112, -104, -90, -74, -60, -30, 2, 22, 42, 62, 80, 95, 105.5, 111.5, 113)
    return np.asarray(np.interp(y, heights, (8, 30, 49, 60, 67, 73, 74.5, 73.8, 71, 66, 57, 45, 30, 15, 4)))


def surface(x: Array, y: Array) -> Array:
    """Return the depth of the mean face: an ellipse at each height, with bumps for nose, brows, cheeks, lips, chin."""
    side = np.interp(y, (-112, -74, -50, 0, 22, 42, 62, 80, 95, 105, 113), (70, 66, 70, 70, 68, 62, 52, 38, 22, 8, -2))
    front = np.interp(
        y,
        (-112, -95, -74, -60, -40, -25, 0, 40, 60, 76, 95, 105, 113),
        (60, 38, 20, 10, 2, -2, 3, 1, -1, -4, -2, -5, -3),
    )
    across = np.clip(np.abs(x) / half_width(y), 0, 1)
    z = side - (side - front) * np.sqrt(1 - across**2.2)

    def bump(height: float, x0: float, y0: float, wide: float, high: float) -> Array:
        return np.asarray(height * np.exp(-0.5 * (((np.abs(x) - x0) / wide) ** 2 + ((y - y0) / high) ** 2)))

    ridge = np.interp(y, (-22, -6, 10, 24, 33, 38, 44, 50), (0, 6, 13, 20, 26, 24, 12, 0))
    z = z - ridge * np.exp(-0.5 * (x / np.interp(y, (-6, 20, 40), (6.0, 7.0, 9.5))) ** 2)
    z = z - bump(7, 12.5, 41.5, 4.5, 4.5) + bump(9, 31, 1, 14, 9) - bump(3.5, 30, -26, 22, 7)
    return np.asarray(
        z - bump(5, 43, 30, 13, 13) - bump(5, 0, 78, 17, 8) + bump(3.5, 0, 93, 14, 4) - bump(4, 0, 103, 13, 7)
    )


def _mean() -> Array:
    points = np.zeros((68, 3))
    for number, (x, y) in _LEFT.items():
        points[number, :2] = x, y
        points[MIRROR[number], :2] = -x, y
    points[:, 2] = surface(points[:, 0], points[:, 1])
    return points.astype(np.float32)


MEAN = _mean()
"""(68, 3) points of the mean face in head space."""


@lru_cache(maxsize=1)
def unit_displacements() -> Array:
    """Return the (A, 68, 3) displacement of each point by each action unit at full strength."""
    moves: dict[str, dict[tuple[int, ...], tuple[float, float]]] = {
        "AU1": {(21,): (0, -11), (20,): (0, -8.5), (19,): (0, -3.5)},
        "AU2": {(17,): (0, -8), (18,): (0, -11), (19,): (0, -8), (20,): (0, -3)},
        "AU4": {(21,): (5, 9), (20,): (3.5, 8.5), (19,): (2, 6), (18,): (0, 2.5), (37, 38): (0, 1)},
        "AU5": {(37, 38): (0, -5.5), (40, 41): (0, 0.8)},
        "AU6": {(40, 41): (0, -3.2), (17, 18): (0, 1.5)},
        "AU7": {(40, 41): (0, -2.8), (37, 38): (0, 2.6)},
        "AU9": {(21, 20): (2, 5.5), (19,): (1, 3), (31,): (-2.5, -5.5), (32, 33, 30): (0, -4), (28, 29): (0, -2),
                (50, 51, 61, 62): (0, -4), (49,): (-0.5, -4), (40, 41): (0, -2.5)},
        "AU10": {(50, 51): (0, -7), (49,): (-1, -6.5), (61, 62): (0, -6.5), (31, 32, 33): (0, -1.5),
                 (48, 60): (0, -0.5)},
        "AU12": {(48,): (-10, -9.5), (60,): (-9, -8.5), (49,): (-6, -5), (59,): (-7, -4.5), (50, 58): (-2.5, -0.5),
                 (61,): (-3.5, -2), (67,): (-3.5, -1), (31,): (-2, -1), (3, 4): (-2, -1)},
        "AU14": {(48, 60): (-4, 0), (49, 59): (-1.5, 0)},
        "AU15": {(48, 60): (-1, 9.5), (49,): (-0.5, 3.5), (59,): (-1, 5.5), (61,): (0, 1), (67,): (0, 1.5)},
        "AU17": {(57, 58): (0, -5), (59,): (0, -3.5), (66, 67): (0, -3.5), (61, 62): (0, -3), (50, 51): (0, -2.5),
                 (7, 8): (0, -4), (6,): (0, -2)},
        "AU20": {(48,): (-11, 2.5), (60,): (-10, 2), (49,): (-5.5, 1), (59,): (-7.5, 2.5), (58,): (-3, 1),
                 (61, 67): (-4, 0.5), (50,): (-2, 0)},
        "AU23": {(48, 60): (4.5, 0), (50, 51, 49): (0, 2.8), (57, 58, 59): (0, -4)},
        "AU24": {(48, 60): (2, 0.5), (50, 51, 49): (0, 3), (57, 58, 59): (0, -4.2), (7, 8): (0, -1)},
        "AU25": {(66, 67): (0, 7), (57, 58): (0, 5.5), (59,): (0, 4), (61, 62, 50, 51): (0, -1.8)},
        "AU26": {(8, 7): (0, 19), (6,): (0, 17), (5,): (0, 12), (4,): (0.5, 7), (3,): (0, 3), (57, 58): (0, 18),
                 (66, 67): (0, 18), (59,): (0, 13), (48, 60): (4, 7), (49,): (2, 1.5), (61,): (1, 0)},
        "AU43": {(37,): (0, 12.4), (38,): (0, 12.6), (40, 41): (0, -0.9)},
    }  # fmt: skip
    table = np.zeros((len(NAMES), 68, 3), np.float32)
    for name, groups in moves.items():
        for points, move in groups.items():
            for point in points:
                middle = MIRROR[point] == point
                table[unit(name), point, :2] = (0 if middle else move[0], move[1])
                table[unit(name), MIRROR[point], :2] = (0 if middle else -move[0], move[1])
    return table


@dataclass(frozen=True)
class Shape:
    """The difference of a head from the mean, in standard deviations of each mode."""

    width: float = 0.0
    length: float = 0.0
    jaw: float = 0.0
    chin: float = 0.0
    eye_size: float = 0.0
    eye_spacing: float = 0.0
    eye_tilt: float = 0.0
    brow_height: float = 0.0
    brow_arch: float = 0.0
    nose_length: float = 0.0
    nose_width: float = 0.0
    mouth_width: float = 0.0
    mouth_height: float = 0.0
    lips: float = 0.0

    @classmethod
    def sample(cls, rng: np.random.Generator) -> "Shape":
        """Sample a head; modes are limited to 1.8 standard deviations, so that no head is a caricature."""
        return cls(*np.clip(rng.standard_normal(len(cls.__dataclass_fields__)), -1.8, 1.8).tolist())

    def points(self) -> Array:
        """Return the (68, 3) points of the head with a face at rest."""
        p = MEAN.astype(np.float64)
        p[:, 0] *= 1 + 0.04 * self.width
        p[3:14, 0] *= 1 + 0.035 * self.jaw
        p[6:11, 1] += 2.5 * self.chin
        below = p[:, 1] > 10
        p[below, 1] = 10 + (p[below, 1] - 10) * (1 + 0.035 * self.length)
        for eye, sign in ((slice(36, 42), -1.0), (slice(42, 48), 1.0)):
            centre = p[eye, :2].mean(0)
            p[eye, :2] = centre + (p[eye, :2] - centre) * (1 + 0.06 * self.eye_size)
            p[eye, 1] -= 0.045 * self.eye_tilt * sign * (p[eye, 0] - centre[0])
            p[eye, 0] += sign * 1.2 * self.eye_spacing
        p[BROWS, 1] -= 1.5 * self.brow_height
        p[[18, 19, 24, 25], 1] -= 1.3 * self.brow_arch
        p[30:36, 1] += 1.6 * self.nose_length
        p[31:36, 0] *= 1 + 0.09 * self.nose_width
        p[MOUTH, 0] *= 1 + 0.06 * self.mouth_width
        middle = p[[62, 66], 1].mean()
        p[MOUTH, 1] = middle + (p[MOUTH, 1] - middle) * (1 + 0.12 * self.lips) + 1.3 * self.mouth_height
        return p.astype(np.float32)


def deform(rest: Array, units: Array, asymmetry: Sequence[float] = ()) -> Array:
    """Move the points of a head by action units.

    Args:
        rest: (68, 3) points at rest.
        units: (T, A) strengths, 0 to 1.
        asymmetry: (A,) gain of the right half of the image relative to the left; empty for a symmetric face.

    Returns:
        (T, 68, 3) points: linear in the units, except that lids and lips stop where they meet.
    """
    gain = np.asarray(asymmetry or np.zeros(len(NAMES)), np.float32)
    side = np.sign(MEAN[:, 0])
    weight = 1 + 0.5 * gain[:, None] * side  # (A, 68)
    table = unit_displacements() * weight[:, :, None]
    points = rest + (units @ table.reshape(len(NAMES), -1)).reshape(-1, 68, 3)
    for upper, lower in ((37, 41), (38, 40), (44, 46), (43, 47), (61, 67), (62, 66), (63, 65)):
        overlap = np.maximum(points[:, upper, 1] + 0.3 - points[:, lower, 1], 0)
        share = 0.85 if upper < 48 else 0.5  # the upper lid gives way, lips meet in the middle
        points[:, upper, 1] -= share * overlap
        points[:, lower, 1] += (1 - share) * overlap
    return points.astype(np.float32)


@dataclass(frozen=True)
class Pose:
    """The pose of the head in each of T frames."""

    yaw: Array  # (T,) radians, positive towards the right of the image
    pitch: Array  # (T,) radians, positive downwards
    roll: Array  # (T,) radians, positive clockwise
    centre: Array  # (T, 2) pivot of the head, pixels
    scale: Array  # (T,) pixels per head unit

    @cached_property
    def rotation(self) -> Array:
        """(T, 3, 3) rotation matrices; yaw is applied first, then pitch, then roll."""
        (cy, sy), (cp, sp), (cr, sr) = ((np.cos(a), np.sin(a)) for a in (self.yaw, self.pitch, self.roll))
        zero, one = np.zeros_like(cy), np.ones_like(cy)
        about_y = np.array(((cy, zero, -sy), (zero, one, zero), (sy, zero, cy)), np.float32).transpose(2, 0, 1)
        about_x = np.array(((one, zero, zero), (zero, cp, -sp), (zero, sp, cp)), np.float32).transpose(2, 0, 1)
        about_z = np.array(((cr, -sr, zero), (sr, cr, zero), (zero, zero, one)), np.float32).transpose(2, 0, 1)
        return np.asarray(about_z @ about_x @ about_y, np.float32)


PIVOT = np.array((0.0, 20.0, 60.0), np.float32)
DISTANCE = 1100.0
"""Distance of the camera in head units, for a mild perspective as in portraits."""


def project(points: Array, pose: Pose) -> Array:
    """Project points from head space to pixels.

    Args:
        points: (T, P, 3) or (1, P, 3) in head space.
        pose: pose of the head in T frames.

    Returns:
        (T, P, 3) x and y in pixels, and z as the distance in pixels from the plane of the pivot.
    """
    turned = (points - PIVOT) @ pose.rotation.transpose(0, 2, 1)
    near = DISTANCE / (DISTANCE + turned[..., 2:])
    out = turned * pose.scale[:, None, None]
    out[..., :2] = out[..., :2] * near + pose.centre[:, None]
    return np.asarray(out, np.float32)


def project_together(parts: Sequence[Array], pose: Pose) -> list[Array]:
    """Project several (T or 1, ..., 3) arrays to (T, ..., 3) at once, which is faster than one by one."""
    frames = len(pose.yaw)
    flat = [np.broadcast_to(part, (frames, *part.shape[1:])).reshape(frames, -1, 3) for part in parts]
    ends = np.cumsum([part.shape[1] for part in flat])
    projected = np.split(project(np.concatenate(flat, 1), pose), ends[:-1], 1)
    return [points.reshape(frames, *part.shape[1:]) for points, part in zip(projected, parts, strict=True)]
