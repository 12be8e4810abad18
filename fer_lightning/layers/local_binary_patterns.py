"""Local binary patterns: textures that do not depend on the lighting.

Ojala et al. (1996), "A comparative study of texture measures with classification based on featured distributions",
Pattern Recognition 29, 51-59, https://doi.org/10.1016/0031-3203(95)00067-4
"""

import torch
import torch.nn.functional as F
from torch import Tensor

LUMA = (299, 587, 114)  # thousandths of red, green, blue in grey (ITU-R BT.601); in whole numbers, equal is equal
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
    """What a network sees in the place of the pixels: the codes as a grey image.

    Args:
        frames: (..., 3, H, W) uint8.

    Returns:
        (..., 3, H, W) uint8.
    """
    grey = sum(share * frames.select(-3, channel).int() for channel, share in enumerate(LUMA))  # (..., H, W)
    assert isinstance(grey, Tensor)
    codes = local_binary_codes(grey.float()).to(torch.uint8)
    return codes[..., None, :, :].expand(frames.shape)
