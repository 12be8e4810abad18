"""DFEW (Jiang et al., ACM Multimedia 2020): 16 372 clips of films, 11 697 of them published with a single label."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from data_modules.datasets.dataset import SplitCount, VideoDataset
from data_modules.faces.settings import FaceSettings
from data_modules.labels import ANGER, DISGUST, FEAR, HAPPINESS, NEUTRAL, SADNESS, SEVEN, SURPRISE
from data_modules.manifest import VideoRecord

CODES = {1: HAPPINESS, 2: SADNESS, 3: NEUTRAL, 4: ANGER, 5: SURPRISE, 6: DISGUST, 7: FEAR}
LISTS = Path("EmoLabel_DataSplit")
CLIPS = Path("Clip", "clip_224x224")


@dataclass
class DFEW(VideoDataset):
    """Faces of 224² pixels cropped by the authors, in folders of frames; five folds, lists `set_1` to `set_5`.

    The films of the clips are not published, so it cannot be checked whether folds share one.
    """

    faces: FaceSettings = field(default_factory=lambda: FaceSettings(detector="crop", size=224, margin=0.0))

    name: ClassVar[str] = "dfew"
    licence: ClassVar[str] = "for academic research, under an agreement to be signed"
    how_to_get: ClassVar[str] = "ask its authors with the agreement on https://dfew-dataset.github.io"

    counts: ClassVar[tuple[SplitCount, ...]] = (
        SplitCount.from_pairs(
            "",
            *((ANGER, 2173), (DISGUST, 145), (FEAR, 902), (HAPPINESS, 2445)),
            *((NEUTRAL, 2669), (SADNESS, 1894), (SURPRISE, 1469)),
        ),
    )

    @property
    def class_names(self) -> tuple[str, ...]:
        """Seven emotions."""
        return SEVEN

    @property
    def folds(self) -> int:
        """The five official folds."""
        return 5

    def records(self) -> list[VideoRecord]:
        """Returns the single-label clips of the fold."""
        lists = [
            self.folder / LISTS / f"{split}(single-labeled)" / f"set_{self.fold}.csv" for split in ("train", "test")
        ]
        for path in (*lists, self.folder / CLIPS):
            if not path.exists():
                raise self.not_found(str(path.relative_to(self.folder)))
        return [
            record for path, split in zip(lists, ("train", "test"), strict=True) for record in self._read(path, split)
        ]

    def _read(self, path: Path, split: str) -> Iterator[VideoRecord]:
        with path.open(newline="", encoding="utf-8-sig") as file:
            for line, row in enumerate(csv.DictReader(file), start=2):
                try:
                    name, emotion = row["video_name"].zfill(5), CODES[int(row["label"])]
                except (KeyError, TypeError, ValueError) as error:
                    raise ValueError(
                        f"{path}, line {line}: found {dict(row)}; expected video_name,label with a label from 1 to 7 "
                        "(lists with labels from 0 come from other repositories; use those of the data set)"
                    ) from error
                yield VideoRecord(name, str(CLIPS / name), emotion, split=split, fold=self.fold)
