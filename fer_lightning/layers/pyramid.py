"""The temporal pyramid of the context models (section 4.2): statistics of a clip's parts.

Do et al. (2021), "Context-Aware Emotion Recognition in the Wild Using Spatio-Temporal and Temporal-Pyramid Models",
Sensors 21, 2344, https://doi.org/10.3390/s21072344
"""

from collections.abc import Sequence

import torch
from torch import Tensor

Levels = Sequence[int]


def pyramid_parts(levels: Levels) -> int:
    """How many parts all levels have together: 2^k each.

    Raises:
        ValueError: no level, or a negative one.
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
    """Temporal-pyramid features (section 4.2, equations 26 to 28).

    Level k cuts the n real frames into 2^k parts (section 6.5; the equation prints k), part j being the frames
    [floor((j - 1) n / 2^k), floor(j n / 2^k)). [our choice] A part of a clip that is too short for it has the one frame
    that it lies in. Of each part: the mean of `face`, the mean of `context`, then the minimum, mean and maximum of
    `probabilities`; parts and levels one after another.

    Args:
        face: (B, T, F) features of the frames.
        probabilities: (B, T, C).
        context: (B, T, G) features of what is around the face, or None.
        levels: of the pyramid.
        mask: (B, T) bool, true where a frame is real; these alone count, in their order.

    Returns:
        (B, Σ 2^k (F + G + 3 C)) float32; zeros for a clip without real frames.

    Raises:
        ValueError: no level, or a negative one.
    """
    mask = torch.ones(face.shape[:2], dtype=torch.bool, device=face.device) if mask is None else mask
    member = part_members(mask, levels)  # (B, P, T)
    parts = [face] if context is None else [face, context]
    with torch.autocast(face.device.type, enabled=False):  # means of hundreds of frames lose digits in bf16
        chances = probabilities.float()
        frames = torch.cat([*(part.float() for part in parts), chances], dim=2).masked_fill(~mask[..., None], 0)
        weights = member.float() / member.sum(dim=2, keepdim=True).clamp_min(1)
        means = weights @ frames  # (B, P, F + G + C)
        lowest, highest = _extremes(chances, member)
    split = means.shape[2] - chances.shape[2]
    return torch.cat([means[..., :split], lowest, means[..., split:], highest], dim=2).flatten(1)


def part_members(mask: Tensor, levels: Levels) -> Tensor:
    """(B, T) -> (B, P, T) bool: whether a frame belongs to each of the P parts of all levels."""
    parts = pyramid_parts(levels)
    device = mask.device
    counts = torch.tensor([2**level for level in levels], device=device)
    of = counts.repeat_interleave(counts, output_size=parts)  # (P,) 2^k of each part's level
    number = torch.cat([torch.arange(2**level, device=device) for level in levels])  # (P,) j - 1
    real = mask.sum(dim=1, keepdim=True)  # (B, 1)
    first = number * real // of  # (B, P)
    after = torch.maximum((number + 1) * real // of, first + 1)  # an empty part lies within frame `first`
    place = (mask.cumsum(dim=1) - 1)[:, None]  # (B, 1, T) of a frame among the real ones
    return mask[:, None] & (place >= first[..., None]) & (place < after[..., None])


def _extremes(x: Tensor, member: Tensor) -> tuple[Tensor, Tensor]:
    """Minimum and maximum of (B, T, C) over each part's frames, (B, P, C) each; zeros for parts without any."""
    inside = member[..., None]  # (B, P, T, 1)
    lowest = x[:, None].masked_fill(~inside, torch.inf).amin(dim=2)
    highest = x[:, None].masked_fill(~inside, -torch.inf).amax(dim=2)
    some = member.any(dim=2)[..., None]
    return torch.where(some, lowest, 0), torch.where(some, highest, 0)
