"""Scaling of descriptors by what the training clips showed."""

import torch
from torch import Tensor, nn

ROUNDING = 16  # units of the last place within which a feature counts as constant


class RangeScaler(nn.Module):
    """Scales every feature to [-1, 1] over the vectors that it was fitted to.

    [our choice] A feature that was constant becomes 0, and values outside of the fitted range
    are kept beyond [-1, 1] instead of clipped: how far they are from what was seen is worth knowing. Before a fit it
    changes nothing.

    Args:
        size: of the vectors; 0 leaves it to the fit.
    """

    low: Tensor
    high: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("low", torch.full((size,), -1.0))  # (D,)
        self.register_buffer("high", torch.full((size,), 1.0))  # (D,)

    def fit(self, x: Tensor) -> None:
        """Takes the range of each feature from (M, D).

        Raises:
            ValueError: there are no vectors, or values that are not finite.
        """
        if not len(x) or not x.isfinite().all():
            raise ValueError(f"cannot fit a scaler to {len(x)} vectors, all finite: {bool(x.isfinite().all())}")
        self.low.resize_(x.shape[1]).copy_(x.amin(dim=0))
        self.high.resize_(x.shape[1]).copy_(x.amax(dim=0))

    def forward(self, x: Tensor) -> Tensor:
        """(B, D) -> (B, D)."""
        span = self.high - self.low
        rounding = ROUNDING * torch.finfo(span.dtype).eps * torch.maximum(self.low.abs(), self.high.abs())
        constant = span <= rounding
        return torch.where(constant, 0, 2 * (x - self.low) / torch.where(constant, 1, span) - 1)
