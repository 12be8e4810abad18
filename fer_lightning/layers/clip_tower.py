"""The image tower of CLIP as a backbone of frames, with low-rank adaptation.

Radford et al. (2021), "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021,
https://arxiv.org/abs/2103.00020; Hu et al. (2022), "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022,
https://arxiv.org/abs/2106.09685
"""

import timm
import torch
import torch.nn.functional as F
from timm.models import is_model_in_modules
from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn
from torch import Tensor, nn

from fer_lightning.layers.backbones import FrameBackbone
from fer_lightning.layers.pixels import CONVENTIONS, PixelConvention, Pixels, timm_convention
from fer_lightning.weights import NETWORK, RANDOM, published_weights, tensors_in, trained_here


class LowRankLinear(nn.Module):
    """A frozen linear layer and a trained update of low rank: W x + b + (alpha / r) B A x (LoRA, section 4.1).

    B begins as 0, so the layer begins as the frozen one. In evaluation the update is merged into W, as the authors do.

    Args:
        linear: The layer, whose tensors keep their names.
        rank: Rank r of the update.
        alpha: Scale of the update.
    """

    def __init__(self, linear: nn.Linear, rank: int, alpha: float) -> None:
        super().__init__()
        self.scale = alpha / rank
        self.weight, self.bias = linear.weight.requires_grad_(False), linear.bias
        if self.bias is not None:
            self.bias.requires_grad_(False)
        self.low_rank_a = nn.Parameter(torch.empty(rank, linear.in_features))
        self.low_rank_b = nn.Parameter(torch.zeros(linear.out_features, rank))
        nn.init.kaiming_uniform_(self.low_rank_a, a=5**0.5)  # as in the authors' loralib

    def forward(self, x: Tensor) -> Tensor:
        """Compute (..., D) -> (..., E)."""
        if not self.training:
            return F.linear(x, self.weight + self.scale * (self.low_rank_b @ self.low_rank_a), self.bias)
        update = F.linear(F.linear(x, self.low_rank_a), self.low_rank_b)
        return F.linear(x, self.weight, self.bias) + self.scale * update


def initialise(network: VisionTransformer) -> None:
    """Give a tower the random weights that it has in OpenAI's code (model.py), larger than timm's.

    With timm's, a small tower whose images all look alike at first hardly begins to learn.
    """
    for layer in (module for module in network.modules() if isinstance(module, nn.Linear | nn.Conv2d)):
        layer.reset_parameters()
    for block in network.blocks:
        nn.init.xavier_uniform_(block.attn.qkv.weight)
        nn.init.zeros_(block.attn.qkv.bias)
        nn.init.zeros_(block.attn.proj.bias)
    for parameter in (network.cls_token, network.pos_embed, network.head.weight):
        nn.init.normal_(parameter, std=network.embed_dim**-0.5)


class CLIPTower(FrameBackbone):
    """The vision transformer of CLIP with its projection: frames (..., 3, H, W) uint8 -> (..., D), one for each frame.

    D is 512 for ViT-B and 768 for ViT-L, the space that texts are compared in. OpenAI's weights are for the networks
    with `quickgelu` in their names.

    Args:
        name: Name of a vision transformer in timm.
        weights: `random`; `timm`; `run:NAME`; or the path of a file with CLIP's tensors by OpenAI's names, such as
            OpenCLIP's, or by timm's. CLIP's files have the pixels `clip`, and `pixels` need not be given for them.
        size: Side of the frames. For another one than 224 the positions of the weights are resampled.
        pixels: See `FrameBackbone`.
        rank: Rank of the low-rank updates, with which all else is frozen. 0 trains the tower itself.
        alpha: Scale of the updates.
        adapt_mlp: Update the layers of the MLPs, too, beside those of the attention.
        patch: Side of a patch. None keeps the network's own, as for the following; small values are for laptops.
        width: Length of a token, with a head for each 64.
        depth: Number of encoders.
        features: Length D of the projection.
        checkpointing: Compute the encoders' activations again for the gradient instead of keeping them.

    Raises:
        ValueError: The network is not a vision transformer.
    """

    def __init__(
        self,
        name: str = "vit_base_patch32_clip_quickgelu_224.openai",
        weights: str = RANDOM,
        size: int = 224,
        pixels: Pixels | None = None,
        rank: int = 0,
        alpha: float = 16.0,
        adapt_mlp: bool = True,
        patch: int | None = None,
        width: int | None = None,
        depth: int | None = None,
        features: int | None = None,
        checkpointing: bool = False,
    ) -> None:
        options = {"patch_size": patch, "embed_dim": width, "depth": depth, "num_classes": features}
        self.options = {"img_size": size} | {key: value for key, value in options.items() if value is not None}
        if width is not None:
            self.options["num_heads"] = max(1, width // 64)
        super().__init__(name, weights, pixels=pixels, channels_last=False)
        self.network.set_grad_checkpointing(checkpointing)
        if rank:
            self.network.requires_grad_(False)
            for block in self.network.blocks:
                layers = [(block.attn, "qkv"), (block.attn, "proj")]
                layers += [(block.mlp, "fc1"), (block.mlp, "fc2")] if adapt_mlp else []
                for module, layer in layers:
                    setattr(module, layer, LowRankLinear(getattr(module, layer), rank, alpha))

    def build_network(self, channels: object) -> tuple[VisionTransformer, int]:
        """Return the network with the projection, which has no bias, and the length D of its output."""
        if not is_model_in_modules(self.name.partition(".")[0], ["vision_transformer"]):
            raise ValueError(f"CLIP's tower is a vision transformer that timm builds itself; found {self.name}")
        network = timm.create_model(self.name, **self.options)
        network.head.register_parameter("bias", None)
        initialise(network)
        return network, network.num_classes

    def load_weights(self) -> None:
        """Do what `FrameBackbone` does; timm's weights come with their projection."""
        if self.weights == "timm":
            self.conversion.adopt(timm_convention(self.name), self.weights)
            self.load_content(published_weights(self.name, head=True))
        else:
            super().load_weights()

    def convention_of(self, content: dict[str, object]) -> PixelConvention:
        """Return the pixel convention of a run or file, which for CLIP's files is known."""
        if any(key.endswith("visual.class_embedding") for key in tensors_in(content, self.weights)):
            return CONVENTIONS["clip"]
        return super().convention_of(content)

    def load_content(self, content: dict[str, object]) -> None:
        """Load a run, or a file by timm's or OpenAI's names; without low-rank updates in it, these begin as 0.

        Raises:
            ValueError: The weights do not fit.
        """
        state, prefix = tensors_in(content, self.weights), NETWORK
        if not trained_here(content):
            state, prefix = checkpoint_filter_fn(state, self.network), ""
            state.pop("head.bias", None)  # timm gives the projection one of 0
        own = {prefix + key: value for key, value in self.network.state_dict().items() if "low_rank_" in key}
        super().load_content(content | {"state_dict": own | state})
