"""The cost of every system on a machine, into the file that leaderboards read: a training step and a forward pass."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.metadata import version

import torch
from rich.console import Console
from rich.table import Table

from data_modules.loading.batch import ClipBatch
from data_modules.utils.messages import first_line
from data_modules.utils.text import counted
from fer_lightning import __version__
from fer_lightning.bench.system_step import NothingTrainedError, build, measure_step, peak_mebibytes, reset_peak
from fer_lightning.experiments.system import Size, is_ensemble, system_names
from fer_lightning.predict.recogniser import select_device
from fer_lightning.tables.model_costs import ModelCost, costs_file, read_costs, write_cost
from fer_lightning.training.classifier import VideoClassifier
from fer_lightning.training.cost import count_parameters, hardware_name, multiply_adds, seconds_per_view
from fer_lightning.training.precision import fastest_precision

PACKAGES = ("torch", "torchvision", "timm")
CLIPS_ON_CPU = 2
"""Clips of a batch on a processor, which is as fast with few as with many."""
REPEATS = 5
COLUMNS = (
    *("system", "clips x frames", "step ms", "MiB", "inference ms", "MiB", "views/s"),
    *("parameters", "multiply-adds"),
)


def run_models(
    systems: Sequence[str] = (),
    size: Size = "paper",
    device: str = "auto",
    clips: int | None = None,
    again: bool = False,
    quick: bool = False,
) -> None:
    """Measures systems one after another, keeps each at once, and prints what is known of them.

    Args:
        systems: their names; none or `all` for every one.
        size: `small` or `paper`.
        device: auto, cpu or cuda.
        clips: B; by default the experiment's batch on a GPU and two clips on a processor.
        again: whether to measure anew what was measured on this device with these versions.
        quick: whether to measure once.
    """
    place = select_device(device)
    names = system_names() if not systems or "all" in systems else list(systems)
    found = [
        cost if cost and not again else _measured(name, size, place, clips, 1 if quick else REPEATS)
        for name, cost in zip(names, _known(names, size, place), strict=True)
    ]
    table = Table(title=f"{counted(len(found), 'system')}, {size} size, random weights, {hardware_name(place)}")
    for column in COLUMNS:
        table.add_column(column, justify="left" if column == COLUMNS[0] else "right")
    for cost in found:
        table.add_row(*_cells(cost))
    Console(width=120).print(table)
    print("\n".join(f"{cost.system}: {cost.problem}" for cost in found if cost.problem))
    print(f"written: {costs_file()}")


def _known(names: Sequence[str], size: Size, device: torch.device) -> Iterator[ModelCost | None]:
    """Yields what was measured of each system on this device with these versions."""
    known = {cost.place: cost for cost in read_costs()}
    for name in names:
        cost = known.get((name, size, hardware_name(device)))
        yield cost if cost and cost.versions == versions() else None


def _measured(name: str, size: Size, device: torch.device, clips: int | None, repeats: int) -> ModelCost:
    """Measures a system and keeps its cost; one that cannot be measured stops no other."""
    try:
        cost = model_cost(name, size, device, clips, repeats)
    except Exception as error:  # a package is missing, a kernel fails: the file says so
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        cost = replace(_empty(name, size, device), problem=f"{kind}{first_line(error)}")
    if device.type == "cuda":
        torch.cuda.empty_cache()
    write_cost(cost)
    print(f"{name}: {cost.problem or 'measured'}", flush=True)
    return cost


def model_cost(
    system: str, size: Size, device: torch.device, clips: int | None = None, repeats: int = REPEATS
) -> ModelCost:
    """Measures a system; where a batch does not fit into the memory of a GPU, one of half as many clips.

    Args:
        system: its name.
        size: `small` or `paper`.
        device: on which it is measured.
        clips: B; by default the experiment's batch on a GPU and two clips on a processor.
        repeats: of each measurement, of which the median is taken.

    Raises:
        torch.OutOfMemoryError: not even one clip fits.
    """
    if is_ensemble(system):
        return replace(_empty(system, size, device), problem="it combines other systems, which are measured")
    asked = clips or (CLIPS_ON_CPU if device.type == "cpu" else None)
    while True:
        model, batch = build(system, size, device, asked)
        try:
            return _cost(_empty(system, size, device), model, batch, repeats)
        except torch.OutOfMemoryError:
            asked = len(batch) // 2
            if not asked:
                raise
        del model, batch
        torch.cuda.empty_cache()


def _cost(cost: ModelCost, model: VideoClassifier, batch: ClipBatch, repeats: int) -> ModelCost:
    """Fills in what is measured of a model."""
    count, frames = batch.mask.shape
    try:
        step = measure_step(cost.system, model, batch, repeats=repeats, networks=False)
        cost = replace(cost, step_ms=step.milliseconds, step_mebibytes=step.mebibytes)
    except NothingTrainedError as error:
        cost = replace(cost, problem=first_line(error))
    reset_peak(batch.mask.device)
    seconds = seconds_per_view(model, batch, cost.precision, repeats)
    return replace(
        cost,
        clips=count,
        frames=frames,
        inference_ms=1000 * seconds * count,
        inference_mebibytes=peak_mebibytes(batch.mask.device),
        parameters=count_parameters(model),
        multiply_adds=multiply_adds(model, batch),
    )


def _empty(system: str, size: Size, device: torch.device) -> ModelCost:
    """Returns the cost of a system of which nothing is measured yet."""
    return ModelCost(system, size, hardware_name(device), fastest_precision(), versions())


def versions() -> dict[str, str]:
    """Returns the versions on which a speed depends: of this suite, of what computes, and of CUDA."""
    libraries = {name: version(name) for name in PACKAGES}
    return {"fer_lightning": __version__, **libraries, "cuda": torch.version.cuda or ""}


def _cells(cost: ModelCost) -> list[str]:
    """Returns the row of a cost, for `COLUMNS`."""
    numbers = (
        (cost.step_ms, ".1f"),
        (cost.step_mebibytes, ".0f"),
        (cost.inference_ms, ".1f"),
        (cost.inference_mebibytes, ".0f"),
        (cost.views_per_second, ".1f"),
        (cost.parameters, ",d"),
        (cost.multiply_adds, ",d"),
    )
    written = ("" if value is None else f"{value:{spec}}" for value, spec in numbers)
    return [cost.system, f"{cost.clips} x {cost.frames}" if cost.clips else "", *written]
