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


@dataclass(frozen=True, eq=False)
class _Look:
    """One of every n frames, and the two neighbours since the last one between which most colours change."""

    index: int
    frame: Frame
    colours: NDArray[np.float32]
    neighbours: tuple[tuple[int, Frame], ...]  # none before the first look

    def marked(self, every: int, is_cut: bool) -> Iterator[tuple[int, Frame, bool]]:
        """Yields the frame, and before it those on both sides of a cut that are not looked at anyway."""
        if is_cut:
            for (index, frame), begins in zip(self.neighbours, (False, True), strict=True):
                if index % every:
                    yield index, frame, begins
                    is_cut = not begins
        yield self.index, self.frame, is_cut


def with_cuts(
    frames: Iterator[tuple[int, Frame]], every: int = 1, settings: ShotSettings = DEFAULT_SHOTS
) -> Iterator[tuple[int, Frame, bool]]:
    """Yields every n-th frame with its number, and whether a shot begins with it.

    If a shot begins between two of them, its first frame and the last one before it are yielded, too: they are the
    neighbours between which most colours change. A cut is known only some frames later, so these are held back: two of
    every fourth frame.

    Args:
        frames: all frames of a clip, (H, W, 3) RGB, with their numbers.
        every: n; frames whose number is a multiple of it are looked at.
        settings: what a cut is.
    """
    reach = 2 + (settings.flash - 1) // every if settings.flash else 1  # looks on either side of a cut
    waiting = deque[_Look]()
    seen = deque[NDArray[np.float32]](maxlen=3 * reach)  # histograms: of looks before, and of those that wait
    for look in _looks(frames, every):
        waiting.append(look)
        seen.append(look.colours)
        if len(waiting) == reach:
            yield from waiting.popleft().marked(every, _is_cut(seen, reach, reach, settings))
    while waiting:
        is_cut = _is_cut(seen, len(waiting), reach, settings)
        yield from waiting.popleft().marked(every, is_cut)


def _looks(frames: Iterator[tuple[int, Frame]], every: int) -> Iterator[_Look]:
    last: tuple[int, Frame] | None = None
    before, largest, neighbours = np.zeros(0, np.float32), -1.0, tuple[tuple[int, Frame], ...]()
    for item in frames:
        step = max(1, min(item[1].shape[:2]) // SIDE)
        colours = _colours(np.ascontiguousarray(item[1][::step, ::step]))  # enough for the place of a cut
        if last is not None and (change := float(np.abs(colours - before).sum())) > largest:
            largest, neighbours = change, (last, item)
        if item[0] % every == 0:
            yield _Look(*item, _colours(item[1]), neighbours)
            largest, neighbours = -1.0, ()
        last, before = item, colours


def _is_cut(seen: deque[NDArray[np.float32]], after: int, reach: int, settings: ShotSettings) -> bool:
    """Returns whether a shot begins with the first of the last `after` looks, or since the one before it."""
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
