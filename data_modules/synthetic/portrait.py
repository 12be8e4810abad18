"""Paint the head of a person: the face, and the hair, ears, neck and glasses."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from data_modules.synthetic.drawing import (
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
from data_modules.synthetic.face_model import Array, Pose, project, project_together
from data_modules.synthetic.face_painter import UNIT_LIGHT, FacePainter, Performance
from data_modules.synthetic.hair import HeadParts, head_parts
from data_modules.synthetic.head_mesh import Light
from data_modules.synthetic.person import Colour, Person, mix

MIN_COSINE = 0.1
"""A face is turned away if the cosine of its angle to the camera is smaller."""


class Portrait:
    """The head of a person in T frames: projected for all frames at once, then painted frame by frame.

    Args:
        person: the person.
        performance: what the head does in each frame.
        light: light on skin and hair.
        size: side of the square image, pixels.
        sunglasses: whether to replace the glasses of the person by sunglasses.
    """

    def __init__(
        self, person: Person, performance: Performance, light: Light, size: int = 256, sunglasses: bool = False
    ) -> None:
        self.person, self.sunglasses = person, sunglasses
        pose = performance.pose
        self._face = FacePainter(person, performance, light, size)
        self.landmarks = self._face.landmarks  # (T, 68, 3)
        self.scale = pose.scale
        self.turned_away = pose.rotation[:, 2, 2] < MIN_COSINE
        parts = head_parts(person)
        self._parts = _ProjectedParts.from_parts(parts, pose)
        frontal = max(0.2, float(-0.75 * light.direction[2] - 0.15 * light.direction[1]))
        level = light.ambient * 0.75 + (1 - light.ambient) * frontal
        self._tint = tuple((light.colour * level * 255 / UNIT_LIGHT).tolist())
        self._strand_light = _strand_light(parts, pose, light)
        rng = np.random.default_rng(person.seed + 1)
        self._strand_tone = rng.normal(0, 0.12, len(parts.strands)).tolist()
        self._curl_tone = rng.normal(0, 0.05, len(parts.curls)).tolist()

    def _lit(self, colour: Colour, gain: float = 1.0) -> Colour:
        """Return a colour under this light, ignoring its direction."""
        red, green, blue = (min(255.0, value * tint * gain) for value, tint in zip(colour, self._tint, strict=True))
        return red, green, blue

    def paint_back(self, image: Image, t: int) -> None:
        """Paint what is behind the clothes in frame `t`: long hair and the neck."""
        for tail in self._parts.tails:
            fill(image, tail[t], self._lit(self.person.hair, 0.62))
        neck = self._parts.neck[t]
        fill(image, neck, self._lit(self.person.skin, 0.8))
        if not self.turned_away[t]:
            self._paint_chin_shadow(image, t)

    def _paint_chin_shadow(self, image: Image, t: int) -> None:
        neck, jaw = self._parts.neck[t], self._face.jaw(t)[8:-8]
        drop = np.array((0, round(16 * self.scale[t] * 16)), np.int32)
        throat, shadow = np.zeros((2, *image.shape[:2]), np.uint8)
        fill(throat, neck, (255,))
        fill(shadow, np.concatenate((jaw, (jaw + drop)[::-1])), (150,))
        soft = cv2.blur(cv2.bitwise_and(throat, shadow), (5, 5))
        blend(
            image,
            uniform_image(image.shape[0], image.shape[1], self._lit(self.person.skin, 0.5)),
            soft,
            extent(image, neck),
        )

    def paint_head(self, image: Image, t: int) -> None:
        """Paint the head in frame `t` over an (H, W, 3) RGB image."""
        person, parts = self.person, self._parts
        bald = person.style == "bald"
        self._paint_curls(image, t, back=True)
        fill_hull(image, parts.mass[t], self._lit(person.skin if bald else person.hair, 0.8))
        self._paint_ears(image, t)
        if self.turned_away[t]:
            for tail in parts.tails:
                fill(image, tail[t], self._lit(person.hair, 0.8))
            self._paint_strands(image, t)
            self._paint_curls(image, t, back=False)
            return
        self._face.paint(image, t)
        for front in parts.fronts:
            fill(image, front[t], self._lit(person.hair, 0.92))
        self._paint_strands(image, t)
        self._paint_curls(image, t, back=False)
        if self.sunglasses or person.glasses:
            self._paint_glasses(image, t)

    def _paint_ears(self, image: Image, t: int) -> None:
        if self.person.style in ("bob", "long", "curly"):
            return
        for ear in self._parts.ears[t]:
            fill(image, ear, self._lit(mix(self.person.skin, (200, 110, 96), 0.12), 0.9))
            middle = ear.mean(0)
            small = (middle + 0.55 * (ear - middle)).astype(np.int32)
            fill(image, small, self._lit(mix(self.person.skin, (120, 60, 50), 0.3), 0.85))

    def _paint_strands(self, image: Image, t: int) -> None:
        width, colour = 1.5 * float(self.scale[t]), mix(self.person.hair, (255, 240, 220), 0.1)
        for number, tone in enumerate(self._strand_tone):
            if self._parts.strands_near[t, number]:
                gain = float(self._strand_light[t, number] + tone)
                stroke(image, self._parts.strands[t, number], self._lit(colour, gain), width)

    def _paint_curls(self, image: Image, t: int, back: bool) -> None:
        for number, tone in enumerate(self._curl_tone):
            if bool(self._parts.curls_near[t, number]) != back:
                centre, scale = self._parts.curls[t, number], float(self.scale[t])
                disc(image, centre, 13 * scale, self._lit(self.person.hair, 0.78 + tone))
                shift = np.rint(np.array((-2.5, -3.0)) * scale * 16).astype(np.int32)
                disc(image, centre + shift, 8.5 * scale, self._lit(self.person.hair, 0.94 + tone))

    def _paint_glasses(self, image: Image, t: int) -> None:
        rims, scale = self._parts.rims[t], float(self.scale[t])
        dark: Colour = (26, 24, 28) if self.person.lashes > 1.2 else (92, 60, 40)
        if self.sunglasses:
            for rim in rims:
                fill(image, rim, (30, 30, 36))
        for temple in self._parts.temples[t]:
            if abs(int(temple[1, 0]) - int(temple[0, 0])) < 60 * 16 * scale:
                stroke(image, temple, dark, 1.8 * scale)
        for rim in rims:
            stroke(image, rim, dark, 2.1 * scale, closed=True)
        stroke(image, self._parts.bridge[t], dark, 2.2 * scale)


@dataclass(frozen=True)
class _ProjectedParts:
    """The static parts in the image, in sixteenths of a pixel, in each of T frames."""

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
    strands_near: NDArray[np.bool_]  # (T, K) whether they are on the camera's side of the head
    curls_near: NDArray[np.bool_]

    @classmethod
    def from_parts(cls, parts: HeadParts, pose: Pose) -> "_ProjectedParts":
        first = (parts.mass, parts.strands, parts.curls, parts.ears, parts.rims, parts.temples, parts.bridge)
        every = [part[None] for part in (*first, *parts.tails, *parts.fronts)]
        projected = project_together(every, pose)
        edge = 30 * pose.scale[:, None]
        near = projected[1][..., 2].mean(-1) < edge, projected[2][..., 2] < edge
        upright = Pose(0.25 * pose.yaw, 0 * pose.pitch, 0.3 * pose.roll, pose.centre, pose.scale)
        points = [to_fixed_point(part) for part in projected]
        tails = len(first) + len(parts.tails)
        neck = to_fixed_point(project(parts.neck[None], upright))
        mass, strands, curls, ears, rims, temples, bridge = points[: len(first)]
        return cls(
            mass, strands, curls, ears, rims, temples, bridge, neck, points[len(first) : tails], points[tails:], *near
        )


def _strand_light(parts: HeadParts, pose: Pose, light: Light) -> Array:
    """Return the (T, K) light on each strand of hair."""
    if not len(parts.strands):
        return np.zeros((len(pose.yaw), 0), np.float32)
    outward = parts.strands.mean(1) - np.array((0, -10, 80), np.float32)
    outward /= np.linalg.norm(outward, axis=-1, keepdims=True)
    turned = outward @ pose.rotation.transpose(0, 2, 1)
    return np.asarray(0.75 + 0.6 * np.clip(turned @ light.direction, 0, 1), np.float32)
