"""One training step of CEFLNet: all frames in one call at the default precision, against one frame after another."""

import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from data_modules.labels import SEVEN
from data_modules.loading.batch import ClipBatch
from fer_lightning.architectures.ceflnet import CEFLNet
from fer_lightning.layers.backbones import FrameBackbone
from fer_lightning.training.precision import fastest_precision


class OneFrameAtATime(FrameBackbone):
    """The backbone as public implementations call it: a loop over the T frame positions, NCHW."""

    def forward(self, frames: Tensor) -> Tensor:
        """(B, T, 3, H, W) -> (B, T, D)."""
        return torch.stack([super(OneFrameAtATime, self).forward(frame) for frame in frames.unbind(1)], dim=1)


@dataclass(frozen=True)
class StepTime:
    """Seconds of a step."""

    name: str
    seconds: float


def random_batch(batch_size: int, size: int, device: torch.device) -> ClipBatch:
    """Clips of 35 frames of noise: a step takes the same time whatever it sees."""
    return ClipBatch(
        clip_id=tuple(map(str, range(batch_size))),
        label=torch.arange(batch_size) % len(SEVEN),
        mask=torch.ones(batch_size, 35, dtype=torch.bool),
        frame_index=torch.arange(35).expand(batch_size, 35),
        face=torch.randint(256, (batch_size, 35, 3, size, size), dtype=torch.uint8),
    ).to(device)


def training_step(
    model: CEFLNet, batch: ClipBatch, autocast: Callable[[], AbstractContextManager[None]]
) -> Callable[[], None]:
    """A function that takes one step: forward, loss, backward, Adam."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)

    def step() -> None:
        with autocast():
            loss = model.loss(model(batch), batch)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()

    return step


def seconds(step: Callable[[], None], device: torch.device, repeats: int) -> float:
    """The median of `repeats` steps after one to warm up."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def compare(batch_size: int = 2, size: int = 224, repeats: int = 3, name: str = "resnet18") -> list[StepTime]:
    """Seconds of our step and of the public way, and what lies between them."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    batch, precision = random_batch(batch_size, size, device), fastest_precision()
    dtype = torch.bfloat16 if precision.startswith("bf16") else torch.float16

    def mixed() -> AbstractContextManager[None]:
        return torch.autocast(device.type, dtype) if precision.endswith("mixed") else nullcontext()

    ways = [
        ("fp32, one frame position at a time, NCHW", OneFrameAtATime(name, channels_last=False), nullcontext),
        ("fp32, all frames in one call, NCHW", FrameBackbone(name, channels_last=False), nullcontext),
        ("fp32, all frames in one call, channels last", FrameBackbone(name), nullcontext),
        (f"{precision}, all frames in one call, channels last (default)", FrameBackbone(name), mixed),
    ]
    times = []
    for way, backbone, autocast in ways:
        model = CEFLNet(SEVEN, backbone).to(device).train()
        times.append(StepTime(way, seconds(training_step(model, batch, autocast), device, repeats)))
    return times


def run(quick: bool = False) -> None:
    """Prints the comparison."""
    batch_size, size, repeats = (1, 64, 1) if quick else (2, 224, 3)
    times = compare(batch_size, size, repeats)
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
    table = Table(title=f"CEFLNet, ResNet-18, 35 frames of {size}², batch {batch_size}, {device}")
    table.add_column("training step")
    table.add_column("seconds", justify="right")
    table.add_column("times as fast", justify="right")
    for way in times:
        table.add_row(way.name, f"{way.seconds:.3f}", f"{times[0].seconds / way.seconds:.2f}")
    Console(width=110).print(table)
