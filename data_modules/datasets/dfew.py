"""DFEW (Jiang et al., ACM Multimedia 2020): 16 372 clips of films, 11 697 of them published with a single label."""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

from data_modules.datasets.dataset import SplitCount, VideoDataset
from data_modules.datasets.fold_files import read_folds
from data_modules.datasets.folds import with_splits
from data_modules.faces.settings import FaceSettings
from data_modules.labels import (
    ANGER,
    DISGUST,
    FEAR,
    HAPPINESS,
    NEUTRAL,
    SADNESS,
    SEVEN,
    SURPRISE,
    emotion_name,
    format_votes,
)
from data_modules.manifest import VideoRecord
from data_modules.utils.files import file_state

CODES = {1: HAPPINESS, 2: SADNESS, 3: NEUTRAL, 4: ANGER, 5: SURPRISE, 6: DISGUST, 7: FEAR}
LISTS = Path("EmoLabel_DataSplit")
CLIPS = Path("Clip", "clip_224x224")
VOTES = Path("Annotation", "annotation.xlsx")
VOTE_COLUMNS = ("1happy", "2sad", "3neutral", "4angry", "5surprise", "6disgust", "7fear")


@dataclass
class DFEW(VideoDataset):
    """Faces of 224² pixels cropped by the authors, in folders of frames; five folds, lists `set_1` to `set_5`.

    The films of the clips are not published, so it cannot be checked whether folds share one. If the annotators' votes
    are there (`Annotation/annotation.xlsx`), the records have them.

    Args:
        root: its folder; by default the folder `dfew` of `data_root()`.
        fold: from 1 to 5.
        faces: how the faces are extracted.
        folds_file: a CSV table of five folds to use instead of the official ones, with the columns clip_id and fold,
            such as `fer data folds dfew --exclusive identity` writes.
    """

    faces: FaceSettings = field(default_factory=lambda: FaceSettings(detector="crop", size=224, margin=0.0))
    folds_file: Path | None = None

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
        official = self.fold if self.folds_file is None else "1"  # each fold's lists together have all clips
        lists = [
            self.folder / LISTS / f"{split}(single-labeled)" / f"set_{official}.csv" for split in ("train", "test")
        ]
        for path in (*lists, self.folder / CLIPS):
            if not path.exists():
                raise self.not_found(str(path.relative_to(self.folder)))
        table = self.folder / VOTES
        votes = read_votes(table, file_state(table)) if table.is_file() else {}
        records = [
            record
            for path, split in zip(lists, ("train", "test"), strict=True)
            for record in self._read(path, split, votes)
        ]
        if self.folds_file is None:
            return records
        return with_splits(records, read_folds(self.folds_file, records, self.folds), self.fold, self.folds)

    def _read(self, path: Path, split: str, votes: Mapping[str, str]) -> Iterator[VideoRecord]:
        with path.open(newline="", encoding="utf-8-sig") as file:
            for line, row in enumerate(csv.DictReader(file), start=2):
                try:
                    name, emotion = row["video_name"].zfill(5), CODES[int(row["label"])]
                except (KeyError, TypeError, ValueError) as error:
                    raise ValueError(
                        f"{path}, line {line}: found {dict(row)}; expected video_name,label with a label from 1 to 7 "
                        "(lists with labels from 0 come from other repositories; use those of the data set)"
                    ) from error
                yield VideoRecord(
                    name, str(CLIPS / name), emotion, split=split, fold=self.fold, votes=votes.get(name, "")
                )


@lru_cache(maxsize=1)
def read_votes(table: Path, state: tuple[int, ...] | None) -> dict[str, str]:
    """Reads the votes for all 16 372 clips, as in a manifest, by clip id.

    Reading the workbook takes seconds, so it is read again only if it has changed.

    Args:
        table: the workbook.
        state: its `file_state`.

    Raises:
        ValueError: the file is no workbook, a column is missing, or a row is invalid; the message names it.
    """
    from openpyxl import load_workbook  # only data sets with workbooks need it

    expected = f"the columns order and {', '.join(VOTE_COLUMNS)}, with whole numbers"
    try:
        rows = load_workbook(table, read_only=True, data_only=True).worksheets[0].iter_rows(values_only=True)
        header = [str(name) for name in next(rows)]
        places = [header.index(name) for name in ("order", *VOTE_COLUMNS)]
    except Exception as error:  # the file may be anything
        raise ValueError(f"{table} cannot be read ({type(error).__name__}: {error}); expected {expected}") from error
    votes: dict[str, str] = {}
    for line, row in enumerate(rows, start=2):
        try:
            number, *counts = (int(str(row[place])) for place in places)
        except (IndexError, ValueError) as error:
            raise ValueError(f"{table}, row {line}: found {row[:10]}; expected {expected}") from error
        names = (emotion_name(column[1:]) for column in VOTE_COLUMNS)
        votes[f"{number:05d}"] = format_votes(dict(zip(names, counts, strict=True)))
    return votes
