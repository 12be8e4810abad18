"""S2D: an image transformer for faces, whose tokens are related over time by adapters.

Chen et al. (2024), "From Static to Dynamic: Adapting Landmark-Aware Image Models for Facial Expression Recognition in
Videos", IEEE Transactions on Affective Computing, https://doi.org/10.1109/TAFFC.2024.3453443. Sizes are those of the
authors' code, whose files are cited here: https://github.com/MSA-LMC/S2D (Apache-2.0).

Left out are the landmark branch (the prompters, MCP, that add the features of a landmark detector), so that the
authors' files, which have it, are not those of this model; and the self-distillation of its loss (SDL), which the
authors' scripts do not turn on.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from data_modules.loading.batch import ClipBatch
from fer_lightning.evaluation.outputs import ClassifierOutput
from fer_lightning.layers.backbones import FrameBackbone
from fer_lightning.layers.masking import masked_mean
from fer_lightning.layers.transformer import MultiHeadAttention
from fer_lightning.training.classifier import VideoClassifier


class TemporalAdapter(nn.Module):
    """TMA: attention over time between the tokens of one place, then two layers for each token (model_finetuning.py).

    Both work at a fraction of a token's length. [our choice] The last layer begins as 0, so that the video model begins
    as the image model; in the authors' code a later initialisation takes the place of its zeros. Frames without a face
    are not attended to.

    Args:
        size: Length D of a token.
        width: Length at which the adapter works.
        heads: Heads of the attention.
    """

    def __init__(self, size: int, width: int, heads: int) -> None:
        super().__init__()
        self.temporal_down, self.temporal_up = nn.Linear(size, width), nn.Linear(width, size)
        self.attention = MultiHeadAttention(width, heads)
        self.norm = nn.LayerNorm(size)
        self.down, self.up = nn.Linear(size, width), nn.Linear(width, size)
        for layer in (module for module in self.modules() if isinstance(module, nn.Linear)):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        nn.init.zeros_(self.up.weight)

    def forward(self, tokens: Tensor, visible: Tensor) -> Tensor:
        """Relate tokens (B, T, N, D) over the frames that are visible (B, T), one at least: -> (B, T, N, D)."""
        places = tokens.shape[2]
        x = F.gelu(self.temporal_down(tokens)).transpose(1, 2).flatten(0, 1)  # (B N, T, W)
        x = self.attention(x, visible.repeat_interleave(places, dim=0))
        x = self.temporal_up(x).unflatten(0, (-1, places)).transpose(1, 2)
        return self.up(F.gelu(self.down(self.norm(x))))  # type: ignore[no-any-return]


class S2D(VideoClassifier):
    """S2D without its landmark branch.

    Example:
        >>> from fer_lightning import S2D, CLIPTower, random_batch
        >>> model = S2D(("anger", "joy"), CLIPTower(size=32, patch=16, width=64, depth=2, features=64), heads=2).eval()
        >>> model(random_batch(frames=16, size=32)).logits.shape
        torch.Size([2, 2])

    Args:
        class_names: Emotion names in alphabetical order.
        backbone: A vision transformer that was trained on still images of faces. None is a random ViT-B/16.
        frames: Frames of a clip, as set in the sampler.
        adapters: Have adapters before the encoders; without them the frames are averaged.
        ratio: Fraction of a token's length at which the adapters work.
        heads: Heads of their attention.
        frozen: Train the adapters, the positions in time, the last LayerNorm and the linear layer alone.
        dropout: Dropout rate of the clip's feature.
        training: Optimiser, schedule and loss, see `VideoClassifier`.

    Raises:
        ValueError: The backbone is not a vision transformer.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        backbone: FrameBackbone | None = None,
        frames: int = 16,
        adapters: bool = True,
        ratio: float = 0.25,
        heads: int = 8,
        frozen: bool = True,
        dropout: float = 0.5,
        **training: Any,
    ) -> None:
        super().__init__(class_names, **training)
        self.backbone = backbone or FrameBackbone("vit_base_patch16_224", channels_last=False)
        network = self.backbone.network
        if not isinstance(network, VisionTransformer):
            raise ValueError(f"S2D adapts a vision transformer of timm; found {self.backbone.name}")
        if frozen:
            network.requires_grad_(False)
            network.norm.requires_grad_(True)
        size, depth = network.embed_dim, len(network.blocks)
        count = depth if adapters else 0
        self.position = nn.Parameter(torch.empty(1, frames, 1, size))
        nn.init.trunc_normal_(self.position, std=0.02)
        self.adapters = nn.ModuleList(TemporalAdapter(size, int(ratio * size), heads) for _ in range(count))
        # The first two adapters share their norm, as in forward_features of model_finetuning.py.
        self.norms = nn.ModuleList(nn.LayerNorm(size, eps=1e-6) for _ in range(max(1, count - 1) if count else 0))
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(self.backbone.num_features, len(class_names))

    def adapt(self, number: int, tokens: Tensor, visible: Tensor) -> Tensor:
        """Add an adapter's output to the tokens of places (B, T, N, D)."""
        if not self.adapters:
            return tokens
        return tokens + self.adapters[number](self.norms[max(0, number - 1)](tokens), visible)  # type: ignore[no-any-return]

    def relate(self, number: int, tokens: Tensor, visible: Tensor) -> Tensor:
        """Run an encoder, behind its adapter unless that came before the class token: (B, T, 1 + N, D), the same."""
        if number:
            tokens = torch.cat([tokens[:, :, :1], self.adapt(number, tokens[:, :, 1:], visible)], dim=2)
        return self.backbone.network.blocks[number](tokens.flatten(0, 1)).unflatten(0, visible.shape)  # type: ignore[no-any-return]

    def encode(self, face: Tensor, mask: Tensor) -> Tensor:
        """Compute the features of faces (B, T, 3, H, W), of which those in the mask are real: -> (B, T, D)."""
        network, shape = self.backbone.network, mask.shape
        visible = mask | ~mask.any(dim=1, keepdim=True)  # if all were masked, the attention would be NaN
        x = network.patch_embed(self.backbone.normalise(face.flatten(0, 1)))  # (B T, N, D)
        x = self.adapt(0, x.unflatten(0, shape), visible).flatten(0, 1)
        x = network._pos_embed(x).unflatten(0, shape) + self.position[:, : shape[1]]
        x = network.norm_pre(x)  # (B, T, 1 + N, D)
        for number in range(len(network.blocks)):
            if network.grad_checkpointing and self.training:
                x = checkpoint(self.relate, number, x, visible, use_reentrant=False)
            else:
                x = self.relate(number, x, visible)
        frames: Tensor = network.forward_head(network.norm(x.flatten(0, 1)))
        return frames.reshape(*shape, -1)

    def forward(self, batch: ClipBatch) -> ClassifierOutput:
        """Classify faces (B, T, 3, H, W). The feature is the mean of the frames' class tokens.

        Raises:
            ValueError: There are more frames than positions in time.
        """
        assert batch.face is not None
        if batch.mask.shape[1] > self.position.shape[1]:
            raise ValueError(
                f"the model has positions for {self.position.shape[1]} frames; found {batch.mask.shape[1]}: set the "
                "model's `frames` to those of the sampler"
            )
        feature = masked_mean(self.encode(batch.face, batch.mask), batch.mask)
        return ClassifierOutput(self.head(self.dropout(feature)), feature)
