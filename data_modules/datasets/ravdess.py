"""RAVDESS (Livingstone and Russo, PLOS ONE 2018): videos of 24 actors who say two sentences."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from data_modules.datasets.dataset import SplitCount, Unit, VideoDataset
from data_modules.datasets.folds import split_by_fold
from data_modules.datasets.layouts import videos, visible
from data_modules.labels import ANGER, DISGUST, FEAR, HAPPINESS, NEUTRAL, SADNESS, SURPRISE, class_list
from data_modules.manifest import VideoRecord

CALM = "calm"
CODES = {
    "01": NEUTRAL,
    "02": CALM,
    "03": HAPPINESS,
    "04": SADNESS,
    "05": ANGER,
    "06": FEAR,
    "07": DISGUST,
    "08": SURPRISE,
}
WITH_AUDIO, SPEECH = "01", "01"  # other modalities: 02 video only, 03 audio only; the other channel: 02 song


@dataclass
class RAVDESS(VideoDataset):
    """Videos `Actor_01/01-01-03-01-02-01-01.mp4`: modality, channel, emotion, intensity, statement, repetition, actor.

    Only speech with video and audio (01-01) is used; the files without audio (02) hold the same video.
    There are no official folds; those of `data_modules.datasets.folds` are exclusive in actors.

    Args:
        root: the folder that holds `Actor_01` to `Actor_24`.
        fold: from 1 to `folds`.
        faces: how the faces are extracted.
        folds: the number of folds; the default of six, with four actors each, is this suite's choice.
        folds_file: a CSV table of folds to use instead, with the columns clip_id and fold.
    """

    folds: int = 6
    folds_file: Path | None = None

    provides: ClassVar[frozenset[str]] = frozenset({"motion", "audio"})
    name: ClassVar[str] = "ravdess"
    licence: ClassVar[str] = "CC BY-NC-SA 4.0"
    exclusive_in: ClassVar[Unit] = "subjects"
    how_to_get: ClassVar[str] = "download Video_Speech_Actor_*.zip from https://zenodo.org/records/1188976"
    # 24 actors say two sentences twice, in two intensities; neutral has only one.
    counts: ClassVar[tuple[SplitCount, ...]] = (
        SplitCount.from_pairs(
            "", *((emotion, 96 if emotion == NEUTRAL else 192) for emotion in class_list(CODES.values()))
        ),
    )

    @property
    def class_names(self) -> tuple[str, ...]:
        """Eight classes: the seven emotions and calm."""
        return class_list(CODES.values())

    def records(self) -> list[VideoRecord]:
        """Returns the clips of speech with video and audio."""
        contents = visible(self.folder) if self.folder.is_dir() else []
        actors = [path for path in contents if path.is_dir() and re.fullmatch(r"Actor_\d+", path.name)]
        records = []
        for path in (video for actor in actors for video in videos(actor)):
            parts = path.stem.split("-")
            if len(parts) != 7 or not all(re.fullmatch("[0-9]{2}", part) for part in parts) or parts[2] not in CODES:
                raise ValueError(f"{path}: expected a name such as 01-01-03-01-02-01-01 with an emotion from 01 to 08")
            if parts[-1] != path.parent.name.removeprefix("Actor_"):
                raise ValueError(f"{path}: actor {parts[-1]} does not match the folder; copy the data set again")
            if (parts[0], parts[1]) == (WITH_AUDIO, SPEECH):
                location = str(path.relative_to(self.folder))
                records.append(VideoRecord(path.stem, location, CODES[parts[2]], path.parent.name))
        if not records:
            raise self.not_found("Actor_01/01-01-03-01-02-01-01.mp4")
        return split_by_fold(records, self.fold, self.folds, self.name, self.folds_file)
