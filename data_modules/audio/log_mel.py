"""Log-mel energies of speech: the power in bands that are equally wide on the mel scale, in decibels."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from data_modules.audio.settings import AUDIO_RATE, AudioSettings
from data_modules.audio.spectrogram import magnitudes
from data_modules.audio.speech import Samples

LOWEST, HIGHEST = 50.0, AUDIO_RATE / 2  # Hz
FLOOR = -110.0  # decibels below a sine at full scale; below the noise of 16 bits in a narrow band


def mel(hertz: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """Convert Hz to mel (O'Shaughnessy's formula, as in HTK)."""
    return np.asarray(2595 * np.log10(1 + np.asarray(hertz) / 700))


@lru_cache(maxsize=4)
def mel_filters(bands: int, window: int) -> NDArray[np.float32]:
    """Return (bands, window // 2 + 1) triangular filters over the frequencies of a window of that many samples.

    Raises:
        ValueError: a band lies between two frequencies of so short a window.
    """
    edges = 700 * (10 ** (np.linspace(mel(LOWEST), mel(HIGHEST), bands + 2) / 2595) - 1)
    low, middle, high = (edges[start : start + bands, None] for start in range(3))
    hertz = np.fft.rfftfreq(window, 1 / AUDIO_RATE)
    filters = np.maximum(0, np.minimum((hertz - low) / (middle - low), (high - hertz) / (high - middle)))
    if not filters.any(axis=1).all():
        raise ValueError(
            f"audio: found {bands} bands for a window of {window / AUDIO_RATE:.3f} s, which does not resolve the "
            "lowest of them; expected fewer bands or a longer window, such as 80 and 0.064 s"
        )
    return np.asarray(filters, dtype=np.float32)


def log_mel(speech: Samples, audio: AudioSettings) -> NDArray[np.float32]:
    """Compute (N, bands) log-mel energies of (n,) samples of speech, in decibels below a sine at full scale.

    Raises:
        ValueError: the window is too short for so many bands.
    """
    window, hop = round(audio.window * AUDIO_RATE), round(audio.hop * AUDIO_RATE)
    power = (magnitudes(speech, window, hop).T * (4 / window)) ** 2  # a sine at full scale has 1 in its column
    energies = power @ mel_filters(audio.bands, window).T
    return np.asarray(10 * np.log10(np.maximum(energies, 10 ** (FLOOR / 10))), dtype=np.float32)
