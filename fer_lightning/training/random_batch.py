"""A batch of noise, for trying a model out without data."""

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor

from data_modules.audio.opensmile import SIZES
from data_modules.audio.settings import AudioSettings
from data_modules.loading.batch import ClipBatch
from data_modules.loading.datamodule import VideoDataModule

BYTES = frozenset({"face", "person", "spectrogram"})
WINDOWS = 100
"""Windows of log-mel energies, about as many as for three seconds: enough for the poolings of their network."""


def random_batch(
    inputs: Collection[str] = ("face",),
    clips: int = 2,
    frames: int = 16,
    size: int = 32,
    seed: int = 0,
    audio: AudioSettings | None = None,
    windows: int | None = None,
) -> ClipBatch:
    """A batch with the fields that a model reads, in which every frame is real.

    Args:
        inputs: fields of `ClipBatch`, such as a model's `inputs`.
        clips: B, all of class 0.
        frames: T.
        size: side of crops, pixels.
        seed: of the noise.
        audio: says how many functionals and bands there are and how large spectrograms; None for the defaults, and
            spectrograms as large as crops.
        windows: of log-mel energies; None for twice as many as frames.

    Raises:
        ValueError: a field that is no input of models.
    """
    generator = torch.Generator().manual_seed(seed)
    audio = audio or AudioSettings(size=size)
    shapes = {
        "face": (clips, frames, 3, size, size),
        "person": (clips, frames, 3, size, size),
        "landmarks": (clips, frames, 68, 3),
        "spectrogram": (clips, 3, audio.size, audio.size),
        "descriptor": (clips, SIZES[audio.functionals]),
        "log_mel": (clips, windows or 2 * frames, audio.bands),
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


def batch_for(inputs: Collection[str], data: VideoDataModule, clips: int) -> ClipBatch:
    """A batch of noise that has the shapes of a data module's batches.

    Args:
        inputs: those of the model.
        data: whose sampler, sizes and audio count.
        clips: B.
    """
    frames = data.sampler.num_clips * data.sampler.frames
    return random_batch(
        inputs, clips, frames, data.size, audio=data.audio or AudioSettings(), windows=max(WINDOWS, 2 * frames)
    )


def _noise(name: str, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Returns bytes for what a backbone sees, and normally distributed numbers for everything else."""
    if name in BYTES:
        return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    return torch.randn(shape, generator=generator)
