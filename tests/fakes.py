"""Data sets in small, in their real layouts: each emotion has its own colour, so that a few steps can learn it."""

import csv
from pathlib import Path

import cv2
import numpy as np

from data_modules.datasets.dfew import CODES
from data_modules.labels import SEVEN


def coloured_frame(emotion: str, rng: np.random.Generator, size: int) -> np.ndarray:
    """A (size, size, 3) picture in the emotion's colour, with noise."""
    hue = SEVEN.index(emotion) * 180 // len(SEVEN)
    hsv = np.full((size, size, 3), (hue, 200, 180), np.int16) + rng.integers(-12, 12, (size, size, 3))
    return cv2.cvtColor(hsv.clip(0, 255).astype(np.uint8), cv2.COLOR_HSV2BGR)


def write_frames(folder: Path, emotion: str, frames: int, seed: int, size: int) -> None:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for number in range(1, frames + 1):
        cv2.imwrite(str(folder / f"{number}.jpg"), coloured_frame(emotion, rng, size))


def write_dfew(root: Path, train: int = 42, test: int = 15, size: int = 32) -> Path:
    """`Clip/clip_224x224/00001/1.jpg ...` and the lists of fold 1; the last training clip has no readable frame."""
    dfew = root / "dfew"
    codes = sorted(CODES)
    clips = [(number, codes[number % len(codes)]) for number in range(1, train + test + 1)]
    for number, code in clips:
        folder = dfew / "Clip" / "clip_224x224" / f"{number:05d}"
        write_frames(folder, CODES[code], frames=3 + number % 12, seed=number, size=size)
    broken = dfew / "Clip" / "clip_224x224" / f"{train:05d}"
    for path in broken.iterdir():
        path.write_text("no image")
    for split, rows in (("train", clips[:train]), ("test", clips[train:])):
        path = dfew / "EmoLabel_DataSplit" / f"{split}(single-labeled)" / "set_1.csv"
        path.parent.mkdir(parents=True)
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([("video_name", "label"), *((f"{n:05d}", code) for n, code in rows)])
    return dfew
