"""The transformer's encoder, with LayerNorm first.

Vaswani et al. (2017), "Attention Is All You Need", https://arxiv.org/abs/1706.03762; the form with LayerNorm first is
that of Dosovitskiy et al. (2021), "An Image is Worth 16x16 Words", https://arxiv.org/abs/2010.11929
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class MultiHeadAttention(nn.Module):
    """Self-attention with several heads. Queries, keys and values have no biases.

    Args:
        size: Length D of a token.
        heads: Heads of the attention, which divide D.
        output: Have a linear layer, with a bias, over the concatenated heads.

    Raises:
        ValueError: The heads do not divide the length.
    """

    def __init__(self, size: int, heads: int, output: bool = True) -> None:
        super().__init__()
        if size % heads:
            raise ValueError(f"{heads} heads do not divide tokens of length {size}; expected a divisor of {size}")
        self.heads = heads
        self.query_key_value = nn.Linear(size, 3 * size, bias=False)
        self.output = nn.Linear(size, size) if output else nn.Identity()

    def forward(self, tokens: Tensor, visible: Tensor | None = None) -> Tensor:
        """Relate tokens (B, N, D), of which those in `visible` (B, N), one at least, are attended to: -> (B, N, D)."""
        parts = self.query_key_value(tokens).unflatten(-1, (3, self.heads, -1))  # (B, N, 3, heads, D / heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        mask = None if visible is None else visible[:, None, None, :]
        attended = F.scaled_dot_product_attention(query, key, value, mask)  # (B, heads, N, D / heads)
        return self.output(attended.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class TransformerBlock(nn.Module):
    """An encoder: attention, then two linear layers, each behind a LayerNorm and beside a residual connection.

    GELU is approximated by tanh, as where it was first used and in the code of Former-DFER.

    Args:
        size: Length D of a token.
        heads: Heads of the attention.
        hidden: Units between the two linear layers.
    """

    def __init__(self, size: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(size), nn.LayerNorm(size)
        self.attention = MultiHeadAttention(size, heads)
        self.mlp = nn.Sequential(nn.Linear(size, hidden), nn.GELU("tanh"), nn.Linear(hidden, size))

    def forward(self, tokens: Tensor, visible: Tensor | None = None) -> Tensor:
        """Relate tokens (B, N, D), of which those in `visible` (B, N), one at least, are attended to: -> (B, N, D)."""
        tokens = tokens + self.attention(self.norm1(tokens), visible)
        return tokens + self.mlp(self.norm2(tokens))  # type: ignore[no-any-return]


class TemporalTransformer(nn.Module):
    """Encoders over the frames' features and a class token, whose output is the clip's: T-Former of Former-DFER.

    [our choice] Frames without a face are not attended to; the paper's clips have none.

    Args:
        size: Length D of a frame's feature.
        frames: The most frames that a clip may have.
        depth: Number of encoders.
        heads: Heads of their attention.
        hidden: Units of their hidden layer.
    """

    def __init__(self, size: int, frames: int, depth: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.randn(1, 1, size))
        self.position = nn.Parameter(torch.randn(1, frames + 1, size))
        self.blocks = nn.ModuleList(TransformerBlock(size, heads, hidden) for _ in range(depth))

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        """Merge frames (B, T, D), of which those in the mask (B, T) are real: -> (B, D).

        Raises:
            ValueError: There are more frames than positions.
        """
        count = frames.shape[1]
        if count >= self.position.shape[1]:
            raise ValueError(
                f"the temporal transformer has positions for {self.position.shape[1] - 1} frames; found {count}: set "
                "the model's `frames` to those of the sampler"
            )
        tokens = torch.cat([self.token.expand(len(frames), -1, -1).to(frames.dtype), frames], dim=1)
        tokens = tokens + self.position[:, : count + 1]
        visible = torch.cat([torch.ones_like(mask[:, :1]), mask], dim=1)  # the class token always is
        for block in self.blocks:
            tokens = block(tokens, visible)
        return tokens[:, 0]
