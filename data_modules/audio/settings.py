"""Settings of audio: its sampling rate, and how spectrograms, log-mel energies and descriptors are computed."""

from dataclasses import dataclass
from typing import Literal

AUDIO_RATE = 16000  # samples per second


@dataclass(frozen=True)
class AudioSettings:
    """How spectrograms, log-mel energies and descriptors are computed from audio.

    The steps are those of Li et al. (ICMI 2019), who state no values; the defaults are [our choice].

    Args:
        reduce_noise: remove stationary noise by spectral gating.
        speech: keep only the parts with a voice; audio without any voice is kept whole.
        size: side of the spectrogram image, pixels.
        window: seconds in each column of the spectrogram, before it is resized, and in each frame of log-mel energies.
        hop: seconds from one column or frame to the next.
        decibels: dynamic range from black to white; white is the loudest point of the clip.
        functionals: set of openSMILE functionals: `is09` has 384 values, `is10` has 1582.
        bands: log-mel energies of each frame.
        max_seconds: only the first seconds up to this limit are used and held in memory.

    Raises:
        ValueError: a value is outside its range.
    """

    reduce_noise: bool = True
    speech: bool = True
    size: int = 224
    window: float = 0.025
    hop: float = 0.010
    decibels: float = 80.0
    functionals: Literal["is09", "is10"] = "is09"
    bands: int = 80
    max_seconds: float = 60.0

    def __post_init__(self) -> None:
        if not (self.size > 0 and self.bands > 0 and 2 / AUDIO_RATE <= self.hop <= self.window <= 1):
            raise ValueError(
                f"audio: found size {self.size}, bands {self.bands}, window {self.window} s, hop {self.hop} s; "
                "expected a size and bands of 1 or more, and a hop not longer than the window, from 0.000125 to 1 s"
            )
        if self.decibels <= 0 or self.max_seconds <= 0:
            raise ValueError(f"audio: found decibels {self.decibels}, max_seconds {self.max_seconds}; expected above 0")
