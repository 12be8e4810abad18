"""`ensemble.json`, the record of an ensemble's members and weights, which reports and `fer predict` read."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from data_modules.utils.files import atomic_write
from fer_lightning.runs.folder import RunFolder

NAME = "ensemble.json"


@dataclass(frozen=True)
class Part:
    """A member of an ensemble, or the branch of a group of members, and its share of the whole."""

    name: str
    run: str = ""  # folder of the member's run; empty for a branch
    selection: str = ""
    weight: float | None = None  # in the sum; None for members that are fused without weights
    group: int | None = None  # counted from 1
    published: float | None = None  # accuracy in the paper, per cent
    weight_interval: tuple[float, float] | None = None  # 95 % bootstrap interval of a searched weight

    @property
    def share(self) -> str:
        """The weight, or the group if there is no weight, as people read it."""
        return f"{self.weight:.3g}" if self.weight is not None else f"group {self.group}"

    @property
    def share_with_interval(self) -> str:
        """The weight followed by its interval, if it was searched."""
        ends = self.weight_interval
        return self.share if ends is None else f"{self.share} [{ends[0]:.2f}, {ends[1]:.2f}]"


@dataclass(frozen=True)
class Record:
    """The method, the parts and the published accuracy of an ensemble."""

    method: str
    selection: str
    inner: str  # how the predictions of the inner split were made
    parts: tuple[Part, ...]
    published: float | None = None  # accuracy of the whole in the paper, per cent

    @property
    def members(self) -> tuple[Part, ...]:
        """The parts that are runs."""
        return tuple(part for part in self.parts if part.run)

    def write(self, run: RunFolder) -> None:
        """Writes `ensemble.json` into a run's folder."""
        atomic_write(path_of(run), json.dumps(asdict(self), indent=2).encode())

    @classmethod
    def read(cls, run: RunFolder) -> "Record | None":
        """Reads the record of a run; returns None if the run is not an ensemble.

        Raises:
            ValueError: the file is damaged.
        """
        path = path_of(run)
        if not path.is_file():
            return None
        try:
            values: dict[str, Any] = json.loads(path.read_text())
            parts = tuple(_part(part) for part in values.pop("parts"))
            return cls(parts=parts, **values)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is damaged ({error}); create the ensemble again") from error


def _part(values: dict[str, Any]) -> Part:
    """Returns the part that a JSON object describes, whose lists are tuples."""
    ends = values.get("weight_interval")
    return Part(**values | {"weight_interval": None if ends is None else (float(ends[0]), float(ends[1]))})


def path_of(run: RunFolder) -> Path:
    """Returns the path of `ensemble.json` in a run's folder."""
    return run.path / NAME


def fusion_path(run: RunFolder) -> Path:
    """Returns the path of the network of a joint late fusion in a run's folder."""
    return run.path / "ensemble.safetensors"


def ensemble_at(run: Path) -> RunFolder | None:
    """Finds the run of an ensemble; returns None if the path is not that of an ensemble.

    Args:
        run: the run's folder, its `ensemble.json`, or the folder above, which stands for the first run in it.
    """
    if run.is_file():
        return RunFolder(run.parent) if run.name == NAME else None
    folders = [run, *sorted(path for path in run.glob("*") if path.is_dir())] if run.is_dir() else []
    return next((folder for folder in map(RunFolder, folders) if path_of(folder).is_file()), None)


def member_folder(run: RunFolder, part: Part) -> Path:
    """Finds the run of an ensemble's member: in its recorded folder, or beside the ensemble if all runs were moved.

    A relative path is of the folder in which the ensemble was made; in another one it may lead to another run of that
    name, so the run beside the ensemble comes first.

    Raises:
        FileNotFoundError: the run is in neither folder.
    """
    recorded = Path(part.run)
    beside = run.path.resolve().parent.parent / recorded.parent.name / recorded.name
    for folder in (recorded, beside) if recorded.is_absolute() else (beside, recorded):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(
        f"{run.path} is an ensemble whose member {part.name} is missing: looked for its run in {recorded} and in "
        f"{beside}; restore the folder or train the member again"
    )


def per_cent(published: float | None) -> str:
    """Writes a published accuracy as papers print it, or a dash if there is none."""
    return "–" if published is None else f"{published:.2f}"
