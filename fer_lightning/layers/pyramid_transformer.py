"""SVFAP's transformer over tubelets: a pyramid of time and a bottleneck of space (TPSBT).

Sun et al. (2024), "SVFAP: Self-supervised Video Facial Affect Perceiver", IEEE Transactions on Affective Computing,
https://arxiv.org/abs/2401.00416; sizes and names of files are those of https://github.com/sunlicai/SVFAP (MIT).
"""

from collections.abc import Sequence
from itertools import islice

from torch import Tensor, nn

from fer_lightning.layers.pixels import Pixels
from fer_lightning.layers.video_transformer import EPS, Attention, JointBlock, VideoTransformer, initialise
from fer_lightning.weights import RANDOM

HIDDEN = 128  # units of the layer that weighs the places of a moment (modeling_finetune.py, bottleneck_dim)


class SpatialBottleneck(nn.Module):
    """A few tokens for each moment, which are weighted means of its places (SpatialAttention there).

    Args:
        size: Length D of a token.
        count: Number K of tokens of a moment.
    """

    def __init__(self, size: int, count: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(size, EPS)
        self.mlp = nn.Sequential(nn.Linear(size, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, count))

    def forward(self, tokens: Tensor) -> Tensor:
        """Summarise the places P of each moment: (B, T, P, D) -> (B, T, K, D)."""
        weights = self.mlp(self.norm(tokens)).softmax(dim=2)  # (B, T, P, K)
        return weights.transpose(2, 3).to(tokens.dtype) @ tokens  # type: ignore[no-any-return]


class CrossBlock(JointBlock):
    """An encoder whose tokens attend to a context before they do to each other (CSBlock there).

    Args:
        size: Length D of a token.
        heads: Heads of each attention.
        drop_path: Probability at which a clip skips a part of the block in training.
    """

    def __init__(self, size: int, heads: int, drop_path: float) -> None:
        super().__init__(size, heads, drop_path)
        self.cross_norm, self.context_norm = nn.LayerNorm(size, EPS), nn.LayerNorm(size, EPS)
        self.cross = Attention(size, heads)

    def forward(self, tokens: Tensor, context: Tensor) -> Tensor:  # type: ignore[override] # it has a context
        """Relate tokens (B, N, D) to a context (B, M, D) and to each other: -> (B, N, D)."""
        attended = self.cross(self.cross_norm(tokens), self.context_norm(context))
        return super().forward(tokens + self.drop_path(attended))


class PyramidTransformer(VideoTransformer):
    """SVFAP's transformer: clips (B, T, 3, H, W) uint8 -> features (B, D), the normalised mean of the last tokens.

    In the first stage all tokens attend to each other. Each further stage begins with a convolution over time that
    makes one moment of two. A few tokens of each moment then gather from all tokens in every encoder but the last, in
    which all tokens gather from these few. Frames without a face are as in `VideoTransformer`.

    Args:
        weights: `random`; `svfap`, whose file is fetched by hand; or as in `VideoTransformer`.
        frames: Frames T of a clip, as set in the sampler.
        size: Side of the frames, pixels.
        width: Length D of a token.
        depths: Number of encoders in each stage.
        heads: Heads of their attention.
        bottleneck: Number of the few tokens of a moment.
        step: Number of moments of which a further stage makes one.
        drop_path: Probability at which a clip skips the last encoder's parts; it grows linearly from 0 at the first.
        checkpointing: Compute the encoders anew in the backward pass, which takes longer and a fraction of the memory.
        pixels: Pixel convention of files of weights; published ones have ImageNet's (datasets.py).

    Raises:
        ValueError: The frames cannot be cut into tubelets, or their moments not be joined that often; or a stage has
            no encoder.
    """

    def __init__(
        self,
        weights: str = RANDOM,
        frames: int = 16,
        size: int = 160,
        width: int = 512,
        depths: Sequence[int] = (12, 6, 3),
        heads: int = 8,
        bottleneck: int = 8,
        step: int = 2,
        drop_path: float = 0.1,
        checkpointing: bool = False,
        pixels: Pixels = "imagenet",
    ) -> None:
        if not depths or min(depths) < 1:
            raise ValueError(f"depths = {list(depths)}; expected the number of encoders in each stage, at least 1")
        first, *others = depths
        growth = drop_path / max(sum(depths) - 1, 1)
        super().__init__(
            *(weights, frames, size, width, first, heads),
            drop_path=growth * (first - 1),
            checkpointing=checkpointing,
            pixels=pixels,
        )
        if self.grid[0] % step ** len(others):
            raise ValueError(
                f"{frames} frames are {self.grid[0]} moments, which cannot be joined {len(others)} times by {step}; "
                "change `frames`, `step` or the number of `depths`"
            )
        self.depths, self.step = tuple(depths), step
        further = nn.ModuleList(CrossBlock(width, heads, growth * number) for number in range(first, sum(depths)))
        self.blocks.extend(further.apply(initialise))
        self.join = nn.ModuleList(nn.Conv1d(width, width, step, stride=step) for _ in others)
        self.bottleneck = nn.ModuleList(SpatialBottleneck(width, bottleneck) for _ in others).apply(initialise)

    @property
    def moments(self) -> int:
        """Number of moments that `tokens` has one after another, those behind the last stage."""
        moments: int = self.grid[0] // self.step ** (len(self.depths) - 1)
        return moments

    def tokens(self, clips: Tensor, mask: Tensor) -> Tensor:
        """Compute the tokens of clips behind the last stage: (B, N, D).

        Raises:
            ValueError: See `embedded`.
        """
        tokens, blocks = self.embedded(clips, mask), iter(self.blocks)
        first, *others = self.depths
        for block in islice(blocks, first):
            tokens = self.run(block, tokens)
        for depth, join, bottleneck in zip(others, self.join, self.bottleneck, strict=True):
            moments = self._joined(tokens, join)  # (B, T, P, D)
            tokens, few = moments.flatten(1, 2), bottleneck(moments).flatten(1, 2)
            for block in islice(blocks, depth - 1):
                few = self.run(block, few, tokens)
            tokens = self.run(next(blocks), tokens, few)
        return tokens

    def _joined(self, tokens: Tensor, join: nn.Module) -> Tensor:
        """Convolve the tokens of each place over time: (B, step T P, D) -> (B, T, P, D)."""
        places = self.grid[1] * self.grid[2]
        over_time = tokens.reshape(len(tokens), -1, places, tokens.shape[2]).permute(0, 2, 3, 1)  # (B, P, D, step T)
        joined: Tensor = join(over_time.flatten(0, 1)).unflatten(0, (-1, places))  # (B, P, D, T)
        return joined.permute(0, 3, 1, 2)
