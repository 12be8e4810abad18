"""Pixels as weights from elsewhere expect them, made of images that are normalised as for ImageNet."""

from typing import Literal, get_args

import torch
from timm.models.resnet import Bottleneck, ResNet
from torch import Tensor, nn

from data_modules.loading.transforms import IMAGENET_MEAN, IMAGENET_STD

Pixels = Literal["imagenet", "vggface", "vggface2"]
# Of red, green, blue from 0 to 255, which are not divided. VGG-Face's are those of its authors' release. VGGFace2's
# stand in its authors' github.com/ox-vgg/vgg_face2, standard_evaluation/pytorch_feature_extractor.py, and as mean of
# blue, green, red in the layers of their Caffe networks.
MEANS = {"vggface": (129.1863, 104.7624, 93.5940), "vggface2": (131.0912, 103.8827, 91.4953)}
BLUE_FIRST = frozenset({"vggface2"})
"""Weights converted from Caffe take blue, green, red."""


class PixelConversion(nn.Module):
    """ImageNet's normalisation (..., 3, H, W) of red, green, blue -> the pixels that weights were trained with.

    Args:
        pixels: `imagenet`: the images as they are; `vggface`: of Oxford's VGG-Face, red, green, blue from 0 to 255
            less their means; `vggface2`: of the ResNets that the authors of VGGFace2 trained with Caffe, blue, green,
            red from 0 to 255 less their means.

    Raises:
        ValueError: no such pixels.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, pixels: Pixels) -> None:
        super().__init__()
        if pixels not in get_args(Pixels):
            raise ValueError(f"the pixels are {' or '.join(get_args(Pixels))}; found {pixels!r}")
        self.pixels = pixels
        scale, shift = torch.ones(3, 1, 1), torch.zeros(3, 1, 1)
        if pixels in MEANS:
            mean, std = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)
            scale, shift = (255 * std).view(3, 1, 1), (255 * mean - torch.tensor(MEANS[pixels])).view(3, 1, 1)
        self.register_buffer("scale", scale, persistent=False)
        self.register_buffer("shift", shift, persistent=False)

    def extra_repr(self) -> str:
        """What cached features depend on."""
        return f"pixels={self.pixels}"

    def forward(self, images: Tensor) -> Tensor:
        """(..., 3, H, W) -> the same shape."""
        if self.pixels not in MEANS:
            return images
        converted = images * self.scale + self.shift
        return converted.flip(-3) if self.pixels in BLUE_FIRST else converted


def lay_out_as_caffe(network: nn.Module, name: str) -> None:
    """Makes of timm's ResNet the one that the authors of VGGFace2 trained: the same weights, elsewhere strided.

    Where a block halves its map, the first convolution does so, not the second; the first pooling pads at the far ends
    alone. Source: the Caffe networks, as github.com/cydonia999/VGGFace2-pytorch converts them (models/resnet.py).

    Raises:
        ValueError: the network is no ResNet with such blocks.
    """
    blocks = [module for module in network.modules() if isinstance(module, Bottleneck)]
    if not isinstance(network, ResNet) or not blocks or not isinstance(network.maxpool, nn.MaxPool2d):
        raise ValueError(
            f"VGGFace2's weights are for ResNets with bottlenecks, as resnet50 and seresnet50; found {name}"
        )
    network.maxpool = nn.MaxPool2d(3, stride=2, ceil_mode=True)
    for block in blocks:
        block.conv1.stride, block.conv2.stride = block.conv2.stride, block.conv1.stride
