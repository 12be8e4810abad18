"""What is heard of a clip: settings, and its speech without noise and pauses (Li et al., 2019, section 3.1)."""

import numpy as np
from numpy.typing import NDArray

from data_modules.audio.settings import AUDIO_RATE, AudioSettings

Samples = NDArray[np.float32]
"""(n,) mono sound in [-1, 1] at `AUDIO_RATE`."""
BLOCK = AUDIO_RATE * 30 // 1000  # samples that voice activity is decided for; WebRTC takes 10, 20 or 30 ms
AGGRESSIVENESS = 2  # of the detector, 0 to 3: how sure it must be
MARGIN = AUDIO_RATE // 10  # samples kept before and after each voice, so that no consonant is cut off


class AudioLibraryNotFoundError(ImportError):
    """A package that the settings need is missing; the message says how to get it or do without."""


def check_libraries(audio: AudioSettings) -> None:
    """Loads what the settings need, before work begins.

    Raises:
        SoundLibraryNotFoundError: a package is missing.
    """
    speech_of(np.full(BLOCK, 1e-3, np.float32), audio)


def speech_of(samples: Samples, audio: AudioSettings) -> Samples:
    """The speech in a clip's sound, as the settings ask for it; (m,) with m <= n.

    Raises:
        SoundLibraryNotFoundError: the settings need a package that is not installed.
    """
    if not samples.any():
        return samples
    if audio.reduce_noise:
        samples = without_noise(samples)
    return samples[voiced(samples)] if audio.speech else samples


def without_noise(samples: Samples) -> Samples:
    """(n,) -> (n,): spectral gating (noisereduce) against a noise floor that follows the sound.

    A floor that is the same for the whole clip, the other way of that package, takes more of a clean voice, fails on
    clips shorter than its window, and mutes all of a clip that is padded with zeros.

    Raises:
        SoundLibraryNotFoundError: noisereduce is not installed.
    """
    try:
        from noisereduce import reduce_noise
    except ImportError as error:
        raise _missing("noisereduce", "reduce_noise") from error
    return np.asarray(reduce_noise(samples, AUDIO_RATE, n_fft=512), dtype=np.float32)


def voiced(samples: Samples) -> NDArray[np.bool_]:
    """(n,) whether each sample belongs to a voice or is next to one (WebRTC's detector); all are where there is none.

    Raises:
        SoundLibraryNotFoundError: webrtcvad is not installed.
    """
    try:
        from webrtcvad import Vad
    except ImportError as error:
        raise _missing("webrtcvad", "speech") from error
    detector, kept = Vad(AGGRESSIVENESS), np.zeros(len(samples), dtype=bool)
    data = np.clip(np.round(samples * 32767), -32768, 32767).astype("<i2")
    for start in range(0, len(data) - BLOCK + 1, BLOCK):
        if detector.is_speech(data[start : start + BLOCK].tobytes(), AUDIO_RATE):
            kept[max(0, start - MARGIN) : start + BLOCK + MARGIN] = True
    return kept if kept.any() else ~kept


def _missing(package: str, setting: str) -> AudioLibraryNotFoundError:
    return AudioLibraryNotFoundError(
        f"sound with `{setting}: true` needs the package {package}, which is not installed: "
        f"pip install 'fer_lightning[audio]', or set `data.audio.{setting}: false`"
    )
