"""Local binary patterns (Ojala et al., Pattern Recognition 1996): textures that do not depend on the lighting."""

import torch
import torch.nn.functional as F
from torch import Tensor

from data_modules.loading.transforms import IMAGENET_MEAN, IMAGENET_STD

LUMA = (0.299, 0.587, 0.114)  # grey of red, green, blue (ITU-R BT.601)
NEIGHBOURS = ((0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0))  # row, column; clockwise


@torch.no_grad()
def local_binary_codes(grey: Tensor) -> Tensor:
    """The code of each pixel: bit k is set where its k-th neighbour is at least as bright, the upper left one first.

    Beyond its border an image repeats its outermost pixels.

    Args:
        grey: (..., H, W).

    Returns:
        (..., H, W) float, from 0 to 255.
    """
    height, width = grey.shape[-2:]
    padded = F.pad(grey.reshape(-1, 1, height, width), (1, 1, 1, 1), mode="replicate").view(-1, height + 2, width + 2)
    centre = padded[:, 1:-1, 1:-1]
    codes = torch.zeros_like(centre)
    for bit, (row, column) in enumerate(NEIGHBOURS):
        codes += 2**bit * (padded[:, row : row + height, column : column + width] >= centre)
    return codes.view(grey.shape)


@torch.no_grad()
def local_binary_image(frames: Tensor) -> Tensor:
    """What a network sees in the place of the pixels: the codes as a grey image, normalised as for ImageNet.

    Args:
        frames: (..., 3, H, W), normalised as for ImageNet.

    Returns:
        (..., 3, H, W).
    """
    std = frames.new_tensor(IMAGENET_STD)
    # ImageNet's mean adds the same to all pixels, which comparing them does not see.
    grey = (frames * (std * frames.new_tensor(LUMA)).view(3, 1, 1)).sum(dim=-3)  # (..., H, W)
    codes = local_binary_codes(grey)[..., None, :, :] / 255
    return (codes - frames.new_tensor(IMAGENET_MEAN).view(3, 1, 1)) / std.view(3, 1, 1)
