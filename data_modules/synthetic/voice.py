"""A voice from a source and filters: glottal pulses through three formants, 16 kHz, mono."""

import numpy as np

from data_modules import labels
from data_modules.synthetic.dynamics import Speech
from data_modules.synthetic.face_model import Array
from data_modules.synthetic.person import Person

RATE = 16_000
VOWELS = ((300, 870, 2240), (390, 1990, 2550), (530, 1840, 2480), (570, 840, 2410), (730, 1090, 2440))
"""Formants in Hz of u, i, e, o, a (Peterson and Barney, 1952), from closed to open."""
BANDWIDTHS = (70.0, 90.0, 140.0)

AROUSAL = {
    labels.ANGER: 1.0, labels.DISGUST: 0.0, labels.FEAR: 0.8, labels.HAPPINESS: 0.7,
    labels.NEUTRAL: -0.2, labels.SADNESS: -1.0, labels.SURPRISE: 0.6,
}  # fmt: skip
"""How excited the voice is: excitement raises pitch, loudness and tempo (Banse and Scherer, 1996)."""


def manner(person: Person, excitement: float) -> tuple[float, float, float]:
    """Pitch (Hz), loudness (0 to 1) and formants' factor of a person's voice who is more or less excited."""
    loudness = min(max(0.28 * 2 ** (0.6 * excitement), 0.05), 0.9)
    return person.pitch * 2 ** (0.22 * excitement), loudness, 1.15 if person.pitch > 160 else 1.0


def _resonator(frequency: float, bandwidth: float) -> tuple[list[float], list[float]]:
    radius = float(np.exp(-np.pi * bandwidth / RATE))
    cosine = float(np.cos(2 * np.pi * frequency / RATE))
    return [1 - 2 * radius * cosine + radius**2], [1.0, -2 * radius * cosine, radius**2]


def speak(
    words: Speech, seconds: float, pitch: float, loudness: float, tract: float, rng: np.random.Generator
) -> Array:
    """Sound of `words`.

    Args:
        words: the syllables.
        seconds: how long the sound is.
        pitch: Hz, on average.
        loudness: peak amplitude, 0 to 1.
        tract: formants' factor; above 1 for shorter vocal tracts.
        rng: melody and breath.

    Returns:
        (seconds x 16000,) samples within [-1, 1].
    """
    from scipy.signal import lfilter  # takes most of a second to import, and stills are silent

    count = round(seconds * RATE)
    coarse = np.arange(0, seconds + 0.02, 0.005, dtype=np.float32)  # envelopes need no more
    samples = np.arange(count) / RATE
    melody = 1 + 0.06 * np.sin(2 * np.pi * 0.7 * coarse + rng.uniform(0, 6)) - 0.03 * coarse / seconds
    loud = words.loudness(coarse)
    melody = melody + 0.08 * loud
    phase = np.cumsum(np.interp(samples, coarse, pitch * melody)) / RATE
    ramp = phase % 1
    pulse = np.where(ramp < 0.6, ramp / 0.6, 0) ** 2  # opens slowly, closes at once
    source = np.diff(pulse, prepend=0) + 0.004 * rng.standard_normal(count)
    sound = np.zeros(count)
    chosen = np.minimum((words.vowels * len(VOWELS)).astype(int), len(VOWELS) - 1)
    for number, formants in enumerate(VOWELS):
        mine = Speech(*(a[chosen == number] for a in (words.moments, words.lengths, words.strengths, words.vowels)))
        if not len(mine.moments):
            continue
        voiced = source * np.interp(samples, coarse, mine.loudness(coarse))
        for frequency, bandwidth in zip(formants, BANDWIDTHS, strict=True):
            voiced = lfilter(*_resonator(frequency * tract, bandwidth), voiced)
        sound += voiced
    peak = float(np.abs(sound).max())
    room = 0.002 * rng.standard_normal(count)
    return np.asarray(np.clip((sound * (loudness / peak) if peak > 0 else 0) + room, -1, 1), np.float32)
