"""Inter-frame correlation, and the frame substitution that is based on it (section 3.4).

Lee et al. (2020), "Visual Scene-Aware Hybrid and Multi-Modal Feature Aggregation for Facial Expression Recognition",
Sensors 20, 5184, https://doi.org/10.3390/s20185184
"""

import torch
from torch import Tensor

from fer_lightning.layers.frames import gather_frames, stable_order

ROUNDING = 8  # a column that varies by fewer units in the last place counts as constant
TIE_DECIMALS = 10  # in float64, a smaller difference between row means is a rounding error


def inter_frame_correlation(x: Tensor, mask: Tensor | None = None) -> Tensor:
    """Compute the Pearson correlation of the columns of Y = X X^T (equations 1 and 2).

    [our choice] The correlation of a constant column with the others is 0. That of a real frame with itself is 1, as
    equation 1 prints it, so that a constant frame does not lower its own mean twice. Padded frames are ignored: their
    rows and columns are 0.

    Args:
        x: Features X of the frames, (B, N, D).
        mask: (B, N) bool, true for real frames; None if all are real.

    Returns:
        Correlations (B, N, N), in float64 if x is float64, else in float32. Half precision would lose the differences
        between frames in the sums over D features.
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
    """Scale columns to length 1, and those that are constant up to rounding to 0: (B, N, N), (B, N, D) -> (B, N, N)."""
    size = torch.linalg.vector_norm(x, dim=2)  # (B, N)
    rounding = ROUNDING * torch.finfo(x.dtype).eps * size * size.amax(dim=1, keepdim=True)
    squared = centred.square().sum(dim=1)  # (B, N) of the columns
    varies = squared > x.shape[1] * rounding.square()
    length = torch.where(varies, squared, 1).sqrt()
    return torch.where(varies[:, None], centred / length[:, None], 0)


@torch.no_grad()
def substitution_index(x: Tensor, k: int = 3, mask: Tensor | None = None) -> Tensor:
    """Compute which frame is at each position after the frame substitution.

    Frames are ranked by their mean correlation with the frames of their clip. [our choice] The lowest frame is replaced
    by the highest, the second lowest by the second highest, and so on. Among equal frames the earlier one is replaced
    first and copied first. At most half of the real frames are replaced.

    Args:
        x: Features of the frames, (B, N, D).
        k: Number K of frames to replace, 3 of 16 in the paper.
        mask: (B, N) bool, true for real frames; None if all are real.

    Returns:
        (B, N) int64: position n holds frame `index[:, n]` of x.

    Raises:
        ValueError: k is negative.
    """
    if k < 0:
        raise ValueError(f"k is the number of frames to replace, so it must be 0 or more; found {k}")
    real = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device) if mask is None else mask
    count = real.sum(dim=1, keepdim=True)  # (B, 1)
    # Similar frames all correlate by almost 1, with differences below float32's precision. MPS has no float64.
    precise = x.float() if x.device.type == "mps" else x.double()
    means = inter_frame_correlation(precise, real).sum(dim=2) / count.clamp_min(1)  # (B, N)
    means = means.round(decimals=TIE_DECIMALS)
    pairs = min(k, x.shape[1] // 2)
    lowest = stable_order(means.masked_fill(~real, torch.inf))[:, :pairs]
    highest = stable_order(-means.masked_fill(~real, -torch.inf))[:, :pairs]
    replaced = torch.arange(pairs, device=x.device) < count // 2  # (B, pairs)
    unchanged = torch.arange(x.shape[1], device=x.device).expand(x.shape[:2])
    return unchanged.scatter(1, lowest, torch.where(replaced, highest, lowest))


def frame_substitution(x: Tensor, k: int = 3, mask: Tensor | None = None) -> Tensor:
    """Replace the k frames that correlate least with the others by the k that correlate most.

    Gradients flow into the remaining frames, and into the copied ones once per copy.

    Args:
        x: Features of the frames, (B, N, D).
        k: Number K of frames to replace, 3 of 16 in the paper.
        mask: (B, N) bool, true for real frames; None if all are real.

    Returns:
        Features after the substitution, (B, N, D).

    Raises:
        ValueError: k is negative.
    """
    return gather_frames(x, substitution_index(x, k, mask))
