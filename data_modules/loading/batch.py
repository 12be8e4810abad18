"""ClipBatch, the interface between the two packages, and the table of fields that a model can request."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from data_modules.loading.modalities.audio import Descriptor, LogMel, Spectrogram
from data_modules.loading.modalities.head_pose import HeadPose
from data_modules.loading.modalities.landmarks import Landmarks
from data_modules.loading.modalities.modality import ClipModality, Modality
from data_modules.loading.modalities.pictures import Pictures
from data_modules.loading.stored_pictures import StoredPictures

MODALITIES = ("face", "audio")
"""The columns of `ClipBatch.present`."""

INPUTS: dict[str, Modality] = {
    modality.field: modality
    for modality in (
        *(Pictures("face"), Pictures("person"), Landmarks(), HeadPose()),
        *(Spectrogram(), Descriptor(), LogMel()),
    )
}
"""The modalities that a model can request in `inputs`, by their field of `ClipBatch`."""

FACE_INPUTS = frozenset(name for name, modality in INPUTS.items() if modality.column == "face")
"""The inputs that need a face."""
AUDIO_INPUTS = frozenset(name for name, modality in INPUTS.items() if modality.column == "audio")
"""The inputs that need audio."""


@dataclass(frozen=True)
class ClipBatch:
    """A batch of B samples. Fields that the model does not request are None and cost nothing.

    Several views of one clip are consecutive samples with the same `clip_id`; their predictions are averaged before any
    metric is computed.
    """

    clip_id: tuple[str, ...]
    label: Tensor  # (B,) int64, index into the class list; -1 if the class is unknown
    mask: Tensor  # (B, T) bool, false for padding and for all frames of a clip without a face
    frame_index: Tensor  # (B, T) int64, frame numbers in the source; -1 for a clip without a face
    face: Tensor | None = None  # (B, T, 3, H, W) uint8 RGB, which each backbone normalises itself
    person: Tensor | None = None  # (B, T, 3, H, W) uint8
    landmarks: Tensor | None = None  # (B, T, 68, 3) in pixels of the crop; NaN in frames without landmarks
    head_pose: Tensor | None = None  # (B, T, 3) yaw, pitch, roll in degrees; NaN in frames without landmarks
    spectrogram: Tensor | None = None  # (B, 3, S, S) uint8; zeros, like silence, for a clip without audio
    descriptor: Tensor | None = None  # (B, E) openSMILE functionals, unscaled; zeros for a clip without audio
    log_mel: Tensor | None = None  # (B, N, M) decibels; NaN after the end of a shorter clip, zeros without audio
    features: Tensor | None = None  # (B, T, D) cached features of the frames
    clip_features: Tensor | None = None  # (B, E) cached features of the clips
    present: Tensor | None = None  # (B, 2) bool, whether a clip has each of `MODALITIES`; None without audio inputs
    intensity: Tensor | None = None  # (B, T) true intensity of the expression, if the data set provides it
    votes: Tensor | None = None  # (B, C) share of the annotators that chose each class, if the data set provides it
    stored: StoredPictures | None = None  # the crops that `to` makes `face` and `person` of, in place of these

    def __len__(self) -> int:
        return len(self.clip_id)

    def has(self, modality: str) -> Tensor:
        """Return (B,) bool, which samples have one of `MODALITIES`; all if `present` is None."""
        if self.present is None:
            return torch.ones_like(self.label, dtype=torch.bool)
        return self.present[:, MODALITIES.index(modality)]

    def _map(self, function: Callable[[Tensor], Tensor]) -> "ClipBatch":
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        tensors: dict[str, Any] = {name: function(value) for name, value in values.items() if isinstance(value, Tensor)}
        return replace(self, stored=self.stored and self.stored.map(function), **tensors)

    def tensors(self) -> Iterator[Tensor]:
        """Yield all tensors, those of `stored` included."""
        values = (getattr(self, field.name) for field in fields(self))
        yield from (value for value in values if isinstance(value, Tensor))
        yield from self.stored.tensors() if self.stored else ()

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "ClipBatch":
        """Return the batch on another device, where `stored` crops become images.

        Copies from pinned memory are not waited for.
        """
        moved = self._map(lambda tensor: tensor.to(device, non_blocking=non_blocking or tensor.is_pinned()))
        if moved.stored is None:
            return moved
        images: dict[str, Any] = moved.stored.images(moved.mask)
        return replace(moved, stored=None, **images)

    def pin_memory(self) -> "ClipBatch":
        """Return the batch in page-locked memory."""
        return self._map(Tensor.pin_memory)


ClipSample = ClipBatch
"""One or several views of one clip: a batch whose B samples are S views of the clip."""

WITHOUT_FRAMES = frozenset({"label", "present", "clip_features", "votes"}) | {
    name for name, modality in INPUTS.items() if isinstance(modality, ClipModality)
}
"""The fields of `ClipBatch` without a frame dimension."""


def modalities_for(inputs: Iterable[str]) -> list[Modality]:
    """Return the modalities with the given names, in the order of `INPUTS`.

    Raises:
        ValueError: a name is unknown.
    """
    inputs = frozenset(inputs)
    if unknown := sorted(inputs - set(INPUTS)):
        raise ValueError(f"a model requests unknown inputs {', '.join(unknown)}; expected some of {', '.join(INPUTS)}")
    return [modality for name, modality in INPUTS.items() if name in inputs]


def needed_settings(inputs: Iterable[str]) -> frozenset[str]:
    """Return the fields of `FaceSettings` that have the store keep these inputs."""
    return frozenset(modality.setting for modality in modalities_for(inputs)) - {""}


def collate(samples: Sequence[ClipSample]) -> ClipBatch:
    """Join samples into a batch; shorter ones are padded with frames of zeros that the mask excludes.

    Log-mel energies have frames of their own, and are padded with NaN.
    """
    length = max(sample.mask.shape[1] for sample in samples)

    def join(name: str) -> Tensor | None:
        tensors = [getattr(sample, name) for sample in samples]
        if any(tensor is None for tensor in tensors):
            return None
        if name == LogMel.field:
            longest = max(tensor.shape[1] for tensor in tensors)
            return torch.cat([_pad_frames(tensor, longest, torch.nan) for tensor in tensors])
        return torch.cat([tensor if name in WITHOUT_FRAMES else _pad_frames(tensor, length) for tensor in tensors])

    others = {"clip_id", "stored"}
    joined: dict[str, Any] = {field.name: join(field.name) for field in fields(ClipBatch) if field.name not in others}
    return ClipBatch(clip_id=tuple(chain.from_iterable(sample.clip_id for sample in samples)), **joined)


def _pad_frames(tensor: Tensor, length: int, value: float = 0) -> Tensor:
    """Pad (S, T, ...) with a value to (S, length, ...)."""
    padding = length - tensor.shape[1]
    if padding == 0:
        return tensor
    return torch.cat([tensor, tensor.new_full((len(tensor), padding, *tensor.shape[2:]), value)], dim=1)
