"""What a model gives back: scores, features, and what there is to look at."""

from dataclasses import KW_ONLY, dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class StreamScores:
    """What one stream of a model says alone of B samples; NaN where a sample has nothing for it to see."""

    name: str
    logits: Tensor  # (B, C)


@dataclass(frozen=True)
class ClassifierOutput:
    """What a model makes of B samples.

    `attention` weighs A groups of T / A consecutive sampled frames: A is T for attention over frames, or the number of
    sub-videos. `relation` says at [:, i, j] how alike frames i and j are, or how much frame i attends to frame j, and
    `frame_source` which sampled frame stands at each place of what comes after a substitution.
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
    """What a model's frozen parts make of B samples; computed once, they can be cached."""

    frames: Tensor | None = None  # (B, T, D)
    clip: Tensor | None = None  # (B, E)


@dataclass(frozen=True)
class ClipPredictions:
    """A batch's clips, their draws averaged."""

    clip_id: tuple[str, ...]
    probabilities: Tensor  # (M, C)
    feature: Tensor  # (M, D)
    frame_index: Tensor  # (M, T) of the first draw
    attention: Tensor | None = None  # (M, A) of the first draw
    intensity: Tensor | None = None  # (M, T) of the first draw
    relation: Tensor | None = None  # (M, T, T) of the first draw
    frame_source: Tensor | None = None  # (M, T) of the first draw
    streams: Tensor | None = None  # (M, S, C) probabilities of each stream alone; NaN where it sees nothing
    stream_names: tuple[str, ...] = ()

    def to(self, device: torch.device | str) -> "ClipPredictions":
        """The predictions on another device."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        moved: dict[str, Any] = {name: value.to(device) for name, value in values.items() if isinstance(value, Tensor)}
        return replace(self, **moved)
