"""Augmentation that is the same for all frames of a clip: what differs between frames must be the face alone."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

# Where each of the 68 iBUG points goes when the face is mirrored.
MIRROR_68 = np.array(
    [
        *range(16, -1, -1),  # jaw
        *range(26, 16, -1),  # brows
        *range(27, 31),  # nose bridge
        *range(35, 30, -1),  # nostrils
        *(45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40),  # eyes
        *(54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55),  # outer lips
        *(64, 63, 62, 61, 60, 67, 66, 65),  # inner lips
    ]
)


def resize_clip(crops: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """(T, S, S, 3) -> (T, size, size, 3), averaging over area where it shrinks."""
    if crops.shape[1] == size:
        return crops
    method = cv2.INTER_AREA if crops.shape[1] > size else cv2.INTER_LINEAR
    return np.stack([cv2.resize(crop, (size, size), interpolation=method) for crop in crops])


def normalise(face: Tensor) -> Tensor:
    """(..., 3, H, W) uint8 -> float with ImageNet's mean and deviation, on whatever device it is."""
    mean = torch.tensor(IMAGENET_MEAN, device=face.device).view(3, 1, 1) * 255
    std = torch.tensor(IMAGENET_STD, device=face.device).view(3, 1, 1) * 255
    return (face.float() - mean) / std


@dataclass(frozen=True)
class Change:
    """One draw of an augmentation, to be applied to every frame of a clip and to its landmarks."""

    matrix: NDArray[np.float64]  # (2, 3), old pixel -> new pixel
    mirrored: bool
    brightness: float  # factor
    contrast: float  # factor, about mid-grey

    def image(self, crop: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(S, S, 3) -> (S, S, 3); what comes from outside of the picture repeats its border."""
        size = (crop.shape[1], crop.shape[0])
        warped = cv2.warpAffine(crop, self.matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        if self.brightness == 1 and self.contrast == 1:
            return np.asarray(warped, dtype=np.uint8)
        levels = (np.arange(256, dtype=np.float64) * self.brightness - 127.5) * self.contrast + 127.5
        return np.asarray(cv2.LUT(warped, levels.round().clip(0, 255).astype(np.uint8)), dtype=np.uint8)

    def points(self, landmarks: NDArray[np.float32]) -> NDArray[np.float32]:
        """(T, 68, 3) -> (T, 68, 3); depth follows the change of scale, mirrored points change names."""
        flat = landmarks[..., :2] @ self.matrix[:, :2].T + self.matrix[:, 2]
        depth = landmarks[..., 2:] * np.sqrt(abs(np.linalg.det(self.matrix[:, :2])))
        moved = np.concatenate([flat, depth], axis=-1).astype(np.float32)
        return moved[:, MIRROR_68] if self.mirrored else moved


@dataclass(frozen=True)
class ClipAugmentation:
    """What may change between two sights of the same clip; every value is the largest change to either side.

    Args:
        flip: mirror every other clip.
        rotation: degrees.
        scale: share of the size.
        translation: share of the side.
        brightness: share of the brightness.
        contrast: share of the contrast.
    """

    flip: bool = True
    rotation: float = 0.0
    scale: float = 0.0
    translation: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0

    def draw(self, size: int, generator: Generator) -> Change:
        """One change for a clip with crops of side `size`."""
        mirrored = self.flip and bool(torch.rand((), generator=generator) < 0.5)
        angle, scale, right, down, brightness, contrast = (
            torch.rand(6, generator=generator, dtype=torch.float64) * 2 - 1
        ).tolist()
        middle = (size - 1) / 2
        matrix = cv2.getRotationMatrix2D((middle, middle), angle * self.rotation, 1 + scale * self.scale)
        matrix[:, 2] += np.array([right, down]) * self.translation * size
        if mirrored:
            matrix = np.array([[-1.0, 0.0, size - 1], [0.0, 1.0, 0.0]]) @ np.vstack([matrix, [0, 0, 1]])
        return Change(matrix, mirrored, 1 + brightness * self.brightness, 1 + contrast * self.contrast)
