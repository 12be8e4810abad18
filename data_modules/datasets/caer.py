"""CAER (Lee et al., ICCV 2019): clips of television shows, with the scene around the person."""

from dataclasses import dataclass
from typing import ClassVar

from data_modules.datasets.dataset import SplitCount, VideoDataset
from data_modules.datasets.folds import fold_number
from data_modules.datasets.layouts import class_folders, videos
from data_modules.labels import SEVEN
from data_modules.manifest import VideoRecord

SPLITS = (("train", "train"), ("validation", "inner"), ("test", "test"))  # folder, split


@dataclass
class CAER(VideoDataset):
    """Videos `train/Anger/0001.avi`; `validation` is the inner split, on which epochs are chosen.

    The shows of the clips are not published, so it cannot be checked whether the splits share one.
    """

    provides: ClassVar[frozenset[str]] = frozenset({"motion", "audio"})
    name: ClassVar[str] = "caer"
    licence: ClassVar[str] = "for non-commercial research"
    how_to_get: ClassVar[str] = "download it from https://caer-dataset.github.io"
    counts: ClassVar[tuple[SplitCount, ...]] = (SplitCount("", 13175),)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Seven emotions."""
        return SEVEN

    def records(self) -> list[VideoRecord]:
        """Returns the clips of all three splits; file numbers restart in each folder, so clip ids are paths."""
        fold_number(self.fold, 1)
        return [
            VideoRecord(str(path.with_suffix("")), str(path), emotion, split=split)
            for name, split in SPLITS
            for emotion, folder in class_folders(self, self.folder / name)
            for path in (video.relative_to(self.folder) for video in videos(folder))
        ]
