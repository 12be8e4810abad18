"""Time of training steps: CEFLNet's against single frames, and any system's against its networks alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from data_modules.labels import SEVEN
from data_modules.utils.messages import first_line
from fer_lightning.architectures.ceflnet import CEFLNet
from fer_lightning.bench.system_step import DEFAULT, VARIANTS, SystemStep, measure, trained_systems, training_step
from fer_lightning.experiments.system import Size
from fer_lightning.layers.backbones import FrameBackbone
from fer_lightning.predict.recogniser import select_device
from fer_lightning.training.cost import hardware_name, median_seconds
from fer_lightning.training.precision import fastest_precision
from fer_lightning.training.random_batch import random_batch


class OneFrameAtATime(FrameBackbone):
    """The backbone as in public implementations: a loop over the T frames, NCHW."""

    def forward(self, frames: Tensor) -> Tensor:
        """Maps frames, (B, T, 3, H, W), to features, (B, T, D)."""
        return torch.stack([super(OneFrameAtATime, self).forward(frame) for frame in frames.unbind(1)], dim=1)


STEP_COLUMNS = ("system", "computed", "clips x frames", "ms", "clips/s", "MiB", "times its networks alone")


@dataclass(frozen=True)
class StepTime:
    """The seconds of a step in one configuration."""

    name: str
    seconds: float


def compare(
    batch_size: int = 2,
    size: int = 224,
    repeats: int = 3,
    name: str = "resnet18",
    device: torch.device | None = None,
) -> list[StepTime]:
    """Returns the time of a step as in public implementations, as in this suite, and of two steps in between."""
    device = device or select_device("auto")
    batch, precision = random_batch(clips=batch_size, frames=35, size=size).to(device), fastest_precision()
    configurations = [
        ("fp32, one frame at a time, NCHW", OneFrameAtATime(name, channels_last=False), "32-true"),
        ("fp32, all frames in one call, NCHW", FrameBackbone(name, channels_last=False), "32-true"),
        ("fp32, all frames in one call, channels last", FrameBackbone(name), "32-true"),
        (f"{precision}, all frames in one call, channels last (default)", FrameBackbone(name), precision),
    ]
    times = []
    for title, backbone, computed in configurations:
        model = CEFLNet(SEVEN, backbone).to(device).train()
        step = training_step(model, batch, computed, torch.optim.Adam(model.parameters(), lr=1e-4))
        times.append(StepTime(title, median_seconds(step, device, repeats)))
    return times


def run(quick: bool = False) -> None:
    """Prints a table of the comparison."""
    batch_size, size, repeats = (1, 64, 1) if quick else (2, 224, 3)
    times = compare(batch_size, size, repeats)
    device = select_device("auto")
    table = Table(title=f"CEFLNet, ResNet-18, 35 frames of {size}², batch {batch_size}, {hardware_name(device)}")
    table.add_column("training step")
    table.add_column("seconds", justify="right")
    table.add_column("times as fast", justify="right")
    for step in times:
        table.add_row(step.name, f"{step.seconds:.3f}", f"{times[0].seconds / step.seconds:.2f}")
    Console(width=110).print(table)


def run_systems(
    systems: Sequence[str],
    small: bool = False,
    device: str = "auto",
    variants: bool = False,
    clips: int | None = None,
    quick: bool = False,
) -> None:
    """Prints the steps of systems; a step that cannot be measured is named with the reason.

    Args:
        systems: their names; `all` for those that have a step.
        small: at small size, not the papers'.
        device: auto, cpu or cuda.
        variants: whether to measure each of `VARIANTS`, not the default alone.
        clips: B; by default each system's batch.
        quick: whether to take one step alone.
    """
    place = select_device(device)
    size: Size = "small" if small else "paper"
    table = Table(title=f"Training steps, {size} size, {hardware_name(place)}")
    for column in STEP_COLUMNS:
        table.add_column(column, justify="left" if column in STEP_COLUMNS[:2] else "right")
    notes = list[str]()
    for system in trained_systems() if list(systems) == ["all"] else systems:
        for variant in VARIANTS if variants else (DEFAULT,):
            try:
                table.add_row(*step_cells(measure(system, size, place, variant, clips, 1 if quick else 10)))
            except (ValueError, RuntimeError) as error:  # nothing is trained; the memory is too small; no compiler
                notes.append(f"{system}, {variant.name}: {first_line(error)}")
    Console(width=120).print(table)
    print("\n".join(notes))


def step_cells(step: SystemStep) -> list[str]:
    """Returns the row of a step, for `STEP_COLUMNS`."""
    return [
        step.system,
        f"{step.variant}, {step.precision}",
        f"{step.clips} x {step.frames}",
        f"{step.milliseconds:.1f}",
        f"{step.clips_per_second:.1f}",
        "" if step.mebibytes is None else f"{step.mebibytes:.0f}",
        "" if step.share is None else f"{step.share:.2f}",
    ]
