"""Sample people: the shape of the head, colours, hair, glasses and clothes."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from data_modules.synthetic.action_units import NAMES
from data_modules.synthetic.face_model import Shape

Colour = tuple[float, float, float]
"""RGB, 0 to 255."""

SKIN: tuple[Colour, ...] = (
    (250, 218, 196), (244, 206, 180), (236, 192, 160), (226, 178, 142), (208, 158, 120), (186, 134, 98),
    (158, 108, 78), (128, 86, 62),
)  # fmt: skip
HAIR: tuple[Colour, ...] = (
    (30, 24, 24), (48, 34, 28), (76, 50, 34), (108, 72, 44), (146, 104, 62),
    (196, 158, 100), (150, 72, 40), (150, 148, 146), (206, 200, 192),
)  # fmt: skip
IRIS: tuple[Colour, ...] = ((84, 54, 34), (104, 70, 40), (96, 98, 58), (72, 116, 94), (70, 108, 150), (98, 118, 132))
CLOTHES: tuple[Colour, ...] = (
    (52, 70, 104), (120, 48, 54), (60, 92, 76), (86, 86, 92), (198, 190, 176), (44, 44, 52),
    (150, 112, 70), (112, 92, 132), (90, 130, 156), (188, 140, 130),
)  # fmt: skip

HairStyle = Literal["bald", "short", "side", "curly", "bob", "long", "bun"]
Beard = Literal["none", "stubble", "full", "moustache"]


@dataclass(frozen=True)
class Person:
    """The attributes of a person that are the same in all clips."""

    shape: Shape
    skin: Colour
    hair: Colour
    iris: Colour
    lip: Colour
    brow_thickness: float  # head units
    brow_darkness: float  # 0 to 1
    lashes: float  # pixels at a scale of 1
    blush: float
    wrinkles: float  # gain of the folds of the skin
    style: HairStyle
    hairline: float  # y at the middle of the hairline, head units
    parting: float  # -1 to 1
    beard: Beard
    glasses: bool
    collar: bool
    expressivity: float  # gain of every action unit
    asymmetry: tuple[float, ...]  # (A,) gain of the right half of the image relative to the left
    pitch: float  # of the voice, Hz
    seed: int  # seed of the details of the hair


def choose_clothes(rng: np.random.Generator) -> Colour:
    """Choose a colour for clothes."""
    return CLOTHES[int(rng.integers(len(CLOTHES)))]


def mix(a: Colour, b: Colour, share: float) -> Colour:
    """Return the colour at the fraction `share` of the way from `a` to `b`."""
    red, green, blue = (x + (y - x) * share for x, y in zip(a, b, strict=True))
    return red, green, blue


def sample_person(rng: np.random.Generator) -> Person:
    """Sample a person."""
    long_haired = bool(rng.random() < 0.5)
    tone = int(rng.integers(len(SKIN)))
    skin = mix(SKIN[tone], SKIN[min(tone + 1, len(SKIN) - 1)], float(rng.random()))
    # dark skin mostly goes with dark hair
    hair = HAIR[int(rng.integers(3 if tone >= 5 else len(HAIR)))]
    styles: tuple[HairStyle, ...] = (
        ("bob", "long", "bun", "curly") if long_haired else ("short", "side", "short", "curly", "bald")
    )
    beards: tuple[Beard, ...] = ("none",) if long_haired else ("none", "none", "stubble", "full", "moustache")
    rose: Colour = (196, 84, 88) if tone < 5 else (140, 66, 66)
    return Person(
        shape=Shape.sample(rng),
        skin=skin,
        hair=mix(hair, HAIR[0], 0.3 * float(rng.random())),
        iris=IRIS[int(rng.integers(2 if tone >= 5 else len(IRIS)))],
        lip=mix(mix(skin, rose, 0.62), (150, 40, 50), (0.45 if long_haired else 0.1) * float(rng.random())),
        brow_thickness=float(rng.uniform(3.2, 5.0) + (0.0 if long_haired else 1.2)),
        brow_darkness=float(rng.uniform(0.65, 0.95)),
        lashes=float(rng.uniform(1.6, 2.4) if long_haired else rng.uniform(1.0, 1.5)),
        blush=float(rng.uniform(0.1, 0.45)),
        wrinkles=float(rng.uniform(0.75, 1.2)),
        style=styles[int(rng.integers(len(styles)))],
        hairline=float(rng.uniform(-80, -66)),
        parting=float(rng.choice((-1, 1)) * rng.uniform(0.3, 0.8)),
        beard=beards[int(rng.integers(len(beards)))],
        glasses=bool(rng.random() < 0.2),
        collar=bool(rng.random() < 0.4),
        expressivity=float(rng.uniform(0.75, 1.1)),
        asymmetry=tuple((0.14 * rng.standard_normal(len(NAMES))).tolist()),
        pitch=float(rng.uniform(175, 235) if long_haired else rng.uniform(95, 140)),
        seed=int(rng.integers(2**31)),
    )
