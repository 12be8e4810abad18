"""Provide the base of data sets of still images: each image is a clip of one frame, and there is one fold."""

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from data_modules.datasets.dataset import VideoDataset
from data_modules.datasets.folds import fold_number
from data_modules.manifest import VideoRecord


@dataclass
class StillDataset(VideoDataset):
    """Still images with one published split into training and test images."""

    provides: ClassVar[frozenset[str]] = frozenset()

    def records(self) -> list[VideoRecord]:
        """Returns all images.

        Raises:
            DatasetNotFoundError: the layout was not found under the root.
            ValueError: the fold does not exist, or an annotation is invalid; the message names file and line.
        """
        fold_number(self.fold, 1)
        return list(self.read())

    @abstractmethod
    def read(self) -> Iterator[VideoRecord]:
        """Yields the images one after another; raises the errors of `records`."""


def row_error(path: Path, line: int, found: object, expected: str) -> ValueError:
    """Creates the error for an invalid row of an annotation file, with the start of what was found."""
    text = repr(found)
    return ValueError(f"{path}, line {line}: found {text[:120]}{'...' * (len(text) > 120)}; expected {expected}")
