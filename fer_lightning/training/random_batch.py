"""A batch of noise, for trying a model out without data."""

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor

from data_modules.loading.batch import ClipBatch

BYTES = frozenset({"face", "person", "spectrogram"})


def random_batch(
    inputs: Collection[str] = ("face",),
    clips: int = 2,
    frames: int = 16,
    size: int = 32,
    descriptor: int = 384,
    seed: int = 0,
) -> ClipBatch:
    """A batch with the fields that a model reads, in which every frame is real.

    Args:
        inputs: fields of `ClipBatch`, such as a model's `inputs`.
        clips: B, all of class 0.
        frames: T.
        size: side of crops and spectrograms, pixels.
        descriptor: E, length of the descriptor of the audio.
        seed: of the noise.

    Raises:
        ValueError: a field that is no input of models.
    """
    generator = torch.Generator().manual_seed(seed)
    shapes = {
        "face": (clips, frames, 3, size, size),
        "person": (clips, frames, 3, size, size),
        "landmarks": (clips, frames, 68, 3),
        "spectrogram": (clips, 3, size, size),
        "descriptor": (clips, descriptor),
        "log_mel": (clips, 2 * frames, 80),
    }
    unknown = sorted(set(inputs) - shapes.keys())
    if unknown:
        raise ValueError(f"no noise can be made for {', '.join(unknown)}; expected some of {', '.join(shapes)}")
    noise: dict[str, Any] = {name: _noise(name, shapes[name], generator) for name in sorted(inputs)}
    return ClipBatch(
        clip_id=tuple(f"clip{place}" for place in range(clips)),
        label=torch.zeros(clips, dtype=torch.long),
        mask=torch.ones(clips, frames, dtype=torch.bool),
        frame_index=torch.arange(frames).expand(clips, frames),
        **noise,
    )


def _noise(name: str, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Returns bytes for what a backbone sees, and normally distributed numbers for everything else."""
    if name in BYTES:
        return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    return torch.randn(shape, generator=generator)
