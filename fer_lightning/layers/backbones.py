"""Image networks from timm, applied to all frames of a batch in one call."""

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import timm
import torch
from torch import Tensor, nn

from fer_lightning.layers.pixels import (
    PixelConvention,
    PixelConversion,
    Pixels,
    convention_in,
    lay_out_as_caffe,
    timm_convention,
    upgrade_first_version,
)
from fer_lightning.weights import (
    RANDOM,
    checkpoint_named,
    load_backbone_weights,
    read_checkpoint,
    tensors_in,
    trained_here,
)


class Pretrained(ABC):
    """A module that begins a training with weights from elsewhere."""

    @abstractmethod
    def load_weights(self) -> None:
        """Fills the network with its pretrained weights; a training does so when it begins, nothing else does."""


class FrameBackbone(nn.Module, Pretrained):
    """An image network without its head: frames (..., 3, H, W) uint8 -> features (..., D); one of timm's.

    It makes of the frames' red, green and blue from 0 to 255 what its weights take for pixels (`PixelConvention`).

    All networks of frames are of this family. A subclass may build another `network`, and may have layers behind it
    that are trained where its convolutions are frozen: `convolved` makes what the convolutions say of the frames,
    `connected_features` what the layers behind them make of that, and the two together are `forward`.

    Args:
        name: of the network in timm.
        weights: `random`, `timm` for those that timm publishes, `run:NAME` for the backbone of a run of
            this suite, or the path of a checkpoint or weights file.
        channels: of the four stages, for networks that take it (ResNets); None for the network's own.
        channels_last: keep pixels' channels together in memory: on processors and GPUs with bf16 or fp16 units it is
            the faster layout (`fer bench step`).
        pixels: convention that the weights were trained with, one of `CONVENTIONS`. None takes that of the weights:
            what timm states for its own, what the checkpoint of a run says, ImageNet's where they are random. A file
            from elsewhere does not tell, so that its convention must be stated. `vggface2` lays a ResNet out as its
            authors' Caffe networks, too: for the path of a file converted from these, with torchvision's names of
            tensors, and for what goes on from there.

    Raises:
        ValueError: the name is one that timm would fetch from a hub: a checkpoint must not make anybody download; no
            such pixels, or `vggface2` for another network than a ResNet with bottlenecks.
    """

    network: Any  # a module; timm's have methods of their own
    num_features: int

    def __init__(
        self,
        name: str = "resnet18",
        weights: str = RANDOM,
        channels: Sequence[int] | None = None,
        channels_last: bool = True,
        pixels: Pixels | None = None,
    ) -> None:
        super().__init__()
        self.name, self.weights, self.pixels = name, weights, pixels
        self.conversion = PixelConversion(pixels)
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.network, self.num_features = self.built(channels)

    def built(self, channels: Sequence[int] | None) -> tuple[Any, int]:
        """The network, and the channels of its last map."""
        if ":" in self.name:
            raise ValueError(
                f"{self.name!r} is a model elsewhere; expected one that timm builds itself, such as resnet18"
            )
        options = {} if channels is None else {"channels": tuple(channels)}
        network = timm.create_model(self.name, num_classes=0, **options)
        if self.pixels == "vggface2":
            lay_out_as_caffe(network, self.name)
        return network.to(memory_format=self.memory_format), network.num_features

    def load_weights(self) -> None:
        """See `Pretrained.load_weights`.

        Raises:
            ValueError: the weights have other pixels than are stated, or a file's are not stated.
        """
        if self.weights != RANDOM:
            self.conversion.adopt(self.convention_of_weights(), self.weights)
            load_backbone_weights(self.network, self.name, self.weights)

    def convention_of_weights(self) -> PixelConvention:
        """What the weights take for pixels, as timm or a run's checkpoint says; of a file as stated.

        Raises:
            ValueError: the weights are a file, which does not tell, and no pixels are stated.
        """
        if self.weights == "timm":
            return timm_convention(self.name)
        if trained_here(self.weights):
            state: dict[str, Any] = dict(tensors_in(read_checkpoint(checkpoint_named(self.weights)), self.weights))
            upgrade_first_version(state, "backbone.")
            theirs = convention_in(state, "backbone.conversion.")
            assert theirs is not None
            return theirs
        return self.conversion.stated_for(self.weights)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        upgrade_first_version(state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def forward(self, frames: Tensor) -> Tensor:
        """(..., 3, H, W) uint8 -> (..., D)."""
        return self.connected_features(self.convolved(frames))

    def convolutions(self) -> list[nn.Module]:
        """The modules that `convolved` runs."""
        return [self.conversion, self.network]

    def convolved(self, frames: Tensor) -> Tensor:
        """What the convolutions make of the frames: (..., 3, H, W) uint8 -> (..., M)."""
        values = self.convolved_images(self.converted(frames.flatten(0, -4)))
        return values.view(*frames.shape[:-3], values.shape[1])

    def converted(self, images: Tensor) -> Tensor:
        """What `network` takes: images (N, 3, H, W) uint8 -> its pixels, laid out in memory.

        Under autocast they have its type: their float32 would otherwise stay in memory until the network is through.
        """
        made: Tensor = self.conversion(images, self.memory_format)
        kind = images.device.type
        mixed = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
        return made.to(torch.get_autocast_dtype(kind)) if mixed else made

    def convolved_images(self, images: Tensor) -> Tensor:
        """As `convolved`, of converted images one after another: (N, 3, H, W) -> (N, M)."""
        return self.network(images)  # type: ignore[no-any-return]

    def connected_features(self, convolved: Tensor) -> Tensor:
        """What the layers behind the convolutions make of it, none here: (..., M) -> (..., D)."""
        return convolved


class FullyConnected(nn.Sequential):
    """FC layers behind a map of any size, which is brought to `pool` x `pool`: (N, C, H, W) -> (N, hidden).

    Args:
        channels: C, of the map.
        pool: side of the map that the first layer sees.
        hidden: values of every layer.
        dropout: between two layers.
        layers: 2, FC6 and FC7, or FC6 alone.

    Raises:
        ValueError: another number of layers.
    """

    def __init__(self, channels: int, pool: int, hidden: int, dropout: float, layers: int = 2) -> None:
        if layers not in (1, 2):
            raise ValueError(
                f"there are 1 or 2 fully connected layers behind the convolutions; found layers = {layers}"
            )
        parts: OrderedDict[str, nn.Module] = OrderedDict(grid=nn.AdaptiveAvgPool2d(pool), flat=nn.Flatten())
        parts |= {"fc6": nn.Linear(channels * pool**2, hidden), "relu6": nn.ReLU()}
        if layers == 2:
            parts |= {"dropout": nn.Dropout(dropout), "fc7": nn.Linear(hidden, hidden), "relu7": nn.ReLU()}
        super().__init__(parts)

    def flattened(self, maps: Tensor) -> Tensor:
        """What the first layer sees: (N, C, H, W) -> (N, C pool²)."""
        return self[1](self[0](maps))  # type: ignore[no-any-return]

    def features(self, flat: Tensor) -> Tensor:
        """(..., C pool²) -> (..., hidden)."""
        for layer in list(self)[2:]:
            flat = layer(flat)
        return flat


class FullyConnectedBackbone(FrameBackbone):
    """An image network with fully connected layers in the place of its global average pooling, or behind it.

    DenseNet-FC (Lee et al., 2020, section 3.2) is the one of DenseNet-121: frames (..., 3, H, W) -> FC7's values (...,
    4096). [our choice] The last map is averaged (or repeated) to `pool` x `pool` and flattened, so that crops of any
    size fit; ReLU after every layer, dropout between two.

    Args:
        name: of the network in timm.
        weights: `random`; `timm`, or a file from elsewhere, for the convolutions alone; `run:NAME`, or the path of a
            run of this suite, for the fully connected layers too.
        channels: of the four stages, for networks that take it.
        channels_last: keep pixels' channels together in memory.
        pool: side of the map that the first layer sees: 7 as the paper's change implies at 224 x 224, which gives
            DenseNet-121 205 M parameters in FC6; 1 is the light variant, which keeps the global average pooling.
        hidden: values of every layer.
        dropout: between two layers.
        layers: 2, FC6 and FC7, or FC6 alone.
        new_layers: the layers begin at random though `weights` are a run's: of one that had none, say.
        pixels: as of `FrameBackbone`.
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
        layers: int = 2,
        new_layers: bool = False,
        pixels: Pixels | None = None,
    ) -> None:
        super().__init__(name, weights, channels, channels_last, pixels)
        self.new_layers = new_layers
        self.connected = FullyConnected(self.num_features, pool, hidden, dropout, layers)
        self.num_features = hidden

    def built(self, channels: Sequence[int] | None) -> tuple[Any, int]:
        """See `FrameBackbone.built`."""
        network, features = super().built(channels)
        network.reset_classifier(0, "")  # the map as it is
        return network, features

    def load_weights(self) -> None:
        """See `Pretrained.load_weights`.

        Raises:
            ValueError: the fully connected layers are frozen, but the weights lack them.
        """
        super().load_weights()
        if trained_here(self.weights) and not self.new_layers:
            load_backbone_weights(self.connected, f"the layers behind {self.name}", self.weights, "backbone.connected.")
        elif self.weights != RANDOM and not any(p.requires_grad for p in self.connected.parameters()):
            raise ValueError(
                f"the weights {self.weights!r} fill no fully connected layers, and those of {self.name} are frozen, so "
                "they would stay random; name the run that trained them, such as run:densenet_fc_fer2013"
            )

    def convolutions(self) -> list[nn.Module]:
        """See `FrameBackbone.convolutions`."""
        return [self.conversion, self.network, self.connected[0]]

    def convolved_images(self, images: Tensor) -> Tensor:
        """The map, pooled and flattened: (N, 3, H, W) -> (N, C pool²)."""
        return self.connected.flattened(self.network(images))

    def connected_features(self, convolved: Tensor) -> Tensor:
        """(..., C pool²) -> (..., D)."""
        return self.connected.features(convolved)
