"""Frame-level self-attention (FSA, section 1.3).

Chen et al. (2023), "Video expression recognition based on frame-level attention mechanism", High Technology Letters,
https://doi.org/10.3772/j.issn.1006-6748.2023.02.003

The paper takes its attention from VASNet, which has an output layer, dropout on the weights and a residual that the
paper does not mention; here they are options. Fajtl et al. (2018), "Summarizing videos with attention", ACCV workshops,
https://arxiv.org/abs/1812.01969, and the authors' code, https://github.com/ok1zjf/VASNet
"""

import torch
from torch import Tensor, nn

from fer_lightning.layers.precision import full_precision


class FrameSelfAttention(nn.Module):
    """Frame-level self-attention (section 1.3, figure 3): X* = softmax(s Q K^T) V.

    The scale s replaces the 1 / sqrt(d) of equation 1. With s = 0 every frame has the same weight, so that the result
    is the plain mean of V: the control that shows what attention adds. With the options of VASNet it is
    X* = W_o dropout(softmax(s Q K^T)) V + X.

    Args:
        size: Length D of a frame's feature. The matrices of Q, K and V are D x D (equation 2).
        scale: The scale s.
        residual: Add X to the result, as VASNet does.
        output_layer: Multiply the result by a matrix W_o, D x D, before the residual, as VASNet does.
        dropout: Dropout rate of the weights; VASNet has 0.5.

    Raises:
        ValueError: The scale is negative or not a number.
    """

    def __init__(
        self,
        size: int = 2048,
        scale: float = 0.1,
        residual: bool = False,
        output_layer: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if not 0 <= scale < float("inf"):
            raise ValueError(f"the scale of the attention is {scale}; expected a number from 0 (equal weights) up")
        self.query = nn.Linear(size, size, bias=False)
        self.key = nn.Linear(size, size, bias=False)
        self.value = nn.Linear(size, size, bias=False)
        self.output = nn.Linear(size, size, bias=False) if output_layer else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.scale = scale
        self.residual = residual

    def extra_repr(self) -> str:
        """Return the settings that the parameters do not show."""
        return f"scale={self.scale}, residual={self.residual}"

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Let the frames of each clip attend to each other.

        Args:
            x: Features X of the frames, (B, n, D).
            mask: (B, n) bool, true for real frames; None if all are real. No frame attends to a padded frame, and the
                rows of padded frames are 0.

        Returns:
            X* (B, n, D) and the weights (B, n, n) in float32, which say how much frame i attends to frame j. The
            weights of a real frame i sum to 1; they are those before dropout.
        """
        query, key = self.query(x), self.key(x)
        with full_precision(x.device):  # a sum of D products exceeds float16's range and bfloat16's precision
            dtype = torch.promote_types(x.dtype, torch.float32)
            scores = (self.scale * query.to(dtype)) @ key.to(dtype).transpose(1, 2)  # (B, n, n)
        if mask is None:
            weights = scores.softmax(dim=2)
        else:
            lowest = torch.finfo(scores.dtype).min  # with -inf, a clip without real frames would become NaN
            pairs = mask[:, :, None] & mask[:, None, :]
            weights = scores.masked_fill(~pairs, lowest).softmax(dim=2) * pairs
        attended = self.output(self.dropout(weights).to(x.dtype) @ self.value(x))
        if self.residual:
            attended = attended + (x if mask is None else x * mask[..., None])
        return attended, weights
