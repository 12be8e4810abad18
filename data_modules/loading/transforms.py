"""Augmentation that is the same for all frames of a clip: what differs between frames must be the face alone."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator

NOISE_CROP = 224  # side of the crop whose pixels measure noise on landmarks

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


@dataclass(frozen=True)
class Change:
    """One draw of an augmentation, to be applied to every frame of a clip and to its landmarks."""

    matrix: NDArray[np.float64]  # (2, 3), old pixel -> new pixel
    mirrored: bool
    brightness: float  # factor
    contrast: float  # factor, about mid-grey
    noise: float = 0.0  # standard deviation on the landmarks, pixels
    noise_seed: int = 0

    def image(self, crop: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(S, S, 3) -> (S, S, 3); what comes from outside of the picture repeats its border."""
        size = (crop.shape[1], crop.shape[0])
        warped = cv2.warpAffine(crop, self.matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        if self.brightness == 1 and self.contrast == 1:
            return np.asarray(warped, dtype=np.uint8)
        levels = (np.arange(256, dtype=np.float64) * self.brightness - 127.5) * self.contrast + 127.5
        return np.asarray(cv2.LUT(warped, levels.round().clip(0, 255).astype(np.uint8)), dtype=np.uint8)

    def points(self, landmarks: NDArray[np.float32]) -> NDArray[np.float32]:
        """(T, 68, 3) -> (T, 68, 3); depth follows the change of scale, mirrored points change names.

        Noise, unlike all else, is another one in every frame: landmarks are found in each anew.
        """
        flat = landmarks[..., :2] @ self.matrix[:, :2].T + self.matrix[:, 2]
        depth = landmarks[..., 2:] * np.sqrt(abs(np.linalg.det(self.matrix[:, :2])))
        moved = np.concatenate([flat, depth], axis=-1).astype(np.float32)
        if self.noise:
            drawn = np.random.default_rng(self.noise_seed).standard_normal(moved.shape)
            moved += (self.noise * drawn).astype(np.float32)
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
        crop: share of the side that is seen, cut at a random place: 0.875 for 224² pixels of 256². Unlike the other
            values it is one of the evaluation too, which sees the middle.
        landmark_noise: standard deviation of Gaussian noise on each coordinate of the landmarks, pixels of a crop of
            224 (as `fer noise` has it).

    Raises:
        ValueError: a crop of nothing, or of more than there is, or a negative noise.
    """

    flip: bool = True
    rotation: float = 0.0
    scale: float = 0.0
    translation: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    crop: float = 1.0
    landmark_noise: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.crop <= 1:
            raise ValueError(f"the share of the side that is cut is above 0 and at most 1; found crop = {self.crop}")
        if self.landmark_noise < 0:
            raise ValueError(f"noise has a deviation of 0 or more pixels; found landmark_noise = {self.landmark_noise}")

    def middle(self, size: int) -> Change | None:
        """What the evaluation sees of crops of side `size`: the middle; None where that is all."""
        return None if self.crop == 1 else Change(self._window(size, (0.5, 0.5)), False, 1.0, 1.0)

    def _window(self, size: int, place: tuple[float, float]) -> NDArray[np.float64]:
        """(2, 3), old pixel -> new pixel; places from 0, leftmost and topmost, to 1."""
        start = (1 - self.crop) * size * np.array(place)  # of the window, counted from the picture's corner
        return np.column_stack([np.eye(2) / self.crop, (0.5 - start) / self.crop - 0.5])

    def draw(self, size: int, generator: Generator) -> Change:
        """One change for a clip with crops of side `size`."""
        mirrored = self.flip and bool(torch.rand((), generator=generator) < 0.5)
        angle, scale, right, down, brightness, contrast = (
            torch.rand(6, generator=generator, dtype=torch.float64) * 2 - 1
        ).tolist()
        middle = (size - 1) / 2
        matrix = cv2.getRotationMatrix2D((middle, middle), angle * self.rotation, 1 + scale * self.scale)
        matrix[:, 2] += np.array([right, down]) * self.translation * size
        if self.crop < 1:
            x, y = torch.rand(2, generator=generator, dtype=torch.float64).tolist()
            matrix = self._window(size, (x, y)) @ np.vstack([matrix, [0, 0, 1]])
        if mirrored:
            matrix = np.array([[-1.0, 0.0, size - 1], [0.0, 1.0, 0.0]]) @ np.vstack([matrix, [0, 0, 1]])
        noise = self.landmark_noise * size / NOISE_CROP
        seed = int(torch.randint(2**62, (), generator=generator)) if noise else 0
        return Change(matrix, mirrored, 1 + brightness * self.brightness, 1 + contrast * self.contrast, noise, seed)
