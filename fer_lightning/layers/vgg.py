"""VGG-16, the enhanced one of ECNN-FSA (section 1.2, figure 2), and VGG-19.

Simonyan and Zisserman (2015), "Very Deep Convolutional Networks for Large-Scale Image Recognition", ICLR 2015,
https://arxiv.org/abs/1409.1556

Chen et al. (2022), "Video expression recognition based on frame-level attention mechanism", High Technology Letters
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

BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))  # channels; pooling after each
ENHANCED = 3  # blocks before the enhanced branch: "from the seventh layer", after its pooling [our choice]


class VGGConvolutions(nn.Sequential):
    """The five blocks: images (N, 3, H, W) -> the map after the last pooling.

    Args:
        channels: of the blocks.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        sizes = [(count,) * len(block) for count, block in zip(channels, BLOCKS, strict=True)]
        inputs = [3, *channels[:-1]]
        super().__init__(*map(_block, range(1, len(BLOCKS) + 1), sizes, inputs))

    def maps(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The maps after the third and the last pooling, (N, C, H / 2^k, W / 2^k)."""
        middle = last = images
        for number, block in enumerate(self, start=1):
            last = block(last)
            middle = last if number <= ENHANCED else middle
        return middle, last


class VGGBackbone(FrameBackbone):
    """The convolutions of VGG-16: (..., 3, H, W) -> what a subclass makes of their maps (..., D).

    Args:
        weights: `random`; `timm` for ImageNet's; `run:NAME`, or the path of a run of this suite, for all layers; or a
            file of VGG-16 with the tensors' names of torchvision, timm or VGG-Face: the layers that VGG-16 has.
        pixels: as of `FrameBackbone`: `vggface` for Oxford's VGG-Face.
        width: share of the published channels; a small one makes a network for tests.
        channels_last: keep pixels' channels together in memory.

    Raises:
        ValueError: no such pixels.
    """

    network: VGGConvolutions

    def __init__(
        self, weights: str = RANDOM, pixels: Pixels | None = None, width: float = 1.0, channels_last: bool = True
    ) -> None:
        super().__init__("vgg16", weights, [round(width * block[-1]) for block in BLOCKS], channels_last, pixels)

    def built(self, channels: Sequence[int] | None) -> tuple[VGGConvolutions, int]:
        """The convolutions alone: timm's network would come with 119 M weights of FC layers."""
        assert channels is not None
        return VGGConvolutions(channels), channels[-1]

    def load_weights(self) -> None:
        """See `Pretrained.load_weights`.

        Raises:
            ValueError: the weights have other pixels than are stated, or a file's are not stated.
        """
        if self.weights == RANDOM:
            return
        self.conversion.adopt(self.convention_of_weights(), self.weights)
        if trained_here(self.weights):
            load_backbone_weights(self, type(self).__name__, self.weights, "backbone.")
        else:
            load_vgg_weights(self, self.weights)

    def convolved_images(self, images: Tensor) -> Tensor:
        """See `FrameBackbone.convolved_images`."""
        return self.pooled(*self.network.maps(images))

    def pooled(self, middle: Tensor, last: Tensor) -> Tensor:
        """The maps after the third and the last pooling, (N, C, H / 2^k, W / 2^k) -> (N, M)."""
        raise NotImplementedError


class VGG16(VGGBackbone):
    """VGG-16 up to FC7, the CNN of CNN-LSTM: frames (..., 3, H, W) -> (..., 4096).

    The map is brought to 7 x 7 by averaging or repeating, so that crops of any size fit [our choice], as torchvision.

    Args:
        weights: as of `VGGBackbone`; files that hold no fc6 and fc7 leave these random.
        pixels: as of `VGGBackbone`.
        width: as of `VGGBackbone`.
        channels_last: as of `VGGBackbone`.
        hidden: values of FC6 and FC7.
        dropout: after FC6, as VGG-16 has it; what comes after FC7 is the caller's.
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

    def pooled(self, middle: Tensor, last: Tensor) -> Tensor:
        """See `VGGBackbone.pooled`."""
        return self.connected.flattened(last)

    def convolutions(self) -> list[nn.Module]:
        """See `FrameBackbone.convolutions`."""
        return [self.conversion, self.network, self.connected[0]]

    def connected_features(self, convolved: Tensor) -> Tensor:
        """(..., M) -> (..., D)."""
        return self.connected.features(convolved)


class EnhancedVGG(VGGBackbone):
    """ECNN: three more convolutions behind VGG-16's, and an enhanced branch; (..., 3, H, W) -> (..., 2048).

    Both ends are averaged over their maps and joined, so the size of the crop does not matter. [our choice] The added
    convolutions stand behind the last pooling and have 512-1024-1024-1024 channels; the branch begins behind the third
    pooling, a quarter of the cost; ReLU after every layer; the branch's map keeps its size.

    The paper begins with VGG-Face and goes on with SFEW and FER2013 (section 2.1): the experiments
    `ecnn_stills_fer2013`, told of VGG-Face's file, and `ecnn_stills_sfew`.

    Args:
        weights: as of `VGGBackbone`; files of VGG-16 leave what is added random.
        pixels: as of `VGGBackbone`.
        width: as of `VGGBackbone`.
        channels_last: as of `VGGBackbone`.
        output: values of the backbone (table 6): another number than the third added convolution's channels takes a
            further 1 x 1 convolution (section 2.4).
        branch_output: values of the enhanced branch (table 6).
        kernel: side of the branch's convolution, 7 or 5 (table 3).
        branch_layers: FC layers behind it: 0, or 1 and 2 as `Fc1` and `Fc2` in table 3.
        added: channels of the three added convolutions.

    Raises:
        ValueError: an even kernel, or a negative number of layers.
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
        """All of it."""
        return [self.conversion, self.network, self.added, self.branch, self.branch_connected]

    def pooled(self, middle: Tensor, last: Tensor) -> Tensor:
        """See `VGGBackbone.pooled`."""
        backbone = self.added(last).mean(dim=(2, 3))
        branch = self.branch_connected(self.branch(middle).mean(dim=(2, 3)))
        return torch.cat([backbone, branch], dim=1)


class VGG19(FrameBackbone):
    """VGG-19 up to FC7: images (..., 3, H, W) -> (..., 4096); ImageNet's weights are those of its FC layers too.

    Maps of images smaller than 224 x 224 are brought to 7 x 7 by averaging or repeating.

    Args:
        weights: as of `FrameBackbone`.
        dropout: after FC6, as VGG has it; what comes after FC7 is the caller's.
        channels_last: as of `FrameBackbone`.
        pixels: as of `FrameBackbone`.
    """

    def __init__(
        self, weights: str = RANDOM, dropout: float = 0.5, channels_last: bool = True, pixels: Pixels | None = None
    ) -> None:
        super().__init__("vgg19", weights, channels_last=channels_last, pixels=pixels)
        self.network.pre_logits.drop = nn.Dropout(dropout)

    def built(self, channels: Sequence[int] | None) -> tuple[Any, int]:
        """The network up to FC7, and its 4096 values."""
        network, _ = super().built(channels)
        return network, network.head_hidden_size


def _convolution(inputs: int, outputs: int, kernel: int = 3) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2), nn.ReLU(inplace=True))


def _block(number: int, sizes: tuple[int, ...], inputs: int) -> nn.Sequential:
    """Convolutions with ReLU, named as the authors of VGG do (conv3_1), then the pooling."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for place, (before, after) in enumerate(zip((inputs, *sizes), sizes, strict=False), start=1):
        layers[f"conv{number}_{place}"] = nn.Conv2d(before, after, 3, padding=1)
        layers[f"relu{number}_{place}"] = nn.ReLU(inplace=True)
    layers[f"pool{number}"] = nn.MaxPool2d(2, ceil_mode=True)  # so that the smallest images keep a pixel
    return nn.Sequential(layers)


def _initialise(network: nn.Module) -> None:
    """He's initialisation: with torch's own, sixteen layers without normalisation let nothing through."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
