"""What every data set says of itself: where it lies, its classes, its clips and folds."""

import os
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from data_modules.alignment import Alignment
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
class FaceSettings:
    """How clips become faces, persons, landmarks and sound; any change leads to another store.

    Args:
        detector: who finds the faces: `mtcnn` and `insightface` look for them, `annotation` takes boxes and points from
            the data set's ground truth, `table` from a file that somebody else's tool wrote (`face_table`), and `crop`
            takes each frame as a face that somebody else cropped.
        size: side of the crops in pixels.
        margin: how much larger than the face the crop is, as a share.
        align: what is brought to its place in the crop.
        jitter: noise on annotated boxes and points: standard deviation as a share of the face's size.
        every: look for faces in each n-th frame, and follow them between.
        max_gap: so many frames without a detection are bridged by interpolating the face's place; longer gaps stay.
        landmarks: who finds 68 points: the face mesh, insightface, the ground truth, a table as above, or nobody.
        person: who finds the person around the face: insightface, the ground truth, `frame` takes the whole frame, or
            nobody.
        lengthen: clips with fewer faces are brought to so many by optical flow; 0 leaves them as they are.
        sound: keep the sound too, 16 kHz mono.
    """

    detector: Literal["annotation", "crop", "table", "mtcnn", "insightface"] = "mtcnn"
    size: int = 256
    margin: float = 0.25
    align: Alignment = "points"
    jitter: float = 0.0
    every: int = 4
    max_gap: int = 15
    landmarks: Literal["none", "annotation", "table", "mesh", "insightface"] = "none"
    person: Literal["none", "annotation", "frame", "insightface"] = "none"
    lengthen: int = 0
    sound: bool = True


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
