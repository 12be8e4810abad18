"""How alike the frames of a clip are, and the frame substitution that builds on it (section 3.4).

Lee et al. (2020), "Visual Scene-Aware Hybrid and Multi-Modal Feature Aggregation for Facial Expression Recognition",
Sensors 20, 5184, https://doi.org/10.3390/s20185184
"""

import torch
from torch import Tensor

from fer_lightning.layers.frames import frames_at

ROUNDING = 8  # units of the last place within which a column counts as constant
TIE_DECIMALS = 10  # row means that differ by less differ by rounding alone, in float64


def inter_frame_correlation(x: Tensor, mask: Tensor | None = None) -> Tensor:
    """Equations 1 and 2: the Pearson correlation of the columns of Y = X X^T.

    [our choice] A constant column correlates 0 with the others; every real frame correlates 1
    with itself, as equation 1 prints it, so that one constant frame does not lower its own mean twice; padded frames
    take no part, their rows and columns are 0.

    Args:
        x: (B, N, D) features of frames.
        mask: (B, N) bool, true where a frame is real; None where all are.

    Returns:
        (B, N, N) in float32, or float64 where x is: in half precision the sums over D features lose what differs
        between the frames.
    """
    real = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device) if mask is None else mask
    with torch.autocast(x.device.type, enabled=False):
        x = torch.where(real[..., None], x, 0).to(torch.promote_types(x.dtype, torch.float32))
        mean = x.sum(dim=1, keepdim=True) / real.sum(dim=1).clamp_min(1)[:, None, None]
        centred = torch.where(real[..., None], x - mean, 0)  # (B, N, D)
        # Centring X centres the columns of X X^T; centring the products would lose their small differences.
        columns = _unit_columns(centred @ x.mT, x)  # (B, N, N)
        correlation = (columns.mT @ columns).clamp(-1, 1)
    itself = torch.eye(x.shape[1], dtype=torch.bool, device=x.device)
    return torch.where(itself, real[:, None].to(x.dtype), correlation)


def _unit_columns(centred: Tensor, x: Tensor) -> Tensor:
    """Columns of length 1, those that are constant but for rounding 0. (B, N, N), (B, N, D) -> (B, N, N)."""
    size = torch.linalg.vector_norm(x, dim=2)  # (B, N)
    rounding = ROUNDING * torch.finfo(x.dtype).eps * size * size.amax(dim=1, keepdim=True)
    squared = centred.square().sum(dim=1)  # (B, N) of the columns
    varies = squared > x.shape[1] * rounding.square()
    length = torch.where(varies, squared, 1).sqrt()
    return torch.where(varies[:, None], centred / length[:, None], 0)


@torch.no_grad()
def substitution_index(x: Tensor, k: int = 3, mask: Tensor | None = None) -> Tensor:
    """Which frame stands where after the substitution.

    [our choice] The lowest frame is replaced by the highest, the second lowest by the second
    highest and so on; of equal frames the earlier one counts as the lower among the lowest and as the higher among the
    highest; no more pairs than half of the real frames.

    Args:
        x: (B, N, D) features of frames.
        k: pairs of frames, 3 for 16 frames in the paper.
        mask: (B, N) bool, true where a frame is real; None where all are.

    Returns:
        (B, N) int64; place n of the result shows frame `index[:, n]` of x.

    Raises:
        ValueError: k is negative.
    """
    if k < 0:
        raise ValueError(f"k is the number of frames to replace, so 0 or more; found {k}")
    real = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device) if mask is None else mask
    count = real.sum(dim=1, keepdim=True)  # (B, 1)
    # Alike frames all correlate by almost 1: what sets them apart is lost in float32. MPS has no other.
    precise = x.float() if x.device.type == "mps" else x.double()
    means = inter_frame_correlation(precise, real).sum(dim=2) / count.clamp_min(1)  # (B, N)
    means = means.round(decimals=TIE_DECIMALS)
    pairs = min(k, x.shape[1] // 2)
    lowest = means.masked_fill(~real, torch.inf).sort(dim=1, stable=True).indices[:, :pairs]
    highest = means.masked_fill(~real, -torch.inf).sort(dim=1, stable=True, descending=True).indices[:, :pairs]
    replaced = torch.arange(pairs, device=x.device) < count // 2  # (B, pairs)
    unchanged = torch.arange(x.shape[1], device=x.device).expand(x.shape[:2])
    return unchanged.scatter(1, lowest, torch.where(replaced, highest, lowest))


def frame_substitution(x: Tensor, k: int = 3, mask: Tensor | None = None) -> Tensor:
    """Replaces the k frames that correlate least with the others by the k that correlate most.

    The gradient flows into the frames that are left, several times into those that were copied.

    Args:
        x: (B, N, D) features of frames.
        k: pairs of frames, 3 for 16 frames in the paper.
        mask: (B, N) bool, true where a frame is real; None where all are.

    Returns:
        (B, N, D).

    Raises:
        ValueError: k is negative.
    """
    return frames_at(x, substitution_index(x, k, mask))
