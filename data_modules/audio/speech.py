"""Extract the speech in the audio of a clip, without noise and pauses (Li et al., ICMI 2019, section 3.1)."""

import numpy as np
from numpy.typing import NDArray

from data_modules.audio.settings import AUDIO_RATE, AudioSettings

Samples = NDArray[np.float32]
"""(n,) mono audio in [-1, 1] at `AUDIO_RATE`."""
BLOCK = AUDIO_RATE * 30 // 1000  # samples for each decision on voice activity; WebRTC accepts 10, 20 or 30 ms
AGGRESSIVENESS = 2  # of the detector, 0 to 3; a higher value rejects more
MARGIN = AUDIO_RATE // 10  # samples kept before and after each voiced block, so that no consonant is cut off
SPEECH_SETTINGS = ("reduce_noise", "speech", "max_seconds")
"""The fields of `AudioSettings` that the speech of a clip depends on."""


class AudioLibraryNotFoundError(ImportError):
    """A package that the settings need is missing; the message says how to install it or do without it."""


def check_libraries(audio: AudioSettings) -> None:
    """Load the packages that the settings need, so that a missing one is reported before work begins.

    Raises:
        AudioLibraryNotFoundError: a package is not installed.
    """
    extract_speech(np.full(BLOCK, 1e-3, np.float32), audio)


def extract_speech(samples: Samples, audio: AudioSettings) -> Samples:
    """Reduce noise and cut out pauses, as the settings say; returns (m,) samples with m <= n.

    Raises:
        AudioLibraryNotFoundError: the settings need a package that is not installed.
    """
    if not samples.any():
        return samples
    if audio.reduce_noise:
        samples = remove_noise(samples)
    return samples[detect_voice(samples)] if audio.speech else samples


def speech_packages(audio: AudioSettings) -> tuple[str, ...]:
    """Return the distributions that extract speech with these settings."""
    is_used = {"noisereduce": audio.reduce_noise, "webrtcvad-wheels": audio.speech}
    return tuple(package for package, used in is_used.items() if used)


def remove_noise(samples: Samples) -> Samples:
    """Reduce noise in (n,) samples by non-stationary spectral gating (the package noisereduce).

    The stationary mode of that package removes more of a clean voice, fails on clips shorter than its window, and mutes
    clips that are padded with zeros.

    Raises:
        AudioLibraryNotFoundError: noisereduce is not installed.
    """
    try:
        from noisereduce import reduce_noise
    except ImportError as error:
        raise _missing("noisereduce", "reduce_noise") from error
    return np.asarray(reduce_noise(samples, AUDIO_RATE, n_fft=512), dtype=np.float32)


def detect_voice(samples: Samples) -> NDArray[np.bool_]:
    """Detect which of (n,) samples belong to a voice or are next to one (WebRTC's detector).

    Returns:
        (n,) bool; all true if there is no voice.

    Raises:
        AudioLibraryNotFoundError: webrtcvad is not installed.
    """
    try:
        from webrtcvad import Vad
    except ImportError as error:
        raise _missing("webrtcvad", "speech") from error
    detector, voiced = Vad(AGGRESSIVENESS), np.zeros(len(samples), dtype=bool)
    data = np.clip(np.round(samples * 32767), -32768, 32767).astype("<i2")
    for start in range(0, len(data) - BLOCK + 1, BLOCK):
        if detector.is_speech(data[start : start + BLOCK].tobytes(), AUDIO_RATE):
            voiced[max(0, start - MARGIN) : start + BLOCK + MARGIN] = True
    return voiced if voiced.any() else ~voiced


def _missing(package: str, setting: str) -> AudioLibraryNotFoundError:
    return AudioLibraryNotFoundError(
        f"`data.audio.{setting}: true` needs the package {package}, which is not installed: "
        f"pip install 'fer_lightning[audio]', or set `data.audio.{setting}: false`"
    )
