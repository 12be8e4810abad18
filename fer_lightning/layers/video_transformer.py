"""Transformers over the tubelets of a clip: VideoMAE's joint attention and MAE-DFER's local-global one.

Tong et al. (2022), "VideoMAE: Masked Autoencoders are Data-Efficient Learners for Self-Supervised Video Pre-Training",
NeurIPS 2022, https://arxiv.org/abs/2203.12602

Sun et al. (2023), "MAE-DFER: Efficient Masked Autoencoder for Self-supervised Dynamic Facial Expression Recognition",
ACM Multimedia 2023, LGI-Former, https://arxiv.org/abs/2307.02227; sizes are those of https://github.com/sunlicai/MAE-DFER
(MIT), whose files are cited here.
"""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from timm.layers import DropPath
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from fer_lightning.layers.backbones import Pretrained
from fer_lightning.layers.masking import repeat_nearest
from fer_lightning.layers.mira import frame_bias
from fer_lightning.layers.pixels import PixelConversion, Pixels, convention_from_state
from fer_lightning.layers.video_transformer_weights import file_of, state_of
from fer_lightning.weights import RANDOM, load_backbone_weights, tensors_in, trained_here

PATCH, TUBELET = 16, 2  # side in pixels, and frames, of the cuboid that a token stands for (modeling_finetune.py)
EPS = 1e-6  # of the layer normalisations (modeling_finetune.py)


class Attention(nn.Module):
    """Attention with several heads. Queries and values have biases, keys have none.

    Args:
        size: Length D of a token.
        heads: Heads of the attention, which divide D.
        times: Weigh this number of moments as MiRA does; 0 weighs none.

    Raises:
        ValueError: The heads do not divide the length.
    """

    def __init__(self, size: int, heads: int, times: int = 0) -> None:
        super().__init__()
        if size % heads:
            raise ValueError(f"{heads} heads do not divide tokens of length {size}; expected a divisor of {size}")
        self.heads, self.times = heads, times
        self.query, self.value = nn.Linear(size, size), nn.Linear(size, size)
        self.key = nn.Linear(size, size, bias=False)
        self.output = nn.Linear(size, size)

    def forward(self, tokens: Tensor, context: Tensor | None = None) -> Tensor:
        """Relate tokens (B, N, D) to a context (B, M, D), by default to each other: -> (B, N, D)."""
        context = tokens if context is None else context
        query, key, value = (
            layer(x).unflatten(2, (self.heads, -1)).transpose(1, 2)  # (B, heads, N, D / heads)
            for layer, x in ((self.query, tokens), (self.key, context), (self.value, context))
        )
        bias = frame_bias(key, self.times).to(query.dtype) if self.times else None
        attended = F.scaled_dot_product_attention(query, key, value, bias)
        return self.output(attended.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


def feed_forward(size: int) -> nn.Sequential:
    """Return two linear layers with four times as many hidden units."""
    return nn.Sequential(nn.Linear(size, 4 * size), nn.GELU(), nn.Linear(4 * size, size))


class JointBlock(nn.Module):
    """An encoder in which all tokens attend to each other.

    Args:
        size: Length D of a token.
        heads: Heads of the attention.
        drop_path: Probability at which a clip skips each half of the block in training.
        times: See `Attention`.
    """

    def __init__(self, size: int, heads: int, drop_path: float, times: int = 0) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(size, EPS), nn.LayerNorm(size, EPS)
        self.attention, self.mlp = Attention(size, heads, times), feed_forward(size)
        self.drop_path = DropPath(drop_path)

    def forward(self, tokens: Tensor) -> Tensor:
        """Relate tokens: (B, N, D) -> (B, N, D)."""
        tokens = tokens + self.drop_path(self.attention(self.norm1(tokens)))
        return tokens + self.drop_path(self.mlp(self.norm2(tokens)))  # type: ignore[no-any-return]


class LocalGlobalBlock(nn.Module):
    """LGI-Former's encoder: attention within regions, between the regions' own tokens, and from these to all others.

    Args:
        size: Length D of a token.
        heads: Heads of each attention.
        drop_path: Probability at which a clip, or a region of it, skips a part of the block in training.
    """

    def __init__(self, size: int, heads: int, drop_path: float) -> None:
        super().__init__()
        self.within_norm, self.within = nn.LayerNorm(size, EPS), Attention(size, heads)
        self.between_norm, self.between = nn.LayerNorm(size, EPS), Attention(size, heads)
        self.exchange_norm, self.context_norm = nn.LayerNorm(size, EPS), nn.LayerNorm(size, EPS)
        self.exchange = Attention(size, heads)
        self.norm2, self.mlp = nn.LayerNorm(size, EPS), feed_forward(size)
        self.drop_path = DropPath(drop_path)

    def forward(self, tokens: Tensor) -> Tensor:
        """Relate the tokens of R regions, whose own comes first: (B, R, 1 + S, D) -> (B, R, 1 + S, D)."""
        regions = tokens.flatten(0, 1)
        regions = (regions + self.drop_path(self.within(self.within_norm(regions)))).view_as(tokens)
        own, local = regions[:, :, 0], regions[:, :, 1:].flatten(1, 2)  # (B, R, D), (B, R S, D)
        own = own + self.drop_path(self.between(self.between_norm(own)))
        local = local + self.drop_path(self.exchange(self.exchange_norm(local), self.context_norm(own)))
        regions = torch.cat([own[:, :, None], local.view_as(tokens[:, :, 1:])], dim=2).flatten(0, 1)
        return (regions + self.drop_path(self.mlp(self.norm2(regions)))).view_as(tokens)  # type: ignore[no-any-return]


def sine_cosine_positions(count: int, size: int) -> Tensor:
    """Encode the numbers of tokens: (N, D), sines at even and cosines at odd places, as Vaswani et al. have them."""
    rate = 10000.0 ** (torch.arange(0, size, 2, dtype=torch.float64) / -size)
    angle = torch.arange(count, dtype=torch.float64)[:, None] * rate
    return torch.stack([angle.sin(), angle.cos()], dim=2).flatten(1)[:, :size].float()


class VideoTransformer(nn.Module, Pretrained):
    """A transformer over tubelets of 2 x 16 x 16: clips (B, T, 3, H, W) uint8 -> features (B, D).

    The feature is the normalised mean of all tokens or, with `local_global`, of the regions' own. [our choice] Frames
    without a face repeat the nearest one with a face, so no token is hidden; a clip without any is the mean colour.

    Args:
        weights: `random`; `kinetics` (VideoMAE's ViT-B) or `voxceleb2` (MAE-DFER's), whose files are fetched by hand;
            `run:NAME`; or the path of a checkpoint or of a file in VideoMAE's format, without its last layer.
        frames: Frames T of a clip, as set in the sampler.
        size: Side of the frames, pixels.
        width: Length D of a token.
        depth: Number of encoders.
        heads: Heads of their attention.
        attention: `joint`, or `local_global` as in MAE-DFER.
        region: Moments, rows and columns of tokens in a region of `local_global` (scripts/dfew).
        drop_path: Probability at which a clip skips the last encoder's parts; it grows linearly from 0 at the first.
        mira: Number of last encoders whose attention is weighed as in MiRA, only with `joint`.
        checkpointing: Compute the encoders anew in the backward pass, which takes longer and a fraction of the memory.
        pixels: Pixel convention of files of weights; published ones have ImageNet's (datasets.py).

    Raises:
        ValueError: The frames cannot be cut into tubelets or regions, or MiRA is asked for with `local_global`.
    """

    positions: Tensor

    def __init__(
        self,
        weights: str = RANDOM,
        frames: int = 16,
        size: int = 160,
        width: int = 768,
        depth: int = 12,
        heads: int = 12,
        attention: Literal["joint", "local_global"] = "joint",
        region: Sequence[int] = (2, 5, 10),
        drop_path: float = 0.1,
        mira: int = 0,
        checkpointing: bool = False,
        pixels: Pixels = "imagenet",
    ) -> None:
        super().__init__()
        self.weights, self.checkpointing, self.num_features = weights, checkpointing, width
        self.frames, self.size, self.region = frames, size, tuple(region)
        self.grid = (frames // TUBELET, size // PATCH, size // PATCH)
        regional = attention == "local_global"
        cut = region if regional else (1, 1, 1)
        if frames % TUBELET or size % PATCH or any(n % side for n, side in zip(self.grid, cut, strict=True)):
            raise ValueError(
                f"{frames} frames of {size}² cannot be cut into tubelets of {TUBELET} frames of {PATCH}²"
                + f" in regions of {list(region)} tubelets" * regional
                + "; change `frames`, `size` or `region`"
            )
        if regional and mira:
            raise ValueError(f"mira = {mira}: MiRA weighs the moments of joint attention; set `attention: joint`")
        self.conversion = PixelConversion(pixels)
        self.embed = nn.Linear(3 * TUBELET * PATCH**2, width)  # the convolution of VideoMAE, whose steps do not overlap
        count = self.grid[0] * self.grid[1] * self.grid[2]
        self.register_buffer("positions", sine_cosine_positions(count, width), persistent=False)
        rates = [drop_path * number / max(depth - 1, 1) for number in range(depth)]
        self.region_tokens = None
        self.blocks = nn.ModuleList()
        if regional:
            own = torch.empty(count // (region[0] * region[1] * region[2]), width)
            self.region_tokens = nn.Parameter(nn.init.trunc_normal_(own, std=0.02))
            self.blocks.extend(LocalGlobalBlock(width, heads, rate) for rate in rates)
            for name in ("exchange_norm", "context_norm", "exchange"):  # what they change in the last one is not read
                getattr(self.blocks[-1], name).requires_grad_(False)
        else:
            times = [self.grid[0] if number >= depth - mira else 0 for number in range(depth)]
            self.blocks.extend(map(JointBlock, [width] * depth, [heads] * depth, rates, times))
        self.norm = nn.LayerNorm(width, EPS)
        self.apply(initialise)

    @property
    def moments(self) -> int:
        """Number of moments, or of rows of regions in time, that `tokens` has one after another."""
        return self.grid[0] // (1 if self.region_tokens is None else self.region[0])

    @property
    def source(self) -> str:
        """See `Pretrained`."""
        return self.weights

    def load_weights(self) -> None:
        """Read the weights and load them; with `random`, do nothing.

        Raises:
            FileNotFoundError: There is no such run or file; the message says where it is published.
            ValueError: The weights do not fit, or have another pixel convention than `pixels`.
        """
        if self.weights != RANDOM:
            self.load_content(file_of(self.weights))

    def load_content(self, content: dict[str, object]) -> None:
        """Load the content of a checkpoint or of a published file, as `load_weights` does."""
        if trained_here(content):
            convention = convention_from_state(tensors_in(content, self.weights), "backbone.conversion.")
            assert convention is not None
            self.conversion.adopt(convention, self.weights)
        else:
            own = {key: value for key, value in self.state_dict().items() if key.startswith("norm.")}
            content = {"state_dict": own | state_of(content, self.weights)}  # a pre-training has no norm
        load_backbone_weights(self, content, self.weights, "the video transformer", "backbone.")

    def forward(self, clips: Tensor, mask: Tensor) -> Tensor:
        """Compute the features of clips whose real frames are in the mask (B, T): -> (B, D)."""
        return self.norm(self.tokens(clips, mask).mean(dim=1))  # type: ignore[no-any-return]

    def tokens(self, clips: Tensor, mask: Tensor) -> Tensor:
        """Compute the tokens of clips: all of them (B, N, D) or, with `local_global`, those of the regions (B, R, D).

        Raises:
            ValueError: See `embedded`.
        """
        tokens = self.embedded(clips, mask)
        if self.region_tokens is not None:
            tokens = self._with_region_tokens(tokens, self.region_tokens)
        for block in self.blocks:
            tokens = self.run(block, tokens)
        return tokens if self.region_tokens is None else tokens[:, :, 0]

    def embedded(self, clips: Tensor, mask: Tensor) -> Tensor:
        """Compute the tokens that the first encoder reads: (B, N, D), in the order of moments, rows and columns.

        Raises:
            ValueError: The clips have another number of frames, or another size, than the transformer.
        """
        if clips.shape[1] != self.frames or clips.shape[3:] != (self.size, self.size):
            raise ValueError(
                f"the transformer has tokens for {self.frames} frames of {self.size} x {self.size}; found "
                f"{clips.shape[1]} of {clips.shape[3]} x {clips.shape[4]}: set the backbone's `frames` and `size` to "
                "those of the sampler and of `data.size`"
            )
        pixels = self.conversion(repeat_nearest(clips, mask))
        pixels = torch.where(mask.any(dim=1)[:, None, None, None, None], pixels, 0)
        times, rows, columns = self.grid
        cuboids = pixels.reshape(len(clips), times, TUBELET, 3, rows, PATCH, columns, PATCH)
        cuboids = cuboids.permute(0, 1, 4, 6, 3, 2, 5, 7).flatten(4)  # (B, times, rows, columns, 3 x 2 x 16 x 16)
        return self.embed(cuboids.flatten(1, 3)) + self.positions.to(cuboids.dtype)  # type: ignore[no-any-return]

    def run(self, block: nn.Module, *inputs: Tensor) -> Tensor:
        """Run an encoder; with `checkpointing`, in training, its inner values are not kept but computed anew."""
        if self.checkpointing and self.training:
            return checkpoint(block, *inputs, use_reentrant=False)  # type: ignore[no-any-return]
        return block(*inputs)  # type: ignore[no-any-return]

    def _with_region_tokens(self, tokens: Tensor, own: Tensor) -> Tensor:
        """Group tokens by regions, the region's own first: (B, N, D) -> (B, R, 1 + S, D)."""
        sides = [side for pair in zip(self.grid, self.region, strict=True) for side in (pair[0] // pair[1], pair[1])]
        regions = tokens.reshape(len(tokens), *sides, -1).permute(0, 1, 3, 5, 2, 4, 6, 7).flatten(4, 6).flatten(1, 3)
        return torch.cat([own[:, None].expand(len(tokens), -1, -1, -1).to(tokens.dtype), regions], dim=2)


def initialise(module: nn.Module) -> None:
    """Begin linear layers as the authors' code does."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
