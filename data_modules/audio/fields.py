"""The fields of `ClipBatch` that are made from audio: one object for each, in the table `FIELDS`."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_modules.audio.log_mel import log_mel
from data_modules.audio.opensmile import SIZES, Descriptors
from data_modules.audio.settings import AudioSettings
from data_modules.audio.spectrogram import spectrogram
from data_modules.audio.speech import SPEECH_SETTINGS, Samples, speech_packages


class AudioField(ABC):
    """A field that is made from the speech of a clip.

    Attributes:
        name: name of the field of `ClipBatch`.
        settings: fields of `AudioSettings` that the field depends on besides those of speech, `SPEECH_SETTINGS`.
        packages: distributions that compute the field; those that extract speech are not among them.
    """

    name: str
    settings: tuple[str, ...]
    packages: tuple[str, ...] = ()

    def relevant(self, audio: AudioSettings) -> AudioSettings:
        """Return the settings that the field depends on; the others have their default values."""
        return AudioSettings(**{name: getattr(audio, name) for name in (*SPEECH_SETTINGS, *self.settings)})

    def packages_for(self, audio: AudioSettings) -> tuple[str, ...]:
        """Return the distributions that extract the speech and compute the field with these settings."""
        return (*speech_packages(audio), *self.packages)

    def label(self, audio: AudioSettings) -> str:
        """Return what the names of folders with the field begin with."""
        return self.name

    @abstractmethod
    def maker(self, audio: AudioSettings) -> Callable[[Samples], NDArray[Any]]:
        """Return the function that computes the field from (n,) samples of speech; its library is loaded here.

        The function raises a ValueError if the speech does not suffice.

        Raises:
            AudioLibraryNotFoundError: a package is not installed.
        """

    @abstractmethod
    def placeholder(self, audio: AudioSettings) -> NDArray[Any]:
        """Return the value for a clip without audio: zeros in the shape and type of the field."""


class DescriptorField(AudioField):
    """The (E,) float32 openSMILE functionals, unscaled."""

    name, settings, packages = "descriptor", ("functionals",), ("opensmile",)

    def label(self, audio: AudioSettings) -> str:
        """Return the name of the set of functionals."""
        return audio.functionals

    def maker(self, audio: AudioSettings) -> Callable[[Samples], NDArray[Any]]:
        """Load openSMILE."""
        return Descriptors(audio.functionals)

    def placeholder(self, audio: AudioSettings) -> NDArray[Any]:
        """Return (E,) zeros."""
        return np.zeros(SIZES[audio.functionals], np.float32)


class SpectrogramField(AudioField):
    """The (size, size) uint8 image of the spectrogram."""

    name, settings = "spectrogram", ("size", "window", "hop", "decibels")

    def maker(self, audio: AudioSettings) -> Callable[[Samples], NDArray[Any]]:
        """Return `spectrogram` with these settings."""
        return partial(spectrogram, audio=audio)

    def placeholder(self, audio: AudioSettings) -> NDArray[Any]:
        """Return a black image, like silence."""
        return np.zeros((audio.size, audio.size), np.uint8)


class LogMelField(AudioField):
    """The (N, bands) float32 log-mel energies of N frames."""

    name, settings = "log_mel", ("bands", "window", "hop")

    def maker(self, audio: AudioSettings) -> Callable[[Samples], NDArray[Any]]:
        """Return `log_mel` with these settings."""
        return partial(log_mel, audio=audio)

    def placeholder(self, audio: AudioSettings) -> NDArray[Any]:
        """Return one frame of zeros."""
        return np.zeros((1, audio.bands), np.float32)


FIELDS: dict[str, AudioField] = {field.name: field for field in (DescriptorField(), SpectrogramField(), LogMelField())}
"""The fields that are made from audio, by name."""
