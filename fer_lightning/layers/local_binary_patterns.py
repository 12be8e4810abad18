"""Local binary patterns, a texture descriptor that is robust to changes in lighting.

Ojala et al. (1996), "A comparative study of texture measures with classification based on featured distributions",
Pattern Recognition 29, 51-59, https://doi.org/10.1016/0031-3203(95)00067-4
"""

import torch
import torch.nn.functional as F
from torch import Tensor

LUMA = (299, 587, 114)  # thousandths of red, green, blue in grey (ITU-R BT.601); integers compare exactly
NEIGHBOURS = ((0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0))  # row, column; clockwise


@torch.no_grad()
def local_binary_codes(grey: Tensor) -> Tensor:
    """Compute the local binary pattern of each pixel.

    Bit k is set if the k-th neighbour is at least as bright as the pixel. Neighbours are counted clockwise from the
    upper left one. The image is extended by repeating its border pixels.

    Args:
        grey: Grey levels (..., H, W).

    Returns:
        Codes (..., H, W) from 0 to 255, as float.
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
    """Replace images by their local binary patterns, as grey images.

    Args:
        frames: (..., 3, H, W) uint8.

    Returns:
        (..., 3, H, W) uint8.
    """
    luma = torch.tensor(LUMA, dtype=torch.int32, device=frames.device).view(3, 1, 1)
    grey = (luma * frames.int()).sum(dim=-3, dtype=torch.int32)  # (..., H, W)
    codes = local_binary_codes(grey.float()).to(torch.uint8)
    return codes[..., None, :, :].expand(frames.shape)
