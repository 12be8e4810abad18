"""Pooling over frames or clips of which some are padding; all are defined where nothing is real."""

import torch
from torch import Tensor


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """(B, N, D), (B, N) -> (B, D); zeros where nothing is real."""
    weights = mask[..., None].to(x.dtype)
    return (x * weights).sum(dim=1) / weights.sum(dim=1).clamp_min(1)


def masked_max(x: Tensor, mask: Tensor) -> Tensor:
    """(B, N, D), (B, N) -> (B, D); zeros where nothing is real."""
    highest = x.masked_fill(~mask[..., None], float("-inf")).amax(dim=1)
    return torch.where(mask.any(dim=1, keepdim=True), highest, torch.zeros_like(highest))


def masked_softmax(x: Tensor, mask: Tensor) -> Tensor:
    """(B, N), (B, N) -> (B, N) float32, summing to 1 over what is real; zeros where nothing is."""
    weights = x.float().masked_fill(~mask, torch.finfo(torch.float32).min).softmax(dim=1)
    return weights * mask
