"""Log-mel energies against sounds whose energy is known, and against the definition written plainly."""

import math

import numpy as np
import pytest

from data_modules.audio.log_mel import FLOOR, log_mel
from data_modules.audio.settings import AUDIO_RATE, AudioSettings
from data_modules.store.audio_cache import AudioCache

LONG = AudioSettings(reduce_noise=False, speech=False, window=0.064, hop=0.032, bands=80)


def sine(hertz: float, amplitude: float = 1.0, seconds: float = 0.5) -> np.ndarray:
    return (amplitude * np.sin(2 * np.pi * hertz * np.arange(round(seconds * AUDIO_RATE)) / AUDIO_RATE)).astype(
        np.float32
    )


def centres(bands: int) -> list[float]:
    """Equally far apart on the mel scale, between 50 and 8000 Hz."""
    low, high = (2595 * math.log10(1 + hertz / 700) for hertz in (50, 8000))
    return [700 * (10 ** ((low + (high - low) * (n + 1) / (bands + 1)) / 2595) - 1) for n in range(bands)]


@pytest.mark.parametrize("hertz", [200, 1000, 5000])
def test_a_tone_is_loudest_in_its_band_and_its_level_is_in_decibels(hertz):
    energies = log_mel(sine(hertz), LONG)
    assert energies.dtype == np.float32
    assert energies.shape == (1 + (8000 - 1024) // 512, 80)
    nearest = int(np.argmin([abs(centre - hertz) for centre in centres(80)]))
    assert {abs(int(place) - nearest) <= 1 for place in energies.argmax(axis=1)} == {True}
    assert -8 < energies.max() < 8  # full scale
    quieter = log_mel(sine(hertz, 0.1), LONG)
    assert (energies - quieter).max(axis=1) == pytest.approx(20, abs=0.01)
    assert log_mel(np.zeros(2048, np.float32), LONG) == pytest.approx(FLOOR)


def test_a_frame_is_the_plain_definition():
    samples = np.random.default_rng(0).normal(0, 0.1, 512).astype(np.float32)
    audio = AudioSettings(window=0.032, hop=0.032, bands=5)
    hann = [0.5 - 0.5 * math.cos(2 * math.pi * n / 512) for n in range(512)]
    power = []
    for k in range(257):
        turns = [2 * math.pi * k * n / 512 for n in range(512)]
        real = sum(float(x) * w * math.cos(t) for x, w, t in zip(samples, hann, turns, strict=True))
        imaginary = sum(float(x) * w * math.sin(t) for x, w, t in zip(samples, hann, turns, strict=True))
        power.append((real**2 + imaginary**2) * (4 / 512) ** 2)
    edges = [50.0, *centres(5), 8000.0]
    expected = []
    for low, middle, high in zip(edges, edges[1:], edges[2:], strict=False):
        rises = [min((k * 31.25 - low) / (middle - low), (high - k * 31.25) / (high - middle)) for k in range(257)]
        expected.append(10 * math.log10(sum(max(0, rise) * p for rise, p in zip(rises, power, strict=True))))
    assert log_mel(samples, audio)[0].tolist() == pytest.approx(expected, abs=1e-3)


def test_bands_that_a_window_cannot_tell_apart_are_refused():
    with pytest.raises(ValueError, match=r"found 200 bands for a window of 0.025 s.*expected fewer bands or a longer"):
        log_mel(sine(300), AudioSettings(bands=200))
    with pytest.raises(ValueError, match="found size 224, bands 0"):
        AudioSettings(bands=0)


def test_the_store_keeps_them_apart_by_their_settings(tmp_path):
    folders = {AudioCache(audio, tmp_path).files["log_mel"].folder for audio in (LONG, AudioSettings(bands=64))}
    assert len(folders) == 2
    same = AudioSettings(
        reduce_noise=False, speech=False, window=0.064, hop=0.032, bands=80, size=32, functionals="is10"
    )
    assert AudioCache(same, tmp_path).files["log_mel"].folder == AudioCache(LONG, tmp_path).files["log_mel"].folder
