"""Sample the staging of a performance: pose of the head, light, background, bystanders and occluders."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from data_modules.synthetic import dynamics, scene
from data_modules.synthetic.action_units import NAMES, unit
from data_modules.synthetic.drawing import Image
from data_modules.synthetic.face_model import Pose
from data_modules.synthetic.face_painter import Performance
from data_modules.synthetic.head_mesh import Light
from data_modules.synthetic.occluder import MASKS, OBJECTS, Occluder, OccluderKind
from data_modules.synthetic.person import Colour, Person, choose_clothes, sample_person
from data_modules.synthetic.portrait import Portrait

Difficulty = Literal["lab", "wild", "occluded"]
REFERENCE = 256
"""The image size to which the pixel values in this file refer."""


class Figure:
    """A clothed person, painted into each of T frames.

    Args:
        person: the person.
        performance: what the head does in each frame.
        light: light on the figure.
        clothes: colour of the clothes.
        size: side of the square image, pixels.
        sunglasses: whether to replace the glasses of the person by sunglasses.
        posture: how far the shoulders are raised, head units.
    """

    def __init__(
        self,
        person: Person,
        performance: Performance,
        light: Light,
        clothes: Colour,
        size: int,
        sunglasses: bool = False,
        posture: float = 0.0,
    ) -> None:
        pose = performance.pose
        self.portrait = Portrait(person, performance, light, size, sunglasses)
        gain = light.colour * float(light.ambient * 0.8 + (1 - light.ambient) * max(0.25, -light.direction[2]))
        centre, scale = np.median(pose.centre, 0), float(np.median(pose.scale))
        self.clothes = scene.paint_body(size, clothes, person.collar, centre, scale, gain, posture)

    def paint(self, image: Image, t: int) -> None:
        """Paint the figure in frame `t` over an (H, W, 3) image."""
        self.portrait.paint_back(image, t)
        self.clothes.paint_over(image)
        self.portrait.paint_head(image, t)


@dataclass(frozen=True)
class Staging:
    """The surroundings of a performance: background, light, clothes, and other people and objects."""

    background: Image
    light: Light
    clothes: Colour
    sunglasses: bool = False
    bystander: Figure | None = None
    occluder: Occluder | None = None
    gain: float = 1.0  # exposure
    grain: int = 0  # level of sensor grain, up to `scene.GRAINS`
    posture: float = 0.0  # how far the shoulders are raised, head units
    mask: Colour | None = None  # over mouth and nose


def place_head(difficulty: Difficulty, frames: int, size: int, rng: np.random.Generator, absent: bool = True) -> Pose:
    """Sample the pose of a head over T frames.

    Args:
        difficulty: `lab` for frontal heads; otherwise yaw is within 35°, pitch and roll within 15°.
        frames: T.
        size: side of the image, pixels.
        rng: draws the pose.
        absent: whether some heads that are not `lab` are turned away or outside the image.
    """
    if difficulty == "lab":
        return _sample_lab_pose(frames, size, rng)
    pose = _sample_wild_pose(frames, size, rng)
    if not absent or rng.random() >= 0.04:
        return pose
    if rng.random() < 0.6:  # the back of the head
        return replace(pose, yaw=_as_float32(pose.yaw + np.pi * rng.uniform(0.85, 1.15)))
    above = -118 * float(pose.scale.mean()) - 4 * size / REFERENCE
    lift = np.array((0, above - pose.centre[:, 1].mean()), np.float32)
    return replace(pose, centre=pose.centre + lift)


def stage(
    difficulty: Difficulty, emotion: str, person: Person, pose: Pose, size: int, rng: np.random.Generator
) -> Staging:
    """Sample the staging of a performance.

    In `wild` clips the background depends slightly on the emotion. In `occluded` clips, in which sunglasses and a mask
    cover the face, it depends strongly on the emotion, and so does the posture: a model must learn from the context.
    """
    light = _sample_light(rng, difficulty != "lab")
    occluded = difficulty == "occluded"
    if difficulty == "lab":
        return Staging(scene.plain_background(size, rng), light, choose_clothes(rng), grain=int(rng.integers(0, 5)))
    background = scene.background(scene.choose_background(emotion, rng, 0.9 if occluded else 0.25), size, rng)
    sunglasses = bool(rng.random() < 0.03)
    bystander = _sample_bystander(pose, light, size, rng) if rng.random() < 0.15 else None
    occluder = _sample_occluder(len(pose.yaw), person, rng) if rng.random() < 0.25 else None
    gain = float(np.clip(np.exp(rng.normal(0, 0.2)), 0.65, 1.5))
    staging = Staging(
        background,
        light,
        choose_clothes(rng),
        sunglasses,
        bystander,
        occluder,
        gain,
        int(rng.integers(scene.GRAINS + 1)),
    )
    if not occluded:
        return staging
    mask = MASKS[int(rng.integers(len(MASKS)))]
    return replace(staging, sunglasses=True, mask=mask, posture=scene.choose_posture(emotion, rng))


def _sample_lab_pose(frames: int, size: int, rng: np.random.Generator) -> Pose:
    unit_size = size / REFERENCE
    scale = float(rng.uniform(0.78, 0.92)) * unit_size
    middle = np.array((128 + rng.normal(0, 4), 124 + rng.normal(0, 3)), np.float32) * unit_size
    motion = [dynamics.wander(frames, rng, np.deg2rad(size_)) for size_ in (1.5, 1.2, 0.8)]
    yaw, pitch, roll = (
        np.deg2rad(rng.normal(0, spread)) + move for spread, move in zip((3.5, 2.5, 1.5), motion, strict=True)
    )
    drift = np.stack((dynamics.wander(frames, rng, 1.0), dynamics.wander(frames, rng, 0.8)), -1) * unit_size
    return Pose(
        _as_float32(yaw),
        _as_float32(pitch),
        _as_float32(roll),
        _as_float32(middle + drift),
        np.full(frames, scale, np.float32),
    )


def _sample_wild_pose(frames: int, size: int, rng: np.random.Generator) -> Pose:
    unit_size = size / REFERENCE
    scale = float(rng.uniform(0.5, 0.85)) * unit_size
    limits = np.deg2rad((35, 15, 15))
    base = np.deg2rad(np.clip(rng.normal(0, (15, 6, 5)), (-28, -11, -11), (28, 11, 11)))
    motion = [dynamics.wander(frames, rng, np.deg2rad(size_), 0.1, 0.6) for size_ in (6, 3, 3)]
    yaw, pitch, roll = (np.clip(b + m, -limit, limit) for b, m, limit in zip(base, motion, limits, strict=True))
    room = REFERENCE - 2 * 75 * scale / unit_size
    middle = np.array((128 + rng.uniform(-0.3, 0.3) * room, rng.uniform(112, 132)), np.float32)
    drift = np.stack((dynamics.wander(frames, rng, 5.0), dynamics.wander(frames, rng, 2.5)), -1)
    breath = 1 + dynamics.wander(frames, rng, 0.015)
    return Pose(
        _as_float32(yaw),
        _as_float32(pitch),
        _as_float32(roll),
        _as_float32((middle + drift) * unit_size),
        _as_float32(scale * breath),
    )


def _as_float32(values: NDArray[np.floating]) -> NDArray[np.float32]:
    return np.asarray(values, np.float32)


def _sample_light(rng: np.random.Generator, wild: bool) -> Light:
    side = rng.uniform(-0.9, 0.9) if wild else rng.uniform(-0.45, 0.45)
    direction = np.array((side, rng.uniform(-0.75, -0.1 if wild else -0.35), -0.8), np.float32)
    warmth = float(np.clip(rng.normal(0.02, 0.045), -0.035, 0.12)) if wild else float(rng.normal(0, 0.015))
    colour = _as_float32(1 + warmth * np.array((1, 0.1, -1)))
    return Light(
        direction / np.linalg.norm(direction), colour, float(rng.uniform(0.4, 0.6) if wild else rng.uniform(0.5, 0.6))
    )


def _sample_bystander(pose: Pose, light: Light, size: int, rng: np.random.Generator) -> Figure:
    """Sample a smaller person at the other side of the image, who listens."""
    frames, person = len(pose.yaw), sample_person(rng)
    side = -1.0 if pose.centre[0, 0] > size / 2 else 1.0
    scale = float(pose.scale[0]) * float(rng.uniform(0.4, 0.6))
    edge = (size if side > 0 else 0) - side * rng.uniform(60, 110) * scale
    middle = np.array((edge, pose.centre[0, 1] + rng.uniform(-20, 10) * size / REFERENCE), np.float32)
    drift = np.stack((dynamics.wander(frames, rng, 2.0), dynamics.wander(frames, rng, 1.0)), -1) * size / REFERENCE
    turn = _as_float32(-side * np.deg2rad(rng.uniform(0, 25)) + dynamics.wander(frames, rng, 0.08))
    nod, tilt = dynamics.wander(frames, rng, 0.05), dynamics.wander(frames, rng, 0.03)
    placement = Pose(turn, nod, tilt, _as_float32(middle + drift), np.full(frames, scale, np.float32))
    units = np.zeros((frames, len(NAMES)), np.float32)
    units[:, unit("AU43")] = dynamics.blinks(frames, rng)
    return Figure(person, Performance(units, dynamics.gaze(frames, rng), placement), light, choose_clothes(rng), size)


def _sample_occluder(frames: int, person: Person, rng: np.random.Generator) -> Occluder:
    kind: OccluderKind = OBJECTS[int(rng.integers(len(OBJECTS)))]
    side = float(rng.choice((-1, 1)))
    episode = dynamics.short_expression(frames, float(rng.uniform(0, frames)), rng)
    presence = episode.intensity(frames) / max(episode.peak, 0.1)
    red, green, blue = rng.uniform((80, 60, 60), (230, 200, 200)).tolist()
    colour: Colour = person.skin if kind == "hand" else (red, green, blue)
    offset = {
        "hand": (side * rng.uniform(30, 48), rng.uniform(70, 90)),
        "mug": (side * rng.uniform(5, 25), rng.uniform(86, 100)),
        "bar": (side * rng.uniform(5, 30), rng.uniform(104, 116)),
    }[kind]
    return Occluder(kind, np.asarray(offset, np.float32), side, np.clip(presence, 0, 1), colour)
