"""FER2013 (Goodfellow et al., ICONIP 2013): 35 887 grey faces of 48² pixels, published as one CSV table."""

import csv
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from data_modules.datasets.dataset import DatasetNotFoundError, SplitCount, data_root, store_root
from data_modules.datasets.stills import StillDataset, row_error
from data_modules.faces.settings import FaceSettings
from data_modules.labels import ANGER, DISGUST, FEAR, HAPPINESS, NEUTRAL, SADNESS, SEVEN, SURPRISE
from data_modules.manifest import VideoRecord, read_manifest, write_manifest
from data_modules.utils.files import atomic_write, flush_disks
from data_modules.utils.progress import progress

CODES = {0: ANGER, 1: DISGUST, 2: FEAR, 3: HAPPINESS, 4: SADNESS, 5: SURPRISE, 6: NEUTRAL}
USAGES = {"Training": "train", "PublicTest": "inner", "PrivateTest": "test"}
COLUMNS = ("emotion", "pixels", "Usage")
SIDE = 48
TABLE, MANIFEST = "fer2013.csv", "manifest.csv"
SAMPLE = 1 << 20  # bytes from each end of the table for its fingerprint


@dataclass(frozen=True)
class FaceRow:
    """A row of the table and its image."""

    record: VideoRecord
    pixels: NDArray[np.uint8]  # (48, 48) grey


@dataclass
class FER2013(StillDataset):
    """Images unpacked once from the table into PNG files in the store (the data set's folder may be read-only).

    As in the competition, the rows of the public leaderboard (PublicTest) are the inner split and those of the private
    one (PrivateTest) the test split. Not every paper does so.
    """

    faces: FaceSettings = field(default_factory=lambda: FaceSettings(detector="crop", size=SIDE, margin=0.0))

    name: ClassVar[str] = "fer2013"
    licence: ClassVar[str] = "of the Kaggle competition, for research; the images' own rights are not cleared"
    how_to_get: ClassVar[str] = (
        "download fer2013.csv from https://www.kaggle.com/c/challenges-in-representation-learning-facial-expression-"
        "recognition-challenge (with an account); `fer data prepare fer2013` unpacks it."
    )
    counts: ClassVar[tuple[SplitCount, ...]] = (
        SplitCount("train", 28709),
        SplitCount("inner", 3589),
        SplitCount("test", 3589),
    )

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
        folder, records = self.folder, list[VideoRecord]()
        if (folder / MANIFEST).is_file():
            return
        with self.table.open("rb") as file:
            total = sum(1 for _ in file) - 1
        with progress(f"{self.name}: unpacking", total) as advance:
            for row in self._rows():
                png = cv2.imencode(".png", row.pixels)[1].tobytes()
                atomic_write(folder / row.record.path, png, flush=False)  # 36 000 waits for the disk
                records.append(row.record)
                advance(len(records))
        flush_disks()
        write_manifest(folder / MANIFEST, records)

    def read(self) -> Iterator[VideoRecord]:
        """Yields the unpacked images."""
        if not self.table.is_file():
            raise self.not_found(TABLE)
        manifest = self.folder / MANIFEST
        if not manifest.is_file():
            raise DatasetNotFoundError(
                f"{self.name}: {self.table} has not been completely unpacked into {self.folder}; "
                f"run `fer data prepare {self.name}`"
            )
        yield from read_manifest(manifest)

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


def _fingerprint(table: Path) -> str:
    """Returns a name for the table's content, so that the images of two tables never mix."""
    size = table.stat().st_size
    with table.open("rb") as file:
        head = file.read(SAMPLE)
        file.seek(max(0, size - SAMPLE))
        return hashlib.sha256(b"%d " % size + head + file.read(SAMPLE)).hexdigest()[:10]
