"""Attention over the frames of a clip (section 1.3).

Chen et al. (2022), "Video expression recognition based on frame-level attention mechanism", High Technology Letters
"""

from contextlib import nullcontext

import torch
from torch import Tensor, nn


class FrameSelfAttention(nn.Module):
    """FSA (ECNN-FSA, section 1.3, figure 3): X* = softmax(s Q K^T) V, with s in the place of equation 1's 1 / sqrt(d).

    Args:
        size: D, of a frame's feature; the matrices of Q, K and V are D x D (equation 2).
        scale: s.
    """

    def __init__(self, size: int = 2048, scale: float = 0.1) -> None:
        super().__init__()
        self.query = nn.Linear(size, size, bias=False)
        self.key = nn.Linear(size, size, bias=False)
        self.value = nn.Linear(size, size, bias=False)
        self.scale = scale

    def extra_repr(self) -> str:
        """What its tensors do not tell."""
        return f"scale={self.scale}"

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Lets frames attend to each other.

        Args:
            x: (B, n, D) features of frames.
            mask: (B, n) bool, true where a frame is real; nothing attends to the others, and theirs are zeros.

        Returns:
            X* (B, n, D), and the weights (B, n, n) in float32: how much frame i attends to frame j; those of a real
            frame i add up to 1.
        """
        query, key = self.query(x), self.key(x)
        device = x.device.type
        exact = torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext()
        with exact:  # sums of D products: float16 has not the range, bfloat16 not the digits
            wide = torch.promote_types(x.dtype, torch.float32)
            scores = (self.scale * query.to(wide)) @ key.to(wide).transpose(1, 2)  # (B, n, n)
        if mask is None:
            weights = scores.softmax(dim=2)
        else:
            lowest = torch.finfo(scores.dtype).min  # not infinity: of a clip without any frame that would be NaN
            pairs = mask[:, :, None] & mask[:, None, :]
            weights = scores.masked_fill(~pairs, lowest).softmax(dim=2) * pairs
        return weights.to(x.dtype) @ self.value(x), weights
