"""AFEW (Dhall et al., IEEE MultiMedia 2012; version 7.0 of EmotiW 2017): clips of films, a folder for each emotion."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from data_modules.datasets.dataset import SplitCount, VideoDataset
from data_modules.datasets.folds import fold_number
from data_modules.datasets.layouts import class_folders, videos
from data_modules.labels import ANGER, DISGUST, FEAR, HAPPINESS, NEUTRAL, SADNESS, SEVEN, SURPRISE
from data_modules.manifest import VideoRecord


@dataclass(frozen=True)
class _Part:
    """A part with labels: the split, the folder of its videos, and the folder of the aligned faces."""

    split: str
    clip: str
    folder: Path
    aligned: Path


PARTS = (
    _Part("train", "train", Path("Train_AFEW"), Path("AlignedFaces_LBPTOP_Points", "Faces")),
    _Part("test", "val", Path("Val_AFEW"), Path("AlignedFaces_LBPTOP_Points_Val", "Faces")),
)


@dataclass
class AFEW(VideoDataset):
    """Videos `Train_AFEW/Angry/<id>.avi`; the test labels are not published, so `Val_AFEW` is the test split.

    With the detector `crop`, the clips are the faces aligned by the authors, `AlignedFaces_LBPTOP_Points/Faces/<id>`
    and `AlignedFaces_LBPTOP_Points_Val/Faces/<id>`, under the root or in the part's folder, with the videos' labels;
    with any other detector they are the videos. A clip without aligned faces is kept and reported as unreadable.
    According to the authors, no film is in both parts; which one a clip is from is not published, so the inner split
    of the training clips is exclusive in clips only.
    """

    provides: ClassVar[frozenset[str]] = frozenset({"motion", "audio"})
    name: ClassVar[str] = "afew"
    licence: ClassVar[str] = "for academic research, under an agreement to be signed"
    how_to_get: ClassVar[str] = "ask the organisers of EmotiW with their agreement for AFEW 7.0."
    counts: ClassVar[tuple[SplitCount, ...]] = (
        SplitCount.from_pairs(
            "train",
            *((ANGER, 133), (DISGUST, 74), (FEAR, 81), (HAPPINESS, 150), (NEUTRAL, 144), (SADNESS, 117)),
            (SURPRISE, 74),
        ),
        SplitCount.from_pairs(
            "test",
            (ANGER, 64),
            (DISGUST, 40),
            (FEAR, 46),
            (HAPPINESS, 63),
            (NEUTRAL, 63),
            (SADNESS, 61),
            (SURPRISE, 46),
        ),
    )

    @property
    def class_names(self) -> tuple[str, ...]:
        """Seven emotions."""
        return SEVEN

    def records(self) -> list[VideoRecord]:
        """Returns the clips of `Train_AFEW` and `Val_AFEW`."""
        fold_number(self.fold, 1)
        return [record for part in PARTS for record in self._read(part)]

    def _read(self, part: _Part) -> Iterator[VideoRecord]:
        aligned = self._aligned(part) if self.faces.detector == "crop" else None
        for emotion, folder in class_folders(self, self.folder / part.folder):
            for video in videos(folder):
                path = video.relative_to(self.folder) if aligned is None else aligned / video.stem
                yield VideoRecord(f"{part.clip}/{video.stem}", str(path), emotion, split=part.split)

    def _aligned(self, part: _Part) -> Path:
        for path in (part.aligned, part.folder / part.aligned):
            if (self.folder / path).is_dir():
                return path
        raise self.not_found(f"{part.aligned}/<id>, which `detector: crop` needs (mtcnn reads the videos),")
