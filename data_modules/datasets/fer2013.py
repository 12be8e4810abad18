"""FER2013 (Goodfellow et al., ICONIP 2013): 35 887 grey faces of 48² pixels, published as one CSV table."""

import csv
import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from data_modules.datasets.dataset import DatasetNotFoundError, SplitCount, data_root, store_root
from data_modules.datasets.ferplus import TABLE as VOTES_TABLE
from data_modules.datasets.ferplus import majority, read_votes
from data_modules.datasets.stills import StillDataset, row_error
from data_modules.faces.settings import FaceSettings
from data_modules.labels import ANGER, DISGUST, FEAR, HAPPINESS, NEUTRAL, SADNESS, SEVEN, SURPRISE
from data_modules.manifest import VideoRecord, read_manifest, write_manifest
from data_modules.utils.checksum import cached_sha256
from data_modules.utils.csv_tables import write_csv
from data_modules.utils.files import atomic_write, flush_disks
from data_modules.utils.progress import progress

CODES = {0: ANGER, 1: DISGUST, 2: FEAR, 3: HAPPINESS, 4: SADNESS, 5: SURPRISE, 6: NEUTRAL}
USAGES = {"Training": "train", "PublicTest": "inner", "PrivateTest": "test"}
KEPT = ("test", "inner", "train")
"""Of copies, the one in the first of these splits is kept."""
COLUMNS = ("emotion", "pixels", "Usage")
SIDE = 48
TABLE, MANIFEST, COPIES = "fer2013.csv", "manifest.csv", "copies.csv"
Protocol = Literal["fer2013", "ferplus"]


@dataclass(frozen=True)
class FaceRow:
    """A row of the table and its image."""

    record: VideoRecord
    pixels: NDArray[np.uint8]  # (48, 48) grey


@dataclass
class FER2013(StillDataset):
    """Images unpacked once from the table into PNG files in the store (the data set's folder may be read-only).

    As in the competition, the rows of the public leaderboard (PublicTest) are the inner split and those of the private
    one (PrivateTest) the test split. Not every paper does so. If FER+'s table `fer2013new.csv` is in the same folder,
    the records have its votes.

    Args:
        root: the folder of the tables.
        fold: the only fold, `1`.
        faces: how the faces are extracted.
        protocol: `fer2013` for the competition's labels; `ferplus` for the majority of FER+'s votes, which leaves out
            images without one.
        copies: whether training images that have the same pixels as an image of another split, or as an earlier one,
            and images of the inner split that have those of a tested one, are used. The published splits share 557
            images.

    Raises:
        ValueError: the protocol is unknown.
    """

    faces: FaceSettings = field(default_factory=lambda: FaceSettings(detector="crop", size=SIDE, margin=0.0))
    protocol: Protocol = "fer2013"
    copies: bool = True

    name: ClassVar[str] = "fer2013"
    licence: ClassVar[str] = "of the Kaggle competition, for research; the images' own rights are not cleared"
    how_to_get: ClassVar[str] = (
        "download fer2013.csv from https://www.kaggle.com/c/challenges-in-representation-learning-facial-expression-"
        "recognition-challenge (with an account); `fer data prepare fer2013` unpacks it. FER+'s table fer2013new.csv, "
        "for its votes, is at https://github.com/microsoft/FERPlus."
    )
    shared_images: ClassVar[int] = 557
    limits: ClassVar[tuple[str, ...]] = (
        "Its faces are grey pictures of 48 x 48 pixels from the web, found by a search engine under words for "
        "emotions: posed, mostly frontal, some of them drawings, statues or no faces at all.",
        "Its labels are noisy: for a third of the pictures on whose expression most of FER+'s annotators agree, they "
        "agree on another one.",
        "Disgust is rare in it: 436 of 28 709 training pictures.",
    )

    def __post_init__(self) -> None:
        if self.protocol not in get_args(Protocol):
            raise ValueError(
                f"expected the protocol to be one of {', '.join(get_args(Protocol))}; found {self.protocol!r}"
            )

    @property
    def counts(self) -> tuple[SplitCount, ...]:
        """The published numbers of images; with FER+'s protocol or without copies, there are none."""
        if self.protocol != "fer2013" or not self.copies:
            return ()
        return tuple(SplitCount(split, images) for split, images in (("train", 28709), ("inner", 3589), ("test", 3589)))

    @property
    def class_names(self) -> tuple[str, ...]:
        """Seven emotions."""
        return SEVEN

    @property
    def table(self) -> Path:
        """The published CSV table."""
        return (self.root or data_root() / self.name) / TABLE

    @property
    def folder(self) -> Path:
        """The folder of the unpacked images or, if the table does not exist, the folder in which it is expected."""
        if not self.table.is_file():
            return self.table.parent
        return store_root() / "fer2013-images" / _fingerprint(self.table)

    def prepare(self) -> None:
        """Unpacks the images, and then writes the manifest, which says that all of them are there.

        Raises:
            DatasetNotFoundError: the table does not exist.
            ValueError: a row is invalid; the message names file and line.
        """
        if not self.table.is_file():
            raise self.not_found(TABLE)
        folder, records, pixels = self.folder, list[VideoRecord](), list[bytes]()
        if (folder / MANIFEST).is_file() and (folder / COPIES).is_file():
            return
        with self.table.open("rb") as file:
            total = sum(1 for _ in file) - 1
        with progress(f"{self.name}: unpacking", total) as advance:
            for row in self._rows():
                png = cv2.imencode(".png", row.pixels)[1].tobytes()
                atomic_write(folder / row.record.path, png, flush=False)  # 36 000 waits for the disk
                records.append(row.record)
                pixels.append(hashlib.sha256(row.pixels.tobytes()).digest())
                advance(len(records))
        flush_disks()
        write_csv(folder / COPIES, ("clip_id", "copy_of"), _copies(records, pixels))
        write_manifest(folder / MANIFEST, records)

    def read(self) -> Iterator[VideoRecord]:
        """Yields the images of the protocol."""
        records = self._labelled()
        copies = frozenset[str]() if self.copies else self._copied_ids()
        for record in records:
            if record.emotion in self.class_names and record.clip_id not in copies:
                yield record

    def left_out(self) -> Counter[str]:
        """Counts the images without one of the classes by what most annotators chose."""
        return Counter(record.emotion for record in self._labelled() if record.emotion not in self.class_names)

    def _labelled(self) -> list[VideoRecord]:
        """Returns all images with their votes; the emotion is the protocol's, or why there is none."""
        if not self.table.is_file():
            raise self.not_found(TABLE)
        manifest, votes = self.folder / MANIFEST, self.table.with_name(VOTES_TABLE)
        if not (manifest.is_file() and (self.folder / COPIES).is_file()):
            raise DatasetNotFoundError(
                f"{self.name}: {self.table} has not been completely unpacked into {self.folder}; "
                f"run `fer data prepare {self.name}`"
            )
        records = read_manifest(manifest)
        if votes.is_file():
            records = _with_votes(records, votes)
        elif self.protocol == "ferplus":
            raise self.not_found(VOTES_TABLE)
        if self.protocol == "ferplus":
            records = [replace(record, emotion=majority(record.votes)) for record in records]
        return records

    def _copied_ids(self) -> frozenset[str]:
        with (self.folder / COPIES).open(newline="", encoding="utf-8") as file:
            return frozenset(row["clip_id"] for row in csv.DictReader(file))

    def _rows(self) -> Iterator[FaceRow]:
        expected = f"emotion (0 to 6), pixels ({SIDE * SIDE} numbers from 0 to 255) and Usage ({', '.join(USAGES)})"
        with self.table.open(newline="", encoding="utf-8-sig") as file:
            table = csv.DictReader(file)
            if tuple(table.fieldnames or ()) != COLUMNS:
                raise row_error(self.table, 1, table.fieldnames, f"the columns {', '.join(COLUMNS)}")
            row: object = None
            try:
                for number, row in enumerate(table, start=1):
                    usage = row["Usage"].strip()
                    pixels = np.frombuffer(bytes(map(int, row["pixels"].split())), np.uint8).reshape(SIDE, SIDE)
                    path, emotion = f"{usage}/{number:05d}.png", CODES[int(row["emotion"])]
                    yield FaceRow(VideoRecord(f"{number:05d}", path, emotion, split=USAGES[usage]), pixels)
            except csv.Error as error:  # such as a field longer than any row of this table
                raise row_error(self.table, table.reader.line_num, str(error), expected) from error
            except (KeyError, ValueError, AttributeError) as error:
                raise row_error(self.table, table.line_num, row, expected) from error


def _copies(records: Sequence[VideoRecord], pixels: Sequence[bytes]) -> Iterator[tuple[str, str]]:
    """Yields training images that equal one of another split or an earlier one, and inner ones that equal a tested one.

    Each comes with the first of these.

    Args:
        records: all images.
        pixels: a digest of each one's pixels.
    """
    order = sorted(range(len(records)), key=lambda place: KEPT.index(records[place].split))  # stable
    first: dict[bytes, VideoRecord] = {}
    for place in order:
        record = records[place]
        original = first.setdefault(pixels[place], record)
        if original is not record and (record.split == "train" or (record.split, original.split) == ("inner", "test")):
            yield record.clip_id, original.clip_id


def _with_votes(records: Sequence[VideoRecord], table: Path) -> list[VideoRecord]:
    """Adds the votes of FER+, whose rows are in the order of the competition's.

    Raises:
        ValueError: the tables have different rows.
    """
    rows = list(read_votes(table))
    usages = [USAGES.get(usage) for usage, _ in rows]
    if usages != [record.split for record in records]:
        raise ValueError(
            f"{table} has {len(rows)} rows, which do not belong to the {len(records)} rows of {TABLE} beside it; "
            "expected a row for each of these in their order, with the same Usage: use both tables as published"
        )
    return [replace(record, votes=votes) for record, (_, votes) in zip(records, rows, strict=True)]


def _fingerprint(table: Path) -> str:
    """Returns a name for the table's content, so that the images of two tables, such as a corrected one, never mix."""
    return cached_sha256(table)[:10]
