"""`ensemble.json`: what an ensemble's run came to be made of; reports and `fer predict` read it."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from data_modules.utils.files import atomic_write
from fer_lightning.runs.folder import RunFolder

NAME = "ensemble.json"


@dataclass(frozen=True)
class Part:
    """A member, or the branch of a group of members, and what it is in the whole."""

    name: str
    run: str = ""  # its folder; empty for a branch
    selection: str = ""
    weight: float | None = None  # its share of the sum; None where it has none
    group: int | None = None  # counted from 1
    published: float | None = None  # accuracy that the paper gives, per cent

    @property
    def share(self) -> str:
        """Its weight, or its group."""
        return f"{self.weight:.3g}" if self.weight is not None else f"group {self.group}"


@dataclass(frozen=True)
class Record:
    """An ensemble in words and numbers."""

    method: str
    selection: str
    inner: str  # what the inner table is
    parts: tuple[Part, ...]
    published: float | None = None  # of the whole

    @property
    def members(self) -> tuple[Part, ...]:
        """The parts that are runs."""
        return tuple(part for part in self.parts if part.run)

    def write(self, run: RunFolder) -> None:
        """Writes it into a run's folder."""
        atomic_write(path_of(run), json.dumps(asdict(self), indent=2).encode())

    @classmethod
    def read(cls, run: RunFolder) -> "Record | None":
        """That of a run; None where the run is no ensemble.

        Raises:
            ValueError: the file is damaged.
        """
        path = path_of(run)
        if not path.is_file():
            return None
        try:
            values: dict[str, Any] = json.loads(path.read_text())
            parts = tuple(Part(**part) for part in values.pop("parts"))
            return cls(parts=parts, **values)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is damaged ({error}); write the ensemble again") from error


def path_of(run: RunFolder) -> Path:
    """Where it stands in a run's folder."""
    return run.path / NAME


def fusion_path(run: RunFolder) -> Path:
    """Where the network of a joint late fusion stands in a run's folder."""
    return run.path / "ensemble.safetensors"


def ensemble_at(run: Path) -> RunFolder | None:
    """The ensemble's run that a path names: its folder, the folder above, or its `ensemble.json`; None for no ensemble.

    As of a model's run, the folder above stands for the first run in it.
    """
    if run.is_file():
        return RunFolder(run.parent) if run.name == NAME else None
    folders = [run, *sorted(path for path in run.glob("*") if path.is_dir())] if run.is_dir() else []
    return next((found for found in map(RunFolder, folders) if path_of(found).is_file()), None)


def member_folder(run: RunFolder, part: Part) -> Path:
    """Where the run of an ensemble's member lies: where it was, or beside the ensemble where all runs were moved.

    Raises:
        FileNotFoundError: in neither of these places.
    """
    recorded = Path(part.run)
    beside = run.path.resolve().parent.parent / recorded.parent.name / recorded.name
    for place in (recorded, beside):
        if place.is_dir():
            return place
    raise FileNotFoundError(
        f"{run.path} is an ensemble whose member {part.name} is missing: looked for its run in {recorded} and in "
        f"{beside}; bring the folder back or train it again"
    )


def per_cent(published: float | None) -> str:
    """A published accuracy as papers print it; a dash where there is none."""
    return "–" if published is None else f"{published:.2f}"
