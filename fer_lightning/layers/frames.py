"""Selection of frames from clips, some of whose frames are padding."""

import torch
from torch import Tensor

FURTHEST = 1 << 20  # more frames than any clip has


def gather_frames(x: Tensor, index: Tensor) -> Tensor:
    """Select frames by their positions: (B, N, D), (B, M) -> (B, M, D)."""
    return x.gather(1, index[..., None].expand(-1, -1, x.shape[2]))


def real_frames_first(mask: Tensor) -> Tensor:
    """Return the positions of the real frames in their order, then those of the padded ones: (B, N) -> (B, N)."""
    place = torch.arange(mask.shape[1], device=mask.device)
    return torch.where(mask, place, place + FURTHEST).argsort(dim=1)  # see `stable_order`


def stable_order(values: Tensor) -> Tensor:
    """Return the places of values from the lowest on, the earlier one of equals first: (B, N) -> (B, N).

    It is a stable sort by comparisons, as ONNX has no equal of `sort(stable=True)`.
    """
    place = torch.arange(values.shape[1], device=values.device)
    others, own = values[:, None], values[..., None]
    before = (others < own) | ((others == own) & (place < place[:, None]))  # (B, N, N)
    return before.sum(dim=2).argsort(dim=1)


def last_real_frame(x: Tensor, mask: Tensor, default: Tensor) -> Tensor:
    """Select the last real frame of each clip.

    Args:
        x: Features (B, N, D) in the order of `real_frames_first`.
        mask: (B, N) bool, true for real frames, in any order.
        default: (B, D), returned for clips without real frames.

    Returns:
        (B, D).
    """
    count = mask.sum(dim=1)
    last = gather_frames(x, (count - 1).clamp_min(0)[:, None])[:, 0]
    return torch.where(count[:, None] > 0, last, default)
