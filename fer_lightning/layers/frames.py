"""Frames by their places in a clip, of which some are padding."""

import torch
from torch import Tensor


def frames_at(x: Tensor, index: Tensor) -> Tensor:
    """The frames that stand at each place: (B, N, D), (B, M) -> (B, M, D)."""
    return x.gather(1, index[..., None].expand(-1, -1, x.shape[2]))


def real_first(mask: Tensor) -> Tensor:
    """(B, N) -> (B, N): places of the real frames, in their order, then those of the others."""
    return mask.byte().sort(dim=1, stable=True, descending=True).indices


def last_real(x: Tensor, mask: Tensor, otherwise: Tensor) -> Tensor:
    """Of frames of which the real ones come first, the last real one.

    Args:
        x: (B, N, D), in the order of `real_first`.
        mask: (B, N) in any order.
        otherwise: (B, D), taken where no frame is real.
    """
    count = mask.sum(dim=1)
    last = frames_at(x, (count - 1).clamp_min(0)[:, None])[:, 0]
    return torch.where(count[:, None] > 0, last, otherwise)
