"""Data sets of still images in small, in their real layouts: each emotion has its own colour."""

import csv
from pathlib import Path

import cv2
import numpy as np

from data_modules.datasets import affectnet, fer2013, ferplus, rafdb
from data_modules.labels import SEVEN
from tests.fakes.pictures import coloured_frame

LANDMARKS = ";".join(f"{x}.5;{x}.25" for x in range(68))


def write_still(path: Path, emotion: str, seed: int, width: int = 32, height: int = 32) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = coloured_frame(emotion, np.random.default_rng(seed), max(width, height))
    cv2.imwrite(str(path), picture[:height, :width])


def fer2013_row(code: int, usage: str, seed: int) -> tuple[str, str, str]:
    """Grey faces know no colour: the emotion is the brightness."""
    pixels = np.random.default_rng(seed).integers(0, 30, 48 * 48) + 32 * code
    return str(code), " ".join(map(str, pixels)), usage


def write_fer2013(root: Path, train: int = 21, inner: int = 7, test: int = 7) -> Path:
    """`fer2013.csv`: `emotion,pixels,Usage`."""
    usages = ["Training"] * train + ["PublicTest"] * inner + ["PrivateTest"] * test
    folder = root / "fer2013"
    folder.mkdir(parents=True)
    with (folder / fer2013.TABLE).open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(fer2013.COLUMNS)
        table.writerows(fer2013_row(number % 7, usage, number) for number, usage in enumerate(usages))
    return folder


def write_ferplus(folder: Path, rows: list[tuple[str, list[int]]]) -> Path:
    """`fer2013new.csv` beside FER2013's table: the usage of each image, and its votes in the order of the columns."""
    path = folder / ferplus.TABLE
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(ferplus.COLUMNS)
        table.writerows([usage, f"fer{number:07d}.png", *votes] for number, (usage, votes) in enumerate(rows))
    return path


def write_rafdb(root: Path, train: int = 28, test: int = 7) -> Path:
    """`EmoLabel/list_patition_label.txt`, `Image/aligned/train_00001_aligned.jpg`."""
    folder, lines = root / "rafdb", []
    for split, count in (("train", train), ("test", test)):
        for number in range(1, count + 1):
            name, code = f"{split}_{number:05d}", 1 + number % 7
            write_still(folder / rafdb.IMAGES / f"{name}_aligned.jpg", rafdb.CODES[code], len(lines))
            lines.append(f"{name}.jpg {code}\n")
    (folder / rafdb.LIST).parent.mkdir()
    (folder / rafdb.LIST).write_text("".join(lines))
    return folder


def affectnet_row(file: str, code: int) -> tuple[str, ...]:
    return file, "10", "12", "90", "90", LANDMARKS, str(code), "-0.1", "0.2"


def write_affectnet(root: Path, train: int = 44, test: int = 11, header: bool = True) -> Path:
    """The lists with all eleven codes in turn, images in numbered subfolders."""
    folder = root / "affectnet"
    for split, count in (("train", train), ("test", test)):
        rows = []
        for number in range(count):
            file, code = f"{number % 3}/{split}{number:04x}.jpg", number % 11
            emotion = affectnet.CODES.get(code, SEVEN[0])
            emotion = emotion if emotion in SEVEN else SEVEN[0]  # the palette has seven colours
            write_still(folder / affectnet.IMAGES[1] / file, emotion, number + 1000 * (split == "test"))
            rows.append(affectnet_row(file, code))
        write_affectnet_list(folder, split, rows, header)
    return folder


def write_affectnet_list(folder: Path, split: str, rows: list[tuple[str, ...]], header: bool = True) -> None:
    path = folder / affectnet.LISTS / affectnet.FILES[split]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([affectnet.COLUMNS] * header + rows)


def write_sfew(root: Path, train: int = 4, test: int = 1) -> Path:
    """`Train_Aligned_Faces/Angry/Airheads_000519240_00000005.png`, 143 x 181; films differ between the splits."""
    folder = root / "sfew"
    names = ("Angry", "Disgust", "Fear", "Happy", "Neutral", "Sad", "Surprise")
    for part, count in (("Train", train), ("Val", test)):
        for code, (name, emotion) in enumerate(zip(names, SEVEN, strict=True)):
            for number in range(count):
                film = f"{part} Film_{number}_{number:09d}_{code:08d}.png"
                seed = code + 7 * number + 1000 * (part == "Val")
                write_still(folder / f"{part}_Aligned_Faces" / name / film, emotion, seed, 143, 181)
    return folder
