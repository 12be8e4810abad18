"""What every data set says of itself: where it lies, its classes, its clips and folds."""

import os
from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from data_modules.faces.settings import FaceSettings
from data_modules.manifest import VideoRecord


class DatasetNotFoundError(FileNotFoundError):
    """The data set is not where it was looked for; the message says where, and how to get it."""


def data_root() -> Path:
    """The folder of all data sets: the variable FER_DATA, or `data` in the working folder."""
    return Path(os.environ.get("FER_DATA", "data"))


def store_root() -> Path:
    """The folder of everything computed from data sets: FER_STORE, or `store` beside the data sets."""
    return Path(os.environ.get("FER_STORE", str(data_root() / "store")))


@dataclass(frozen=True)
class SplitCount:
    """How many clips a complete copy has: in a split (the empty name: in all of them), and of each emotion."""

    split: str
    clips: int
    emotions: tuple[tuple[str, int], ...] = ()

    @classmethod
    def from_pairs(cls, split: str, *emotions: tuple[str, int]) -> "SplitCount":
        """Creates the count of a split from pairs of an emotion and its number of clips."""
        return cls(split, sum(number for _, number in emotions), emotions)


@dataclass
class VideoDataset(ABC):
    """A data set on disk; subclasses know its layout.

    Args:
        root: its folder; by default the folder `name` of `data_root()`.
        fold: which fold's split the records state.
        faces: how its face crops are made.
    """

    root: Path | None = None
    fold: str = "1"
    faces: FaceSettings = field(default_factory=FaceSettings)

    name: ClassVar[str]
    licence: ClassVar[str]
    how_to_get: ClassVar[str]  # one sentence

    @property
    @abstractmethod
    def class_names(self) -> tuple[str, ...]:
        """The class list: emotion names in alphabetical order."""

    @property
    def counts(self) -> tuple[SplitCount, ...]:
        """The published numbers of clips of a complete copy; empty where they are not known."""
        return ()

    @property
    def folds(self) -> int:
        """Number of folds of the data set's protocol; one where it has an official split."""
        return 1

    @property
    def fold_names(self) -> tuple[str, ...]:
        """The values of `fold` that the protocol knows."""
        return tuple(str(number + 1) for number in range(self.folds))

    @property
    def folder(self) -> Path:
        """The data set's root on this machine."""
        return self.root or data_root() / self.name

    @property
    def store_name(self) -> str:
        """What its store is named after, besides the settings: a set that moves to another place keeps its faces."""
        folder = self.folder.resolve().name
        return folder if folder.startswith(self.name) else f"{self.name}-{folder}"

    def prepare(self) -> None:  # noqa: B027 - most data sets have nothing to make
        """Makes the files where the suite can make them (the synthetic set); nothing elsewhere."""

    @abstractmethod
    def records(self) -> list[VideoRecord]:
        """All clips with their split under `fold`: `train` or `test`.

        Raises:
            DatasetNotFoundError: the layout was not found under the root.
            ValueError: an annotation does not fit, with file and line.
        """

    def left_out(self) -> Counter[str]:
        """How many annotated clips are of none of the classes, by what they are labelled with instead.

        Raises:
            DatasetNotFoundError: the layout was not found under the root.
            ValueError: an annotation does not fit, with file and line.
        """
        return Counter()

    def not_found(self, looked_for: str) -> DatasetNotFoundError:
        """The error that says what was looked for where, what is there, and what to do."""
        folder = self.folder
        there = sorted(p.name for p in folder.iterdir())[:8] if folder.is_dir() else None
        found = "which does not exist" if there is None else f"which holds {', '.join(there) or 'nothing'}"
        return DatasetNotFoundError(
            f"{self.name}: looked for {looked_for} in {folder.absolute()}, {found}.\n"
            f"How to get it: {self.how_to_get}\n"
            f"Then set FER_DATA to the folder that holds `{self.name}/`, or give --data.dataset.root.\n"
            "To try the same experiment without it: DATA=synthetic SIZE=small"
        )
