"""AffectNet (Mollahosseini, Hasani and Mahoor, IEEE TAC 2017), the manually annotated images."""

import csv
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import ClassVar

from data_modules.datasets.dataset import SplitCount
from data_modules.datasets.stills import StillDataset, row_error
from data_modules.labels import (
    ANGER,
    CONTEMPT,
    DISGUST,
    FEAR,
    HAPPINESS,
    NEUTRAL,
    SADNESS,
    SEVEN,
    SURPRISE,
    class_list,
)
from data_modules.manifest import VideoRecord
from data_modules.utils.paths import safe_relative

CODES = {0: NEUTRAL, 1: HAPPINESS, 2: SADNESS, 3: SURPRISE, 4: FEAR, 5: DISGUST, 6: ANGER, 7: CONTEMPT}
NO_EMOTION = {8: "none", 9: "uncertain", 10: "no face"}
LISTS = Path("Manually_Annotated_file_lists")
FILES = {"train": "training.csv", "test": "validation.csv"}  # the test images were never published
IMAGES = (  # the layout of the archives, and those of other copies
    Path("Manually_Annotated", "Manually_Annotated_Images"),
    Path("Manually_Annotated_Images"),
    Path("Manually_Annotated"),
)
COLUMNS = (
    "subDirectory_filePath",
    "face_x",
    "face_y",
    "face_width",
    "face_height",
    "facial_landmarks",
    "expression",
    "valence",
    "arousal",
)


@dataclass(frozen=True)
class ListedImage:
    """An image in a list of annotations."""

    file: str  # path relative to the folder of images
    label: str  # an emotion, or the reason why there is none
    split: str


@dataclass
class AffectNet(StillDataset):
    """Photographs in which the face is detected, since the annotated boxes do not give its rotation.

    Args:
        root: the folder that holds the lists and the images.
        fold: the only fold, `1`; the validation list is the test split.
        faces: how the faces are extracted.
        contempt: whether contempt is a class; if not, its images are left out. Images without emotion always are.
    """

    contempt: bool = False

    name: ClassVar[str] = "affectnet"
    licence: ClassVar[str] = "for non-commercial research, under an agreement to be signed"
    how_to_get: ClassVar[str] = "ask its authors on http://mohammadmahoor.com/affectnet/."
    counts: ClassVar[tuple[SplitCount, ...]] = (SplitCount("train", 283901), SplitCount("test", 3500))
    """The numbers of images of the seven classes."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Seven emotions, with contempt if `contempt` is set."""
        return class_list((*SEVEN, CONTEMPT)) if self.contempt else SEVEN

    def read(self) -> Iterator[VideoRecord]:
        """Yields the images of the classes."""
        images = next((path for path in IMAGES if (self.folder / path).is_dir()), None)
        if images is None:
            raise self.not_found(f"{IMAGES[1]}/")
        for row in self._rows():
            if row.label in self.class_names:
                yield VideoRecord(row.file, str(images / row.file), row.label, split=row.split)

    def left_out(self) -> Counter[str]:
        """Counts the images of none of the classes by their label."""
        return Counter(row.label for row in self._rows() if row.label not in self.class_names)

    def _rows(self) -> Iterator[ListedImage]:
        for split, name in FILES.items():
            path = self.folder / LISTS / name
            if not path.is_file():
                raise self.not_found(str(LISTS / name))
            with path.open(newline="", encoding="utf-8-sig") as file:
                table = csv.reader(file)
                row: list[str] = []
                expected = f"{','.join(COLUMNS)} with a path inside the folder of images and an expression from 0 to 10"
                try:
                    for row in table:
                        if row and tuple(row) != COLUMNS:  # some copies of the validation list have no header
                            yield _listed(row, split)
                except csv.Error as error:  # such as a field that is too long
                    raise row_error(path, table.line_num, str(error), expected) from error
                except (ValueError, KeyError) as error:
                    raise row_error(path, table.line_num, row, expected) from error


def _listed(row: list[str], split: str) -> ListedImage:
    file, *_, expression, _, _ = row
    path = PurePosixPath(file)
    if len(row) != len(COLUMNS) or not (path.name and safe_relative(file)) or "\\" in file:
        raise ValueError(file)
    return ListedImage(str(path), (CODES | NO_EMOTION)[int(expression)], split)
