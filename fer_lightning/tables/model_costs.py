"""What each system costs on a machine: the file of `fer bench models`, of which leaderboards take their speeds."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from data_modules.utils.files import atomic_write
from fer_lightning.experiments.system import Size
from fer_lightning.tables.results import results_root

FORMAT = "fer_lightning model costs 1"


@dataclass(frozen=True)
class ModelCost:
    """The cost of a system on a device, with random weights, on which no speed depends.

    Args:
        system: its name.
        size: `small` or `paper`.
        device: name of the GPU, or how many threads of the CPU were used.
        precision: in which it was computed.
        versions: of the libraries, by name.
        clips: in a batch, one view of each.
        frames: of a clip.
        parameters: frozen ones included; None if it could not be measured, as all that follows.
        multiply_adds: of a forward pass for one view of a clip.
        inference_ms: milliseconds of a forward pass for the batch, without gradients.
        step_ms: of a training step; None too if nothing is trained by gradients.
        inference_mebibytes: of the GPU's memory at the peak of a forward pass; None on a CPU.
        step_mebibytes: at the peak of a training step.
        problem: why something is None, a sentence; empty if all of it was measured.
    """

    system: str
    size: Size
    device: str
    precision: str
    versions: dict[str, str] = field(default_factory=dict)
    clips: int = 0
    frames: int = 0
    parameters: int | None = None
    multiply_adds: int | None = None
    inference_ms: float | None = None
    step_ms: float | None = None
    inference_mebibytes: float | None = None
    step_mebibytes: float | None = None
    problem: str = ""

    @property
    def views_per_second(self) -> float | None:
        """Views of clips that are recognised in a second, without the time of reading them."""
        return None if self.inference_ms is None else 1000 * self.clips / self.inference_ms

    @property
    def step_seconds_per_clip(self) -> float | None:
        """Seconds of a training step for each of its clips."""
        return None if self.step_ms is None else self.step_ms / 1000 / self.clips

    @property
    def place(self) -> tuple[str, str, str]:
        """What the file holds one cost of: system, size and device."""
        return self.system, self.size, self.device


def costs_file() -> Path:
    """Returns the path of the file."""
    return results_root() / "model_costs.json"


def read_costs() -> list[ModelCost]:
    """Reads what has been measured; nothing if there is no file.

    Raises:
        ValueError: the file is damaged, or has another format.
    """
    path = costs_file()
    if not path.exists():
        return []
    try:
        content: dict[str, Any] = json.loads(path.read_bytes())
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']!r}, expected {FORMAT!r}")
        return [ModelCost(**cost) for cost in content["costs"]]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} is damaged ({type(error).__name__}: {error}); delete it and repeat `fer bench models`"
        ) from error


def write_cost(cost: ModelCost) -> None:
    """Adds a cost to the file, in the place of an earlier one of the same system, size and device."""
    costs = {each.place: each for each in read_costs()} | {cost.place: cost}
    lines = ",\n".join(f"  {json.dumps(asdict(costs[place]))}" for place in sorted(costs))
    atomic_write(costs_file(), f'{{\n "format": {json.dumps(FORMAT)},\n "costs": [\n{lines}\n ]\n}}\n'.encode())


def comparable(costs: Iterable[ModelCost], size: Size) -> dict[str, ModelCost]:
    """Returns the costs at a size by system, all of one device: the one on which most systems were measured."""
    alike = [cost for cost in costs if cost.size == size and cost.inference_ms is not None]
    count = Counter(cost.device for cost in alike)
    device = max(sorted(count), key=count.__getitem__, default=None)
    return {cost.system: cost for cost in alike if cost.device == device}
