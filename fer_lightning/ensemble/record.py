"""`ensemble.json`: what an ensemble's run came to be made of; the report reads it."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from data_modules.files import write_whole
from fer_lightning.runs import RunFolder


@dataclass(frozen=True)
class Part:
    """A member, or the branch of a group of members, and what it is in the whole."""

    name: str
    run: str = ""  # its folder; empty for a branch
    selection: str = ""
    weight: float | None = None  # its share of the sum; None where it has none
    group: int | None = None  # counted from 1
    published: float | None = None  # accuracy that the paper gives, per cent


@dataclass(frozen=True)
class Record:
    """An ensemble in words and numbers."""

    method: str
    selection: str
    inner: str  # what the inner table is
    parts: tuple[Part, ...]
    published: float | None = None  # of the whole

    def share(self, part: Part) -> str:
        """A part's weight, or its group."""
        return f"{part.weight:.3g}" if part.weight is not None else f"group {part.group}"

    def write(self, run: RunFolder) -> None:
        """Writes it into a run's folder."""
        write_whole(path_of(run), json.dumps(asdict(self), indent=2).encode())

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
    return run.path / "ensemble.json"


def per_cent(published: float | None) -> str:
    """A published accuracy as papers print it; a dash where there is none."""
    return "–" if published is None else f"{published:.2f}"
