"""Sample what changes over time: expressions, blinks, speech, gaze and small motions of the head."""

from dataclasses import dataclass

import numpy as np

from data_modules.synthetic.face_model import Array

FPS = 25  # frames per second


def smoothstep(x: Array) -> Array:
    """Return 0 below 0, 1 above 1, and a smooth transition between."""
    x = np.clip(x, 0, 1)
    return np.asarray(x * x * (3 - 2 * x), np.float32)


@dataclass(frozen=True)
class Episode:
    """One expression, given by the frames of its onset, the start and end of its apex, and its offset."""

    onset: float
    apex: float
    release: float
    offset: float
    peak: float  # 0 to 1

    def intensity(self, frames: int) -> Array:
        """Return the (T,) intensity of the expression in each frame."""
        t = np.arange(frames, dtype=np.float32)
        rise = smoothstep((t - self.onset) / max(self.apex - self.onset, 0.5))
        fall = smoothstep((self.offset - t) / max(self.offset - self.release, 0.5))
        return np.asarray(self.peak * np.minimum(rise, fall), np.float32)


def held_expression(frames: int, rng: np.random.Generator) -> Episode:
    """Sample an expression that starts neutral and holds its apex to the end, as in CK+."""
    onset, apex = rng.uniform(0.08, 0.25) * frames, rng.uniform(0.5, 0.75) * frames
    return Episode(onset, apex, 2.0 * frames, 2.2 * frames, float(rng.uniform(0.85, 1.0)))


def short_expression(frames: int, middle: float, rng: np.random.Generator) -> Episode:
    """Sample an expression around the frame `middle` that lasts a fifth to two fifths of the clip."""
    hold = max(2.0, frames * float(rng.uniform(0.14, 0.26)))
    rise, fall = (max(1.0, min(8.0, frames * 0.08)) * float(rng.uniform(0.7, 1.3)) for _ in range(2))
    start, end = middle - hold / 2, middle + hold / 2
    return Episode(start - rise, start, end, end + fall, float(rng.uniform(0.8, 1.0)))


def apex_moments(frames: int, rng: np.random.Generator) -> list[float]:
    """Sample the frames of one or two apexes, mostly away from the middle of the clip."""
    first = rng.uniform(0.08, 0.94)
    if rng.random() < 0.7:
        while 0.28 < first < 0.72:
            first = rng.uniform(0.08, 0.94)
    moments = [float(first)]
    if rng.random() < 0.35:
        second = float(rng.uniform(0.05, 0.95))
        if abs(second - first) > 0.35 and not 0.28 < second < 0.72:
            moments.append(second)
    return [moment * (frames - 1) for moment in moments]


def blinks(frames: int, rng: np.random.Generator) -> Array:
    """Sample how far blinks close the eyes, (T,) from 0 to 1: a fifth of a second every two to five seconds."""
    closed = np.zeros(frames, np.float32)
    moment = float(rng.uniform(0, 3 * FPS))
    t = np.arange(frames, dtype=np.float32)
    while moment < frames:
        closed = np.maximum(closed, np.clip(1.6 - np.abs(t - moment) / 1.6, 0, 1))
        moment += float(rng.uniform(1.8, 5.0)) * FPS
    return closed


def wander(frames: int, rng: np.random.Generator, size: float, slowest: float = 0.08, fastest: float = 0.5) -> Array:
    """Sample a (T,) smooth random motion around 0 with standard deviation `size`; frequencies are in Hz."""
    t = np.arange(frames)[:, None] / FPS
    frequency, phase = rng.uniform(slowest, fastest, 4), rng.uniform(0, 2 * np.pi, 4)
    return np.asarray(size * np.sqrt(0.5) * np.sin(2 * np.pi * frequency * t + phase).sum(1), np.float32)


def gaze(frames: int, rng: np.random.Generator) -> Array:
    """Sample (T, 2) positions of the irises in head units: occasional jumps, mostly towards the camera."""
    position = np.zeros((frames, 2), np.float32)
    start = 0
    while start < frames:
        length = int(rng.integers(12, 60))
        position[start : start + length] = rng.normal(0, (1.6, 0.5), 2) if rng.random() < 0.4 else rng.normal(0, 0.2, 2)
        start += length
    return position


@dataclass(frozen=True)
class Speech:
    """S syllables, with the moment, length, strength and vowel of each."""

    moments: Array  # (S,) seconds
    lengths: Array  # (S,) seconds
    strengths: Array  # (S,) 0 to 1
    vowels: Array  # (S,) 0 to 1, from closed to open

    def loudness(self, seconds: Array) -> Array:
        """Return the loudness, 0 to 1, at (N,) times in seconds."""
        loud = np.zeros(len(seconds), np.float32)
        for moment, length, strength in zip(self.moments, self.lengths, self.strengths, strict=True):
            first, last = np.searchsorted(seconds, (moment - length, moment + length))
            near = np.cos(0.5 * np.pi * (seconds[first:last] - moment) / length) ** 2
            loud[first:last] = np.maximum(loud[first:last], strength * near)
        return loud

    def opening(self, frames: int) -> Array:
        """Return how far speech opens the mouth in each of T frames, 0 to 1."""
        t = np.arange(frames, dtype=np.float32) / FPS
        if not len(self.moments):
            return np.zeros(frames, np.float32)
        nearest = np.abs(t[:, None] - self.moments).argmin(1)
        return np.asarray(self.loudness(t) * (0.45 + 0.55 * self.vowels[nearest]), np.float32)


def speech(seconds: float, rate: float, rng: np.random.Generator) -> Speech:
    """Sample phrases of a few syllables with pauses between them; `rate` is in syllables per second."""
    moments: list[float] = []
    now = float(rng.uniform(0.05, 0.5))
    while now < seconds - 0.1:
        for _ in range(int(rng.integers(3, 9))):
            moments.append(now)
            now += float(rng.normal(1, 0.15)) / rate
        now += float(rng.uniform(0.25, 0.8))
    centres = np.asarray([moment for moment in moments if moment < seconds - 0.1], np.float32)
    return Speech(
        centres,
        np.full(len(centres), 0.62 / rate, np.float32),
        rng.uniform(0.55, 1.0, len(centres)).astype(np.float32),
        rng.random(len(centres)).astype(np.float32),
    )
