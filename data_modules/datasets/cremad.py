"""CREMA-D (Cao et al., IEEE Transactions on Affective Computing 2014): 91 actors who say twelve sentences.

They are there as videos and as sound alone.
"""

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from data_modules.datasets.dataset import SplitCount, Unit, VideoDataset
from data_modules.datasets.folds import split_by_fold
from data_modules.datasets.layouts import with_suffixes
from data_modules.datasets.stills import row_error
from data_modules.labels import ANGER, DISGUST, FEAR, HAPPINESS, NEUTRAL, SADNESS, SEVEN, SURPRISE, format_votes
from data_modules.manifest import VideoRecord
from data_modules.video.audio_track import AUDIO_SUFFIXES
from data_modules.video.container import VIDEO_SUFFIXES

CODES = {"ANG": ANGER, "DIS": DISGUST, "FEA": FEAR, "HAP": HAPPINESS, "NEU": NEUTRAL, "SAD": SADNESS}
VOTES = Path("processedResults", "tabulatedVotes.csv")
Ratings = Literal["voice", "face", "audio_visual"]
QUERIES: Mapping[Ratings, int] = {"voice": 1, "face": 2, "audio_visual": 3}
"""What the annotators of the votes heard or saw, and its number in the table of votes (`queryType`)."""


@dataclass
class CREMAD(VideoDataset):
    """Videos `VideoFlash/1001_DFA_ANG_XX.flv`: actor, sentence, emotion, level; six emotions, without surprise.

    The label is the emotion that the actor was asked to show. There are no official folds; those of
    `data_modules.datasets.folds` are exclusive in actors. If the annotators' votes are there
    (`processedResults/tabulatedVotes.csv`), the records have them.

    Args:
        root: the folder that holds `VideoFlash`.
        fold: from 1 to `folds`.
        faces: how the faces are extracted.
        folds: the number of folds; the default of five is this suite's choice.
        folds_file: a CSV table of folds to use instead, with the columns clip_id and fold.
        ratings: whose votes the records have: those of annotators who heard and saw the clip (`audio_visual`), only saw
            it (`face`), or only heard it (`voice`). `face` suits a model that reads no sound.
    """

    folds: int = 5
    folds_file: Path | None = None
    ratings: Ratings = "audio_visual"

    provides: ClassVar[frozenset[str]] = frozenset({"motion", "audio"})
    name: ClassVar[str] = "cremad"
    split_name: ClassVar[str] = "cremad"  # of the sound alone, too
    licence: ClassVar[str] = "Open Database License (ODbL) 1.0"
    exclusive_in: ClassVar[Unit] = "subjects"
    how_to_get: ClassVar[str] = (
        "clone https://github.com/CheyneyComputerScience/CREMA-D with Git LFS. The votes of its annotators are in "
        f"{VOTES.as_posix()}."
    )
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
        table = self.folder / VOTES
        votes = read_votes(table, self.ratings) if table.is_file() else {}
        records = []
        for path in paths:
            match = re.fullmatch(r"(\d{4})_[A-Z]{3}_([A-Z]{3})_[A-Z]{1,2}", path.stem)
            if match is None or match[2] not in CODES:
                raise ValueError(f"{path}: expected a name such as 1001_DFA_ANG_XX with one of {', '.join(CODES)}")
            location, emotion = f"{self.place}/{path.name}", CODES[match[2]]
            records.append(VideoRecord(path.stem, location, emotion, match[1], votes=votes.get(path.stem, "")))
        return split_by_fold(records, self.fold, self.folds, self.split_name, self.folds_file)


@dataclass
class CREMADAudio(CREMAD):
    """The same sentences as sound alone, `AudioWAV/1001_DFA_ANG_XX.wav`, in the same folds.

    The votes are those of annotators who only heard the clip, unless `ratings` asks for others.
    """

    ratings: Ratings = "voice"

    provides: ClassVar[frozenset[str]] = frozenset({"audio"})
    has_pictures: ClassVar[bool] = False
    name: ClassVar[str] = "cremad_audio"
    place: ClassVar[str] = "AudioWAV"
    example: ClassVar[str] = "1001_DFA_ANG_XX.wav"
    suffixes: ClassVar[tuple[str, ...]] = AUDIO_SUFFIXES


def read_votes(table: Path, ratings: Ratings) -> dict[str, str]:
    """Reads the votes for all clips, as in a manifest, by clip id.

    Each clip has a row for each kind of ratings. The first column, without a name, is the number of the clip plus
    100 000 times the kind.

    Args:
        table: `tabulatedVotes.csv`.
        ratings: whose votes to read.

    Raises:
        ValueError: a column is missing, a row is invalid, or a clip has two; the message names file and line.
    """
    letters = {code[0]: emotion for code, emotion in CODES.items()}
    expected = f"a number without a heading, {', '.join(letters)} with whole numbers, and fileName, once for each clip"
    votes: dict[str, str] = {}
    with table.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file)
        row: object = rows.fieldnames
        try:
            for row in rows:
                if int(row[""]) // 100_000 == QUERIES[ratings]:
                    counts = {emotion: int(row[letter]) for letter, emotion in letters.items()}
                    if row["fileName"] in votes or min(counts.values()) < 0:
                        raise ValueError
                    votes[row["fileName"]] = format_votes(counts)
        except (KeyError, TypeError, ValueError, csv.Error) as error:
            raise row_error(table, rows.line_num, row, expected) from error
    return votes
