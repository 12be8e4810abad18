"""ClipBatch: the contract between the two packages, and the table of what a model can ask for in it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from data_modules.loading.modalities.audio import Descriptor, Spectrogram
from data_modules.loading.modalities.head_pose import HeadPose
from data_modules.loading.modalities.landmarks import Landmarks
from data_modules.loading.modalities.modality import ClipModality, Modality
from data_modules.loading.modalities.pictures import Pictures

MODALITIES = ("face", "audio")
"""The columns of `ClipBatch.present`."""

INPUTS: dict[str, Modality] = {
    modality.field: modality
    for modality in (Pictures("face"), Pictures("person"), Landmarks(), HeadPose(), Spectrogram(), Descriptor())
}
"""What a model can ask for in `inputs`, by the field of `ClipBatch`."""

FACE_INPUTS = frozenset(name for name, modality in INPUTS.items() if modality.column == "face")
"""Those that need a face."""
AUDIO_INPUTS = frozenset(name for name, modality in INPUTS.items() if modality.column == "audio")
"""Those that need sound."""


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
    face: Tensor | None = None  # (B, T, 3, H, W) uint8 of red, green, blue, which each backbone normalises itself
    person: Tensor | None = None  # (B, T, 3, H, W) uint8
    landmarks: Tensor | None = None  # (B, T, 68, 3) in pixels of the crop; NaN in frames where none were found
    head_pose: Tensor | None = None  # (B, T, 3) yaw, pitch, roll in degrees; NaN in frames without landmarks
    spectrogram: Tensor | None = None  # (B, 3, S, S) uint8; zeros, which is silence, where a clip has no sound
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


ClipSample = ClipBatch
"""One or several draws of one clip; S draws stand where B samples stand in a batch."""

WITHOUT_FRAMES = frozenset({"label", "present", "clip_features"}) | {
    name for name, modality in INPUTS.items() if isinstance(modality, ClipModality)
}
"""The fields of `ClipBatch` that have no dimension of frames."""


def modalities_of(inputs: Iterable[str]) -> list[Modality]:
    """The modalities of these names, in the order of the table.

    Raises:
        ValueError: there is no modality of a name.
    """
    inputs = frozenset(inputs)
    if unknown := sorted(inputs - set(INPUTS)):
        raise ValueError(f"a model asks for {', '.join(unknown)}; expected some of {', '.join(INPUTS)}")
    return [modality for name, modality in INPUTS.items() if name in inputs]


def needed_settings(inputs: Iterable[str]) -> frozenset[str]:
    """The fields of `FaceSettings` that have these inputs kept in the store."""
    return frozenset(modality.setting for modality in modalities_of(inputs)) - {""}


def collate(samples: Sequence[ClipSample]) -> ClipBatch:
    """Joins clips; shorter samples are padded with frames of zeros that the mask leaves out."""
    length = max(sample.mask.shape[1] for sample in samples)

    def join(name: str) -> Tensor | None:
        tensors = [getattr(sample, name) for sample in samples]
        if any(tensor is None for tensor in tensors):
            return None
        return torch.cat([tensor if name in WITHOUT_FRAMES else _pad_frames(tensor, length) for tensor in tensors])

    joined: dict[str, Any] = {field.name: join(field.name) for field in fields(ClipBatch) if field.name != "clip_id"}
    return ClipBatch(clip_id=tuple(chain.from_iterable(sample.clip_id for sample in samples)), **joined)


def _pad_frames(tensor: Tensor, length: int) -> Tensor:
    """(S, T, ...) -> (S, length, ...)."""
    missing = length - tensor.shape[1]
    if missing == 0:
        return tensor
    return torch.cat([tensor, tensor.new_zeros(len(tensor), missing, *tensor.shape[2:])], dim=1)
