"""CREMA-D (Cao et al., IEEE Transactions on Affective Computing 2014): 91 actors who say twelve sentences.

They are there as videos and as sound alone.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from data_modules.datasets.dataset import SplitCount, Unit, VideoDataset
from data_modules.datasets.folds import split_by_fold
from data_modules.datasets.layouts import with_suffixes
from data_modules.labels import ANGER, DISGUST, FEAR, HAPPINESS, NEUTRAL, SADNESS, SEVEN, SURPRISE
from data_modules.manifest import VideoRecord
from data_modules.video.audio_track import AUDIO_SUFFIXES
from data_modules.video.container import VIDEO_SUFFIXES

CODES = {"ANG": ANGER, "DIS": DISGUST, "FEA": FEAR, "HAP": HAPPINESS, "NEU": NEUTRAL, "SAD": SADNESS}


@dataclass
class CREMAD(VideoDataset):
    """Videos `VideoFlash/1001_DFA_ANG_XX.flv`: actor, sentence, emotion, level; six emotions, without surprise.

    The label is the emotion that the actor was asked to show. There are no official folds; those of
    `data_modules.datasets.folds` are exclusive in actors.

    Args:
        root: the folder that holds `VideoFlash`.
        fold: from 1 to `folds`.
        faces: how the faces are extracted.
        folds: the number of folds; the default of five is this suite's choice.
        folds_file: a CSV table of folds to use instead, with the columns clip_id and fold.
    """

    folds: int = 5
    folds_file: Path | None = None

    provides: ClassVar[frozenset[str]] = frozenset({"motion", "audio"})
    name: ClassVar[str] = "cremad"
    licence: ClassVar[str] = "Open Database License (ODbL) 1.0"
    exclusive_in: ClassVar[Unit] = "subjects"
    how_to_get: ClassVar[str] = "clone https://github.com/CheyneyComputerScience/CREMA-D with Git LFS."
    counts: ClassVar[tuple[SplitCount, ...]] = (SplitCount("", 7442),)

    place: ClassVar[str] = "VideoFlash"
    example: ClassVar[str] = "1001_DFA_ANG_XX.flv"
    suffixes: ClassVar[tuple[str, ...]] = VIDEO_SUFFIXES

    @property
    def class_names(self) -> tuple[str, ...]:
        """Six emotions, without surprise."""
        return tuple(name for name in SEVEN if name != SURPRISE)

    def records(self) -> list[VideoRecord]:
        """Returns all clips of all actors."""
        folder = self.folder / self.place
        paths = with_suffixes(folder, self.suffixes) if folder.is_dir() else []
        if not paths:
            raise self.not_found(f"{self.place}/{self.example}")
        records = []
        for path in paths:
            match = re.fullmatch(r"(\d{4})_[A-Z]{3}_([A-Z]{3})_[A-Z]{1,2}", path.stem)
            if match is None or match[2] not in CODES:
                raise ValueError(f"{path}: expected a name such as 1001_DFA_ANG_XX with one of {', '.join(CODES)}")
            records.append(VideoRecord(path.stem, f"{self.place}/{path.name}", CODES[match[2]], match[1]))
        return split_by_fold(records, self.fold, self.folds, CREMAD.name, self.folds_file)


@dataclass
class CREMADAudio(CREMAD):
    """The same sentences as sound alone, `AudioWAV/1001_DFA_ANG_XX.wav`, in the same folds."""

    provides: ClassVar[frozenset[str]] = frozenset({"audio"})
    has_pictures: ClassVar[bool] = False
    name: ClassVar[str] = "cremad_audio"
    place: ClassVar[str] = "AudioWAV"
    example: ClassVar[str] = "1001_DFA_ANG_XX.wav"
    suffixes: ClassVar[tuple[str, ...]] = AUDIO_SUFFIXES
