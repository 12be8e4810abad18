"""Frames or clips, some of which are padding: pooling and filling. The results are finite even if all are padding."""

import torch
from torch import Tensor


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Mean over the real items: (B, N, D), (B, N) -> (B, D); 0 if no item is real."""
    weights = mask[..., None].to(x.dtype)
    return (x * weights).sum(dim=1) / weights.sum(dim=1).clamp_min(1)


def masked_max(x: Tensor, mask: Tensor) -> Tensor:
    """Maximum over the real items: (B, N, D), (B, N) -> (B, D); 0 if no item is real."""
    highest = x.masked_fill(~mask[..., None], float("-inf")).amax(dim=1)
    return torch.where(mask.any(dim=1, keepdim=True), highest, torch.zeros_like(highest))


def zero_absent_images(images: Tensor, present: Tensor) -> Tensor:
    """Set the normalised images (B, 3, H, W) of clips without one (B,) to 0, the mean, since BatchNorm sees them."""
    return torch.where(present[:, None, None, None], images, 0)


def masked_mean_probability(x: Tensor, mask: Tensor) -> Tensor:
    """Logits whose softmax is the mean of the real items' probabilities: (B, N, C), (B, N) -> (B, C) in float32.

    They are 0, all classes equally likely, if no item is real.
    """
    scores = x.float().log_softmax(dim=2)
    lowest = torch.finfo(torch.float32).min  # with -inf, a clip without real items would become NaN
    total = scores.masked_fill(~mask[..., None], lowest).logsumexp(dim=1)  # (B, C)
    count = mask.sum(dim=1, keepdim=True)
    return torch.where(count > 0, total - count.clamp_min(1).log(), 0)


def masked_softmax(x: Tensor, mask: Tensor) -> Tensor:
    """Softmax over the real items: (B, N), (B, N) -> (B, N) in float32; 0 for items that are not real."""
    weights = x.float().masked_fill(~mask, torch.finfo(torch.float32).min).softmax(dim=1)
    return weights * mask


def repeat_nearest(frames: Tensor, mask: Tensor) -> Tensor:
    """Put the nearest real frame, the earlier of two, in the place of those that are not: (B, T, ...), (B, T)."""
    place = torch.arange(mask.shape[1], device=mask.device)
    distance = 2 * (place[:, None] - place).abs() + (place > place[:, None])  # (T, T), of a place and its source
    nearest = torch.where(mask[:, None], distance, 4 * len(place)).argmin(dim=2)  # (B, T)
    return frames[torch.arange(len(mask), device=mask.device)[:, None], nearest]
