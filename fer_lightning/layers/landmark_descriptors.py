"""LMED and LMED-CF, which describe the distances between facial landmarks over a clip (section 4.1).

Lee et al. (2020), "Visual Scene-Aware Hybrid and Multi-Modal Feature Aggregation for Facial Expression Recognition",
Sensors 20, 5184, https://doi.org/10.3390/s20185184
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from fer_lightning.layers.correlation import inter_frame_correlation
from fer_lightning.layers.masking import masked_max, masked_mean

OUTER_EYE_CORNERS = (36, 45)
DEGENERATE = 1e-4  # with a smaller interocular distance, as a fraction of the face's extent, a face is not measurable


@dataclass(frozen=True)
class Distances:
    """Distances between pairs of the 68 iBUG points, counted from 0, and the movements that change them."""

    region: str
    pairs: tuple[tuple[int, int], ...]
    shows: str


# [our choice] The paper takes its 34 pairs from its reference 36 (section 2.3) and does not list them. These distances
# change with the facial action units of the basic emotions (Ekman and Friesen). The set is symmetric: a mirrored face
# has the same distances.
DISTANCES = (
    Distances("brows", ((21, 22),), "inner ends drawn together: anger, fear, sadness (AU 4)"),
    Distances("brows", ((21, 39), (22, 42)), "inner ends over the eyes' inner corners: raised in sadness (AU 1)"),
    Distances("brows", ((17, 36), (26, 45)), "outer ends over the eyes' outer corners: raised in surprise (AU 2)"),
    Distances("brows", ((19, 27), (24, 27)), "middle over the nose's root: the whole brow up or down (AU 1+2, 4)"),
    Distances("brows", ((19, 37), (24, 44)), "middle over the upper lid: a low brow over wide eyes in anger (AU 4+5)"),
    Distances("lids", ((37, 41), (38, 40)), "opening of the right eye: wide in fear, narrow in disgust (AU 5, 7, 43)"),
    Distances("lids", ((44, 46), (43, 47)), "opening of the left eye: wide in fear, narrow in disgust (AU 5, 7, 43)"),
    Distances("nose", ((31, 35),), "width of the nostrils: flared in anger, raised in disgust (AU 9, 38)"),
    Distances("nose", ((31, 39), (35, 42)), "wings under the eyes' inner corners: wrinkled in disgust (AU 9)"),
    Distances("nose", ((33, 51),), "base over the upper lip: the lip raised in disgust (AU 10)"),
    Distances("lips", ((48, 54),), "width: smile and stretch against pucker (AU 12, 20, 18)"),
    Distances("lips", ((51, 57),), "height with the lips: open, or pressed together in anger (AU 24, 25)"),
    Distances("lips", ((61, 67), (62, 66), (63, 65)), "opening between the lips at three places: parted (AU 25, 26)"),
    Distances("lips", ((51, 62), (57, 66)), "thickness of both lips: tightened, sucked in (AU 23, 28)"),
    Distances("lips", ((36, 48), (45, 54)), "corners under the eyes: up in happiness, down in sadness (AU 12, 15)"),
    Distances("lips", ((31, 48), (35, 54)), "corners beside the nose: pulled up, one alone in contempt (AU 12, 14)"),
    Distances("lips", ((48, 51), (51, 54)), "corners and upper lip: shape of the upper lip (AU 10, 12)"),
    Distances("lips", ((48, 57), (54, 57)), "corners and lower lip: shape of the lower lip (AU 15, 16)"),
    Distances("jaw", ((8, 33),), "chin under the nose: the jaw dropped in surprise (AU 26, 27)"),
    Distances("jaw", ((8, 57),), "chin under the lower lip: the chin raised in sadness and anger (AU 17)"),
)
PAIRS = tuple(pair for distances in DISTANCES for pair in distances.pairs)


def landmark_distances(landmarks: Tensor, relative: bool = True) -> tuple[Tensor, Tensor]:
    """Compute the distances of `DISTANCES`.

    Args:
        landmarks: (B, N, 68, 3) in any unit, the same along all axes.
        relative: Divide them by that of the outer eye corners [our choice]; otherwise they are in the landmarks' unit.

    Returns:
        Distances (B, N, 34), in float64 if the landmarks are, else in float32; and (B, N) bool, true for measurable
        faces. If the eye corners coincide, the points are not a face and their distances are 0.

    Raises:
        ValueError: The landmarks are not 68 points in three dimensions.
    """
    if landmarks.shape[-2:] != (68, 3):
        raise ValueError(f"expected landmarks (B, N, 68, 3); found {tuple(landmarks.shape)}")
    points = landmarks.to(torch.promote_types(landmarks.dtype, torch.float32))
    first, second = torch.tensor((OUTER_EYE_CORNERS, *PAIRS), device=points.device).unbind(dim=1)
    lengths = torch.linalg.vector_norm(points[:, :, first] - points[:, :, second], dim=-1)  # (B, N, 35)
    interocular = lengths[..., :1]
    extent = (points.amax(dim=2) - points.amin(dim=2)).amax(dim=2, keepdim=True)  # (B, N, 1)
    usable = interocular > DEGENERATE * extent
    unit = torch.where(usable, interocular, 1) if relative else 1
    distances = torch.where(usable, lengths[..., 1:] / unit, 0)
    return distances, usable[..., 0]


def lmed(landmarks: Tensor, mask: Tensor | None = None, relative: bool = True) -> Tensor:
    """Compute LMED: maximum, mean and standard deviation of each distance over the frames.

    [our choice] The standard deviation is that of the population. The descriptor is invariant to rotation, translation
    and, if the distances are relative, scaling of each frame's points. Padded frames and frames without a measurable
    face are ignored.

    Args:
        landmarks: (B, N, 68, 3) in any unit, the same along all axes.
        mask: (B, N) bool, true for real frames; None if all are real.
        relative: See `landmark_distances`.

    Returns:
        (B, 102), unscaled: 34 maxima, 34 means and 34 standard deviations; 0 if no frame is real.

    Raises:
        ValueError: The landmarks are not 68 points in three dimensions.
    """
    return _statistics(*_masked_distances(landmarks, mask, relative))


def lmed_cf(landmarks: Tensor, mask: Tensor | None = None, relative: bool = True) -> Tensor:
    """Compute LMED-CF: LMED, and the correlation between the distances of every two frames.

    Args:
        landmarks: (B, N, 68, 3) in any unit, the same along all axes.
        mask: (B, N) bool, true for real frames; None if all are real.
        relative: See `landmark_distances`.

    Returns:
        (B, 102 + N(N-1)/2), unscaled: LMED, then the upper triangle of the distances' `inter_frame_correlation`, row by
        row. It is 0 for pairs with a padded frame or one without a measurable face.

    Raises:
        ValueError: The landmarks are not 68 points in three dimensions.
    """
    distances, real = _masked_distances(landmarks, mask, relative)
    correlation = inter_frame_correlation(distances, real)  # (B, N, N)
    frames = distances.shape[1]
    row, column = torch.triu_indices(frames, frames, offset=1, device=distances.device)
    return torch.cat([_statistics(distances, real), correlation[:, row, column]], dim=1)


def _masked_distances(landmarks: Tensor, mask: Tensor | None, relative: bool) -> tuple[Tensor, Tensor]:
    """Return the distances (B, N, 34), and (B, N) bool, true for real frames with a measurable face."""
    distances, usable = landmark_distances(landmarks, relative)
    return distances, usable if mask is None else usable & mask


def _statistics(distances: Tensor, real: Tensor) -> Tensor:
    """Maximum, mean and standard deviation over the real frames: (B, N, 34), (B, N) -> (B, 102)."""
    mean = masked_mean(distances, real)
    centred = torch.where(real[..., None], distances - mean[:, None], 0)
    count = real.sum(dim=1, keepdim=True).clamp_min(1)
    # If a face does not move, the deviation is 0. There a norm has a gradient, and a square root has none.
    deviation = torch.linalg.vector_norm(centred, dim=1) / count.sqrt()
    return torch.cat([masked_max(distances, real), mean, deviation], dim=1)
