"""Image networks without their heads, applied to all frames of a batch in one call."""

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, ClassVar

import timm
import torch
from torch import Tensor, nn

from fer_lightning.layers.pixels import (
    PixelConvention,
    PixelConversion,
    Pixels,
    apply_caffe_layout,
    convention_from_state,
    timm_convention,
    upgrade_first_version,
)
from fer_lightning.weights import (
    RANDOM,
    load_backbone_weights,
    published_weights,
    read_source,
    tensors_in,
    trained_here,
)


class Pretrained(ABC):
    """A module that can start a training from pretrained weights."""

    @property
    def source(self) -> str:
        """What the weights come from, such as `run:NAME`; `random` if there are none."""
        return RANDOM

    @abstractmethod
    def load_weights(self) -> None:
        """Load the pretrained weights. Only the start of a training calls this."""

    def load_content(self, content: dict[str, object]) -> None:
        """Load the content of a checkpoint, as `load_weights` does once it has read `source`.

        Raises:
            ValueError: The weights do not fit.
        """
        raise NotImplementedError(f"{type(self).__name__} does not load checkpoints")


class FrameBackbone(nn.Module, Pretrained):
    """A timm network without its head: frames (..., 3, H, W) uint8 -> features (..., D).

    The frames are red, green and blue from 0 to 255. The backbone normalises them to the pixel values that its weights
    expect (`PixelConvention`).

    This is the base class of all image backbones. A subclass may build another `network`, and it may add layers behind
    the convolutions that are trained while the convolutions are frozen. As in timm, `forward_features` runs the
    convolutions, `forward_head` the layers behind them, and `forward` both.

    Args:
        name: Name of the network in timm.
        weights: `random`; `timm` for the weights that timm publishes; `run:NAME` for the backbone of a run of this
            suite; or the path of a checkpoint or weights file.
        channels: Channels of the four stages, for networks that accept them (ResNets). None keeps the network's own.
        channels_last: Store images in the channels-last memory format. It is faster on CPUs and GPUs with bf16 or fp16
            units (`fer bench step`).
        pixels: Pixel convention of the weights, one of `CONVENTIONS`. None takes it from the weights: timm states it
            for its own, a run's checkpoint contains it, and random weights use ImageNet's. Weights files from other
            sources do not contain it, so it must be given for them. `vggface2` also gives a ResNet the layout of the
            authors' Caffe networks. Use it for a file converted from these with torchvision's tensor names, and for
            runs that start from such a file.

    Raises:
        ValueError: timm would download a network of this name from a hub, which a checkpoint must never cause; the
            pixel convention is unknown; or it is `vggface2` for a network that is not a ResNet with bottlenecks.
    """

    pools: ClassVar[bool] = True  # whether `network` averages its last map; otherwise it outputs the map itself
    network: Any  # a module, whose timm methods `nn.Module` does not declare
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
        self.network, self.num_features = self.build_network(channels)

    def build_network(self, channels: Sequence[int] | None) -> tuple[Any, int]:
        """Return the network and its number of output features."""
        if ":" in self.name:
            raise ValueError(
                f"{self.name!r} would be downloaded from a model hub; expected a network that timm builds itself, such "
                "as resnet18"
            )
        options = {} if channels is None else {"channels": tuple(channels)}
        network = timm.create_model(self.name, num_classes=0, **options)
        if not self.pools:
            network.reset_classifier(0, "")
        if self.pixels == "vggface2":
            apply_caffe_layout(network, self.name)
        return network.to(memory_format=self.memory_format), network.num_features

    @property
    def source(self) -> str:
        """See `Pretrained`."""
        return self.weights

    def load_weights(self) -> None:
        """Read the pretrained weights, adopt their pixel convention and load them.

        Raises:
            FileNotFoundError: The run or file does not exist, or timm's weights cannot be downloaded.
            ValueError: The weights do not fit, they have another pixel convention than `pixels`, or they are a file and
                `pixels` is None.
        """
        if self.weights == "timm":
            self.conversion.adopt(timm_convention(self.name), self.weights)
            self.load_content(published_weights(self.name))
        elif self.weights != RANDOM:
            content = read_source(self.weights)
            self.conversion.adopt(self.convention_of(content), self.weights)
            self.load_content(content)

    def convention_of(self, content: dict[str, object]) -> PixelConvention:
        """Return the pixel convention of the content of a run's checkpoint or, for other files, `pixels`.

        Raises:
            ValueError: The content is a file from another source and `pixels` is None.
        """
        if not trained_here(content):
            return self.conversion.require_stated(self.weights)
        state: dict[str, Any] = dict(tensors_in(content, self.weights))
        upgrade_first_version(state, "backbone.")
        convention = convention_from_state(state, "backbone.conversion.")
        assert convention is not None
        return convention

    def load_content(self, content: dict[str, object]) -> None:
        """Load the content of the pretrained weights. A subclass also loads the layers that it adds.

        Raises:
            ValueError: The weights do not fit.
        """
        load_backbone_weights(self.network, content, self.weights, self.name)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        upgrade_first_version(state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def forward(self, frames: Tensor) -> Tensor:
        """Compute the features of frames: (..., 3, H, W) uint8 -> (..., D)."""
        return self.forward_head(self.forward_features(frames))

    def convolutions(self) -> list[nn.Module]:
        """Return the modules that `forward_features` runs."""
        return [self.conversion, self.network]

    def forward_features(self, frames: Tensor) -> Tensor:
        """Run the convolutions: (..., 3, H, W) uint8 -> (..., M)."""
        features = self.forward_images(self.normalise(frames.flatten(0, -4)))
        return features.view(*frames.shape[:-3], features.shape[1])

    def normalise(self, images: Tensor) -> Tensor:
        """Normalise images (N, 3, H, W) uint8 to the pixel values that `network` expects, in its memory format.

        Under autocast the result already has the lower precision. Otherwise a float32 copy would stay in memory until
        the network has finished.
        """
        pixels: Tensor = self.conversion(images, self.memory_format)
        device = images.device.type
        is_mixed = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
        return pixels.to(torch.get_autocast_dtype(device)) if is_mixed else pixels

    def forward_images(self, images: Tensor) -> Tensor:
        """Run the convolutions on normalised images: (N, 3, H, W) -> (N, M)."""
        return self.network(images)  # type: ignore[no-any-return]

    def forward_head(self, features: Tensor) -> Tensor:
        """Run the layers behind the convolutions: (..., M) -> (..., D). The base class has no such layers."""
        return features


class FullyConnected(nn.Sequential):
    """Fully connected layers on a feature map of any size: (N, C, H, W) -> (N, hidden).

    The map is pooled to `pool` x `pool` first.

    Args:
        channels: Channels C of the map.
        pool: Side of the pooled map.
        hidden: Units of each layer.
        dropout: Dropout rate between the two layers.
        layers: 2 for FC6 and FC7, 1 for FC6 alone.

    Raises:
        ValueError: `layers` is neither 1 nor 2.
    """

    def __init__(self, channels: int, pool: int, hidden: int, dropout: float, layers: int = 2) -> None:
        if layers not in (1, 2):
            raise ValueError(f"expected 1 or 2 fully connected layers behind the convolutions; found layers = {layers}")
        parts: OrderedDict[str, nn.Module] = OrderedDict(grid=nn.AdaptiveAvgPool2d(pool), flat=nn.Flatten())
        parts |= {"fc6": nn.Linear(channels * pool**2, hidden), "relu6": nn.ReLU()}
        if layers == 2:
            parts |= {"dropout": nn.Dropout(dropout), "fc7": nn.Linear(hidden, hidden), "relu7": nn.ReLU()}
        super().__init__(parts)

    def flatten(self, maps: Tensor) -> Tensor:
        """Pool and flatten the map for the first layer: (N, C, H, W) -> (N, C pool²)."""
        return self[1](self[0](maps))  # type: ignore[no-any-return]

    def embed(self, x: Tensor) -> Tensor:
        """Run the fully connected layers: (..., C pool²) -> (..., hidden)."""
        for layer in list(self)[2:]:
            x = layer(x)
        return x


class FullyConnectedBackbone(FrameBackbone):
    """A timm network with fully connected layers in place of its global average pooling, or behind it.

    With DenseNet-121 it is DenseNet-FC (Lee et al., 2020, section 3.2): frames (..., 3, H, W) uint8 -> the output of
    FC7 (..., 4096). [our choice] The last map is average-pooled (or repeated) to `pool` x `pool` and flattened, so that
    crops may have any size. ReLU follows each layer, and dropout lies between the two.

    Args:
        name: Name of the network in timm.
        weights: `random`; `timm`, or a weights file from another source, for the convolutions alone; `run:NAME`, or
            the path of a run of this suite, for the fully connected layers too.
        channels: See `FrameBackbone`.
        channels_last: See `FrameBackbone`.
        pool: Side of the pooled map. 7 is what the paper implies for 224 x 224 pixels, and gives the FC6 of
            DenseNet-121 205 M parameters. 1 is a light variant that keeps the global average pooling.
        hidden: Units of each fully connected layer.
        dropout: Dropout rate between the two layers.
        layers: 2 for FC6 and FC7, 1 for FC6 alone.
        new_layers: Initialise the fully connected layers randomly even if `weights` names a run, for example one
            without such layers.
        pixels: See `FrameBackbone`.
    """

    pools = False

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

    def load_content(self, content: dict[str, object]) -> None:
        """Load the weights of the convolutions, and of the fully connected layers if they come from a run.

        Raises:
            ValueError: The weights do not fit, or the fully connected layers are frozen but not among them.
        """
        super().load_content(content)
        if trained_here(content) and not self.new_layers:
            layers = f"the layers behind {self.name}"
            load_backbone_weights(self.connected, content, self.weights, layers, "backbone.connected.")
        elif not any(p.requires_grad for p in self.connected.parameters()):
            raise ValueError(
                f"the weights {self.weights!r} contain no fully connected layers, and those of {self.name} are frozen, "
                "so they would stay random; name the run that trained them, such as run:densenet_fc_fer2013"
            )

    def convolutions(self) -> list[nn.Module]:
        """Return the modules that `forward_features` runs."""
        return [self.conversion, self.network, self.connected[0]]

    def forward_images(self, images: Tensor) -> Tensor:
        """Run the convolutions, then pool and flatten: (N, 3, H, W) -> (N, C pool²)."""
        return self.connected.flatten(self.network(images))

    def forward_head(self, features: Tensor) -> Tensor:
        """Run the fully connected layers: (..., C pool²) -> (..., D)."""
        return self.connected.embed(features)
