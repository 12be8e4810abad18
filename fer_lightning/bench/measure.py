"""What benchmarks of models share: clips of noise, and the median time of a call."""

import statistics
import time
from collections.abc import Callable

import torch

from data_modules.labels import SEVEN
from data_modules.loading.batch import ClipBatch


def random_clips(clips: int, frames: int, size: int, device: torch.device) -> ClipBatch:
    """Returns a batch of noise, (clips, frames, 3, size, size), as a model's time does not depend on its input."""
    return ClipBatch(
        clip_id=tuple(map(str, range(clips))),
        label=torch.arange(clips) % len(SEVEN),
        mask=torch.ones(clips, frames, dtype=torch.bool),
        frame_index=torch.arange(frames).expand(clips, frames),
        face=torch.randint(256, (clips, frames, 3, size, size), dtype=torch.uint8),
    ).to(device)


def median_seconds(call: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Returns the median time of `repeats` calls, after one call to warm up."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])
