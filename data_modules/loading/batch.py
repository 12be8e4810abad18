"""ClipBatch: the contract between the two packages."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

MODALITIES = ("face", "sound")
"""The columns of `ClipBatch.present`."""


@dataclass(frozen=True)
class ClipBatch:
    """B samples of clips. What a model does not ask for is None and costs nothing.

    Several samples of one clip (draws, augmented instances) stand one after another and share its `clip_id`; their
    predictions are averaged before any metric.
    """

    clip_id: tuple[str, ...]
    label: Tensor  # (B,) int64, a place in the class list; -1 where the class is not known
    mask: Tensor  # (B, T) bool, true where a frame is real; nowhere in a clip without a face
    frame_index: Tensor  # (B, T) int64, frame numbers in the source; -1 where there is no face
    face: Tensor | None = None  # (B, T, 3, H, W) float, normalised
    person: Tensor | None = None  # (B, T, 3, H, W) float, normalised
    landmarks: Tensor | None = None  # (B, T, 68, 3) in pixels of the crop; NaN in frames where none were found
    spectrogram: Tensor | None = None  # (B, 3, S, S) float, normalised; zeros where a clip has no sound
    descriptor: Tensor | None = None  # (B, E) openSMILE's functionals, unscaled; zeros where a clip has no sound
    features: Tensor | None = None  # (B, T, D) of the frames, cached
    clip_features: Tensor | None = None  # (B, E) of the clips, cached
    present: Tensor | None = None  # (B, 2) bool, whether a clip has each of `MODALITIES`; with sound alone
    intensity: Tensor | None = None  # (B, T) true intensity of the expression, where the data set knows it

    def __len__(self) -> int:
        return len(self.clip_id)

    def has(self, modality: str) -> Tensor:
        """(B,) bool, which samples have one of `MODALITIES`; all where the batch does not say."""
        if self.present is None:
            return torch.ones_like(self.label, dtype=torch.bool)
        return self.present[:, MODALITIES.index(modality)]

    def _map(self, change: Callable[[Tensor], Tensor]) -> "ClipBatch":
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        changed: dict[str, Any] = {name: change(value) for name, value in values.items() if isinstance(value, Tensor)}
        return replace(self, **changed)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "ClipBatch":
        """The batch on another device."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> "ClipBatch":
        """The batch in page-locked memory."""
        return self._map(Tensor.pin_memory)


@dataclass(frozen=True)
class ClipSample:
    """One or several draws of a clip, with the fields of `ClipBatch`; S draws stand where B stands there."""

    clip_id: str
    label: int
    mask: Tensor  # (S, T)
    frame_index: Tensor  # (S, T)
    face: Tensor | None = None  # (S, T, 3, H, W)
    person: Tensor | None = None  # (S, T, 3, H, W)
    landmarks: Tensor | None = None  # (S, T, 68, 3)
    spectrogram: Tensor | None = None  # (S, 3, size, size) uint8
    descriptor: Tensor | None = None  # (S, E)
    present: Tensor | None = None  # (S, 2)
    features: Tensor | None = None  # (S, T, D)
    clip_features: Tensor | None = None  # (S, E)
    intensity: Tensor | None = None  # (S, T)


def collate(samples: Sequence[ClipSample]) -> ClipBatch:
    """Joins clips; shorter samples are padded with frames of zeros that the mask leaves out."""
    length = max(sample.mask.shape[1] for sample in samples)
    draws = [len(sample.mask) for sample in samples]

    def join(name: str, frames: bool = True) -> Tensor | None:
        tensors = [getattr(sample, name) for sample in samples]
        if any(tensor is None for tensor in tensors):
            return None
        return torch.cat([_pad_frames(tensor, length) if frames else tensor for tensor in tensors])

    mask, frame_index = join("mask"), join("frame_index")
    assert mask is not None
    assert frame_index is not None
    return ClipBatch(
        clip_id=tuple(sample.clip_id for sample, n in zip(samples, draws, strict=True) for _ in range(n)),
        label=torch.tensor([sample.label for sample in samples]).repeat_interleave(torch.tensor(draws)),
        mask=mask,
        frame_index=frame_index,
        face=join("face"),
        person=join("person"),
        landmarks=join("landmarks"),
        spectrogram=join("spectrogram", frames=False),
        descriptor=join("descriptor", frames=False),
        present=join("present", frames=False),
        intensity=join("intensity"),
        features=join("features"),
        clip_features=join("clip_features", frames=False),
    )


def _pad_frames(tensor: Tensor, length: int) -> Tensor:
    """(S, T, ...) -> (S, length, ...)."""
    missing = length - tensor.shape[1]
    if missing == 0:
        return tensor
    return torch.cat([tensor, tensor.new_zeros(len(tensor), missing, *tensor.shape[2:])], dim=1)
