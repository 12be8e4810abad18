"""How sound is kept and heard: its rate, and what spectrograms and descriptors are made with."""

from dataclasses import dataclass
from typing import Literal

AUDIO_RATE = 16000  # samples a second


@dataclass(frozen=True)
class AudioSettings:
    """How sound becomes a spectrogram and descriptors. The paper names what is done; the numbers are [our choice].

    Args:
        reduce_noise: remove what sounds all the time, by spectral gating.
        speech: keep the parts with a voice; a sound without any is kept whole.
        size: side of the spectrogram's image, pixels.
        window: seconds of each column of the spectrogram before it is resized.
        hop: seconds from one column to the next.
        decibels: from black to white; white is the loudest point of the clip.
        functionals: openSMILE's set: `is09` has 384 values, `is10` 1582.
        max_seconds: the first so many seconds are heard; no more is ever in memory.
    """

    reduce_noise: bool = True
    speech: bool = True
    size: int = 224
    window: float = 0.025
    hop: float = 0.010
    decibels: float = 80.0
    functionals: Literal["is09", "is10"] = "is09"
    max_seconds: float = 60.0

    def __post_init__(self) -> None:
        if not (self.size > 0 and 2 / AUDIO_RATE <= self.hop <= self.window <= 1):
            raise ValueError(
                f"sound: size {self.size}, window {self.window} s, hop {self.hop} s; expected a size of 1 or more and "
                "a hop not longer than the window, both between 0.000125 and 1 s"
            )
        if self.decibels <= 0 or self.max_seconds <= 0:
            raise ValueError(f"sound: decibels {self.decibels}, max_seconds {self.max_seconds}; expected more than 0")
