"""Paint objects between the camera and the face."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from data_modules.synthetic.drawing import Image, curve, disc, fill, stroke, to_fixed_point
from data_modules.synthetic.face_model import Array
from data_modules.synthetic.person import Colour, mix

OccluderKind = Literal["hand", "mug", "bar"]
OBJECTS: tuple[OccluderKind, ...] = ("hand", "mug", "bar")
MASKS: tuple[Colour, ...] = ((206, 222, 228), (232, 232, 228), (44, 46, 52), (126, 160, 178))
"""Colours of face masks."""

_JAW = np.arange(1, 16)  # points along the jaw, from below one ear to below the other
_BRIDGE = 28  # point on the nose to which a mask reaches


def paint_mask(image: Image, landmarks: Array, colour: Colour) -> None:
    """Paint a mask over nose and mouth, given (68, 3) landmarks in pixels."""
    jaw, bridge = landmarks[_JAW, :2], landmarks[_BRIDGE, :2]
    around = np.concatenate((jaw + 0.06 * (jaw - bridge), bridge[None]))
    outline = to_fixed_point(curve(around, 3, closed=True))
    fill(image, outline, colour)
    edge = mix(colour, (0, 0, 0), 0.25)
    size = float(np.linalg.norm(jaw[0] - jaw[-1]))
    stroke(image, outline, edge, 0.012 * size, closed=True)
    for share in (0.35, 0.55, 0.75):  # folds
        fold = np.stack([bridge + share * (jaw[point] - bridge) for point in (3, 7, 11)])
        stroke(image, to_fixed_point(curve(fold, 4)), edge, 0.012 * size)


@dataclass(frozen=True)
class Occluder:
    """An object that is between the camera and the face for some time."""

    kind: OccluderKind
    offset: Array  # (2,) from the centre of the face, head units
    side: float  # the side it comes from: -1 for left, 1 for right
    presence: Array  # (T,) from 0, out of the image, to 1, at its offset
    colour: Colour

    def paint(self, image: Image, t: int, face: Array, scale: float) -> None:
        """Paint the object in frame `t`; `face` is the centre of the face in pixels."""
        presence = float(self.presence[t])
        if presence <= 0:
            return
        away = (1 - presence) * np.array((self.side * 150, 260), np.float32)
        origin = face + (self.offset + away) * scale
        {"hand": self._hand, "mug": self._mug, "bar": self._bar}[self.kind](image, origin, scale)

    def _hand(self, image: Image, origin: Array, scale: float) -> None:
        dark = mix(self.colour, (60, 24, 20), 0.3)
        arm = np.array(((-22, 20), (22, 20), (40 + 60 * self.side, 330), (-40 + 60 * self.side, 330)), np.float32)
        fill(image, to_fixed_point(arm * scale + origin), dark)
        palm = curve(
            np.array(((-27, -4), (0, -12), (27, -4), (26, 34), (0, 46), (-26, 34)), np.float32), 4, closed=True
        )
        fill(image, to_fixed_point(palm * scale + origin), self.colour)
        for x, length in ((-21, 38), (-7, 47), (7, 45), (21, 34)):
            tip = origin + np.array((x * 1.18, -length), np.float32) * scale
            root = origin + np.array((x, 0), np.float32) * scale
            for width, colour in ((14.5, dark), (12.5, self.colour)):
                stroke(image, to_fixed_point(np.stack((root, tip))), colour, width * scale)
                disc(image, to_fixed_point(tip), width / 2 * scale, colour)

    def _mug(self, image: Image, origin: Array, scale: float) -> None:
        rim = np.array((0.5 * 64, 9), np.float32)
        angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        oval = np.stack((np.cos(angle), np.sin(angle)), -1) * rim
        stroke(
            image,
            to_fixed_point((oval * (0.62, 2.4) + (self.side * 34, 30)) * scale + origin),
            mix(self.colour, (0, 0, 0), 0.2),
            7 * scale,
            closed=True,
        )
        body = np.array(((-32, 0), (32, 0), (28, 68), (-28, 68)), np.float32)
        fill(image, to_fixed_point(body * scale + origin), self.colour)
        fill(
            image,
            to_fixed_point(np.array(((-32, 0), (-16, 0), (-15, 70), (-28, 68)), np.float32) * scale + origin),
            mix(self.colour, (255, 255, 255), 0.3),
        )
        fill(image, to_fixed_point((oval * (0.95, 0.6) + (0, 68)) * scale + origin), self.colour)
        fill(image, to_fixed_point(oval * scale + origin), mix(self.colour, (255, 255, 255), 0.45))
        fill(image, to_fixed_point((oval * 0.86 + (0, 1)) * scale + origin), (62, 40, 28))

    def _bar(self, image: Image, origin: Array, scale: float) -> None:
        lean = 40 * self.side
        pole = np.array(((-7, -20), (7, -20), (10 + lean, 400), (-10 + lean, 400)), np.float32)
        fill(image, to_fixed_point(pole * scale + origin), (52, 52, 58))
        angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        head = np.stack((17 * np.cos(angle), 24 * np.sin(angle) - 22), -1).astype(np.float32)
        fill(image, to_fixed_point(head * scale + origin), (38, 38, 42))
        fill(image, to_fixed_point((head * 0.55 - (3, 14)) * scale + origin), (84, 84, 92))
