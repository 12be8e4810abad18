"""Selection of frames from clips, some of whose frames are padding."""

import torch
from torch import Tensor


def gather_frames(x: Tensor, index: Tensor) -> Tensor:
    """Select frames by their positions: (B, N, D), (B, M) -> (B, M, D)."""
    return x.gather(1, index[..., None].expand(-1, -1, x.shape[2]))


def real_frames_first(mask: Tensor) -> Tensor:
    """Return the positions of the real frames in their order, then those of the padded ones: (B, N) -> (B, N)."""
    return mask.byte().sort(dim=1, stable=True, descending=True).indices


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
