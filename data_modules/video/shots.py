"""Finds shot changes: frames whose colours differ from those before them, all at once and for longer than a flash."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from data_modules.video.source import Frame

SIDE = 64  # pixels of the small picture whose colours are counted
BINS = (12, 8, 8)  # of hue, saturation and value


@dataclass(frozen=True)
class ShotSettings:
    """When the colours of frames have changed enough for a new shot. All values are [our choice].

    The distance of two frames is half the sum of absolute differences of their colour histograms, 0 to 1. A new shot
    begins where each of the frames after the change is far from each of those before it, so a flash is none, and where
    that distance is a multiple of the recent ones, so neither is a camera that moves. A change that is taken for a cut
    costs little, as tracks of the same appearance are joined; a cut that is overlooked may join two persons. Shots of a
    single look are overlooked.

    Args:
        distance: the least distance between the frames before and after a cut.
        ratio: how many times as large as the mean distance between neighbours before the cut, and after it, it must be.
        flash: frames that a flash may take.

    Raises:
        ValueError: a value is out of range.
    """

    distance: float = 0.2
    ratio: float = 2.5
    flash: int = 4

    def __post_init__(self) -> None:
        if not 0 < self.distance < 1 or self.ratio < 1 or self.flash < 0:
            raise ValueError(f"found {self}; expected a distance within 0 and 1, a ratio from 1 and a flash from 0 on")


DEFAULT_SHOTS = ShotSettings()


def with_cuts(
    frames: Iterator[tuple[int, Frame]], every: int = 1, settings: ShotSettings = DEFAULT_SHOTS
) -> Iterator[tuple[int, Frame, bool]]:
    """Yields frames with their numbers, and whether a new shot has begun since the last one.

    A cut is known only some frames later, so these are held back: two of every fourth frame.

    Args:
        frames: every n-th frame of a clip, (H, W, 3) RGB, with its number.
        every: n.
        settings: what a cut is.
    """
    reach = 2 + (settings.flash - 1) // every if settings.flash else 1  # frames on either side of a cut
    waiting = deque[tuple[int, Frame]]()
    seen = deque[NDArray[np.float32]](maxlen=3 * reach)  # histograms: of frames before, and of those that wait
    for item in frames:
        waiting.append(item)
        seen.append(_colours(item[1]))
        if len(waiting) == reach:
            yield *waiting.popleft(), _is_cut(seen, reach, reach, settings)
    while waiting:
        yield *waiting.popleft(), _is_cut(seen, len(waiting) + 1, reach, settings)


def _is_cut(seen: deque[NDArray[np.float32]], after: int, reach: int, settings: ShotSettings) -> bool:
    """Returns whether a shot begins with the first of the last `after` frames."""
    colours = np.stack(seen)
    first = len(colours) - after
    if first < 1:
        return False
    before, later = colours[max(first - reach, 0) : first], colours[first:]
    change = float(np.abs(before[:, None] - later[None]).sum(-1).min()) / 2
    steps = np.abs(np.diff(colours, axis=0)).sum(-1) / 2
    usual = max((float(part.mean()) for part in (steps[: first - 1], steps[first:]) if len(part)), default=0.0)
    return change >= settings.distance and change >= settings.ratio * usual


def _colours(frame: Frame) -> NDArray[np.float32]:
    """Returns the share of each colour, (B,)."""
    small = np.asarray(cv2.resize(frame, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.uint8)
    hsv = cv2.cvtColor(small, cv2.COLOR_RGB2HSV)
    counts = cv2.calcHist([hsv], [0, 1, 2], None, list(BINS), [0, 180, 0, 256, 0, 256])
    return np.asarray(counts, np.float32).ravel() / np.float32(SIDE * SIDE)
