"""Batches and models for tests, small enough to run anywhere."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pkgutil import walk_packages

import torch

import fer_lightning
from data_modules.labels import SEVEN
from data_modules.loading.batch import ClipBatch
from fer_lightning import FrameBackbone, VideoClassifier, architectures

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


@dataclass(frozen=True)
class Case:
    """A small classifier, and what is particular to it.

    Args:
        make: makes one.
        learns: whether gradients train it.
        freezes: whether it has frozen parts.
        any_length: whether clips may have any number of frames; others are made for those of their sampler.
        unmoved: parameters on which the loss does not depend.
        noise: how far the logits of a clip alone may be from those in a batch.
    """

    make: Callable[[], VideoClassifier]
    learns: bool = True
    freezes: bool = False
    any_length: bool = True
    unmoved: frozenset[str] = frozenset()
    noise: float = 1e-5


def classifiers() -> dict[str, type[VideoClassifier]]:
    """All classifiers in the files of `fer_lightning.architectures`, by name, without those that are bases alone."""
    found = {}
    for module in walk_packages(architectures.__path__, f"{architectures.__name__}."):
        values = (value for value in vars(import_module(module.name)).values() if isinstance(value, type))
        own = (value for value in values if issubclass(value, VideoClassifier) and value.__module__ == module.name)
        found |= {value.__name__: value for value in own}
    bases = {base for value in found.values() for base in value.__mro__[1:]}
    public = set(fer_lightning.__all__)
    return {name: value for name, value in sorted(found.items()) if name in public or value not in bases}
