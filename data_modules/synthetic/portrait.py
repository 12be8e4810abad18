"""Paints a person's head over a picture: everything is placed for all frames at once, then painted frame by frame."""

from dataclasses import dataclass, fields

import cv2
import numpy as np
from numpy.typing import NDArray

from data_modules.synthetic.drawing import Image, Points, blend, disc, fill, fill_hull, fixed, stroke
from data_modules.synthetic.face_model import Array, Pose, deform, project, project_together
from data_modules.synthetic.features import Features, face_features, fold_strength
from data_modules.synthetic.hair import HeadParts, head_parts
from data_modules.synthetic.head_mesh import COLUMNS, ROWS, Light, ShadedMesh, head_mesh, move_mesh, shade_mesh
from data_modules.synthetic.person import Colour, Person, mix

HALF = 0.5
"""The light on the skin is painted at half the resolution: it is smooth."""
UNIT_LIGHT = 190.0
"""The value in the light picture that leaves a colour as it is."""


@dataclass(frozen=True)
class Performance:
    """What a head does in T frames."""

    units: Array  # (T, A)
    gaze: Array  # (T, 2) head units
    pose: Pose


@dataclass(frozen=True)
class _Outlines:
    """The parts of `Features` in sixteenths of a pixel: (T, copies, points, 2)."""

    eye: Points
    eyeball: Points
    lid_shadow: Points
    lashes: Points
    crease: Points
    bag: Points
    iris: Points
    brow: Points
    nostril: Points
    wing: Points
    upper_lip: Points
    lower_lip: Points
    shine: Points
    mouth: Points
    lip_line: Points
    teeth: Points
    lower_teeth: Points
    tongue: Points
    jaw: Points
    folds: Points

    @classmethod
    def of(cls, features: Features) -> "_Outlines":
        return cls(**{field.name: fixed(getattr(features, field.name)) for field in fields(cls)})


class Portrait:
    """One person's head in T frames.

    Args:
        person: who.
        performance: what the head does, frame by frame.
        light: on skin and hair.
        size: of the square picture, pixels.
        sunglasses: instead of the person's own glasses.
    """

    def __init__(
        self, person: Person, performance: Performance, light: Light, size: int = 256, sunglasses: bool = False
    ) -> None:
        self.person, self.size, self.sunglasses = person, size, sunglasses
        pose = performance.pose
        rest = person.shape.points()
        moved = deform(rest, performance.units, person.asymmetry)
        self.landmarks = project(moved, pose)  # (T, 68, 3)
        self.scale = pose.scale
        facing = pose.rotation[:, 2, 2]  # 1 when the face looks into the camera, -1 when away from it
        self.turned_away = facing < 0.1
        self._features = _Outlines.of(face_features(moved, performance.gaze, person).projected(pose))
        self._folds = fold_strength(performance.units) * person.wrinkles
        self._mesh = shade_mesh(move_mesh(moved), pose, light)
        self._light_colours = _light_colours(self._mesh, person, light)
        self._quads = fixed(self._mesh.vertices[:, head_mesh().quads], HALF)  # (T, Q, 4, 2)
        line = person.hairline if person.style != "bald" else -112.0
        grid = np.abs(np.tile(np.asarray(COLUMNS), len(ROWS)))
        inside = head_mesh().vertices[:, 1] >= line + 30 * grid**2
        self._outline = np.concatenate((fixed(self._mesh.vertices[:, inside]), fixed(self.landmarks[:, :17])), 1)
        parts = head_parts(person, rest, np.random.default_rng(person.voice_seed))
        self._parts = parts
        self._placed = _Placed.of(parts, pose)
        level = float(
            light.ambient * 0.75
            + (1 - light.ambient) * max(0.2, -0.75 * light.direction[2] - 0.15 * light.direction[1])
        )
        self._tint = tuple((light.colour * level * 255 / UNIT_LIGHT).tolist())
        self._strand_light = _strand_light(parts, pose, light)
        rng = np.random.default_rng(person.voice_seed + 1)
        self._strand_tone = rng.normal(0, 0.12, len(parts.strands)).tolist()
        self._curl_tone = rng.normal(0, 0.05, len(parts.curls)).tolist()

    def _lit(self, colour: Colour, gain: float = 1.0) -> Colour:
        """A colour under this light, without direction."""
        red, green, blue = (min(255.0, value * tint * gain) for value, tint in zip(colour, self._tint, strict=True))
        return red, green, blue

    def paint_back(self, image: Image, t: int) -> None:
        """What lies behind the clothes: long hair and the neck."""
        for tail in self._placed.tails:
            fill(image, tail[t], self._lit(self.person.hair, 0.62))
        neck = self._placed.neck[t]
        fill(image, neck, self._lit(self.person.skin, 0.8))
        if not self.turned_away[t]:  # the chin's shadow
            jaw = self._features.jaw[t, 0]
            drop = np.array((0, round(16 * self.scale[t] * 16)), np.int32)
            shadow = np.concatenate((jaw[8:-8], (jaw[8:-8] + drop)[::-1]))
            mask = np.zeros(image.shape[:2], np.uint8)
            top, bottom = max(0, int(neck[:, 1].min()) >> 4), min(image.shape[0], (int(neck[:, 1].max()) >> 4) + 1)
            if bottom - top > 4:
                fill(mask, neck, (255,))
                clipped = np.zeros_like(mask)
                fill(clipped, shadow, (150,))
                soft = cv2.blur(cv2.bitwise_and(mask, clipped)[top:bottom], (5, 5))
                dark = np.empty_like(image[top:bottom])
                dark[:] = np.asarray(self._lit(self.person.skin, 0.5), np.uint8)
                image[top:bottom] = blend(image[top:bottom], dark, soft)

    def paint_head(self, image: Image, t: int) -> Image:
        """The head over `image` (H, W, 3) RGB; returns the picture."""
        person, placed = self.person, self._placed
        bald = person.style == "bald"
        self._paint_curls(image, t, back=True)
        fill_hull(image, placed.mass[t], self._lit(person.skin if bald else person.hair, 0.8))
        self._paint_ears(image, t)
        if self.turned_away[t]:
            for tail in placed.tails:
                fill(image, tail[t], self._lit(person.hair, 0.8))
            self._paint_strands(image, t)
            self._paint_curls(image, t, back=False)
            return image
        face = self._paint_face(t)
        mask = np.zeros(image.shape[:2], np.uint8)
        fill_hull(mask, self._outline[t], (255,))
        image = blend(image, face, mask)
        for front in placed.fronts:
            fill(image, front[t], self._lit(person.hair, 0.92))
        self._paint_strands(image, t)
        self._paint_curls(image, t, back=False)
        if self.sunglasses or person.glasses:
            image = self._paint_glasses(image, t)
        return image

    def _paint_face(self, t: int) -> Image:
        person, f, size, scale = self.person, self._features, self.size, float(self.scale[t])
        face = np.empty((size, size, 3), np.uint8)
        face[:] = np.asarray(person.skin, np.uint8)
        fill(face, f.upper_lip[t, 0], mix(person.lip, (90, 30, 40), 0.16))
        fill(face, f.lower_lip[t, 0], person.lip)
        stroke(face, f.shine[t, 0], mix(person.lip, (255, 225, 215), 0.35), 1.6 * scale)
        inner, mask = face.copy(), np.zeros((size, size), np.uint8)
        self._paint_mouth(inner, t)
        fill(mask, f.mouth[t, 0], (255,))
        for side in (0, 1):
            self._paint_eye(inner, t, side)
            fill(mask, f.eye[t, side], (255,))
        face = blend(face, inner, mask)
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
        """(H, W, 3) the light on the skin, and what colours the skin itself."""
        low = np.empty((self.size // 2, self.size // 2, 3), np.uint8)
        low[:] = self._light_colours[t].mean(0).astype(np.uint8)
        order = self._mesh.order[t]
        order = order[self._mesh.facing[t, order]]
        for quad, colour in zip(self._quads[t, order], self._light_colours[t, order].tolist(), strict=True):
            cv2.fillConvexPoly(low, quad, colour, cv2.LINE_8, SHIFT_LOW)
        low = cv2.GaussianBlur(low, (5, 5), 1.3)
        folds = np.full(low.shape[:2], 255, np.uint8)
        depth = 0.72 * min(1.0, float(self.scale[t]) / 0.8)
        for line, strength in zip(self._features.folds[t], (self._folds[t] * depth).tolist(), strict=True):
            if strength > 0.03:
                cv2.polylines(folds, (line,), False, 255 * (1 - min(strength, 0.8)), 1, cv2.LINE_AA, SHIFT_LOW + 1)
        folds = cv2.GaussianBlur(folds, (3, 3), 0.7)
        low = cv2.multiply(low, cv2.cvtColor(folds, cv2.COLOR_GRAY2RGB), scale=1 / 255)
        return np.asarray(cv2.resize(low, (self.size, self.size), interpolation=cv2.INTER_LINEAR), np.uint8)

    def _paint_eye(self, inner: Image, t: int, side: int) -> None:
        f, scale, iris = self._features, float(self.scale[t]), self.person.iris
        fill_hull(inner, f.eyeball[t, side], (244, 240, 236))
        fill(inner, f.lid_shadow[t, side], (188, 178, 176))
        centre = f.iris[t, side, 0]
        disc(inner, centre, 7.0 * scale, mix(iris, (16, 12, 12), 0.6))
        disc(inner, centre, 6.0 * scale, iris)
        disc(inner, centre, 3.1 * scale, (16, 12, 14))
        glint = np.rint(np.array((-2.2, -2.4)) * scale * 16).astype(np.int32)
        disc(inner, centre + glint, 1.5 * scale, (255, 255, 255))

    def _paint_mouth(self, inner: Image, t: int) -> None:
        f = self._features
        fill_hull(inner, f.mouth[t, 0], (66, 16, 20))
        fill(inner, f.tongue[t, 0], (178, 78, 82))
        fill(inner, f.lower_teeth[t, 0], (214, 206, 196))
        fill(inner, f.teeth[t, 0], (246, 242, 234))

    def _paint_ears(self, image: Image, t: int) -> None:
        if self.person.style in ("bob", "long", "curly"):
            return
        for ear in self._placed.ears[t]:
            fill(image, ear, self._lit(mix(self.person.skin, (200, 110, 96), 0.12), 0.9))
            middle = ear.mean(0)
            small = (middle + 0.55 * (ear - middle)).astype(np.int32)
            fill(image, small, self._lit(mix(self.person.skin, (120, 60, 50), 0.3), 0.85))

    def _paint_strands(self, image: Image, t: int) -> None:
        width = 1.5 * float(self.scale[t])
        for number, tone in enumerate(self._strand_tone):
            if self._placed.strands_near[t, number]:
                gain = float(self._strand_light[t, number] + tone)
                stroke(
                    image,
                    self._placed.strands[t, number],
                    self._lit(mix(self.person.hair, (255, 240, 220), 0.1), gain),
                    width,
                )

    def _paint_curls(self, image: Image, t: int, back: bool) -> None:
        for number, tone in enumerate(self._curl_tone):
            if bool(self._placed.curls_near[t, number]) != back:
                centre, scale = self._placed.curls[t, number], float(self.scale[t])
                disc(image, centre, 13 * scale, self._lit(self.person.hair, 0.78 + tone))
                shift = np.rint(np.array((-2.5, -3.0)) * scale * 16).astype(np.int32)
                disc(image, centre + shift, 8.5 * scale, self._lit(self.person.hair, 0.94 + tone))

    def _paint_glasses(self, image: Image, t: int) -> Image:
        rims, scale = self._placed.rims[t], float(self.scale[t])
        dark: Colour = (26, 24, 28) if self.person.lashes > 1.2 else (92, 60, 40)
        if self.sunglasses:
            for rim in rims:
                fill(image, rim, (30, 30, 36))
        for temple in self._placed.temples[t]:
            if abs(int(temple[1, 0]) - int(temple[0, 0])) < 60 * 16 * scale:
                stroke(image, temple, dark, 1.8 * scale)
        for rim in rims:
            stroke(image, rim, dark, 1.8 * scale, closed=True)
        stroke(image, self._placed.bridge[t], dark, 2.2 * scale)
        return image


SHIFT_LOW = 4


@dataclass(frozen=True)
class _Placed:
    """Static parts in sixteenths of a pixel, for each of T frames."""

    mass: Points  # (T, N, 2)
    strands: Points  # (T, K, N, 2)
    curls: Points  # (T, K, 2)
    ears: Points  # (T, 2, N, 2)
    rims: Points  # (T, 2, N, 2)
    temples: Points
    bridge: Points
    neck: Points
    tails: list[Points]
    fronts: list[Points]
    strands_near: NDArray[np.bool_]  # (T, K): on the camera's side of the head
    curls_near: NDArray[np.bool_]

    @classmethod
    def of(cls, parts: HeadParts, pose: Pose) -> "_Placed":
        first = (parts.mass, parts.strands, parts.curls, parts.ears, parts.rims, parts.temples, parts.bridge)
        every = [part[None] for part in (*first, *parts.tails, *parts.fronts)]
        placed = project_together(every, pose)
        edge = 30 * pose.scale[:, None]
        near = placed[1][..., 2].mean(-1) < edge, placed[2][..., 2] < edge
        upright = Pose(0.25 * pose.yaw, 0 * pose.pitch, 0.3 * pose.roll, pose.centre, pose.scale)
        points = [fixed(part) for part in placed]
        tails = len(first) + len(parts.tails)
        neck = fixed(project(parts.neck[None], upright))
        mass, strands, curls, ears, rims, temples, bridge = points[: len(first)]
        return cls(
            mass, strands, curls, ears, rims, temples, bridge, neck, points[len(first) : tails], points[tails:], *near
        )


def _skin_albedo(person: Person) -> Array:
    """(Q, 3) how the skin's colour varies over the face: cheeks, nose, beard."""
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
    """(T, Q, 3) what a surface's colour is multiplied with: 190 leaves it as it is."""
    shade = mesh.shade[..., None]
    warm = np.array((0.36, 0.25, 0.22), np.float32)  # light within the skin: shadows stay warm
    level = warm + (1.12 - warm) * shade
    colour = _skin_albedo(person) * level * light.colour + 0.16 * mesh.gloss[..., None]
    return np.asarray(np.clip(colour * UNIT_LIGHT, 0, 255), np.uint8)


def _strand_light(parts: HeadParts, pose: Pose, light: Light) -> Array:
    """(T, K) how much light each strand of hair gets."""
    if not len(parts.strands):
        return np.zeros((len(pose.yaw), 0), np.float32)
    outward = parts.strands.mean(1) - np.array((0, -10, 80), np.float32)
    outward /= np.linalg.norm(outward, axis=-1, keepdims=True)
    turned = outward @ pose.rotation.transpose(0, 2, 1)
    return np.asarray(0.75 + 0.6 * np.clip(turned @ light.direction, 0, 1), np.float32)
