"""Mixup: a training sample is a mixture of two, and so is its loss.

Zhang et al. (2018), "mixup: Beyond Empirical Risk Minimization", https://arxiv.org/abs/1710.09412
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from data_modules.loading.batch import ClipBatch

MIXED = frozenset({"face", "person"})
"""The inputs that can be mixed: images. A mixture of landmarks or of descriptors shows nobody."""


@dataclass(frozen=True)
class MixedBatch:
    """Mixed samples with the labels of both halves; the loss is `share` of the first one's and the rest the other's."""

    first: ClipBatch
    second: ClipBatch  # the same images, with the labels of the samples that were mixed in
    share: Tensor  # of the first one, a scalar from 0.5 to 1


def mix(batch: ClipBatch, alpha: float) -> MixedBatch:
    """Mixes each sample of a batch with another one, at a share that all samples of the batch have in common.

    The share is drawn from Beta(alpha, alpha); the larger part counts as the first, so that accuracies in training are
    those of its labels.

    Raises:
        ValueError: the batch carries cached features, whose images are not there to be mixed.
    """
    if batch.features is not None or batch.clip_features is not None:
        raise ValueError("mixup mixes images, but features are cached in their place; train without the cache")
    share = torch.distributions.Beta(alpha, alpha).sample()
    share = torch.maximum(share, 1 - share).to(batch.label.device)
    order = torch.randperm(len(batch.label), device=batch.label.device)
    images: dict[str, Any] = {
        name: _mixture(value, order, share) for name in MIXED if (value := getattr(batch, name)) is not None
    }
    first = replace(batch, **images)
    votes = None if batch.votes is None else batch.votes[order]
    return MixedBatch(first, replace(first, label=batch.label[order], votes=votes), share)


def _mixture(images: Tensor, order: Tensor, share: Tensor) -> Tensor:
    """Returns the mixtures of (B, T, 3, H, W) uint8 images with those in another order."""
    return torch.lerp(images[order].float(), images.float(), share).round().to(images.dtype)
