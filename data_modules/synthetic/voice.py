"""Synthesise a voice from a source and filters: glottal pulses through three formants, 16 kHz, mono."""

from dataclasses import dataclass

import numpy as np

from data_modules import labels
from data_modules.synthetic.dynamics import Speech
from data_modules.synthetic.face_model import Array
from data_modules.synthetic.person import Person

RATE = 16_000
VOWELS = ((300, 870, 2240), (390, 1990, 2550), (530, 1840, 2480), (570, 840, 2410), (730, 1090, 2440))
"""Formants in Hz of the vowels u, i, e, o, a, from closed to open (Peterson and Barney, 1952)."""
BANDWIDTHS = (70.0, 90.0, 140.0)  # of the three formants, Hz
TREMOR = 6.0  # Hz

AROUSAL = {
    labels.ANGER: 1.0, labels.DISGUST: 0.0, labels.FEAR: 0.8, labels.HAPPINESS: 0.7,
    labels.NEUTRAL: -0.2, labels.SADNESS: -1.0, labels.SURPRISE: 0.6,
}  # fmt: skip
"""The excitement of the voice, which raises pitch, loudness and tempo (Banse and Scherer, 1996)."""

QUALITY = {  # tension, melody, tremor
    labels.ANGER: (1.0, -0.3, 0.0), labels.DISGUST: (0.5, -1.0, 0.0), labels.FEAR: (0.2, 0.3, 1.0),
    labels.HAPPINESS: (0.0, 0.7, 0.0), labels.NEUTRAL: (0.0, 0.0, 0.0), labels.SADNESS: (-1.0, -0.7, 0.3),
    labels.SURPRISE: (-0.3, 1.2, 0.0),
}  # fmt: skip
"""Other effects of an emotion on the voice (after Juslin and Laukka, 2003; the values are [our choice]).

Anger is tense, sadness is breathy and falling, fear trembles, happiness and surprise rise."""


@dataclass(frozen=True)
class Voice:
    """The characteristics of a voice."""

    pitch: float  # Hz, on average
    loudness: float = 0.4  # peak amplitude, 0 to 1
    tract: float = 1.0  # factor of the formants, above 1 for shorter vocal tracts
    tension: float = 0.0  # from breathy and dull (-1) to tense and bright (1)
    melody: float = 0.0  # from falling (-1) to rising (1)
    tremor: float = 0.0  # from none (0) to clearly heard (1)


def sample_voice(person: Person, emotion: str, excitement: float, spread: float, rng: np.random.Generator) -> Voice:
    """Sample the voice of a person with an emotion.

    Args:
        person: the speaker.
        emotion: one of `labels.SEVEN`.
        excitement: see `AROUSAL`.
        spread: standard deviation of tension, melody and tremor from their averages in `QUALITY`.
        rng: draws these deviations.
    """
    tension, melody, tremor = np.array(QUALITY[emotion]) + spread * rng.standard_normal(3)
    loudness = min(max(0.28 * 2 ** (0.6 * excitement), 0.05), 0.9)
    return Voice(
        pitch=person.pitch * 2 ** (0.22 * excitement),
        loudness=loudness,
        tract=1.15 if person.pitch > 160 else 1.0,
        tension=float(np.clip(tension, -1.5, 1.5)),
        melody=float(np.clip(melody, -1.5, 1.5)),
        tremor=float(np.clip(tremor, 0, 1.5)),
    )


def _resonator(frequency: float, bandwidth: float) -> tuple[list[float], list[float]]:
    radius = float(np.exp(-np.pi * bandwidth / RATE))
    cosine = float(np.cos(2 * np.pi * frequency / RATE))
    return [1 - 2 * radius * cosine + radius**2], [1.0, -2 * radius * cosine, radius**2]


def speak(words: Speech, seconds: float, voice: Voice, rng: np.random.Generator) -> Array:
    """Synthesise the audio of `words`.

    Args:
        words: the syllables.
        seconds: length of the audio.
        voice: the voice.
        rng: draws melody and noise.

    Returns:
        (seconds x 16000,) samples within [-1, 1].
    """
    from scipy.signal import lfilter  # a slow import that stills do not need

    count = round(seconds * RATE)
    coarse = np.arange(0, seconds + 0.02, 0.005, dtype=np.float32)  # seconds; sufficient for envelopes
    samples = np.arange(count) / RATE
    melody = 1 + 0.06 * np.sin(2 * np.pi * 0.7 * coarse + rng.uniform(0, 6))
    melody = melody + (0.35 * voice.melody - 0.03) * (coarse / seconds - 0.5)
    melody = melody + 0.05 * voice.tremor * np.sin(2 * np.pi * TREMOR * coarse)
    loud = words.loudness(coarse)
    melody = melody + 0.08 * loud
    phase = np.cumsum(np.interp(samples, coarse, voice.pitch * melody)) / RATE
    ramp, open_share = phase % 1, 0.6 - 0.2 * voice.tension
    pulse = np.where(ramp < open_share, ramp / open_share, 0) ** 2  # opens slowly, closes at once
    source = np.diff(pulse, prepend=0) + 0.004 * 5**-voice.tension * rng.standard_normal(count)
    source = lfilter([1 - (dull := 0.35 * 2**-voice.tension)], [1, -dull], source)
    audio = np.zeros(count)
    vowels = np.minimum((words.vowels * len(VOWELS)).astype(int), len(VOWELS) - 1)
    for number, formants in enumerate(VOWELS):
        part = Speech(*(a[vowels == number] for a in (words.moments, words.lengths, words.strengths, words.vowels)))
        if not len(part.moments):
            continue
        voiced = source * np.interp(samples, coarse, part.loudness(coarse))
        for frequency, bandwidth in zip(formants, BANDWIDTHS, strict=True):
            voiced = lfilter(*_resonator(frequency * voice.tract, bandwidth), voiced)
        audio += voiced
    peak = float(np.abs(audio).max())
    room = 0.002 * rng.standard_normal(count)
    return np.asarray(np.clip((audio * (voice.loudness / peak) if peak > 0 else 0) + room, -1, 1), np.float32)
