"""The temporal pyramid of the context models (section 4.2): statistics over the parts of a clip.

Do et al. (2021), "Context-Aware Emotion Recognition in the Wild Using Spatio-Temporal and Temporal-Pyramid Models",
Sensors 21, 2344, https://doi.org/10.3390/s21072344
"""

from collections.abc import Sequence

import torch
from torch import Tensor

Levels = Sequence[int]


def pyramid_parts(levels: Levels) -> int:
    """Return the number of parts of all levels together. Level k has 2^k parts.

    Raises:
        ValueError: There is no level, or a negative one.
    """
    if not levels or min(levels) < 0:
        raise ValueError(f"expected at least one level, none below 0; found {list(levels)}")
    return sum(2**level for level in levels)


def temporal_pyramid(
    face: Tensor,
    probabilities: Tensor,
    context: Tensor | None = None,
    levels: Levels = (0, 1, 2, 3),
    mask: Tensor | None = None,
) -> Tensor:
    """Compute the temporal-pyramid feature (section 4.2, equations 26 to 28).

    Level k divides the n real frames into 2^k parts (section 6.5; the equation prints k). Part j has the frames
    [floor((j - 1) n / 2^k), floor(j n / 2^k)). [our choice] If a clip is so short that a part would be empty, the part
    has the frame at its start. The feature of a part is the mean of `face`, the mean of `context`, and the minimum,
    mean and maximum of `probabilities`. The features of all parts and levels are concatenated.

    Args:
        face: Features of the face, (B, T, F).
        probabilities: Probabilities of the emotions, (B, T, C).
        context: Features of the context, (B, T, G), or None.
        levels: Levels k of the pyramid.
        mask: (B, T) bool, true for real frames; None if all are real. Padded frames are ignored.

    Returns:
        (B, Σ 2^k (F + G + 3 C)) in float32; 0 for a clip without real frames.

    Raises:
        ValueError: There is no level, or a negative one.
    """
    mask = torch.ones(face.shape[:2], dtype=torch.bool, device=face.device) if mask is None else mask
    is_member = part_membership(mask, levels)  # (B, P, T)
    features = [face] if context is None else [face, context]
    with torch.autocast(face.device.type, enabled=False):  # bfloat16 is too coarse for means of hundreds of frames
        probabilities = probabilities.float()
        frames = torch.cat([*(x.float() for x in features), probabilities], dim=2).masked_fill(~mask[..., None], 0)
        weights = is_member.float() / is_member.sum(dim=2, keepdim=True).clamp_min(1)
        means = weights @ frames  # (B, P, F + G + C)
        lowest, highest = _extremes(probabilities, is_member)
    split = means.shape[2] - probabilities.shape[2]
    return torch.cat([means[..., :split], lowest, means[..., split:], highest], dim=2).flatten(1)


def part_membership(mask: Tensor, levels: Levels) -> Tensor:
    """Return whether a frame belongs to each of the P parts of all levels: (B, T) -> (B, P, T) bool."""
    pyramid_parts(levels)  # refuses what is no pyramid
    device = mask.device
    level_size = torch.tensor([2**level for level in levels for _ in range(2**level)], device=device)  # (P,)
    part = torch.cat([torch.arange(2**level, device=device) for level in levels])  # (P,) j - 1
    real = mask.sum(dim=1, keepdim=True)  # (B, 1)
    start = part * real // level_size  # (B, P)
    stop = torch.maximum((part + 1) * real // level_size, start + 1)  # an empty part gets the frame `start`
    position = (mask.cumsum(dim=1) - 1)[:, None]  # (B, 1, T) of a frame among the real ones
    return mask[:, None] & (position >= start[..., None]) & (position < stop[..., None])


def _extremes(x: Tensor, is_member: Tensor) -> tuple[Tensor, Tensor]:
    """Return minimum and maximum of x (B, T, C) over each part's frames, (B, P, C) each; 0 for empty parts."""
    inside = is_member[..., None]  # (B, P, T, 1)
    lowest = x[:, None].masked_fill(~inside, torch.inf).amin(dim=2)
    highest = x[:, None].masked_fill(~inside, -torch.inf).amax(dim=2)
    has_frames = inside.any(dim=2)
    return torch.where(has_frames, lowest, 0), torch.where(has_frames, highest, 0)
