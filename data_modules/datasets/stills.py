"""What data sets of still images have in common: an image is a clip of one frame, and there is one fold."""

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from data_modules.datasets.dataset import VideoDataset
from data_modules.manifest import VideoRecord


@dataclass
class StillDataset(VideoDataset):
    """Still images with one published division into training and test."""

    def records(self) -> list[VideoRecord]:
        """All images.

        Raises:
            DatasetNotFoundError: the layout was not found under the root.
            ValueError: there is no such fold, or an annotation does not fit, with file and line.
        """
        if self.fold != "1":
            raise ValueError(f"{self.name}: fold {self.fold!r} does not exist: there is one division, fold '1'")
        return list(self.read())

    @abstractmethod
    def read(self) -> Iterator[VideoRecord]:
        """The images one after another; raises as `records` does."""


def row_error(path: Path, line: int, found: object, expected: str) -> ValueError:
    """The error that names the row of an annotation which does not fit."""
    text = repr(found)
    return ValueError(f"{path}, line {line}: found {text[:120]}{'...' * (len(text) > 120)}; expected {expected}")
