"""The interface of all data sets: location, classes, clips and folds."""

import os
from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from data_modules.faces.settings import FaceSettings
from data_modules.manifest import VideoRecord

Unit = Literal["subjects", "films", "clips"]
"""What two splits of a data set do not share; `clips` where neither subjects nor films are known."""


class DatasetNotFoundError(FileNotFoundError):
    """A data set was not found; the message says where it was expected and how to get it."""


def data_root() -> Path:
    """Returns the folder of all data sets: the variable FER_DATA, or `data` in the working folder."""
    return Path(os.environ.get("FER_DATA", "data"))


def store_root() -> Path:
    """Returns the folder of everything computed from data sets: FER_STORE, or `store` in that of the data sets."""
    return Path(os.environ.get("FER_STORE", str(data_root() / "store")))


@dataclass(frozen=True)
class SplitCount:
    """The number of clips in a split of a complete copy and for each emotion; `split` is empty for all splits."""

    split: str
    clips: int
    emotions: tuple[tuple[str, int], ...] = ()

    @classmethod
    def from_pairs(cls, split: str, *emotions: tuple[str, int]) -> "SplitCount":
        """Creates the count of a split from pairs of an emotion and its number of clips."""
        return cls(split, sum(number for _, number in emotions), emotions)


class _OwnName:
    """The name of a data set's class, which needs no instance."""

    def __get__(self, instance: object, owner: "type[VideoDataset]") -> str:
        return owner.name


@dataclass
class VideoDataset(ABC):
    """A data set on disk; subclasses know its layout.

    Args:
        root: its folder; by default the folder `name` of `data_root()`.
        fold: the fold that determines the split of the records.
        faces: how the faces are extracted.
    """

    root: Path | None = None
    fold: str = "1"
    faces: FaceSettings = field(default_factory=FaceSettings)

    name: ClassVar[str]
    # The data set whose folds and inner splits these are: itself, or that with the same people's videos.
    split_name: ClassVar[str] = _OwnName()  # type: ignore[assignment]
    licence: ClassVar[str]
    how_to_get: ClassVar[str]  # one sentence
    provides: ClassVar[frozenset[str]] = frozenset({"motion"})  # `motion`: more than one frame; `audio`
    is_rendered: ClassVar[bool] = False  # whether its people are rendered
    limits: ClassVar[tuple[str, ...]] = ()  # sentences about what models trained on it cannot be expected to do
    shared_images: ClassVar[int] = 0  # groups of identical clips that a complete copy has in several splits
    has_pictures: ClassVar[bool] = True  # false if it is sound alone

    @property
    @abstractmethod
    def class_names(self) -> tuple[str, ...]:
        """The class list: emotion names in alphabetical order."""

    @property
    def counts(self) -> tuple[SplitCount, ...]:
        """The published numbers of clips of a complete copy; empty where they are not known."""
        return ()

    @property
    def exclusive_in(self) -> Unit:
        """What the splits that the suite makes, the inner one and folds, do not share.

        Where it is `clips`, a person may be in both the training and the inner split.
        """
        return "clips"

    @property
    def classes_from_stills(self) -> tuple[str, ...]:
        """The classes whose clips are single frames of other clips; accuracy is reported without them, too."""
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
        """The data set's part of its store's name; it does not depend on the path, so a data set can be moved."""
        folder = self.folder.resolve().name
        return folder if folder.startswith(self.name) else f"{self.name}-{folder}"

    def prepare(self) -> None:  # noqa: B027 - most data sets have nothing to make
        """Creates the files of data sets that the suite can create, such as the synthetic ones; others do nothing."""

    @abstractmethod
    def records(self) -> list[VideoRecord]:
        """Returns all clips with their split for `fold`: `train` or `test`.

        Raises:
            DatasetNotFoundError: the layout was not found under the root.
            ValueError: an annotation is invalid; the message names file and line.
        """

    def left_out(self) -> Counter[str]:
        """Counts the annotated clips of none of the classes by their label.

        Raises:
            DatasetNotFoundError: the layout was not found under the root.
            ValueError: an annotation is invalid; the message names file and line.
        """
        return Counter()

    def misplaced(self) -> list[str]:
        """Returns the files that are left out because they are in the folder of another person, as paths in the root.

        Raises:
            ValueError: the name of a file is invalid.
        """
        return []

    def not_found(self, looked_for: str) -> DatasetNotFoundError:
        """Creates the error that says what was expected, what was found, and how to get the data set."""
        folder = self.folder
        contents = sorted(p.name for p in folder.iterdir())[:8] if folder.is_dir() else None
        found = "which does not exist" if contents is None else f"which holds {', '.join(contents) or 'nothing'}"
        return DatasetNotFoundError(
            f"{self.name}: looked for {looked_for} in {folder.absolute()}, {found}.\n"
            f"How to get it: {self.how_to_get}\n"
            f"Then set FER_DATA to the folder that holds `{self.name}/`, or give --root FOLDER.\n"
            "To try the same experiment without it: DATA=synthetic SIZE=small"
        )
