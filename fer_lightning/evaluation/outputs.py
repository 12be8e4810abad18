"""The outputs of a model: logits, features, attention, frame relations and streams."""

from dataclasses import KW_ONLY, dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class StreamScores:
    """The logits of one stream of a model for B samples; NaN where a sample has no input for the stream."""

    name: str
    logits: Tensor  # (B, C)


@dataclass(frozen=True)
class ClassifierOutput:
    """The output of a model for B samples of T frames.

    `attention` weights A groups of T / A consecutive sampled frames: A is T for attention over frames, or the number of
    sub-videos. `relation[:, i, j]` is the similarity of frames i and j, or the attention of frame i to frame j.
    `frame_source` holds, for each position after a frame substitution, the number of the sampled frame that is used
    there.
    """

    logits: Tensor  # (B, C)
    feature: Tensor  # (B, D)
    attention: Tensor | None = None  # (B, A)
    _: KW_ONLY
    relation: Tensor | None = None  # (B, T, T)
    frame_source: Tensor | None = None  # (B, T) int, from 0 to T - 1
    streams: tuple[StreamScores, ...] = ()


@dataclass(frozen=True)
class FrozenFeatures:
    """The output of a model's frozen parts for B samples, which can be cached because it never changes."""

    frames: Tensor | None = None  # (B, T, D)
    clip: Tensor | None = None  # (B, E)


@dataclass(frozen=True)
class ClipPredictions:
    """The predictions for the M clips of a batch, averaged over the views of each clip."""

    clip_id: tuple[str, ...]
    probabilities: Tensor  # (M, C)
    feature: Tensor  # (M, D)
    frame_index: Tensor  # (M, T) of the first view
    attention: Tensor | None = None  # (M, A) of the first view
    intensity: Tensor | None = None  # (M, T) of the first view
    relation: Tensor | None = None  # (M, T, T) of the first view
    frame_source: Tensor | None = None  # (M, T) of the first view
    streams: Tensor | None = None  # (M, S, C) probabilities of each stream alone; NaN where it has no input
    stream_names: tuple[str, ...] = ()

    def to(self, device: torch.device | str) -> "ClipPredictions":
        """Returns the predictions on another device."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        moved: dict[str, Any] = {name: value.to(device) for name, value in values.items() if isinstance(value, Tensor)}
        return replace(self, **moved)
