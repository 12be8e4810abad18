"""Scaling of descriptors to the range of the training clips."""

import torch
from torch import Tensor, nn

ROUNDING = 16  # a feature that varies by fewer units in the last place counts as constant


class RangeScaler(nn.Module):
    """Scale each feature to [-1, 1] over the vectors that the scaler was fitted to.

    [our choice] Constant features become 0. Values outside the fitted range are not clipped, since their distance from
    the training data is information. Before it is fitted, the scaler returns its input.

    Args:
        size: Length D of the vectors; 0 if it is not known before the fit.
        scales: Whether to scale at all; otherwise vectors stay as they are.
    """

    low: Tensor
    high: Tensor

    def __init__(self, size: int, scales: bool = True) -> None:
        super().__init__()
        self.scales = scales
        self.register_buffer("low", torch.full((size,), -1.0))  # (D,)
        self.register_buffer("high", torch.full((size,), 1.0))  # (D,)

    def fit(self, x: Tensor) -> None:
        """Fit the range of each feature to vectors (M, D).

        Raises:
            ValueError: There are no vectors, or not all values are finite.
        """
        infinite = int((~x.isfinite()).any(dim=-1).sum())
        if not len(x) or infinite:
            raise ValueError(
                f"cannot fit a scaler to {len(x)} vectors, {infinite} of them with values that are not finite; "
                "expected at least one vector, and finite values"
            )
        self.low.resize_(x.shape[1]).copy_(x.amin(dim=0))
        self.high.resize_(x.shape[1]).copy_(x.amax(dim=0))

    def forward(self, x: Tensor) -> Tensor:
        """Scale vectors: (B, D) -> (B, D)."""
        if not self.scales:
            return x
        span = self.high - self.low
        rounding = ROUNDING * torch.finfo(span.dtype).eps * torch.maximum(self.low.abs(), self.high.abs())
        constant = span <= rounding
        return torch.where(constant, 0, 2 * (x - self.low) / torch.where(constant, 1, span) - 1)
