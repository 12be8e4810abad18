"""Image networks from timm, applied to all frames of a batch in one call."""

from collections.abc import Sequence

import timm
import torch
from torch import Tensor, nn

from fer_lightning.weights import RANDOM, load_backbone_weights


class FrameBackbone(nn.Module):
    """An image network without its head: frames (..., 3, H, W) -> pooled features (..., D).

    Args:
        name: of the network in timm.
        weights: `random`, `timm` for those that timm publishes, `run:NAME` for the backbone of a run of
            this suite, or the path of a checkpoint or weights file.
        channels: of the four stages, for networks that take it (ResNets); None for the network's own.
        channels_last: keep pixels' channels together in memory: on processors and GPUs with bf16 or fp16 units it is
            the faster layout (`fer bench step`).

    Raises:
        ValueError: the name is one that timm would fetch from a hub: a checkpoint must not make anybody download.
    """

    def __init__(
        self,
        name: str = "resnet18",
        weights: str = RANDOM,
        channels: Sequence[int] | None = None,
        channels_last: bool = True,
    ) -> None:
        super().__init__()
        if ":" in name:
            raise ValueError(f"{name!r} is a model elsewhere; expected one that timm builds itself, such as resnet18")
        options = {} if channels is None else {"channels": tuple(channels)}
        self.network = timm.create_model(name, num_classes=0, **options)
        self.num_features: int = self.network.num_features
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.network.to(memory_format=self.memory_format)
        self.name, self.weights = name, weights

    def load_weights(self) -> None:
        """Fills the network with its pretrained weights; a training does so when it begins, nothing else does."""
        if self.weights != RANDOM:
            load_backbone_weights(self.network, self.name, self.weights)

    def forward(self, frames: Tensor) -> Tensor:
        """(..., 3, H, W) -> (..., D)."""
        flat = frames.flatten(0, -4).contiguous(memory_format=self.memory_format)  # (B T, 3, H, W)
        features: Tensor = self.network(flat)
        return features.view(*frames.shape[:-3], self.num_features)
