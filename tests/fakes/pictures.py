"""Pictures that tell what they are of: each emotion has its own colour, so that a few steps can learn it."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

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


def write_named_frames(folder: Path, names: Sequence[str], size: int = 24) -> None:
    """Frames in the order of their names; each is brighter than the one before it."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        cv2.imwrite(str(folder / name), np.full((size, size, 3), 10 + 20 * number, np.uint8))
