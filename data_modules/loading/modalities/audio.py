"""What models hear of a clip: made by `prepare.audio`, kept by `store.audio_cache`."""

import torch
from torch import Tensor

from data_modules.loading.modalities.modality import ClipModality
from data_modules.store.audio_cache import AudioCache
from data_modules.store.clip_file import ClipSummary
from data_modules.store.face_sequence import FaceSequence


class AudioModality(ClipModality):
    """One of `audio_cache.FIELDS`; zeros stand for no sound."""

    setting, choices = "audio", ("true",)

    def missing(self, clip: ClipSummary) -> str:
        """See `Modality.missing`."""
        return "" if clip.audio > 0 else clip.audio_reason or "no sound track"

    def read(self, clip: FaceSequence, audio_cache: AudioCache) -> Tensor | None:
        """See `ClipModality.read`."""
        values = audio_cache.read(clip, self.field)
        return None if values is None else torch.from_numpy(values)

    def nothing(self, audio_cache: AudioCache) -> Tensor:
        """See `ClipModality.nothing`."""
        return torch.from_numpy(audio_cache.files[self.field].nothing)


class Descriptor(AudioModality):
    """(E,) openSMILE's functionals, unscaled."""

    field = "descriptor"


class Spectrogram(AudioModality):
    """(3, S, S) uint8, three times the same, as backbones for pictures want it."""

    field = "spectrogram"

    def read(self, clip: FaceSequence, audio_cache: AudioCache) -> Tensor | None:
        """See `ClipModality.read`."""
        grey = super().read(clip, audio_cache)
        return None if grey is None else grey.expand(3, *grey.shape)

    def nothing(self, audio_cache: AudioCache) -> Tensor:
        """See `ClipModality.nothing`."""
        grey = super().nothing(audio_cache)
        return grey.expand(3, *grey.shape)
