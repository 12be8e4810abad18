"""One synthetic clip or still, from its settings to frames, sound and ground truth. The settings decide everything."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from data_modules import labels
from data_modules.synthetic import dynamics, scene, voice
from data_modules.synthetic.action_units import NAMES, sample_apex, unit
from data_modules.synthetic.drawing import Layer
from data_modules.synthetic.face_model import Array, Pose
from data_modules.synthetic.head_mesh import Light
from data_modules.synthetic.person import CLOTHES, Colour, Person, sample_person
from data_modules.synthetic.portrait import Performance, Portrait
from data_modules.truth import FrameTruth

Difficulty = Literal["lab", "wild"]
KINDS = ("lab", "wild", "still")
"""Identities and clips of each kind are drawn from seeds of their own, so that no person belongs to two kinds."""


@dataclass(frozen=True)
class ClipSettings:
    """What names a clip: the same settings give the same frames, sound and truth."""

    difficulty: Difficulty
    subject: int
    emotion: str
    take: int = 0
    seed: int = 0
    size: int = 256

    @property
    def clip_id(self) -> str:
        """Such as `s012-fear-0`."""
        return f"s{self.subject:03d}-{self.emotion}-{self.take}"


@dataclass(frozen=True)
class StillSettings:
    """What names a still image."""

    number: int
    subject: int
    emotion: str
    seed: int = 0
    size: int = 256

    @property
    def clip_id(self) -> str:
        """Such as `i00012-p003-fear`."""
        return f"i{self.number:05d}-p{self.subject:03d}-{self.emotion}"


@dataclass(frozen=True)
class RenderedClip:
    """A clip in memory."""

    frames: NDArray[np.uint8]  # (T, H, W, 3) RGB
    truth: FrameTruth
    sound: Array | None = None  # 16 kHz mono, within [-1, 1]; None for a silent clip


@dataclass(frozen=True)
class Staging:
    """Where, in which light, and with what else in the picture a performance is painted."""

    background: NDArray[np.uint8]
    light: Light
    sunglasses: bool = False
    bystander: Portrait | None = None
    bystander_body: Layer | None = None
    occluder: scene.Occluder | None = None
    gain: float = 1.0
    grain: float = 0.0


def person_of(kind: str, subject: int, seed: int) -> Person:
    """The person a subject's number stands for."""
    return sample_person(np.random.default_rng((seed, KINDS.index(kind), 0, subject)))


def render_clip(settings: ClipSettings) -> RenderedClip:
    """Renders one clip.

    Args:
        settings: which.

    Returns:
        24 to 56 frames of a lab clip, 8 to 150 of a wild one, with the truth of every frame.

    Raises:
        ValueError: the emotion is not one of `labels.SEVEN`.
    """
    if settings.emotion not in labels.SEVEN:
        raise ValueError(f"no such emotion: {settings.emotion!r}; expected one of {', '.join(labels.SEVEN)}")
    kind, wild = KINDS.index(settings.difficulty), settings.difficulty == "wild"
    number = labels.SEVEN.index(settings.emotion)
    rng = np.random.default_rng((settings.seed, kind, 1, settings.subject, number, settings.take))
    person = person_of(settings.difficulty, settings.subject, settings.seed)
    person = replace(person, clothes=CLOTHES[int(rng.integers(len(CLOTHES)))])
    frames = int(np.clip(np.exp(rng.normal(4.0, 0.55)), 8, 150)) if wild else int(np.clip(rng.normal(40, 8), 24, 56))
    excitement = voice.AROUSAL[settings.emotion] + rng.normal(0, 0.9 if wild else 0.5)
    words = dynamics.speech(frames / dynamics.FPS, float(np.clip(4.6 + 0.7 * excitement, 2.8, 6.5)), rng)
    intensity, units = _acting(settings, person, frames, words, rng)
    pose = (_wild_pose if wild else _lab_pose)(frames, settings.size, rng)
    performance = Performance(units, dynamics.gaze(frames, rng), pose)
    staging = (_wild_staging if wild else _lab_staging)(settings, person, pose, rng)
    rendered, truth = _paint(person, performance, staging, intensity, settings.size, rng)
    silent = wild and rng.random() < 0.12
    pitch = person.pitch * float(2 ** (0.22 * excitement))
    loudness = float(np.clip(0.28 * 2 ** (0.6 * excitement), 0.05, 0.9))
    tract = 1.15 if person.pitch > 160 else 1.0
    sound = None if silent else voice.speak(words, frames / dynamics.FPS, pitch, loudness, tract, rng)
    return RenderedClip(rendered, truth, sound)


def render_still(settings: StillSettings) -> RenderedClip:
    """Renders one still image: a clip of one frame without sound, at an intensity of 0.5 to 1."""
    number = labels.SEVEN.index(settings.emotion)
    rng = np.random.default_rng((settings.seed, KINDS.index("still"), 1, settings.number, settings.subject, number))
    person = person_of("still", settings.subject, settings.seed)
    person = replace(person, clothes=CLOTHES[int(rng.integers(len(CLOTHES)))])
    strength = 0.0 if settings.emotion == labels.NEUTRAL else float(rng.uniform(0.5, 1.0))
    units = strength * sample_apex(settings.emotion, rng) * person.expressivity
    talking = (0.6 if settings.emotion == labels.NEUTRAL else 0.25) * (1 - 0.7 * strength) * float(rng.random())
    units[unit("AU25")] += talking
    units[unit("AU26")] += 0.6 * talking
    units = np.clip(units + 0.05 * rng.random(len(NAMES)), 0, 1).astype(np.float32)[None]
    hard = rng.random() < 0.5
    wanted = ClipSettings(
        "wild" if hard else "lab", settings.subject, settings.emotion, 0, settings.seed, settings.size
    )
    pose = (_wild_pose if hard else _lab_pose)(1, settings.size, rng, absent=False)
    staging = (_wild_staging if hard else _lab_staging)(wanted, person, pose, rng)
    performance = Performance(units, rng.normal(0, (1.0, 0.3), (1, 2)).astype(np.float32), pose)
    frames, truth = _paint(person, performance, staging, np.array([strength], np.float32), settings.size, rng)
    return RenderedClip(frames, truth)


def _acting(
    settings: ClipSettings, person: Person, frames: int, words: dynamics.Speech, rng: np.random.Generator
) -> tuple[Array, Array]:
    """The labelled expression's intensity (T,) and all action units (T, A)."""
    wild, neutral = settings.difficulty == "wild", settings.emotion == labels.NEUTRAL
    intensity = np.zeros(frames, np.float32)
    units = np.zeros((frames, len(NAMES)), np.float32)
    if not neutral:
        episodes = (
            [dynamics.short_expression(frames, moment, rng) for moment in dynamics.apex_moments(frames, rng)]
            if wild
            else [dynamics.held_expression(frames, rng)]
        )
        intensity = np.maximum.reduce([episode.intensity(frames) for episode in episodes])
        units += intensity[:, None] * sample_apex(settings.emotion, rng) * person.expressivity
    if wild:  # faint expressions of something else
        for _ in range(int(rng.integers(0, 3))):
            other = labels.SEVEN[int(rng.integers(len(labels.SEVEN)))]
            episode = dynamics.short_expression(frames, float(rng.uniform(0, frames)), rng)
            faint = float(rng.uniform(0.1, 0.25)) * episode.intensity(frames) * (1 - intensity)
            units += faint[:, None] * sample_apex(other, rng)
    opening = words.opening(frames) * (1 - 0.88 * intensity)
    units[:, unit("AU25")] += 0.65 * opening
    units[:, unit("AU26")] += 0.42 * opening
    units[:, unit("AU43")] = np.maximum(units[:, unit("AU43")], dynamics.blinks(frames, rng))
    for name in ("AU1", "AU2", "AU4", "AU7", "AU12", "AU14"):
        units[:, unit(name)] += np.abs(dynamics.wander(frames, rng, 0.05, 0.1, 0.6)) * (1 - intensity)
    return intensity, np.clip(units, 0, 1)


def _lab_pose(frames: int, size: int, rng: np.random.Generator, absent: bool = True) -> Pose:
    unit_size = size / 256
    scale = float(rng.uniform(0.78, 0.92)) * unit_size
    middle = np.array((128 + rng.normal(0, 4), 124 + rng.normal(0, 3)), np.float32) * unit_size
    motion = [dynamics.wander(frames, rng, np.deg2rad(size_)) for size_ in (1.5, 1.2, 0.8)]
    yaw, pitch, roll = (
        np.deg2rad(rng.normal(0, spread)) + move for spread, move in zip((3.5, 2.5, 1.5), motion, strict=True)
    )
    drift = np.stack((dynamics.wander(frames, rng, 1.0), dynamics.wander(frames, rng, 0.8)), -1) * unit_size
    return Pose(_f32(yaw), _f32(pitch), _f32(roll), _f32(middle + drift), np.full(frames, scale, np.float32))


def _wild_pose(frames: int, size: int, rng: np.random.Generator, absent: bool = True) -> Pose:
    unit_size = size / 256
    scale = float(rng.uniform(0.5, 0.85)) * unit_size
    limits = np.deg2rad((35, 15, 15))
    base = np.deg2rad(np.clip(rng.normal(0, (15, 6, 5)), (-28, -11, -11), (28, 11, 11)))
    motion = [dynamics.wander(frames, rng, np.deg2rad(size_), 0.1, 0.6) for size_ in (6, 3, 3)]
    yaw, pitch, roll = (np.clip(b + m, -limit, limit) for b, m, limit in zip(base, motion, limits, strict=True))
    room = 256 - 2 * 75 * scale / unit_size
    middle = np.array((128 + rng.uniform(-0.3, 0.3) * room, rng.uniform(112, 132)), np.float32)
    drift = np.stack((dynamics.wander(frames, rng, 5.0), dynamics.wander(frames, rng, 2.5)), -1)
    if absent and rng.random() < 0.04:
        if rng.random() < 0.6:  # the back of the head
            yaw = yaw + np.pi * (0.85 + 0.3 * rng.random())
        else:  # the head is above the picture
            middle[1] = -118 * scale / unit_size - 4
    breath = 1 + dynamics.wander(frames, rng, 0.015)
    return Pose(_f32(yaw), _f32(pitch), _f32(roll), _f32((middle + drift) * unit_size), _f32(scale * breath))


def _f32(values: NDArray[np.floating]) -> Array:
    return np.asarray(values, np.float32)


def _light(rng: np.random.Generator, wild: bool) -> Light:
    side = rng.uniform(-0.9, 0.9) if wild else rng.uniform(-0.45, 0.45)
    direction = np.array((side, rng.uniform(-0.75, -0.1 if wild else -0.35), -0.8), np.float32)
    spread = 0.055 if wild else 0.02
    colour = _f32(np.clip(1 + rng.normal(0, spread) * np.array((1, 0.1, -1)), 0.75, 1.25))
    return Light(
        direction / np.linalg.norm(direction), colour, float(rng.uniform(0.4, 0.6) if wild else rng.uniform(0.5, 0.6))
    )


def _lab_staging(settings: ClipSettings, person: Person, pose: Pose, rng: np.random.Generator) -> Staging:
    return Staging(
        scene.plain_background(settings.size, rng), _light(rng, wild=False), grain=float(rng.uniform(0, 1.0))
    )


def _wild_staging(settings: ClipSettings, person: Person, pose: Pose, rng: np.random.Generator) -> Staging:
    frames, size = len(pose.yaw), settings.size
    light = _light(rng, wild=True)
    staging = Staging(
        scene.background(scene.choose_background(settings.emotion, rng), size, rng), light, bool(rng.random() < 0.03),
        gain=float(np.clip(np.exp(rng.normal(0, 0.2)), 0.65, 1.5)), grain=float(rng.uniform(0, 3)),
    )  # fmt: skip
    if rng.random() < 0.15:
        other = sample_person(rng)
        side = -1.0 if pose.centre[0, 0] > size / 2 else 1.0
        scale = float(pose.scale[0]) * float(rng.uniform(0.4, 0.6))
        edge = (size if side > 0 else 0) - side * rng.uniform(60, 110) * scale
        middle = np.array((edge, pose.centre[0, 1] + rng.uniform(-20, 10) * size / 256), np.float32)
        drift = np.stack((dynamics.wander(frames, rng, 2.0), dynamics.wander(frames, rng, 1.0)), -1)
        turn = _f32(-side * np.deg2rad(rng.uniform(0, 25)) + dynamics.wander(frames, rng, 0.08))
        where = Pose(
            turn,
            dynamics.wander(frames, rng, 0.05),
            dynamics.wander(frames, rng, 0.03),
            _f32(middle + drift),
            np.full(frames, scale, np.float32),
        )
        listening = np.zeros((frames, len(NAMES)), np.float32)
        listening[:, unit("AU43")] = dynamics.blinks(frames, rng)
        performance = Performance(listening, dynamics.gaze(frames, rng), where)
        body = scene.paint_body(staging.background, other, middle, scale, _body_light(light))
        staging = replace(staging, bystander=Portrait(other, performance, light, size), bystander_body=body)
    if rng.random() < 0.25:
        staging = replace(staging, occluder=_occluder(frames, person, rng))
    return staging


def _occluder(frames: int, person: Person, rng: np.random.Generator) -> scene.Occluder:
    thing = scene.THINGS[int(rng.integers(len(scene.THINGS)))]
    side = float(rng.choice((-1, 1)))
    episode = dynamics.short_expression(frames, float(rng.uniform(0, frames)), rng)
    presence = episode.intensity(frames) / max(episode.peak, 0.1)
    skin: Colour = person.skin
    colour = (
        skin
        if thing == "hand"
        else (float(rng.uniform(80, 230)), float(rng.uniform(60, 200)), float(rng.uniform(60, 200)))
    )
    place = {
        "hand": (side * rng.uniform(30, 48), rng.uniform(70, 90)),
        "mug": (side * rng.uniform(5, 25), rng.uniform(86, 100)),
        "bar": (side * rng.uniform(5, 30), rng.uniform(104, 116)),
    }[thing]
    return scene.Occluder(thing, np.asarray(place, np.float32), side, np.clip(presence, 0, 1), colour)


def _body_light(light: Light) -> Array:
    return light.colour * float(light.ambient * 0.8 + (1 - light.ambient) * max(0.25, -light.direction[2]))


def _paint(
    person: Person, performance: Performance, staging: Staging, intensity: Array, size: int, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], FrameTruth]:
    pose = performance.pose
    portrait = Portrait(person, performance, staging.light, size, staging.sunglasses)
    where = np.median(pose.centre, 0).astype(np.float32)
    scale = float(np.median(pose.scale))
    clothes = scene.paint_body(staging.background, person, where, scale, _body_light(staging.light))
    frames = np.empty((len(pose.yaw), size, size, 3), np.uint8)
    for t in range(len(frames)):
        image = staging.background.copy()
        if staging.bystander is not None and staging.bystander_body is not None:
            staging.bystander.paint_back(image, t)
            image = staging.bystander.paint_head(staging.bystander_body.over(image), t)
        portrait.paint_back(image, t)
        image = portrait.paint_head(clothes.over(image), t)
        if staging.occluder is not None:
            staging.occluder.paint(image, t, portrait.landmarks[t, 27, :2], float(pose.scale[t]))
        frames[t] = image
    scene.exposure(frames, staging.gain, staging.grain, rng)
    return frames, _truth(portrait, performance, clothes.weight, intensity, size)


def face_boxes(landmarks: Array) -> Array:
    """(T, 68, 3) landmarks -> (T, 4) boxes as a detector gives them: half the forehead to the chin, cheek to cheek."""
    low, high = landmarks[:, :, :2].min(1), landmarks[:, :, :2].max(1)
    forehead = 0.22 * (high[:, 1] - low[:, 1])
    return _f32(np.stack((low[:, 0], low[:, 1] - forehead, high[:, 0], high[:, 1]), -1))


def _truth(portrait: Portrait, performance: Performance, body: Array, intensity: Array, size: int) -> FrameTruth:
    landmarks = portrait.landmarks
    boxes = face_boxes(landmarks)
    middle = 0.5 * (boxes[:, :2] + boxes[:, 2:])
    visible = ~portrait.turned_away & ((middle > 0) & (middle < size)).all(1)
    columns = np.flatnonzero(body.any(0))
    sides = (columns[0], columns[-1] + 1) if len(columns) else (size, 0)
    top = boxes[:, 1] - 0.25 * (boxes[:, 3] - boxes[:, 1])
    person_box = np.stack(
        (np.minimum(boxes[:, 0], sides[0]), top, np.maximum(boxes[:, 2], sides[1]), np.full(len(top), size)), -1
    )
    return FrameTruth(
        intensity=_f32(intensity), visible=visible, box=boxes, landmarks=landmarks,
        person_box=_f32(np.clip(person_box, 0, size)), action_units=performance.units,
    )  # fmt: skip
