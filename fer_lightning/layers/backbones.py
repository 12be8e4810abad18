"""Image networks from timm, applied to all frames of a batch in one call."""

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Sequence

import timm
import torch
from torch import Tensor, nn

from fer_lightning.weights import RANDOM, load_backbone_weights, trained_here


class Pretrained(ABC):
    """A module that begins a training with weights from elsewhere."""

    @abstractmethod
    def load_weights(self) -> None:
        """Fills the network with its pretrained weights; a training does so when it begins, nothing else does."""


class FrameBackbone(nn.Module, Pretrained):
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
        """See `Pretrained.load_weights`."""
        if self.weights != RANDOM:
            load_backbone_weights(self.network, self.name, self.weights)

    def forward(self, frames: Tensor) -> Tensor:
        """(..., 3, H, W) -> (..., D)."""
        flat = frames.flatten(0, -4).contiguous(memory_format=self.memory_format)  # (B T, 3, H, W)
        features: Tensor = self.network(flat)
        return features.view(*frames.shape[:-3], self.num_features)


def fully_connected(channels: int, pool: int, hidden: int, dropout: float) -> nn.Sequential:
    """FC6 and FC7 behind a map of any size, which is brought to `pool` x `pool`: (N, C, H, W) -> (N, hidden)."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        grid=nn.AdaptiveAvgPool2d(pool),
        flat=nn.Flatten(),
        fc6=nn.Linear(channels * pool**2, hidden),
        relu6=nn.ReLU(),
        dropout=nn.Dropout(dropout),
        fc7=nn.Linear(hidden, hidden),
        relu7=nn.ReLU(),
    )
    return nn.Sequential(layers)


class FullyConnectedBackbone(FrameBackbone):
    """An image network with two fully connected layers in the place of its global average pooling.

    DenseNet-FC (VSHNN, section 3.2) is the one of DenseNet-121: frames (..., 3, H, W) -> FC7's values (..., 4096). Not
    stated in the paper, our choice: the last map is averaged (or repeated) to `pool` x `pool` and flattened, so that
    crops of any size fit; ReLU after both layers, dropout between them.

    Args:
        name: of the network in timm.
        weights: `random`; `timm`, or a file from elsewhere, for the convolutions alone; `run:NAME`, or the path of a
            run of this suite, for the fully connected layers too.
        channels: of the four stages, for networks that take it.
        channels_last: keep pixels' channels together in memory.
        pool: side of the map that the first layer sees: 7 as the paper's change implies at 224 x 224, which gives
            DenseNet-121 205 M parameters in FC6; 1 is the light variant.
        hidden: values of both layers.
        dropout: between the two.
    """

    def __init__(
        self,
        name: str = "densenet121",
        weights: str = RANDOM,
        channels: Sequence[int] | None = None,
        channels_last: bool = True,
        pool: int = 7,
        hidden: int = 4096,
        dropout: float = 0.5,
    ) -> None:
        super().__init__(name, weights, channels, channels_last)
        self.network.reset_classifier(0, "")  # the map as it is
        self.connected = fully_connected(self.num_features, pool, hidden, dropout)
        self.num_features = hidden

    def load_weights(self) -> None:
        """See `Pretrained.load_weights`.

        Raises:
            ValueError: the fully connected layers are frozen, but the weights lack them.
        """
        super().load_weights()
        if trained_here(self.weights):
            load_backbone_weights(self.connected, f"the layers behind {self.name}", self.weights, "backbone.connected.")
        elif self.weights != RANDOM and not any(p.requires_grad for p in self.connected.parameters()):
            raise ValueError(
                f"the weights {self.weights!r} hold no fully connected layers, and those of {self.name} are frozen, so "
                "they would stay random; name the run that trained them, such as run:densenet_fc_fer2013"
            )

    def forward(self, frames: Tensor) -> Tensor:
        """(..., 3, H, W) -> (..., D)."""
        flat = frames.flatten(0, -4).contiguous(memory_format=self.memory_format)  # (B T, 3, H, W)
        features: Tensor = self.connected(self.network(flat))
        return features.view(*frames.shape[:-3], self.num_features)
