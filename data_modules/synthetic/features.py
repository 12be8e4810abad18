"""The outlines of the parts of a face in head space: smooth curves attached to the 68 points."""

from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Generic, TypeVar

import numpy as np

from data_modules.synthetic.action_units import unit
from data_modules.synthetic.drawing import Points, curve, to_fixed_point
from data_modules.synthetic.face_model import MIRROR, Array, Pose, project_together
from data_modules.synthetic.person import Person

Kind = TypeVar("Kind", Array, Points)


@dataclass(frozen=True)
class FaceFeatures(Generic[Kind]):
    """Parts of a face in T frames: (T, copies, points, 3) in head space, (T, copies, points, 2) once projected."""

    eye: Kind  # outline between the lids, left and right
    eyeball: Kind  # what is white behind it
    lid_shadow: Kind  # on the white, below the upper lid
    lashes: Kind
    crease: Kind  # line above the upper lid
    bag: Kind  # line below the lower lid
    iris: Kind  # centre
    brow: Kind
    nostril: Kind
    wing: Kind  # line around the nose's wing
    upper_lip: Kind
    lower_lip: Kind
    shine: Kind  # of the lower lip
    mouth: Kind  # outline between the lips
    lip_line: Kind
    teeth: Kind
    lower_teeth: Kind
    tongue: Kind
    jaw: Kind  # the outline from ear to ear
    folds: Kind  # lines that are darkened by `fold_strength`

    def project(self, pose: Pose) -> "FaceFeatures[Points]":
        """Project the parts into the image, in sixteenths of a pixel."""
        names = [field.name for field in fields(self)]
        parts = project_together([getattr(self, name) for name in names], pose)
        return FaceFeatures(**{name: to_fixed_point(part) for name, part in zip(names, parts, strict=True)})


def _pair(left: Array, right: Array) -> Array:
    return np.stack((left, right), 1)


def _band(upper: Array, lower: Array) -> Array:
    """Return the closed outline between two curves that run in the same direction."""
    return np.concatenate((upper, lower[..., ::-1, :]), -2)


def _lift(points: Array, up: Array | float, out: float = 0.0, forward: float = 0.8) -> Array:
    """Move points `up`, `out` (away from the middle of the face) and `forward` (towards the camera)."""
    moved = points.copy()
    moved[..., 1] -= up
    moved[..., 0] += out * np.sign(points[..., 0])
    moved[..., 2] -= forward
    return moved


def _arc(x: tuple[float, ...], y: tuple[float, ...], z: tuple[float, ...]) -> Array:
    return np.stack((np.asarray(x), np.asarray(y), np.asarray(z)), -1).astype(np.float32)


def _oval(width: float, height: float) -> Array:
    """Return (12, 3) points of an ellipse with the given half axes."""
    angle = np.linspace(0, 2 * np.pi, 12, endpoint=False, dtype=np.float32)
    return np.asarray(np.stack((width * np.cos(angle), height * np.sin(angle), 0 * angle), -1), np.float32)


def _nose(p: Array) -> tuple[Array, Array]:
    """Return the nostrils and the wings of the nose."""
    wings = _pair(p[:, 31], p[:, 35])[:, :, None]
    oval = _oval(5.0, 2.4)
    holes = _pair(p[:, 31:33].mean(1), p[:, 34:36].mean(1))[:, :, None]
    nostril = holes + oval + np.array((0, 0.8, -2), np.float32)
    side = np.sign(wings[..., :1])
    hook = _arc((1.0, 3.6, 4.6, 2.4, -2.5), (-9.0, -6.5, -1.5, 2.2, 3.0), (0, 0, 0, 0, 0))
    wing = curve(wings + hook * np.concatenate((side, np.ones_like(side), np.ones_like(side)), -1), 3)
    return nostril, wing


def _inside_of_mouth(p: Array) -> tuple[Array, Array, Array]:
    """Return the upper teeth, the lower teeth and the tongue."""
    skull = _arc((-22, -17, -9, 0, 9, 17, 22), (68, 69, 69, 69, 69, 69, 68), (4, 0, -3, -4, -3, 0, 4))
    edge = skull + np.array((0, 10.5, 0), np.float32)
    mouth_shift = (p[:, 33:34] - np.array((0, 48.5, -8), np.float32)) * np.array((0, 1, 0), np.float32)
    teeth = _band(curve(skull, 2), curve(edge, 2)) + mouth_shift
    jaw = p[:, 8:9] - np.array((0, 113, 0), np.float32)
    jaw = jaw * np.array((0, 0.93, 0), np.float32)
    low = _arc((-18, -10, 0, 10, 18), (80, 79.5, 79.2, 79.5, 80), (4, -1, -3, -1, 4))
    lower_teeth = _band(curve(low, 2), curve(low + np.array((0, 9, 0), np.float32), 2)) + jaw
    tongue = jaw + _oval(14, 4.5) + np.array((0, 82.5, 4), np.float32)
    return teeth, lower_teeth, tongue


def face_features(p: Array, gaze: Array, person: Person) -> FaceFeatures[Array]:
    """Compute the outlines of the parts of a face.

    Args:
        p: (T, 68, 3) moved points in head space.
        gaze: (T, 2) offsets of the irises from the centres of the eyes, head units.
        person: the person, for the thickness of the brows.
    """
    uppers = (curve(p[:, [36, 37, 38, 39]], 5), curve(p[:, [45, 44, 43, 42]], 5))  # outer to inner corner
    lowers = (curve(p[:, [36, 41, 40, 39]], 5), curve(p[:, [45, 46, 47, 42]], 5))
    upper, lower = _pair(*uppers), _pair(*lowers)
    n = upper.shape[2]
    along = np.linspace(0, 1, n, dtype=np.float32)  # from the outer corner
    lash = 1.9 * np.sin(np.pi * np.clip(along * 0.8 + 0.18, 0, 1)) + 0.3
    corners = p[:, [36, 39, 42, 45]].reshape(-1, 2, 2, 3)
    iris = corners.mean(2)
    iris[..., :2] += gaze[:, None] + np.array((0, -2.2), np.float32)
    iris[..., 2] = upper[..., 2].mean(-1)
    white = np.concatenate((_lift(upper, 2.0), _lift(lower, -2.0)), 2)

    brows = _pair(curve(p[:, [17, 18, 19, 20, 21]], 4), curve(p[:, [26, 25, 24, 23, 22]], 4))
    inward = np.linspace(0, 1, brows.shape[2], dtype=np.float32)
    thick = person.brow_thickness * (0.25 + 0.75 * np.sqrt(np.clip(inward * 1.4, 0, 1)))
    thick[-1] *= 0.7

    nostril, wing = _nose(p)

    top = curve(p[:, [48, 49, 50, 51, 52, 53, 54]], 4)
    bottom = curve(p[:, [48, 59, 58, 57, 56, 55, 54]], 4)
    inner_top = curve(p[:, [60, 61, 62, 63, 64]], 6)
    inner_bottom = curve(p[:, [60, 67, 66, 65, 64]], 6)
    corner_left, corner_right = p[:, 48:49], p[:, 54:55]
    seam_top = np.concatenate((corner_left, inner_top, corner_right), 1)
    seam_bottom = np.concatenate((corner_left, inner_bottom, corner_right), 1)
    shine = bottom[:, 8:17] * 0.55 + inner_bottom[:, 8:17] * 0.45

    teeth, lower_teeth, tongue = _inside_of_mouth(p)

    def single(points: Array) -> Array:
        return points[:, None]

    return FaceFeatures(
        eye=_band(upper, lower), eyeball=white, lid_shadow=_band(_lift(upper, 2.0), _lift(upper, -2.6)),
        lashes=_band(_lift(upper, lash, 0.0), _lift(upper, -0.5)),
        crease=_lift(upper, 3.6 + 1.2 * np.sin(np.pi * along), 0.0)[:, :, 1:-1], bag=_lift(lower, -3.8)[:, :, 2:-2],
        iris=iris[:, :, None], brow=_band(_lift(brows, thick * 0.75, 0, 1.5), _lift(brows, -thick * 0.4, 0, 1.5)),
        nostril=nostril, wing=wing,
        upper_lip=single(_band(top, seam_top)), lower_lip=single(_band(seam_bottom, bottom)),
        shine=single(shine), mouth=single(_band(inner_top, inner_bottom)),
        lip_line=single(0.5 * (seam_top + seam_bottom)), teeth=single(teeth), lower_teeth=single(lower_teeth),
        tongue=single(tongue), jaw=single(curve(p[:, :17], 2)), folds=_folds(p),
    )  # fmt: skip


# A control point of a fold: the points (of the left half of the image) whose mean it follows, and its offset
# outwards and down.
_Control = tuple[tuple[int, ...], float, float]
_SIDE_FOLDS: tuple[tuple[_Control, ...], ...] = (
    (((31,), 3, -5), ((31, 31, 48), 8, -3), ((48,), 7, -5), ((48,), 8, 5)),  # from the nose to the lips' corner
    (((21,), -6.5, -4), ((21,), -8, 3), ((21,), -7.5, 9), ((21,), -7, 13)),  # frown
    (((36,), 6, -3), ((36,), 10, -4.5), ((36,), 14, -6), ((36,), 17, -7)),  # crow's feet
    (((36,), 6, 2), ((36,), 10, 3), ((36,), 14, 5), ((36,), 17, 7)),
    (((39,), -1, 5), ((40,), 0, 8), ((41,), 0, 8.5), ((41,), 8, 6)),  # below the eye
    (((39,), -8, 2), ((39,), -11, 7), ((39,), -12, 12), ((39,), -9, 17)),  # the nose's root
    (((48,), 4, 2), ((48,), 6, 7), ((48,), 5.5, 12), ((48,), 4, 16)),  # below the lips' corner
)
_MIDDLE_FOLDS: tuple[tuple[_Control, ...], ...] = (
    (((18,), 0, -11), ((20,), 0, -11), ((23,), 0, -11), ((25,), 0, -11)),  # forehead
    (((18,), 0, -19), ((20,), 0, -19), ((23,), 0, -19), ((25,), 0, -19)),
    (((57, 8), -11, 4), ((57, 8), -4, -1.5), ((57, 8), 4, -1.5), ((57, 8), 11, 4)),  # chin
)


@lru_cache(maxsize=1)
def _fold_weights() -> tuple[Array, Array]:
    """Return the (17, 10, 68) weights of the points and the (17, 10, 3) offsets of the folds."""
    weights, offsets = np.zeros((17, 4, 68), np.float32), np.full((17, 4, 3), -0.5, np.float32)
    sides = [(fold, sign) for sign in (-1, 1) for fold in _SIDE_FOLDS] + [(fold, 0) for fold in _MIDDLE_FOLDS]
    for row, (fold, sign) in enumerate(sides):
        for column, (points, x, y) in enumerate(fold):
            for point in points:
                weights[row, column, MIRROR[point] if sign > 0 else point] += 1 / len(points)
            offsets[row, column, :2] = (sign or 1) * x, y
    return curve(weights, 3), curve(offsets, 3)


def _folds(p: Array) -> Array:
    """Return the (T, 17, 10, 3) lines of the folds, in the order of `fold_strength`."""
    weights, offsets = _fold_weights()
    lines = weights.reshape(-1, 68) @ p
    return np.asarray(lines.reshape(-1, *offsets.shape) + offsets, np.float32)


def fold_strength(units: Array) -> Array:
    """Return how dark each fold is, (T, 17) from 0 to 1, for (T, A) action units."""
    u = {
        name: units[:, unit(name)]
        for name in ("AU1", "AU2", "AU4", "AU6", "AU7", "AU9", "AU10", "AU12", "AU14", "AU15", "AU17", "AU20")
    }
    side = (
        0.12 + 0.75 * np.maximum.reduce((u["AU12"], 0.9 * u["AU10"], 0.6 * u["AU9"], 0.35 * u["AU20"])),
        0.95 * u["AU4"],
        0.75 * u["AU6"],
        0.7 * u["AU6"],
        0.12 + 0.5 * np.maximum(u["AU6"], 0.7 * u["AU7"]),
        0.95 * u["AU9"],
        0.08 + 0.7 * np.maximum(u["AU15"], 0.4 * u["AU14"]),
    )
    raised = np.maximum(u["AU2"], 0.6 * u["AU1"])
    every = (*side, *side, 0.75 * raised, 0.65 * raised, 0.12 + 0.6 * u["AU17"])
    return np.asarray(np.clip(np.stack(every, -1), 0, 1), np.float32)
