"""VGG-16, VGG-19, and the enhanced VGG-16 of ECNN-FSA (section 1.2, figure 2).

Simonyan and Zisserman (2015), "Very Deep Convolutional Networks for Large-Scale Image Recognition", ICLR 2015,
https://arxiv.org/abs/1409.1556

Chen et al. (2023), "Video expression recognition based on frame-level attention mechanism", High Technology Letters,
https://doi.org/10.3772/j.issn.1006-6748.2023.02.003
"""

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from fer_lightning.layers.backbones import FrameBackbone, FullyConnected
from fer_lightning.layers.pixels import Pixels
from fer_lightning.layers.vgg_weights import load_vgg_weights
from fer_lightning.weights import RANDOM, load_backbone_weights, trained_here

BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))  # channels; each block is pooled
ENHANCED = 3  # blocks before the enhanced branch, "from the seventh layer"; after its pooling [our choice]


class VGGConvolutions(nn.Sequential):
    """The five convolutional blocks of VGG-16: images (N, 3, H, W) -> the map after the last pooling.

    Args:
        channels: Channels of each block.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        sizes = [(count,) * len(block) for count, block in zip(channels, BLOCKS, strict=True)]
        inputs = [3, *channels[:-1]]
        super().__init__(*map(_block, range(1, len(BLOCKS) + 1), sizes, inputs))

    def maps(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the maps (N, C, H / 2^k, W / 2^k) after the third and the last pooling."""
        middle = last = images
        for number, block in enumerate(self, start=1):
            last = block(last)
            middle = last if number <= ENHANCED else middle
        return middle, last


class VGGBackbone(FrameBackbone):
    """Base class for backbones with the convolutions of VGG-16. A subclass pools their maps.

    Args:
        weights: `random`; `timm` for ImageNet's; `run:NAME`, or the path of a run of this suite, for all layers; or a
            VGG-16 file with the tensor names of torchvision, timm or VGG-Face, for the layers of VGG-16.
        pixels: See `FrameBackbone`; `vggface` for Oxford's VGG-Face.
        width: Fraction of the published channels; small values give networks for tests.
        channels_last: See `FrameBackbone`.

    Raises:
        ValueError: The pixel convention is unknown.
    """

    network: VGGConvolutions

    def __init__(
        self, weights: str = RANDOM, pixels: Pixels | None = None, width: float = 1.0, channels_last: bool = True
    ) -> None:
        super().__init__("vgg16", weights, [round(width * block[-1]) for block in BLOCKS], channels_last, pixels)

    def build_network(self, channels: Sequence[int] | None) -> tuple[VGGConvolutions, int]:
        """Return the convolutions alone and their channels. timm's network would add 119 M weights of FC layers."""
        assert channels is not None
        return VGGConvolutions(channels), channels[-1]

    def load_content(self, content: dict[str, object]) -> None:
        """Load all layers from a run, or the layers of VGG-16 from other weights.

        Raises:
            ValueError: The weights do not fit.
        """
        if trained_here(content):
            load_backbone_weights(self, content, self.weights, type(self).__name__, "backbone.")
        else:
            load_vgg_weights(self, content, self.weights)

    def forward_images(self, images: Tensor) -> Tensor:
        """Run the convolutions and pool their maps: (N, 3, H, W) -> (N, M)."""
        return self.pool_maps(*self.network.maps(images))

    def pool_maps(self, middle: Tensor, last: Tensor) -> Tensor:
        """Pool the maps (N, C, H / 2^k, W / 2^k) after the third and the last pooling to features (N, M)."""
        raise NotImplementedError


class VGG16(VGGBackbone):
    """VGG-16 up to FC7, the CNN of CNN-LSTM: frames (..., 3, H, W) uint8 -> (..., 4096).

    [our choice] As in torchvision, the map is averaged or repeated to 7 x 7, so that crops may have any size.

    Args:
        weights: See `VGGBackbone`. FC6 and FC7 stay random if a file does not contain them.
        pixels: See `VGGBackbone`.
        width: See `VGGBackbone`.
        channels_last: See `VGGBackbone`.
        hidden: Units of FC6 and FC7.
        dropout: Dropout rate after FC6, as in VGG-16. There is no dropout after FC7.
    """

    def __init__(
        self,
        weights: str = RANDOM,
        pixels: Pixels | None = None,
        width: float = 1.0,
        channels_last: bool = True,
        hidden: int = 4096,
        dropout: float = 0.5,
    ) -> None:
        super().__init__(weights, pixels, width, channels_last)
        self.connected = FullyConnected(self.num_features, 7, hidden, dropout)
        self.num_features = hidden
        _initialise(self)
        self.to(memory_format=self.memory_format)

    def pool_maps(self, middle: Tensor, last: Tensor) -> Tensor:
        """Pool the last map to 7 x 7 and flatten it."""
        return self.connected.flatten(last)

    def convolutions(self) -> list[nn.Module]:
        """Return the modules that `forward_features` runs."""
        return [self.conversion, self.network, self.connected[0]]

    def forward_head(self, features: Tensor) -> Tensor:
        """Run FC6 and FC7: (..., M) -> (..., D)."""
        return self.connected.embed(features)


class EnhancedVGG(VGGBackbone):
    """ECNN: VGG-16 with three more convolutions and an enhanced branch; frames (..., 3, H, W) uint8 -> (..., 2048).

    The maps of both are averaged and concatenated, so crops may have any size. [our choice] The added convolutions
    follow the last pooling and have 512-1024-1024-1024 channels. The branch starts after the third pooling, which costs
    a quarter as much as before it, and its map keeps its size. ReLU follows each layer.

    The paper starts from VGG-Face and continues on SFEW and FER2013 (section 2.1). These are the experiments
    `ecnn_stills_fer2013`, with VGG-Face's file as weights, and `ecnn_stills_sfew`.

    Args:
        weights: See `VGGBackbone`. Files of VGG-16 leave the added layers random.
        pixels: See `VGGBackbone`.
        width: See `VGGBackbone`.
        channels_last: See `VGGBackbone`.
        output: Output size of the backbone (table 6). If it differs from the channels of the third added convolution,
            a 1 x 1 convolution is added (section 2.4).
        branch_output: Output size of the enhanced branch (table 6).
        kernel: Kernel size of the branch's convolution, 7 or 5 (table 3).
        branch_layers: Number of FC layers behind it; 1 and 2 are `Fc1` and `Fc2` in table 3.
        added: Channels of the three added convolutions.

    Raises:
        ValueError: The kernel size is even, or the number of FC layers is negative.
    """

    def __init__(
        self,
        weights: str = RANDOM,
        pixels: Pixels | None = None,
        width: float = 1.0,
        channels_last: bool = True,
        output: int = 1024,
        branch_output: int = 1024,
        kernel: int = 7,
        branch_layers: int = 0,
        added: int = 1024,
    ) -> None:
        super().__init__(weights, pixels, width, channels_last)
        if kernel % 2 == 0 or branch_layers < 0:
            raise ValueError(
                f"expected an odd kernel and 0, 1 or 2 FC layers in the branch; found {kernel} and {branch_layers}"
            )
        last, middle = self.num_features, round(width * BLOCKS[ENHANCED - 1][-1])
        self.num_features = output + branch_output
        sizes = [last, added, added, added]
        deeper = [_convolution(*pair) for pair in pairwise(sizes)]
        if output != added:
            deeper.append(_convolution(added, output, kernel=1))
        self.added = nn.Sequential(*deeper)
        self.branch = _convolution(middle, branch_output, kernel)
        connected = [nn.Sequential(nn.Linear(branch_output, branch_output), nn.ReLU()) for _ in range(branch_layers)]
        self.branch_connected = nn.Sequential(*connected)
        _initialise(self)
        self.to(memory_format=self.memory_format)

    def convolutions(self) -> list[nn.Module]:
        """Return the modules that `forward_features` runs, which are all modules of the network."""
        return [self.conversion, self.network, self.added, self.branch, self.branch_connected]

    def pool_maps(self, middle: Tensor, last: Tensor) -> Tensor:
        """Average the maps of backbone and enhanced branch, and concatenate the results."""
        backbone = self.added(last).mean(dim=(2, 3))
        branch = self.branch_connected(self.branch(middle).mean(dim=(2, 3)))
        return torch.cat([backbone, branch], dim=1)


class VGG19(FrameBackbone):
    """VGG-19 up to FC7: images (..., 3, H, W) uint8 -> (..., 4096). ImageNet's weights include its FC layers.

    For images that are not 224 x 224, the map is averaged or repeated to 7 x 7.

    Args:
        weights: See `FrameBackbone`.
        dropout: Dropout rate after FC6, as in VGG. There is no dropout after FC7.
        channels_last: See `FrameBackbone`.
        pixels: See `FrameBackbone`.
    """

    def __init__(
        self, weights: str = RANDOM, dropout: float = 0.5, channels_last: bool = True, pixels: Pixels | None = None
    ) -> None:
        super().__init__("vgg19", weights, channels_last=channels_last, pixels=pixels)
        self.network.pre_logits.drop = nn.Dropout(dropout)

    def build_network(self, channels: Sequence[int] | None) -> tuple[Any, int]:
        """Return the network up to FC7, and the units of FC7."""
        network, _ = super().build_network(channels)
        return network, network.head_hidden_size


def _convolution(inputs: int, outputs: int, kernel: int = 3) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2), nn.ReLU(inplace=True))


def _block(number: int, sizes: tuple[int, ...], inputs: int) -> nn.Sequential:
    """Build a block of convolutions with ReLU, named as by the authors of VGG (conv3_1), and its pooling."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for index, (channels, outputs) in enumerate(pairwise((inputs, *sizes)), start=1):
        layers[f"conv{number}_{index}"] = nn.Conv2d(channels, outputs, 3, padding=1)
        layers[f"relu{number}_{index}"] = nn.ReLU(inplace=True)
    layers[f"pool{number}"] = nn.MaxPool2d(2, ceil_mode=True)  # rounding up, even the smallest image keeps a pixel
    return nn.Sequential(layers)


def _initialise(network: nn.Module) -> None:
    """Apply He's initialisation. Without BatchNorm, torch's default loses the signal over sixteen layers."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
