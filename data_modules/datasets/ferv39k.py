"""FERV39k (Wang et al., CVPR 2022): 38 935 clips of 22 kinds of scenes."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from data_modules.datasets.dataset import SplitCount, VideoDataset
from data_modules.datasets.folds import fold_number
from data_modules.datasets.layouts import official_split
from data_modules.faces.settings import FaceSettings
from data_modules.labels import SEVEN
from data_modules.manifest import VideoRecord

LISTS = Path("4_setups", "All_scenes")
CLIPS = Path("2_ClipsforFaceCrop")


@dataclass
class FERV39k(VideoDataset):
    """Faces cropped by the authors, in folders of frames such as `2_ClipsforFaceCrop/Action/Happy/0267`.

    There is one fold, over all scenes: `4_setups/All_scenes/train_All.csv` and `test_All.csv`. The films of the clips
    are not published, so it cannot be checked whether the splits share one.
    """

    faces: FaceSettings = field(default_factory=lambda: FaceSettings(detector="crop", size=224, margin=0.0))

    name: ClassVar[str] = "ferv39k"
    licence: ClassVar[str] = "for academic research, under an agreement to be signed"
    how_to_get: ClassVar[str] = "ask its authors with the agreement on https://github.com/wangyanckxx/FERV39k"
    counts: ClassVar[tuple[SplitCount, ...]] = (SplitCount("train", 31088), SplitCount("test", 7847))

    @property
    def class_names(self) -> tuple[str, ...]:
        """Seven emotions."""
        return SEVEN

    def records(self) -> list[VideoRecord]:
        """Returns the clips of all scenes."""
        fold_number(self.fold, 1)
        return official_split(self, LISTS / "train_All.csv", LISTS / "test_All.csv", CLIPS)
