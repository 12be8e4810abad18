"""Paint everything but the head: backgrounds, clothes, and the exposure and grain of the camera."""

from functools import lru_cache
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from data_modules import labels
from data_modules.synthetic.drawing import Image, Layer, curve, disc, fill, stroke, to_fixed_point
from data_modules.synthetic.face_model import Array
from data_modules.synthetic.person import Colour, mix

Background = Literal["wall", "window", "shelf", "outdoors", "lights", "curtain", "office"]
BACKGROUNDS: tuple[Background, ...] = ("wall", "window", "shelf", "outdoors", "lights", "curtain", "office")

GRID = np.mgrid[0:32, 0:32].astype(np.float32) / 32
"""(2, 32, 32) rows and columns, 0 to 1. Smooth shading is computed at this size and enlarged."""
GRAINS = 12
"""Number of levels of sensor grain."""

LIKELY: dict[str, tuple[Background, Background]] = {
    labels.ANGER: ("office", "wall"), labels.DISGUST: ("wall", "curtain"), labels.FEAR: ("lights", "curtain"),
    labels.HAPPINESS: ("outdoors", "window"), labels.NEUTRAL: ("office", "shelf"),
    labels.SADNESS: ("window", "curtain"),
    labels.SURPRISE: ("lights", "outdoors"),
}  # fmt: skip
"""Backgrounds that are somewhat more frequent with each emotion, as in films."""

POSTURE = {
    labels.ANGER: 6.0, labels.DISGUST: -6.0, labels.FEAR: 14.0, labels.HAPPINESS: 0.0, labels.NEUTRAL: 0.0,
    labels.SADNESS: -14.0, labels.SURPRISE: 10.0,
}  # fmt: skip
"""How far an emotion raises the shoulders, in head units, in clips in which the posture depends on it."""


def choose_background(emotion: str, rng: np.random.Generator, share: float = 0.25) -> Background:
    """Choose a background: with probability `share` one that is likely with the emotion, otherwise any."""
    choices = LIKELY[emotion] if rng.random() < share else BACKGROUNDS
    return choices[int(rng.integers(len(choices)))]


def choose_posture(emotion: str, rng: np.random.Generator) -> float:
    """Choose how far the shoulders are raised in a clip, in head units."""
    return POSTURE[emotion] + float(rng.normal(0, 5))


def plain_background(size: int, rng: np.random.Generator) -> Image:
    """Paint the wall of a studio, (size, size, 3): one muted colour, lighter in one corner."""
    colour = rng.uniform(95, 205) + rng.uniform(-22, 22, 3)
    return _gradient(size, tuple(colour * 1.08), tuple(colour * 0.85), rng)


def background(kind: Background, size: int, rng: np.random.Generator) -> Image:
    """Paint a blurred scene of the given kind, (size, size, 3)."""
    tone = rng.uniform(60, 190) + rng.uniform(-30, 30, 3)
    image = _gradient(size // 2, tuple(np.clip(tone * 1.15, 0, 255)), tuple(tone * 0.7), rng)  # it is blurred
    painters = (_wall, _window, _shelf, _outdoors, _lights, _curtain, _office)
    painters[BACKGROUNDS.index(kind)](image, rng)
    image = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(1.5, 4.5)) * size / 512)
    return np.asarray(cv2.resize(image, (size, size), interpolation=cv2.INTER_CUBIC), np.uint8)


def _gradient(size: int, light: tuple[float, ...], dark: tuple[float, ...], rng: np.random.Generator) -> Image:
    y, x = GRID
    angle = rng.uniform(0, 2 * np.pi)
    share = np.clip(0.5 + (x - 0.5) * np.cos(angle) + (y - 0.5) * np.sin(angle), 0, 1)[..., None]
    small = np.clip(np.asarray(light) * (1 - share) + np.asarray(dark) * share, 0, 255).astype(np.uint8)
    return np.asarray(cv2.resize(small, (size, size), interpolation=cv2.INTER_CUBIC), np.uint8)


def _box(image: Image, left: float, top: float, right: float, bottom: float, colour: tuple[float, ...]) -> None:
    """Fill a rectangle; coordinates are fractions of the size."""
    size = image.shape[0]
    cv2.rectangle(
        image, (round(left * size), round(top * size)), (round(right * size), round(bottom * size)), colour, -1
    )


def _colour(rng: np.random.Generator, low: float = 40, high: float = 210) -> Colour:
    red, green, blue = rng.uniform(low, high, 3).tolist()
    return red, green, blue


def _wall(image: Image, rng: np.random.Generator) -> None:
    for _ in range(int(rng.integers(1, 4))):  # pictures in frames
        x, y, w, h = rng.uniform(0, 0.8), rng.uniform(0, 0.45), rng.uniform(0.12, 0.3), rng.uniform(0.12, 0.3)
        _box(image, x, y, x + w, y + h, (54, 40, 30))
        _box(image, x + 0.02, y + 0.02, x + w - 0.02, y + h - 0.02, _colour(rng, 90, 220))


def _window(image: Image, rng: np.random.Generator) -> None:
    x = float(rng.uniform(0, 0.55))
    _box(image, x, 0.0, x + 0.45, 0.68, (232, 228, 220))
    sky = _colour(rng, 150, 235)
    for i in range(2):
        for j in range(2):
            _box(
                image,
                x + 0.025 + 0.21 * i,
                0.02 + 0.33 * j,
                x + 0.215 + 0.21 * i,
                0.32 + 0.33 * j,
                mix(sky, (250, 250, 250), 0.3 * j),
            )


def _shelf(image: Image, rng: np.random.Generator) -> None:
    image[:] = (image * 0.55).astype(np.uint8)
    for top in np.arange(0.0, 1.0, 0.25):
        x = 0.0
        while x < 1:
            wide = float(rng.uniform(0.025, 0.06))
            _box(image, x, top + float(rng.uniform(0.02, 0.09)), x + wide - 0.006, top + 0.22, _colour(rng, 40, 180))
            x += wide if rng.random() < 0.93 else 0.12
        _box(image, 0, top + 0.22, 1, top + 0.25, (92, 64, 42))


def _outdoors(image: Image, rng: np.random.Generator) -> None:
    size, horizon = image.shape[0], float(rng.uniform(0.45, 0.75))
    _box(image, 0, 0, 1, horizon, (168 + rng.uniform(-20, 30), 200, 228))
    _box(image, 0, horizon, 1, 1, (96 + rng.uniform(-20, 40), 136, 78))
    for _ in range(14):
        centre = np.array((rng.uniform(0, 1), horizon - rng.uniform(-0.02, 0.2)))
        green = rng.uniform(0.6, 1.15)
        disc(
            image,
            to_fixed_point(centre * size),
            float(rng.uniform(0.05, 0.15)) * size,
            (66 * green, 112 * green, 62 * green),
        )


def _lights(image: Image, rng: np.random.Generator) -> None:
    image[:] = (image * 0.28).astype(np.uint8)
    for _ in range(26):
        disc(
            image,
            to_fixed_point(rng.uniform(0, 1, 2) * image.shape[0]),
            float(rng.uniform(0.012, 0.04)) * image.shape[0],
            _colour(rng, 90, 255),
        )


def _curtain(image: Image, rng: np.random.Generator) -> None:
    x = np.arange(image.shape[1]) / image.shape[1]
    wave = 1 + 0.22 * np.sin(2 * np.pi * (rng.uniform(6, 13) * x + 0.3 * np.sin(5 * x)))
    image[:] = np.clip(image * wave[None, :, None], 0, 255).astype(np.uint8)


def _office(image: Image, rng: np.random.Generator) -> None:
    _box(image, 0, 0, 1, 0.07, (214, 214, 208))
    for _ in range(3):
        x, y = float(rng.uniform(0, 0.85)), float(rng.uniform(0.2, 0.6))
        _box(image, x, y, x + 0.24, y + 0.2, (40, 42, 48))
        _box(image, x + 0.012, y + 0.015, x + 0.228, y + 0.17, _colour(rng, 90, 220))
    _box(image, 0, 0.8, 1, 1, (136, 110, 84))


def _paint_cloth(size: int, colour: Colour, centre: Array, scale: float) -> Image:
    """Paint an image, (size, size, 3), of cloth with folds and shade, for a head whose pivot is at `centre`."""
    y, x = GRID * size
    across, down = (x - centre[0]) / (190 * scale), (y - centre[1]) / (260 * scale)
    shade = np.clip(
        1.12 - 0.35 * across**2 - 0.18 * np.clip(down - 0.5, 0, 1) + 0.05 * np.sin(9 * across + 4 * down), 0.3, 1.2
    )
    small = np.clip(np.asarray(colour) * shade[..., None], 0, 255).astype(np.uint8)
    return np.asarray(cv2.resize(small, (size, size), interpolation=cv2.INTER_LINEAR), np.uint8)


def paint_body(
    size: int, clothes: Colour, collar: bool, centre: Array, scale: float, gain: Array, posture: float = 0.0
) -> Layer:
    """Paint the clothes below a head.

    Args:
        size: side of the square image, pixels.
        clothes: colour of the clothes.
        collar: whether they have a collar.
        centre: (2,) pivot of the head, pixels.
        scale: pixels per head unit.
        gain: (3,) RGB gain of the light.
        posture: how far the shoulders are raised, head units.

    Returns:
        The clothes, to be blended over each frame once the neck is painted.
    """
    red, green, blue = np.clip(np.asarray(clothes) * gain, 0, 255).tolist()
    colour: Colour = (red, green, blue)
    half = np.array(((-44, 128), (-72, 142), (-118, 156), (-156, 176), (-176, 215), (-184, 280)), np.float32)
    half[:, 1] -= posture * np.array((0, 0.3, 0.8, 1, 1, 0.5), np.float32)
    neckline = np.array(((-44, 128), (-34, 146), (0, 156 if not collar else 172), (34, 146), (44, 128)), np.float32)
    right = half[::-1] * np.array((-1, 1), np.float32)
    feet = np.array(((-190, 2000), (190, 2000)), np.float32)
    outline = np.concatenate((curve(half, 4), feet, curve(right, 4), curve(neckline[::-1], 4)[1:-1]))
    mask = np.zeros((size, size), np.uint8)
    fill(mask, to_fixed_point(outline * scale + centre), (255,))
    image = _paint_cloth(size, colour, centre, scale)
    dark, light = mix(colour, (0, 0, 0), 0.35), mix(colour, (255, 255, 255), 0.22)
    if collar:
        for side in (-1.0, 1.0):
            flap = to_fixed_point(
                (np.array(((48, 122), (36, 148), (3, 178), (26, 190), (62, 150))) * (side, 1)) * scale + centre
            )
            fill(image, flap, light)
            stroke(image, flap, dark, 1.2 * scale, closed=True)
            fill(mask, flap, (255,))
        stroke(image, to_fixed_point(np.array(((3, 178), (3, 600)), np.float32) * scale + centre), dark, 1.2 * scale)
    else:
        stroke(image, to_fixed_point(curve(neckline, 4) * scale + centre), dark, 5 * scale)
    return Layer.from_mask(image, mask)


NOISE_MARGIN = 64  # pixels by which frames are offset within the same noise


@lru_cache(maxsize=GRAINS + 1)
def _noise(size: int, level: int) -> tuple[Image, Image]:
    """Return what sensor noise adds and subtracts, (size + NOISE_MARGIN, size + NOISE_MARGIN, 3) each."""
    shape = (size + NOISE_MARGIN, size + NOISE_MARGIN)
    noise = np.random.default_rng(0).normal(0, 1.7 * level / 4, shape).astype(np.float32)
    noise = cv2.GaussianBlur(noise, (3, 3), 0.7)
    brighter, darker = (np.clip(np.rint(sign * noise), 0, 60).astype(np.uint8) for sign in (1, -1))
    return cv2.cvtColor(brighter, cv2.COLOR_GRAY2RGB), cv2.cvtColor(darker, cv2.COLOR_GRAY2RGB)


def expose(frames: NDArray[np.uint8], gain: float, grain: int) -> None:
    """Brighten frames in place by a gamma curve, and add sensor grain.

    Args:
        frames: (T, H, W, 3) frames.
        gain: exposure, above 1 for brighter images.
        grain: level of grain, 0 to `GRAINS`; each level adds 1.7 / 4 grey levels to the standard deviation.
    """
    gamma_table = np.clip(255 * (np.arange(256) / 255) ** (1 / gain), 0, 255).astype(np.uint8)
    size = frames.shape[1]
    brighter, darker = _noise(size, grain)
    offsets = np.random.default_rng(len(frames)).integers(0, NOISE_MARGIN, (len(frames), 2)).tolist()
    for frame, (y, x) in zip(frames, offsets, strict=True):
        if gain != 1:
            cv2.LUT(frame, gamma_table, frame)
        if grain:
            part = slice(y, y + size), slice(x, x + size)
            cv2.add(frame, brighter[part], frame)
            cv2.subtract(frame, darker[part], frame)
