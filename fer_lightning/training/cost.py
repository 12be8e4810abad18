"""The cost of a model: parameters, multiply-adds and time."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from data_modules.loading.batch import ClipBatch
from data_modules.loading.datamodule import VideoDataModule
from fer_lightning.training.classifier import VideoClassifier


@dataclass(frozen=True)
class Cost:
    """The cost of one clip with all its evaluation views, and how many clips were computed at once, on which device."""

    parameters: int
    multiply_adds: int
    seconds_per_clip: float
    batch_size: int
    device: str


def count_parameters(model: nn.Module) -> int:
    """Counts all parameters, frozen ones included."""
    return sum(parameter.numel() for parameter in model.parameters())


@torch.no_grad()
def multiply_adds(model: VideoClassifier, batch: ClipBatch) -> int:
    """Counts the multiply-adds of a forward pass for one view of a clip; torch counts two operations for each."""
    counter = FlopCounterMode(display=False)
    model.eval()
    with counter:
        model(batch)
    return counter.get_total_flops() // 2 // len(batch)


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Returns the context in which a trainer of this precision runs a model."""
    dtype = torch.bfloat16 if precision.startswith("bf16") else torch.float16
    return torch.autocast(device.type, dtype, enabled=precision.endswith("mixed"))


@torch.no_grad()
def seconds_per_view(model: VideoClassifier, batch: ClipBatch, precision: str, repeats: int = 5) -> float:
    """Measures the median time of a forward pass, in seconds for one view of a clip."""
    device = batch.mask.device
    model.eval()
    with autocast(device, precision):
        return median_seconds(lambda: model(batch), device, repeats) / len(batch)


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


def hardware_name(device: torch.device) -> str:
    """Returns the name of a GPU, or how many threads of the CPU are used."""
    return torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"


def measure_cost(model: VideoClassifier, data: VideoDataModule, precision: str) -> Cost:
    """Measures the cost of recognising clips of the reported split, on a GPU if there is one."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    clips = data.clip_dataset("test", cached=False)  # the frozen parts are part of the cost
    count, views = min(len(clips), data.device_batch_size), clips.eval_views
    batch = clips.load(range(count)).to(device)
    model = model.to(device)
    return Cost(
        count_parameters(model),
        views * multiply_adds(model, batch),
        views * seconds_per_view(model, batch, precision),
        count,
        hardware_name(device),
    )
