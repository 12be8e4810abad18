"""Paint the skin and features of a face: first in flat colours, then with light."""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from data_modules.synthetic.drawing import (
    SHIFT,
    Image,
    Points,
    blend,
    disc,
    extent,
    fill,
    fill_hull,
    stroke,
    to_fixed_point,
    uniform_image,
)
from data_modules.synthetic.face_model import Array, Pose, deform, project
from data_modules.synthetic.features import face_features, fold_strength
from data_modules.synthetic.head_mesh import COLUMNS, ROWS, Light, ShadedMesh, head_mesh, move_mesh, shade_mesh
from data_modules.synthetic.person import Person, mix

HALF = 0.5
"""Scale at which the light on the skin is painted, because it is smooth."""
UNIT_LIGHT = 190.0
"""The value in the light image that leaves a colour unchanged."""
WHITE, LID_SHADOW, PUPIL, GLINT = (244, 240, 236), (188, 178, 176), (16, 12, 14), (255, 255, 255)
THROAT, TONGUE, LOWER_TEETH, TEETH = (66, 16, 20), (178, 78, 82), (214, 206, 196), (246, 242, 234)


@dataclass(frozen=True)
class Performance:
    """The action units, gaze and pose of a head in T frames."""

    units: Array  # (T, A) strengths, 0 to 1
    gaze: Array  # (T, 2) offsets of the irises, head units
    pose: Pose


class FacePainter:
    """The face of a person in T frames, without hair and glasses.

    Args:
        person: the person.
        performance: what the head does in each frame.
        light: light on the skin.
        size: side of the square image, pixels.
    """

    def __init__(self, person: Person, performance: Performance, light: Light, size: int) -> None:
        self._person, self._size = person, size
        pose = performance.pose
        moved = deform(person.shape.points(), performance.units, person.asymmetry)
        self.landmarks = project(moved, pose)  # (T, 68, 3)
        self.scale = pose.scale
        self._features = face_features(moved, performance.gaze, person).project(pose)
        self._folds = fold_strength(performance.units) * person.wrinkles
        self._mesh = shade_mesh(move_mesh(moved), pose, light)
        self._light = _light_colours(self._mesh, person, light)
        self._quads = to_fixed_point(self._mesh.vertices[:, head_mesh().quads], HALF)  # (T, Q, 4, 2)
        line = person.hairline if person.style != "bald" else -112.0
        across = np.abs(np.tile(np.asarray(COLUMNS), len(ROWS)))
        skin = head_mesh().vertices[:, 1] >= line + 30 * across**2
        outline = np.concatenate((self._mesh.vertices[:, skin], self.landmarks[:, :17, :2]), 1)
        self._outline = to_fixed_point(outline)

    def jaw(self, t: int) -> Points:
        """Return the outline of the jaw in frame `t`, from ear to ear."""
        return np.asarray(self._features.jaw[t, 0])

    def paint(self, image: Image, t: int) -> None:
        """Paint the face in frame `t` over an (H, W, 3) image."""
        mask = np.zeros(image.shape[:2], np.uint8)
        fill_hull(mask, self._outline[t], (255,))
        blend(image, self._paint_face(t), mask, extent(image, self._outline[t]))

    def _paint_face(self, t: int) -> Image:
        person, f, size, scale = self._person, self._features, self._size, float(self.scale[t])
        face = uniform_image(size, size, person.skin)
        fill(face, f.upper_lip[t, 0], mix(person.lip, (90, 30, 40), 0.16))
        fill(face, f.lower_lip[t, 0], person.lip)
        stroke(face, f.shine[t, 0], mix(person.lip, (255, 225, 215), 0.35), 1.6 * scale)
        inner, mask = face.copy(), np.zeros((size, size), np.uint8)
        self._paint_mouth(inner, t)
        fill(mask, f.mouth[t, 0], (255,))
        for side in (0, 1):
            self._paint_eye(inner, t, side)
            fill(mask, f.eye[t, side], (255,))
        parts = np.concatenate((f.mouth[t, 0], f.eye[t, 0], f.eye[t, 1]))
        blend(face, inner, mask, extent(face, parts))
        dark = mix(person.skin, (60, 24, 20), 0.75)
        stroke(face, f.lip_line[t, 0], mix(person.lip, (60, 14, 20), 0.7), 1.3 * scale)
        brow = mix(person.skin, mix(person.hair, (30, 22, 20), 0.35), person.brow_darkness)
        for side in (0, 1):
            stroke(face, f.crease[t, side], mix(person.skin, (96, 52, 44), 0.5), 1)
            stroke(face, f.wing[t, side], mix(person.skin, dark, 0.5), 1)
            fill(face, f.nostril[t, side], mix(person.skin, dark, 0.95))
            fill(face, f.lashes[t, side], mix((34, 22, 20), person.skin, 0.08 if person.lashes > 1.5 else 0.2))
            stroke(face, f.bag[t, side], mix(person.skin, dark, 0.22), 1)
            fill(face, f.brow[t, side], brow)
        return np.asarray(cv2.multiply(face, self._paint_light(t), scale=1 / UNIT_LIGHT), np.uint8)

    def _paint_light(self, t: int) -> Image:
        """Return an (H, W, 3) image of the light on the skin, including variations of the colour of the skin."""
        low = uniform_image(self._size // 2, self._size // 2, tuple(self._light[t].mean(0).tolist()))
        order = self._mesh.order[t]
        order = order[self._mesh.facing[t, order]]
        for quad, colour in zip(self._quads[t, order], self._light[t, order].tolist(), strict=True):
            cv2.fillConvexPoly(low, quad, colour, cv2.LINE_8, SHIFT)
        low = cv2.GaussianBlur(low, (5, 5), 1.3)
        folds = uniform_image(low.shape[0], low.shape[1], (255.0,))
        depth = 0.72 * min(1.0, float(self.scale[t]) / 0.8)
        for line, strength in zip(self._features.folds[t], (self._folds[t] * depth).tolist(), strict=True):
            if strength > 0.03:
                cv2.polylines(folds, (line,), False, 255 * (1 - min(strength, 0.8)), 1, cv2.LINE_AA, SHIFT + 1)
        folds = cv2.GaussianBlur(folds, (3, 3), 0.7)
        low = cv2.multiply(low, cv2.cvtColor(folds, cv2.COLOR_GRAY2RGB), scale=1 / 255)
        return np.asarray(cv2.resize(low, (self._size, self._size), interpolation=cv2.INTER_LINEAR), np.uint8)

    def _paint_eye(self, inner: Image, t: int, side: int) -> None:
        f, scale, iris = self._features, float(self.scale[t]), self._person.iris
        fill_hull(inner, f.eyeball[t, side], WHITE)
        fill(inner, f.lid_shadow[t, side], LID_SHADOW)
        centre = f.iris[t, side, 0]
        disc(inner, centre, 7.0 * scale, mix(iris, (16, 12, 12), 0.6))
        disc(inner, centre, 6.0 * scale, iris)
        disc(inner, centre, 3.1 * scale, PUPIL)
        glint = np.rint(np.array((-2.2, -2.4)) * scale * 16).astype(np.int32)
        disc(inner, centre + glint, 1.5 * scale, GLINT)

    def _paint_mouth(self, inner: Image, t: int) -> None:
        f = self._features
        fill_hull(inner, f.mouth[t, 0], THROAT)
        fill(inner, f.tongue[t, 0], TONGUE)
        fill(inner, f.lower_teeth[t, 0], LOWER_TEETH)
        fill(inner, f.teeth[t, 0], TEETH)


@lru_cache(maxsize=8)
def _skin_albedo(person: Person) -> Array:
    """Return the (Q, 3) colour of each part of the skin relative to the whole: cheeks, nose, beard."""
    middle = head_mesh().vertices[head_mesh().quads].mean(1)
    x, y = np.abs(middle[:, 0]), middle[:, 1]

    def spot(x0: float, y0: float, wide: float, high: float) -> Array:
        return np.asarray(np.exp(-0.5 * (((x - x0) / wide) ** 2 + ((y - y0) / high) ** 2)), np.float32)

    red = person.blush * (spot(44, 42, 14, 13) + 0.7 * spot(0, 36, 10, 9) + 0.3 * spot(0, 103, 12, 8))
    socket = 0.3 * spot(31, -4, 15, 9)
    albedo = 1 - red[:, None] * np.array((0.0, 0.2, 0.19)) - socket[:, None] * np.array((0.2, 0.3, 0.26))
    if person.beard != "none":
        hair = np.asarray(mix(person.hair, (40, 30, 26), 0.3)) / np.asarray(person.skin)
        low = 1 / (1 + np.exp(-(y - 66 - 12 * (x < 30) + 0.35 * (x > 55) * (x - 55) * -6) / 3.5))
        lips = np.clip(1.25 * spot(0, 77, 15, 6.5), 0, 1)
        upper = spot(0, 61, 15, 4.2)
        cover = {
            "stubble": 0.3 * np.maximum(low, upper),
            "full": 0.85 * np.maximum(low, upper),
            "moustache": 0.9 * upper,
        }[person.beard]
        cover = (cover * (1 - lips))[:, None]
        albedo = albedo * (1 - cover) + hair * cover
    return np.asarray(albedo, np.float32)


def _light_colours(mesh: ShadedMesh, person: Person, light: Light) -> NDArray[np.uint8]:
    """Return the (T, Q, 3) factors of the colour of each surface; `UNIT_LIGHT` leaves it unchanged."""
    shade = mesh.shade[..., None]
    warm = np.array((0.36, 0.25, 0.22), np.float32)  # light within the skin: shadows stay warm
    level = warm + (1.12 - warm) * shade
    colour = _skin_albedo(person) * level * light.colour + 0.16 * mesh.gloss[..., None]
    return np.asarray(np.clip(colour * UNIT_LIGHT, 0, 255), np.uint8)
