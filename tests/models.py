"""Batches and models for tests, small enough to run anywhere."""

import torch

from data_modules.labels import SEVEN
from data_modules.loading.batch import ClipBatch
from fer_lightning import FrameBackbone

SMALL = (8, 8, 16, 16)


def random_images(*shape, seed=0):
    """Bytes of red, green and blue."""
    return torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def small_backbone(**options) -> FrameBackbone:
    return FrameBackbone("resnet10t", channels=SMALL, **options)


def random_batch(clips=3, frames=35, size=32, mask=None, seed=0) -> ClipBatch:
    return ClipBatch(
        clip_id=tuple(f"clip{i}" for i in range(clips)),
        label=torch.arange(clips) % len(SEVEN),
        mask=torch.ones(clips, frames, dtype=torch.bool) if mask is None else mask,
        frame_index=torch.arange(frames).expand(clips, frames),
        face=random_images(clips, frames, 3, size, size, seed=seed),
    )
