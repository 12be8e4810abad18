"""Frame-level self-attention (FSA, section 1.3).

Chen et al. (2023), "Video expression recognition based on frame-level attention mechanism", High Technology Letters,
https://doi.org/10.3772/j.issn.1006-6748.2023.02.003
"""

from contextlib import nullcontext

import torch
from torch import Tensor, nn


class FrameSelfAttention(nn.Module):
    """Frame-level self-attention (section 1.3, figure 3): X* = softmax(s Q K^T) V.

    The scale s replaces the 1 / sqrt(d) of equation 1.

    Args:
        size: Length D of a frame's feature. The matrices of Q, K and V are D x D (equation 2).
        scale: The scale s.
    """

    def __init__(self, size: int = 2048, scale: float = 0.1) -> None:
        super().__init__()
        self.query = nn.Linear(size, size, bias=False)
        self.key = nn.Linear(size, size, bias=False)
        self.value = nn.Linear(size, size, bias=False)
        self.scale = scale

    def extra_repr(self) -> str:
        """Return the settings that the parameters do not show."""
        return f"scale={self.scale}"

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Let the frames of each clip attend to each other.

        Args:
            x: Features X of the frames, (B, n, D).
            mask: (B, n) bool, true for real frames; None if all are real. No frame attends to a padded frame, and the
                rows of padded frames are 0.

        Returns:
            X* (B, n, D) and the weights (B, n, n) in float32, which say how much frame i attends to frame j. The
            weights of a real frame i sum to 1.
        """
        query, key = self.query(x), self.key(x)
        device = x.device.type
        no_autocast = (
            torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext()
        )
        with no_autocast:  # a sum of D products exceeds float16's range and bfloat16's precision
            dtype = torch.promote_types(x.dtype, torch.float32)
            scores = (self.scale * query.to(dtype)) @ key.to(dtype).transpose(1, 2)  # (B, n, n)
        if mask is None:
            weights = scores.softmax(dim=2)
        else:
            lowest = torch.finfo(scores.dtype).min  # with -inf, a clip without real frames would become NaN
            pairs = mask[:, :, None] & mask[:, None, :]
            weights = scores.masked_fill(~pairs, lowest).softmax(dim=2) * pairs
        return weights.to(x.dtype) @ self.value(x), weights
