"""Spectrogram images: magnitudes of the short-time Fourier transform in decibels (Li et al., ICMI 2019, sec. 2.2)."""

import cv2
import numpy as np
from numpy.typing import NDArray

from data_modules.audio.settings import AUDIO_RATE, AudioSettings
from data_modules.audio.speech import Samples


def magnitudes(samples: Samples, window: int, hop: int) -> NDArray[np.float32]:
    """Compute the magnitude of the short-time Fourier transform with a Hann window.

    Only audio shorter than a window is padded, with zeros at its end.

    Args:
        samples: (n,) audio.
        window: samples in each column.
        hop: samples from one column to the next.

    Returns:
        (window // 2 + 1, columns), from low to high frequencies.
    """
    padded = np.pad(samples, (0, max(0, window - len(samples))))
    columns = np.lib.stride_tricks.sliding_window_view(padded, window)[::hop]
    hann = np.hanning(window + 1)[:-1].astype(np.float32)  # periodic, as usual for Fourier transforms
    return np.asarray(np.abs(np.fft.rfft(columns * hann, axis=1)).T, dtype=np.float32)


def spectrogram(speech: Samples, audio: AudioSettings) -> NDArray[np.uint8]:
    """Compute a (size, size) uint8 image of (n,) samples: time to the right, low frequencies at the bottom.

    The loudest point is white and silence is black. The time axis is resized to fit, as the paper resizes its images.
    The paper does not mention a colour map; grey levels are [our choice].
    """
    spectrum = magnitudes(speech, round(audio.window * AUDIO_RATE), round(audio.hop * AUDIO_RATE))
    loudest = float(spectrum.max(initial=0.0))
    if loudest == 0:
        return np.zeros((audio.size, audio.size), np.uint8)
    levels = 20 * np.log10(np.maximum(spectrum / loudest, 10 ** (-audio.decibels / 20)))  # -decibels to 0
    grey = np.flipud(255 * (1 + levels / audio.decibels)).astype(np.float32)
    shrinks = audio.size < min(grey.shape)
    image = cv2.resize(grey, (audio.size, audio.size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return np.asarray(np.clip(np.round(image), 0, 255), dtype=np.uint8)
