"""Hair, ears, neck and glasses in head space: the parts that move with the head, but not with the face."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from data_modules.synthetic.drawing import curve
from data_modules.synthetic.face_model import Array
from data_modules.synthetic.person import Person

SKULL = np.array((0, -20, 84), np.float32)
RADII = np.array((78, 94, 86), np.float32)


def shell(azimuth: Array, height: Array, thick: float) -> Array:
    """Return points on the skull, enlarged by `thick`: azimuth 0 is the front, height runs from -1 (top) to 1."""
    flat = np.sqrt(np.clip(1 - height**2, 0, 1))
    unit = np.stack((np.sin(azimuth) * flat, height, -np.cos(azimuth) * flat), -1)
    return np.asarray(SKULL + thick * RADII * unit, np.float32)


@dataclass(frozen=True)
class HeadParts:
    """The static parts of a head, as (N, 3) polygons in head space."""

    mass: Array  # points whose hull is the hair, or the bald skull, behind the face
    tails: tuple[Array, ...]  # polygons of long hair behind the neck
    fronts: tuple[Array, ...]  # polygons over the face
    strands: Array  # (K, N, 3) lines over the hair
    curls: Array  # (K, 3) centres of curls
    ears: Array  # (2, N, 3)
    neck: Array  # (4, 3) left top, left bottom, right bottom, right top
    rims: Array  # (2, N, 3) rims of the glasses
    temples: Array  # (2, 2, 3) sides of the glasses
    bridge: Array  # (3, 3) between the rims


@lru_cache(maxsize=8)
def head_parts(person: Person) -> HeadParts:
    """Compute the static parts of the head of a person."""
    points, rng = person.shape.points(), np.random.default_rng(person.seed)
    thick = {"bald": 1.0, "curly": 1.13, "short": 1.06, "bun": 1.05}.get(person.style, 1.09)
    azimuth, height = np.meshgrid(np.linspace(-np.pi, np.pi, 24), np.linspace(-1, 0.64, 12))
    mass = shell(azimuth.ravel(), height.ravel(), thick)
    lowest = 44 if person.style in ("bald", "short", "side", "bun", "curly") else 60
    mass = mass[(mass[:, 1] < lowest) & ((mass[:, 2] > 66) | (mass[:, 1] < person.hairline + 10))]
    wide = float(points[16, 0]) / 74
    mass[:, 0] *= wide
    return HeadParts(
        mass, _tails(person, wide), _fronts(person, thick, wide, rng),
        _strands(person, thick, wide, rng), _curls(person, thick, wide, rng),
        _ears(points), _neck(points), *_glasses(points),
    )  # fmt: skip


def _tails(person: Person, wide: float) -> tuple[Array, ...]:
    if person.style == "bun":
        angle = np.linspace(0, 2 * np.pi, 20, endpoint=False)
        return (np.stack((26 * np.cos(angle), -122 + 24 * np.sin(angle), 0 * angle + 105), -1).astype(np.float32),)
    if person.style not in ("bob", "long"):
        return ()
    low = 88.0 if person.style == "bob" else 165.0
    left = np.array(((-80, -40, 84), (-88, 10, 84), (-90, 55, 84), (-84, low, 84), (-45, low + 6, 100), (0, low, 120)))
    right = left[::-1] * np.array((-1, 1, 1))
    outline = np.concatenate((left, right[1:])) * np.array((wide, 1, 1))
    return (curve(outline.astype(np.float32), 4, closed=True),)


def _hairline(person: Person, azimuth: Array, drop: Array | float, thick: float, wide: float) -> Array:
    """Return points on the shell of the hair along the hairline, lowered by `drop` head units."""
    y = person.hairline + 34 * np.abs(azimuth / 1.45) ** 2.2 + drop
    points = shell(azimuth, np.clip((y - SKULL[1]) / (RADII[1] * thick), -0.99, 0.99), thick)
    points[:, 0] *= wide
    return points


def _fronts(person: Person, thick: float, wide: float, rng: np.random.Generator) -> tuple[Array, ...]:
    if person.style == "bald":
        return ()
    azimuth = np.linspace(-1.5, 1.5, 25)
    part = person.parting
    if person.style == "side":
        drop = 16 * np.exp(-(((azimuth + part) / 0.6) ** 2)) - 6 * np.exp(-(((azimuth - part) / 0.25) ** 2))
    elif person.style in ("bob", "long"):
        drop = 24 * (1 - np.exp(-(((azimuth - 0.5 * part) / 0.75) ** 2))) - 4
    elif person.style == "bun":
        drop = np.zeros_like(azimuth)
    else:
        drop = 4 * np.sin(np.linspace(0, 9 * np.pi, 25) + rng.uniform(0, 6)) + rng.normal(0, 1.5, 25)
    low = curve(_hairline(person, azimuth, drop + 3, thick, wide), 3)
    high = _hairline(person, azimuth[::-1], -34, thick, wide)
    fronts = [np.concatenate((low, curve(high, 2)))]
    if person.style in ("bob", "long"):
        end = 70.0 if person.style == "bob" else 118.0
        lock = np.array(
            (
                (-56, -62, 34),
                (-68, -30, 40),
                (-72, 10, 52),
                (-73, end * 0.6, 62),
                (-74, end, 66),
                (-88, end, 80),
                (-91, 10, 84),
                (-84, -50, 74),
            )
        )
        fronts += [curve(lock * np.array((side * wide, 1, 1)), 4, closed=True) for side in (1.0, -1.0)]
    return tuple(np.asarray(front, np.float32) for front in fronts)


def _strands(person: Person, thick: float, wide: float, rng: np.random.Generator) -> Array:
    if person.style in ("bald", "curly"):
        return np.zeros((0, 8, 3), np.float32)
    start = np.sort(rng.uniform(-1.4, 1.4, 22))
    steps = np.linspace(0, 1, 8)[None]
    if person.style in ("bun", "short"):
        azimuth = start[:, None] * (0.75 + 0.25 * steps)
        height = -0.62 - 0.3 * steps + 0.25 * np.abs(start[:, None] / 1.4) ** 2
    else:
        azimuth = 0.5 * person.parting + (start[:, None] - 0.5 * person.parting) * steps**0.8
        height = -0.94 + 0.35 * steps + 0.5 * steps**2 * np.abs(start[:, None]) / 1.4
    strands = shell(azimuth, np.clip(height, -0.98, 0.9), thick)
    strands[..., 0] *= wide
    return strands


def _curls(person: Person, thick: float, wide: float, rng: np.random.Generator) -> Array:
    if person.style != "curly":
        return np.zeros((0, 3), np.float32)
    azimuth = rng.uniform(-np.pi, np.pi, 70)
    height = rng.uniform(-0.97, 0.1, 70)
    curls = shell(azimuth, height, thick)
    fringe = _hairline(person, np.linspace(-1.35, 1.35, 13), 2.0, thick, wide)
    curls = np.concatenate((curls[(curls[:, 2] > 70) | (curls[:, 1] < person.hairline - 5)], fringe))
    curls[:, 0] *= wide
    return curls


def _ears(points: Array) -> Array:
    outline = np.array(((0, -4), (4, -14), (10, -16), (13, -8), (12, 4), (9, 16), (4, 24), (0, 20)), np.float32)
    ear = np.concatenate((outline, np.linspace(4, 14, 8, dtype=np.float32)[:, None]), 1)
    right = (
        curve(ear, 3, closed=True) + points[16] * np.array((1, 0, 1), np.float32) + np.array((-2, 16, 0), np.float32)
    )
    return np.stack((right * np.array((-1, 1, 1), np.float32), right)).astype(np.float32)


def _neck(points: Array) -> Array:
    half = 0.72 * float(points[12, 0])
    return np.array(((-half, 30, 72), (-half - 3, 190, 84), (half + 3, 190, 84), (half, 30, 72)), np.float32)


def _glasses(points: Array) -> tuple[Array, Array, Array]:
    """Return the rims (2, N, 3), temples (2, 2, 3) and bridge (3, 3)."""
    angle = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    across, down = (23 * np.sign(c) * np.abs(c) ** 0.75 for c in (np.cos(angle), np.sin(angle)))
    centres = np.stack((points[36:42].mean(0), points[42:48].mean(0)))
    x = 1.04 * centres[:, :1] + across
    rims = np.stack((x, centres[:, 1:2] + 3 + 0.78 * down, 0.12 * np.abs(x) - 7), -1)
    y = float(centres[:, 1].mean())
    temples = [((edge, y - 2, -1.0), (1.12 * edge, 2.0, 75.0)) for edge in (x[0].min(), x[1].max())]
    bridge = ((x[0].max(), y, -7.0), (0.0, y - 3, -9.0), (x[1].min(), y, -7.0))
    return rims.astype(np.float32), np.asarray(temples, np.float32), np.asarray(bridge, np.float32)
