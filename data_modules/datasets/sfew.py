"""SFEW 2 (Dhall et al., ICMI 2015): single frames of the films of AFEW, aligned to 143 x 181 pixels by its authors."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from data_modules.datasets.dataset import Unit
from data_modules.datasets.layouts import with_suffixes
from data_modules.datasets.stills import StillDataset
from data_modules.faces.settings import FaceSettings
from data_modules.labels import SEVEN, emotion_name
from data_modules.manifest import VideoRecord
from data_modules.video.images import natural_order

SPLITS = {"Train": "train", "Val": "test"}  # the test labels were never published
FILM = re.compile(r"(.+)_\d+_\d+")  # Airheads_000519240_00000005


@dataclass
class SFEW(StillDataset):
    """Images `Train_Aligned_Faces/Angry/*.png`, also inside `Train/`; the validation images are the test split.

    The film is the part of a file's name before its two numbers; the inner split shares no film with training.
    """

    faces: FaceSettings = field(default_factory=lambda: FaceSettings(detector="crop", size=224, margin=0.0))

    name: ClassVar[str] = "sfew"
    licence: ClassVar[str] = "for academic research, under an agreement to be signed"
    exclusive_in: ClassVar[Unit] = "films"
    how_to_get: ClassVar[str] = "ask its authors, as https://cs.anu.edu.au/few/ says."

    @property
    def class_names(self) -> tuple[str, ...]:
        """Seven emotions."""
        return SEVEN

    def read(self) -> Iterator[VideoRecord]:
        """Yields the images of both splits, class by class."""
        for part, split in SPLITS.items():
            faces = f"{part}_Aligned_Faces"
            candidates = (Path(faces), Path(part, faces), Path(f"{faces}_new"), Path(part, f"{faces}_new"))
            location = next((path for path in candidates if (self.folder / path).is_dir()), None)
            if location is None:
                raise self.not_found(f"{faces}/")
            for path in sorted((self.folder / location).iterdir()):
                if path.is_dir() and path.name[0] != ".":
                    yield from self._images(path, part, split)

    def _images(self, folder: Path, part: str, split: str) -> Iterator[VideoRecord]:
        emotion = emotion_name(folder.name)
        if emotion not in SEVEN:
            raise ValueError(f"{folder}: found a folder of no class; expected Angry, Disgust, Fear, Happy, ...")
        for path in natural_order(with_suffixes(folder, (".png",))):
            film = FILM.fullmatch(path.stem)
            yield VideoRecord(
                f"{part}/{folder.name}/{path.stem}",
                str(path.relative_to(self.folder)),
                emotion,
                group=film[1] if film else "",
                split=split,
            )
