"""BU-4DFE (Yin et al., FG 2008), which CEFLNet calls BU-3DFE: 101 people with six posed expressions each."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from data_modules.datasets.dataset import SplitCount, Unit, VideoDataset
from data_modules.datasets.folds import split_by_fold
from data_modules.datasets.layouts import class_folders, visible
from data_modules.labels import NEUTRAL, SEVEN
from data_modules.manifest import VideoRecord


@dataclass
class BU4DFE(VideoDataset):
    """Folders of about 100 frames, such as `F002/Angry/000.jpg`; the 3D models that belong to them are not read.

    There are no official folds; those of `data_modules.datasets.folds` are exclusive in subjects.

    Args:
        root: the folder that holds a folder for each person.
        fold: from 1 to `folds`.
        faces: how the faces are extracted.
        folds: the number of folds; papers use ten.
        folds_file: a CSV table of folds to use instead, with the columns clip_id and fold.
    """

    folds: int = 10
    folds_file: Path | None = None

    name: ClassVar[str] = "bu4dfe"
    licence: ClassVar[str] = "for research, under an agreement to be signed"
    exclusive_in: ClassVar[Unit] = "subjects"
    how_to_get: ClassVar[str] = "ask its authors at Binghamton University with their agreement (BU-4DFE)."
    counts: ClassVar[tuple[SplitCount, ...]] = (
        SplitCount.from_pairs("", *((emotion, 101) for emotion in SEVEN if emotion != NEUTRAL)),
    )

    @property
    def class_names(self) -> tuple[str, ...]:
        """Six emotions, without neutral."""
        return tuple(name for name in SEVEN if name != NEUTRAL)

    def records(self) -> list[VideoRecord]:
        """Returns the six sequences of each person."""
        people = [path for path in visible(self.folder) if path.is_dir()] if self.folder.is_dir() else []
        people = [path for path in people if path.name[0] in "FM" and path.name[1:].isdecimal()]
        if not people:
            raise self.not_found("F001/Angry/000.jpg")
        records = [
            VideoRecord(f"{person.name}/{folder.name}", f"{person.name}/{folder.name}", emotion, person.name)
            for person in people
            for emotion, folder in class_folders(self, person)
        ]
        return split_by_fold(records, self.fold, self.folds, self.name, self.folds_file)
