"""Augment clips with one random transform for all frames, so that only the face differs between frames."""

import itertools
import math
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator

Shift = tuple[float, float]  # to the right and down, fractions of the image's side
NOISE_CROP = 224  # side of the crop in whose pixels landmark noise is stated

# Index of the mirror image of each of the 68 iBUG points.
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


def resized(crop: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Resize an (S, S, 3) crop to (size, size, 3): area averaging to shrink, bilinear interpolation to enlarge."""
    if len(crop) == size:
        return crop
    method = cv2.INTER_AREA if len(crop) > size else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(crop, (size, size), interpolation=method), dtype=np.uint8)


@dataclass(frozen=True)
class ClipTransform:
    """A transform that is applied to every frame of a clip and to its landmarks.

    Images and landmarks have the side S in pixels afterwards; `matrix` is stated for images that have it before too.
    """

    matrix: NDArray[np.float64]  # (2, 3), old pixel -> new pixel
    mirrored: bool  # whether `matrix` mirrors
    brightness: float  # factor
    contrast: float  # factor, about mid-grey
    noise: float = 0.0  # standard deviation on the landmarks, pixels
    noise_seed: int = 0
    shown: float = 1.0  # share of the image's side that is shown afterwards, before other changes of scale

    def source_side(self, size: int) -> int:
        """Return the side that images should have before, so that S = `size` pixels of theirs are shown afterwards."""
        return round(size / self.shown)

    def source_matrix(self, size: int) -> NDArray[np.float64]:
        """Return the (2, 3) matrix from a pixel of the image of side `size` to that of one of `source_side`."""
        return np.asarray(cv2.invertAffineTransform(self._matrix_from(self.source_side(size), size)))

    def _matrix_from(self, side: int, size: int) -> NDArray[np.float64]:
        """Return the (2, 3) matrix from a pixel of an image of any side to that of the image of side `size`."""
        ratio = size / side
        scaling = np.array([[ratio, 0, (ratio - 1) / 2], [0, ratio, (ratio - 1) / 2], [0, 0, 1]])  # by pixels' edges
        return np.asarray(self.matrix @ scaling)

    def image(self, image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
        """Transform an (S', S', 3) image into one of (S, S, 3); pixels from outside repeat its border.

        Args:
            image: of any side S'; with that of `source_side`, a crop is cut out and not enlarged.
            size: the side S.
        """
        matrix = self._matrix_from(image.shape[1], size)
        warped = cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        if self.brightness == 1 and self.contrast == 1:
            return np.asarray(warped, dtype=np.uint8)
        levels = (np.arange(256, dtype=np.float64) * self.brightness - 127.5) * self.contrast + 127.5
        return np.asarray(cv2.LUT(warped, levels.round().clip(0, 255).astype(np.uint8)), dtype=np.uint8)

    def points(self, landmarks: NDArray[np.float32]) -> NDArray[np.float32]:
        """Transform (T, 68, 3) landmarks; depth is scaled like x and y, and mirrored points swap indices.

        Noise is the only part that differs between frames, as a detector's errors do.
        """
        flat = landmarks[..., :2] @ self.matrix[:, :2].T + self.matrix[:, 2]
        depth = landmarks[..., 2:] * np.sqrt(abs(np.linalg.det(self.matrix[:, :2])))
        moved = np.concatenate([flat, depth], axis=-1).astype(np.float32)
        if self.noise:
            noise = np.random.default_rng(self.noise_seed).standard_normal(moved.shape)
            moved += (self.noise * noise).astype(np.float32)
        return moved[:, MIRROR_68] if self.mirrored else moved


@dataclass(frozen=True)
class ClipAugmentation:
    """Draw a random transform for each training view of a clip.

    Rotation, scale, translation, brightness and contrast are uniform between minus and plus the given value.

    Args:
        flip: mirror with a probability of 0.5.
        rotation: degrees.
        scale: fraction of the size.
        translation: fraction of the side.
        brightness: fraction of the brightness.
        contrast: fraction of the contrast.
        crop: fraction of the side that is cut out at a random position: with 0.875 and images of 224 pixels, 224 of
            256. Evaluation cuts out the centre.
        area: smallest share of the area that training cuts out: a rectangle of any area from this share to the whole,
            at a random position and with sides of 3:4 to 4:3, which is stretched to the square, as torchvision's
            `RandomResizedCrop` does. Sides longer than the image are cut at its border. Evaluation sees the whole.
        landmark_noise: standard deviation of Gaussian noise on each landmark coordinate, in pixels of a crop with a
            side of 224, as in `fer noise`.
        eval_flip: evaluation also sees the mirror image of each clip, and the predictions for both are averaged.
        eval_shift: evaluation also sees each clip moved by this fraction of the side in the eight directions of a grid,
            and the predictions for all nine are averaged. The evaluation after each epoch sees it where it is.
        noisy_evaluation: add the noise in evaluation too, the same to a clip in every evaluation. Then a model is
            trained and evaluated on landmarks of one strength of noise.

    Raises:
        ValueError: `crop` or `area` is not above 0 and at most 1, both are below 1, `landmark_noise` is negative, or
            `eval_shift` is not from 0 to below 0.5.
    """

    flip: bool = True
    rotation: float = 0.0
    scale: float = 0.0
    translation: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    crop: float = 1.0
    area: float = 1.0
    landmark_noise: float = 0.0
    eval_flip: bool = False
    eval_shift: float = 0.0
    noisy_evaluation: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.crop <= 1:
            raise ValueError(f"crop = {self.crop}: expected a fraction of the side above 0 and at most 1")
        if not 0 < self.area <= 1:
            raise ValueError(f"area = {self.area}: expected a share of the area above 0 and at most 1")
        if self.area < 1 and self.crop < 1:
            raise ValueError(f"crop = {self.crop} and area = {self.area}: expected one of them, and 1 for the other")
        if not 0 <= self.eval_shift < 0.5:
            raise ValueError(f"eval_shift = {self.eval_shift}: expected a fraction of the side from 0 to below 0.5")
        if self.landmark_noise < 0:
            raise ValueError(
                f"landmark_noise = {self.landmark_noise}: expected a standard deviation of 0 or more pixels"
            )

    @property
    def eval_shifts(self) -> tuple[Shift, ...]:
        """How far the views of the evaluation are moved to the right and down, fractions of the side; first (0, 0)."""
        steps = (0.0, -self.eval_shift, self.eval_shift) if self.eval_shift else (0.0,)
        return tuple(itertools.product(steps, steps))

    @property
    def eval_poses(self) -> tuple[tuple[Shift, bool], ...]:
        """How far each view of the evaluation is moved, and whether it is mirrored; the image as it is comes first."""
        return tuple(itertools.product(self.eval_shifts, (False, True) if self.eval_flip else (False,)))

    def evaluation(
        self, size: int, mirrored: bool = False, noise_seed: int = 0, shift: Shift = (0.0, 0.0)
    ) -> ClipTransform | None:
        """Return the transform for evaluation: the centre crop; None for the whole image as it is, without noise.

        Args:
            size: side of the crops, pixels.
            mirrored: whether to return that of the mirror image.
            noise_seed: of the noise on the landmarks.
            shift: how far to move the image before it is mirrored, one of `eval_shifts`.
        """
        noise = self._noise(size) if self.noisy_evaluation else 0.0
        if self.crop == 1 and not (mirrored or noise or any(shift)):
            return None
        matrix = _crop_matrix(size, np.full(2, self.crop), np.full(2, 0.5))
        matrix[:, 2] += np.array(shift) * size
        matrix = _mirror(matrix, size) if mirrored else matrix
        return ClipTransform(matrix, mirrored, 1.0, 1.0, noise, noise_seed, shown=self.crop)

    def largest_source_side(self, size: int) -> int:
        """Return the largest `ClipTransform.source_side` of all transforms, those for evaluation included."""
        return round(size / min(self.crop, math.sqrt(self.area)))

    def without_shifts(self) -> "ClipAugmentation":
        """Return the same augmentation with views of the evaluation that are not moved."""
        return replace(self, eval_shift=0.0)

    def without_noise(self) -> "ClipAugmentation":
        """Return the same augmentation without noise on the landmarks."""
        return replace(self, landmark_noise=0.0)

    def _noise(self, size: int) -> float:
        """Return the standard deviation of the noise in pixels of crops of side `size`."""
        return self.landmark_noise * size / NOISE_CROP

    def draw(self, size: int, generator: Generator) -> ClipTransform:
        """Draw a transform for a clip with crops of side `size`."""
        mirrored = self.flip and bool(torch.rand((), generator=generator) < 0.5)
        angle, scale, right, down, brightness, contrast = (
            torch.rand(6, generator=generator, dtype=torch.float64) * 2 - 1
        ).tolist()
        centre = (size - 1) / 2
        matrix = cv2.getRotationMatrix2D((centre, centre), angle * self.rotation, 1 + scale * self.scale)
        matrix[:, 2] += np.array([right, down]) * self.translation * size
        sides = np.full(2, self.crop)
        if self.area < 1:
            sides = _random_sides(self.area, generator)
        if self.crop < 1 or self.area < 1:
            position = torch.rand(2, generator=generator, dtype=torch.float64).numpy()
            matrix = _crop_matrix(size, sides, position) @ np.vstack([matrix, [0, 0, 1]])
        if mirrored:
            matrix = _mirror(matrix, size)
        noise = self._noise(size)
        seed = int(torch.randint(2**62, (), generator=generator)) if noise else 0
        return ClipTransform(
            matrix,
            mirrored,
            1 + brightness * self.brightness,
            1 + contrast * self.contrast,
            noise,
            seed,
            float(sides.max()),
        )


def _random_sides(area: float, generator: Generator) -> NDArray[np.float64]:
    """Draw width and height of a crop, (2,) shares of the image's side; see `ClipAugmentation.area`."""
    share, ratio = torch.rand(2, generator=generator, dtype=torch.float64).tolist()
    aspect = (3 / 4) ** (1 - 2 * ratio)  # 3:4 to 4:3, both as likely
    sides: NDArray[np.float64] = np.sqrt((area + (1 - area) * share) * np.array([aspect, 1 / aspect]))
    return sides.clip(max=1.0)


def _crop_matrix(size: int, sides: NDArray[np.float64], position: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the (2, 3) matrix of a crop.

    Args:
        size: side of the image, pixels.
        sides: width and height of the crop, (2,) shares of the image's side.
        position: of the crop, from (0, 0), the top left, to (1, 1).
    """
    start = (1 - sides) * size * position  # of the crop, from the corner of the image
    return np.column_stack([np.diag(1 / sides), (0.5 - start) / sides - 0.5])


def _mirror(matrix: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Return the (2, 3) matrix of a transform that is followed by a reflection of images of side `size`."""
    reflection = np.array([[-1.0, 0.0, size - 1], [0.0, 1.0, 0.0]])
    return np.asarray(reflection @ np.vstack([matrix, [0, 0, 1]]))
