"""Time of a training step of CEFLNet: all frames in one call at the default precision, against single frames."""

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
from fer_lightning.training.cost import hardware_name, median_seconds
from fer_lightning.training.precision import fastest_precision
from fer_lightning.training.random_batch import random_batch


class OneFrameAtATime(FrameBackbone):
    """The backbone as in public implementations: a loop over the T frames, NCHW."""

    def forward(self, frames: Tensor) -> Tensor:
        """Maps frames, (B, T, 3, H, W), to features, (B, T, D)."""
        return torch.stack([super(OneFrameAtATime, self).forward(frame) for frame in frames.unbind(1)], dim=1)


@dataclass(frozen=True)
class StepTime:
    """The seconds of a step in one configuration."""

    name: str
    seconds: float


def training_step(
    model: CEFLNet, batch: ClipBatch, autocast: Callable[[], AbstractContextManager[None]]
) -> Callable[[], None]:
    """Returns a function that takes one step: forward pass, loss, backward pass, Adam."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)

    def step() -> None:
        with autocast():
            loss = model.loss(model(batch), batch)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()

    return step


def compare(batch_size: int = 2, size: int = 224, repeats: int = 3, name: str = "resnet18") -> list[StepTime]:
    """Returns the time of a step as in public implementations, as in this suite, and of two steps in between."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    batch, precision = random_batch(clips=batch_size, frames=35, size=size).to(device), fastest_precision()
    dtype = torch.bfloat16 if precision.startswith("bf16") else torch.float16

    def mixed() -> AbstractContextManager[None]:
        return torch.autocast(device.type, dtype) if precision.endswith("mixed") else nullcontext()

    configurations = [
        ("fp32, one frame at a time, NCHW", OneFrameAtATime(name, channels_last=False), nullcontext),
        ("fp32, all frames in one call, NCHW", FrameBackbone(name, channels_last=False), nullcontext),
        ("fp32, all frames in one call, channels last", FrameBackbone(name), nullcontext),
        (f"{precision}, all frames in one call, channels last (default)", FrameBackbone(name), mixed),
    ]
    times = []
    for title, backbone, autocast in configurations:
        model = CEFLNet(SEVEN, backbone).to(device).train()
        times.append(StepTime(title, median_seconds(training_step(model, batch, autocast), device, repeats)))
    return times


def run(quick: bool = False) -> None:
    """Prints a table of the comparison."""
    batch_size, size, repeats = (1, 64, 1) if quick else (2, 224, 3)
    times = compare(batch_size, size, repeats)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    table = Table(title=f"CEFLNet, ResNet-18, 35 frames of {size}², batch {batch_size}, {hardware_name(device)}")
    table.add_column("training step")
    table.add_column("seconds", justify="right")
    table.add_column("times as fast", justify="right")
    for step in times:
        table.add_row(step.name, f"{step.seconds:.3f}", f"{times[0].seconds / step.seconds:.2f}")
    Console(width=110).print(table)
