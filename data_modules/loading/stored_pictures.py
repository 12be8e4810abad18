"""Crops that travel as they are stored; the model's device resizes and transforms those of a batch in one pass."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from data_modules.loading.transforms import ClipTransform

AS_IT_IS = np.eye(2, 3)  # the matrix of a sample that is not transformed


@dataclass(frozen=True)
class StoredPictures:
    """The crops of B samples, and how to make of them what `Pictures.read` makes of each in a worker.

    Both ways compute the same: they resize the crops, round, interpolate bilinearly at the places that the transform
    names, round, and change the levels. Where a worker interpolates with integers of OpenCV, the device does with
    float32, so that some values differ by 1, rarely by 2, of 255. They differ by more where `ClipAugmentation.area`
    cuts a large part out of crops that are stored at twice the size or more: a worker has the decoder halve it.
    """

    crops: Mapping[str, Tensor]  # field of `ClipBatch` -> (B, T, 3, S', S') uint8
    side: Tensor  # (B,) side to which the crops of a sample are resized first, pixels
    matrix: Tensor  # (B, 2, 3) pixel of the image -> pixel of the resized crop
    levels: Tensor  # (B, 2) factors of brightness and contrast
    size: int  # side S of the images, pixels
    sides: tuple[int, int]  # smallest and largest `side`
    is_transformed: bool  # false if all crops are resized alone

    @classmethod
    def prepare(
        cls, crops: Mapping[str, Tensor], transforms: Sequence[ClipTransform | None], size: int
    ) -> "StoredPictures":
        """Return the crops of B samples with their transforms, None for a sample that is resized alone."""
        sides = [each.source_side(size) if each else size for each in transforms]
        matrices = np.stack([each.source_matrix(size) if each else AS_IT_IS for each in transforms])
        levels = [(each.brightness, each.contrast) if each else (1.0, 1.0) for each in transforms]
        return cls(
            crops,
            torch.tensor(sides, dtype=torch.float32),
            torch.from_numpy(matrices).float(),
            torch.tensor(levels),
            size,
            (min(sides), max(sides)),
            any(each is not None for each in transforms),
        )

    def tensors(self) -> Iterator[Tensor]:
        """Yield all tensors."""
        yield from (*self.crops.values(), self.side, self.matrix, self.levels)

    def map(self, function: Callable[[Tensor], Tensor]) -> "StoredPictures":
        """Return a copy with the results of a function of each tensor."""
        side, matrix, levels = map(function, (self.side, self.matrix, self.levels))
        crops = {field: function(values) for field, values in self.crops.items()}
        return replace(self, crops=crops, side=side, matrix=matrix, levels=levels)

    @torch.no_grad()
    def images(self, mask: Tensor) -> dict[str, Tensor]:
        """Compute the (B, T, 3, S, S) uint8 images of each field, on the device where the crops are.

        Args:
            mask: (B, T) bool; where it is false, images are black.
        """
        with torch.autocast(self.matrix.device.type, enabled=False):  # bf16 has too few digits for a pixel's place
            return {field: self._images(values) * mask[..., None, None, None] for field, values in self.crops.items()}

    def _images(self, crops: Tensor) -> Tensor:
        samples, frames, stored = *crops.shape[:2], crops.shape[-1]
        images = crops.float()
        if self.sides != (stored, stored):
            lines = resizing_weights(self.side, self.sides[1], stored)  # (B, n, S')
            images = torch.einsum("bys,btcsx->btcyx", lines, images)
            images = torch.einsum("bxs,btcys->btcyx", lines, images).round_()
        if self.is_transformed:  # all frames of a sample are channels of one image
            images = F.grid_sample(images.flatten(1, 2), self._places(), padding_mode="border", align_corners=True)
            brightness, contrast = self.levels[:, :, None, None, None].unbind(1)
            images = images.round_().mul_(brightness).sub_(127.5).mul_(contrast).add_(127.5).round_().clamp_(0, 255)
        return images.to(torch.uint8).reshape(samples, frames, 3, self.size, self.size)

    def _places(self) -> Tensor:
        """Return (B, S, S, 2): where each pixel's value is in the resized crop, from -1 to 1 over the largest side."""
        x = torch.arange(self.size, dtype=torch.float32, device=self.matrix.device)
        columns, rows = x.expand(self.size, -1), x[:, None].expand(-1, self.size)
        pixels = torch.stack([columns, rows, torch.ones_like(columns)], dim=-1)  # (S, S, 3)
        places = torch.einsum("yxi,bji->byxj", pixels, self.matrix)
        inside = torch.minimum(places.clamp_min(0), (self.side - 1)[:, None, None, None])  # else the border's value
        return inside * (2 / max(self.sides[1] - 1, 1)) - 1


def resizing_weights(side: Tensor, largest: int, stored: int) -> Tensor:
    """Return the share of each stored line in each line of a resized image, as `transforms.resized` computes it.

    Args:
        side: (B,) float sides of the images after resizing, pixels.
        largest: n, the largest of them; the lines after a sample's `side` are of no use.
        stored: S', their side before.

    Returns:
        (B, n, S') weights.
    """
    ratio = (stored / side)[:, None, None]
    line = torch.arange(largest, dtype=torch.float32, device=side.device)[:, None]
    source = torch.arange(stored, dtype=torch.float32, device=side.device)
    start = line * ratio
    covered = (torch.minimum(start + ratio, source + 1) - torch.maximum(start, source)).clamp_min(0) / ratio
    centre = ((line + 0.5) * ratio - 0.5).clamp(0, stored - 1)
    between = (1 - (centre - source).abs()).clamp_min(0)
    return torch.where(ratio > 1, covered, between)
