"""Render one synthetic clip or still: from its settings, which determine everything, to frames, audio and truth."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from data_modules import labels
from data_modules.faces.ground_truth import FrameTruth
from data_modules.synthetic import dynamics, scene, voice
from data_modules.synthetic.action_units import NAMES, sample_apex, unit
from data_modules.synthetic.face_model import Array
from data_modules.synthetic.face_painter import Performance
from data_modules.synthetic.occluder import paint_mask
from data_modules.synthetic.person import Person, sample_person
from data_modules.synthetic.staging import Difficulty, Figure, Staging, place_head, stage

RENDERER = 3
"""Version of the renderer, to be increased when the same settings give other frames or audio; clips are rendered again.
"""

KINDS = ("lab", "wild", "still", "occluded")
"""Kinds of clips. Each draws its people and clips from separate seeds, so that no person belongs to two kinds."""


@dataclass(frozen=True)
class ClipSettings:
    """The settings that identify a clip: the same settings give the same frames, audio and truth."""

    difficulty: Difficulty
    subject: int
    emotion: str
    take: int = 0
    seed: int = 0
    size: int = 256
    strength: float = 1.0  # factor of the labelled expression's action units

    @property
    def clip_id(self) -> str:
        """The id of the clip, such as `s012-fear-0`."""
        return f"s{self.subject:03d}-{self.emotion}-{self.take}"


@dataclass(frozen=True)
class StillSettings:
    """The settings that identify a still image; `occluded` ones are staged like the clips of that difficulty."""

    number: int
    subject: int
    emotion: str
    seed: int = 0
    size: int = 256
    occluded: bool = False

    @property
    def clip_id(self) -> str:
        """The id of the image, such as `i00012-p003-fear`."""
        return f"i{self.number:05d}-p{self.subject:03d}-{self.emotion}"


@dataclass(frozen=True)
class RenderedClip:
    """A rendered clip in memory."""

    frames: NDArray[np.uint8]  # (T, H, W, 3) RGB
    truth: FrameTruth
    audio: Array | None = None  # 16 kHz mono, within [-1, 1]; None for a silent clip


@lru_cache(maxsize=8)
def get_person(kind: str, subject: int, seed: int) -> Person:
    """Return the person with a subject number, which is always the same one."""
    return sample_person(np.random.default_rng((seed, KINDS.index(kind), 0, subject)))


@dataclass(frozen=True)
class Plan:
    """Everything about a clip that is determined before it is painted."""

    person: Person
    performance: Performance
    intensity: Array  # (T,) intensity of the labelled expression, 0 to 1
    staging: Staging
    size: int
    audio: Array | None


def plan_clip(settings: ClipSettings) -> Plan:
    """Determine everything about a clip but its frames.

    Raises:
        ValueError: the emotion is not one of `labels.SEVEN`.
    """
    if settings.emotion not in labels.SEVEN:
        raise ValueError(f"unknown emotion {settings.emotion!r}; expected one of {', '.join(labels.SEVEN)}")
    kind, wild = KINDS.index(settings.difficulty), settings.difficulty != "lab"
    number = labels.SEVEN.index(settings.emotion)
    rng = np.random.default_rng((settings.seed, kind, 1, settings.subject, number, settings.take))
    person = get_person(settings.difficulty, settings.subject, settings.seed)
    frames = int(np.clip(np.exp(rng.normal(4.0, 0.55)), 8, 150)) if wild else int(np.clip(rng.normal(40, 8), 24, 56))
    spread = 0.9 if wild else 0.5  # of voices around the average effect of the emotion
    excitement = voice.AROUSAL[settings.emotion] + float(rng.normal(0, spread))
    seconds = frames / dynamics.FPS
    words = dynamics.speech(seconds, float(np.clip(4.6 + 0.7 * excitement, 2.8, 6.5)), rng)
    intensity, units = _sample_acting(settings, person, frames, words, rng)
    pose = place_head(settings.difficulty, frames, settings.size, rng)
    staging = stage(settings.difficulty, settings.emotion, person, pose, settings.size, rng)
    performance = Performance(units, dynamics.gaze(frames, rng), pose)
    silent = wild and rng.random() < 0.12
    audio = None
    if not silent:
        speaker = voice.sample_voice(person, settings.emotion, excitement, 0.5 * spread, rng)
        audio = voice.speak(words, seconds, speaker, rng)
    return Plan(person, performance, intensity, staging, settings.size, audio)


def render_clip(settings: ClipSettings) -> RenderedClip:
    """Render one clip of 24 to 56 frames (`lab`) or 8 to 150 frames (others), with the truth of every frame.

    Raises:
        ValueError: the emotion is not one of `labels.SEVEN`.
    """
    return render_plan(plan_clip(settings))


def plan_still(settings: StillSettings) -> Plan:
    """Determine everything about a still image but its pixels; its intensity is 0.5 to 1, or 0 if neutral.

    Raises:
        ValueError: the emotion is not one of `labels.SEVEN`.
    """
    number = labels.SEVEN.index(settings.emotion)
    rng = np.random.default_rng((settings.seed, KINDS.index("still"), 1, settings.number, settings.subject, number))
    person = get_person("still", settings.subject, settings.seed)
    neutral = settings.emotion == labels.NEUTRAL
    strength = 0.0 if neutral else float(rng.uniform(0.5, 1.0))
    units = strength * sample_apex(settings.emotion, rng) * person.expressivity + 0.05 * rng.random(len(NAMES))
    talking = (0.6 if neutral else 0.25) * (1 - 0.7 * strength) * float(rng.random())
    units[[unit("AU25"), unit("AU26")]] += talking, 0.6 * talking
    difficulty: Difficulty = "wild" if rng.random() < 0.5 else "lab"
    if settings.occluded:
        difficulty = "occluded"
    pose = place_head(difficulty, 1, settings.size, rng, absent=False)
    staging = stage(difficulty, settings.emotion, person, pose, settings.size, rng)
    gaze = rng.normal(0, (1.0, 0.3), (1, 2)).astype(np.float32)
    performance = Performance(np.clip(units, 0, 1).astype(np.float32)[None], gaze, pose)
    return Plan(person, performance, np.array([strength], np.float32), staging, settings.size, None)


def render_still(settings: StillSettings) -> RenderedClip:
    """Render one still image: a clip of one frame without audio.

    Raises:
        ValueError: the emotion is not one of `labels.SEVEN`.
    """
    return render_plan(plan_still(settings))


def _sample_acting(
    settings: ClipSettings, person: Person, frames: int, words: dynamics.Speech, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Sample the intensity of the labelled expression, (T,), and the strengths of all action units, (T, A)."""
    wild, neutral = settings.difficulty != "lab", settings.emotion == labels.NEUTRAL
    intensity = np.zeros(frames, np.float32)
    units = np.zeros((frames, len(NAMES)), np.float32)
    if not neutral:
        moments = dynamics.apex_moments(frames, rng) if wild else []
        episodes = [dynamics.short_expression(frames, moment, rng) for moment in moments]
        episodes = episodes or [dynamics.held_expression(frames, rng)]
        intensity = settings.strength * np.maximum.reduce([episode.intensity(frames) for episode in episodes])
        units += intensity[:, None] * sample_apex(settings.emotion, rng) * person.expressivity
    if wild:  # faint expressions of other emotions
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


def render_plan(plan: Plan) -> RenderedClip:
    """Render what is planned, with the truth of every frame."""
    staging, pose, size = plan.staging, plan.performance.pose, plan.size
    figure = Figure(
        plan.person, plan.performance, staging.light, staging.clothes, size, staging.sunglasses, staging.posture
    )
    nose = figure.portrait.landmarks[:, 27, :2]
    frames = np.empty((len(pose.yaw), size, size, 3), np.uint8)
    for t in range(len(frames)):
        image = frames[t]
        image[:] = staging.background
        if staging.bystander is not None:
            staging.bystander.paint(image, t)
        figure.paint(image, t)
        if staging.mask is not None and not figure.portrait.turned_away[t]:
            paint_mask(image, figure.portrait.landmarks[t], staging.mask)
        if staging.occluder is not None:
            staging.occluder.paint(image, t, nose[t], float(pose.scale[t]))
    scene.expose(frames, staging.gain, staging.grain)
    return RenderedClip(frames, _truth(figure, plan), plan.audio)


def face_boxes(landmarks: Array) -> NDArray[np.float32]:
    """Return (T, 4) boxes for (T, 68, 3) landmarks, as a detector would: half the forehead to chin, cheek to cheek."""
    low, high = landmarks[:, :, :2].min(1), landmarks[:, :, :2].max(1)
    forehead = 0.22 * (high[:, 1] - low[:, 1])
    return np.stack((low[:, 0], low[:, 1] - forehead, high[:, 0], high[:, 1]), -1).astype(np.float32)


def _truth(figure: Figure, plan: Plan) -> FrameTruth:
    landmarks, size = figure.portrait.landmarks, plan.size
    boxes = face_boxes(landmarks)
    centre = 0.5 * (boxes[:, :2] + boxes[:, 2:])
    visible = ~figure.portrait.turned_away & ((centre > 0) & (centre < size)).all(1)
    columns = np.flatnonzero(figure.clothes.weight.any(0))
    left, right = (columns[0], columns[-1] + 1) if len(columns) else (size, 0)
    hair = boxes[:, 1] - 0.25 * (boxes[:, 3] - boxes[:, 1])
    bottom = np.full(len(hair), size)
    person_box = np.stack((np.minimum(boxes[:, 0], left), hair, np.maximum(boxes[:, 2], right), bottom), -1)
    return FrameTruth(
        intensity=plan.intensity.astype(np.float32),
        visible=visible,
        box=boxes,
        landmarks=landmarks.astype(np.float32),
        person_box=np.clip(person_box, 0, size).astype(np.float32),
        action_units=plan.performance.units.astype(np.float32),
    )
