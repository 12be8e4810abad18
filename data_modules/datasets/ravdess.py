"""RAVDESS (Livingstone and Russo, PLOS ONE 2018): 24 actors who say two sentences, as videos and as sound alone."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from data_modules.datasets.dataset import SplitCount, Unit, VideoDataset
from data_modules.datasets.folds import consecutive_folds, split_by_fold, with_splits
from data_modules.datasets.layouts import visible, with_suffixes
from data_modules.labels import ANGER, DISGUST, FEAR, HAPPINESS, NEUTRAL, SADNESS, SURPRISE, class_list
from data_modules.manifest import VideoRecord
from data_modules.video.audio_track import AUDIO_SUFFIXES
from data_modules.video.container import VIDEO_SUFFIXES

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
ACTORS = 24
SPEECH = "01"  # the other channel: 02 song


@dataclass
class RAVDESS(VideoDataset):
    """Videos `Actor_01/01-01-03-01-02-01-01.mp4`: modality, channel, emotion, intensity, statement, repetition, actor.

    Only speech with video and audio (01-01) is used; the files without audio (02) hold the same video. A recording in
    the folder of another actor is left out, see `misplaced`: a widespread copy has one of actor 02 in `Actor_05`.
    There are no official folds; all of these are exclusive in actors.

    Args:
        root: the folder that holds `Actor_01` to `Actor_24`.
        fold: from 1 to `folds`.
        faces: how the faces are extracted.
        folds: the number of folds; the default of six, with four actors each, is this suite's choice.
        folds_file: a CSV table of folds to use instead, with the columns clip_id and fold.
        protocol: `mixed` for the folds of `data_modules.datasets.folds`, which is this suite's choice; `consecutive`
            for actors 1 to 4, 5 to 8 and so on, two women and two men each, as HiCMAE has them (Sun et al., 2024,
            https://arxiv.org/abs/2401.05698).
    """

    folds: int = 6
    folds_file: Path | None = None
    protocol: Literal["mixed", "consecutive"] = "mixed"

    provides: ClassVar[frozenset[str]] = frozenset({"motion", "audio"})
    name: ClassVar[str] = "ravdess"
    split_name: ClassVar[str] = "ravdess"  # of the sound alone, too
    licence: ClassVar[str] = "CC BY-NC-SA 4.0"
    exclusive_in: ClassVar[Unit] = "subjects"
    how_to_get: ClassVar[str] = "download Video_Speech_Actor_*.zip from https://zenodo.org/records/1188976"
    # 24 actors say two sentences twice, in two intensities; neutral has only one.
    counts: ClassVar[tuple[SplitCount, ...]] = (
        SplitCount.from_pairs(
            "", *((emotion, 96 if emotion == NEUTRAL else 192) for emotion in class_list(CODES.values()))
        ),
    )
    modality: ClassVar[str] = "01"  # video with audio; 02 is video alone, 03 audio alone
    example: ClassVar[str] = "01-01-03-01-02-01-01.mp4"
    suffixes: ClassVar[tuple[str, ...]] = VIDEO_SUFFIXES

    @property
    def class_names(self) -> tuple[str, ...]:
        """Eight classes: the seven emotions and calm."""
        return class_list(CODES.values())

    def records(self) -> list[VideoRecord]:
        """Returns the clips of speech in this modality.

        Raises:
            DatasetNotFoundError: there is none.
            ValueError: a file has another name, or most are in the folders of other actors.
        """
        paths = list(self._paths())
        records = [
            VideoRecord(path.stem, str(path.relative_to(self.folder)), CODES[path.stem.split("-")[2]], path.parent.name)
            for path in paths
            if not _is_misplaced(path)
        ]
        if 2 * (count := len(paths) - len(records)) > len(paths):
            raise ValueError(
                f"{self.folder}: {count} of {len(paths)} recordings are in the folder of another actor, such as "
                f"{self.misplaced()[0]}; copy the data set again"
            )
        if not records:
            raise self.not_found(f"Actor_01/{self.example}")
        if self.folds_file is None and self.protocol == "consecutive":
            assigned = consecutive_folds(records, self.folds, ACTORS, self.name)
            return with_splits(records, assigned, self.fold, self.folds)
        return split_by_fold(records, self.fold, self.folds, self.split_name, self.folds_file)

    def misplaced(self) -> list[str]:
        """Returns the recordings that are in the folder of an actor who is not in their name."""
        return [str(path.relative_to(self.folder)) for path in self._paths() if _is_misplaced(path)]

    def _paths(self) -> Iterator[Path]:
        """Yields the files of speech in this modality."""
        contents = visible(self.folder) if self.folder.is_dir() else []
        actors = [path for path in contents if path.is_dir() and re.fullmatch(r"Actor_\d+", path.name)]
        for path in (file for actor in actors for file in with_suffixes(actor, self.suffixes)):
            parts = path.stem.split("-")
            if len(parts) != 7 or not all(re.fullmatch("[0-9]{2}", part) for part in parts) or parts[2] not in CODES:
                stem = Path(self.example).stem
                raise ValueError(f"{path}: expected a name such as {stem} with an emotion from 01 to 08")
            if (parts[0], parts[1]) == (self.modality, SPEECH):
                yield path


def _is_misplaced(path: Path) -> bool:
    return path.stem.rpartition("-")[2] != path.parent.name.removeprefix("Actor_")


@dataclass
class RAVDESSAudio(RAVDESS):
    """The same sentences as sound alone, `Actor_01/03-01-03-01-02-01-01.wav` or `.flac`, in the same folds.

    Songs (03-02) and videos in the same folders are not used.
    """

    provides: ClassVar[frozenset[str]] = frozenset({"audio"})
    has_pictures: ClassVar[bool] = False
    name: ClassVar[str] = "ravdess_audio"
    how_to_get: ClassVar[str] = "download Audio_Speech_Actors_01-24.zip from https://zenodo.org/records/1188976"
    modality: ClassVar[str] = "03"
    example: ClassVar[str] = "03-01-03-01-02-01-01.wav"
    suffixes: ClassVar[tuple[str, ...]] = AUDIO_SUFFIXES
