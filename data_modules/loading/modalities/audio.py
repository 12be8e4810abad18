"""The modalities that are made from audio: described in `audio.fields`, kept by `store.audio_cache`."""

import torch
from torch import Tensor

from data_modules.loading.modalities.modality import ClipModality
from data_modules.store.audio_cache import AudioCache
from data_modules.store.clip_file import ClipSummary
from data_modules.store.face_sequence import FaceSequence


class AudioModality(ClipModality):
    """One of `audio.fields.FIELDS`; zeros for a clip without audio."""

    setting, choices = "audio", ("true",)

    def missing_reason(self, clip: ClipSummary) -> str:
        """Return why a clip has no audio; empty if it has."""
        unreadable = "" if clip.num_frames else clip.reason
        return "" if clip.audio > 0 else clip.audio_reason or unreadable or "no audio track"

    def read(self, clip: FaceSequence, audio_cache: AudioCache) -> Tensor | None:
        """Read the field from the cache, or compute it; None without audio."""
        values = audio_cache.read(clip, self.field)
        return None if values is None else torch.from_numpy(values)

    def placeholder(self, audio_cache: AudioCache) -> Tensor:
        """Return zeros, like silence."""
        return torch.from_numpy(audio_cache.files[self.field].placeholder)


class Descriptor(AudioModality):
    """The (E,) openSMILE functionals of a clip, unscaled."""

    field = "descriptor"


class LogMel(AudioModality):
    """The (N, M) log-mel energies of a clip's N frames of audio, whose number varies."""

    field = "log_mel"


class Spectrogram(AudioModality):
    """The (3, S, S) uint8 spectrogram of a clip; the three channels are equal, for backbones that expect RGB."""

    field = "spectrogram"

    def read(self, clip: FaceSequence, audio_cache: AudioCache) -> Tensor | None:
        """Read or compute the spectrogram, and repeat it in three channels; None without audio."""
        grey = super().read(clip, audio_cache)
        return None if grey is None else grey.expand(3, *grey.shape)

    def placeholder(self, audio_cache: AudioCache) -> Tensor:
        """Return a black image with three channels, like silence."""
        grey = super().placeholder(audio_cache)
        return grey.expand(3, *grey.shape)
