"""Short clips brought to a wanted length: frames between two are made by optical flow, without any weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar, overload

import cv2
import numpy as np
from numpy.typing import NDArray

from data_modules.video.source import Frame

Number = TypeVar("Number", float, NDArray[np.float32])

Flow = NDArray[np.float32]
"""(H, W, 2): how far, in pixels right and down, what is seen at a pixel moves to the other frame."""

SMALLEST = 16  # pixels: DIS halves the picture and takes patches of 8; below, OpenCV reads beyond it and may crash
ROUNDS = 2  # of `seen_from`: the first finds slow motion, the second helps where it is fast; more change nothing
NEIGHBOURHOOD = 4.0  # pixels (standard deviation) around each, in which two frames are compared


@dataclass(frozen=True)
class Lengthened:
    """A clip of L frames made from T."""

    crops: list[Frame]  # L of (H, W, 3)
    position: NDArray[np.float64]  # (L,) where each stands between the given ones, 0 to T - 1
    made: NDArray[np.bool_]  # (L,) false where it is one of the given frames, unchanged


def lengthen(crops: Sequence[Frame], length: int) -> Lengthened:
    """Brings a clip to at least `length` frames, evenly spaced in time, the first and the last of them kept.

    The papers leave the method open, or use a learned one; [our choice] is dense optical flow (DIS, Kroeger et al.
    2016) in both directions: both neighbours are warped to the time between them and blended by nearness. Where the
    flow does not explain how they differ, they are blended as they are.

    Args:
        crops: T frames (H, W, 3) of one size, at least 16 pixels each way. A clip of one frame is repeated, one of
            `length` frames or more comes back as it is.
        length: how many frames are wanted.

    Raises:
        ValueError: there is no frame, or frames differ in size or are too small for optical flow.
    """
    count = len(crops)
    if not count:
        raise ValueError("a clip without frames cannot be lengthened; expected at least one")
    if count >= length:
        return Lengthened(list(crops), np.arange(count, dtype=np.float64), np.zeros(count, np.bool_))
    if count == 1:
        return Lengthened([crops[0]] * length, np.zeros(length), np.zeros(length, np.bool_))
    _check_sizes(crops)
    steps = np.arange(length) * (count - 1)
    position, made = steps / (length - 1), steps % (length - 1) != 0  # whole numbers decide, nothing is rounded
    finder = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    longer: list[Frame] = [crops[int(p)] for p in position]
    for first in np.unique(position[made].astype(np.int64)):
        wanted = np.flatnonzero(made & (position.astype(np.int64) == first))
        frames = between_frames(crops[first], crops[first + 1], (position[wanted] % 1).tolist(), finder)
        for i, frame in zip(wanted, frames, strict=True):
            longer[i] = frame
    return Lengthened(longer, position, made)


def between_frames(low: Frame, high: Frame, shares: Sequence[float], finder: cv2.DISOpticalFlow) -> list[Frame]:
    """The frames at these shares (0 to 1) of the time from `low` to `high`, (H, W, 3) each."""
    one, two = (cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (low, high))
    there, back = finder.calc(one, two, None), finder.calc(two, one, None)
    return [_blend(low, high, seen_from(low, there, t), seen_from(high, back, 1 - t), t) for t in shares]


def _blend(low: Frame, high: Frame, low_moved: Frame, high_moved: Frame, share: float) -> Frame:
    """Both moved frames by nearness; where moving them does not make them more alike, the flow is wrong: unmoved.

    That is where something appears or disappears (teeth, the white of an eye), and where there is only noise.
    """
    still, moved = _difference(low, high), _difference(low_moved, high_moved)
    trust = np.clip(2 * (still - moved) / (still + moved + 1), 0, 1)[..., None]
    faded = (1 - share) * np.float32(low) + share * np.float32(high)
    flown = (1 - share) * np.float32(low_moved) + share * np.float32(high_moved)
    return np.asarray(np.rint(faded + trust * (flown - faded)), dtype=np.uint8)


def _difference(a: Frame, b: Frame) -> NDArray[np.float32]:
    """(H, W) absolute difference of two frames, summed over colours, in the neighbourhood of each pixel."""
    total = cv2.absdiff(a, b).sum(axis=2, dtype=np.float32)
    return np.asarray(cv2.GaussianBlur(total, (0, 0), NEIGHBOURHOOD), dtype=np.float32)


def seen_from(frame: Frame, flow: Flow, share: float) -> Frame:
    """A frame of which everything has gone a share of its way along the flow.

    The flow is known where things start, and is needed where they are now: what is at x came from the point y with
    y + share * flow(y) = x, which repeated substitution finds for smooth flow.
    """
    height, width = frame.shape[:2]
    here = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(np.float32)  # (H, W, 2)
    origin = here - np.float32(share) * flow
    for _ in range(ROUNDS):
        gone = cv2.remap(flow, origin, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        origin = here - np.float32(share) * gone
    moved = cv2.remap(frame, origin, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, dtype=np.uint8)


@overload
def between(low: Number, high: Number, share: float) -> Number: ...
@overload
def between(low: Number | None, high: Number | None, share: float) -> Number | None: ...
def between(low: Number | None, high: Number | None, share: float) -> Number | None:
    """What a frame's numbers - box, landmarks, intensity, score - are at this share of the time from one to the next.

    None where one of the two is missing.
    """
    if low is None or high is None:
        return None
    return low + (high - low) * share


def at_positions(values: NDArray[np.float32], position: NDArray[np.float64]) -> NDArray[np.float32]:
    """(T, ...) numbers of the given frames -> (L, ...) of the lengthened clip's, linearly between neighbours."""
    first = position.astype(np.int64)
    following = np.minimum(first + 1, len(values) - 1)
    share = (position - first).astype(np.float32).reshape(-1, *(1,) * (values.ndim - 1))
    return values[first] + (values[following] - values[first]) * share


def _check_sizes(crops: Sequence[Frame]) -> None:
    shapes = {crop.shape for crop in crops}
    if len(shapes) > 1 or min(crops[0].shape[:2]) < SMALLEST:
        raise ValueError(
            f"frames of {', '.join(f'{s[1]} x {s[0]}' for s in sorted(shapes))} pixels; "
            f"expected one size of at least {SMALLEST} x {SMALLEST}"
        )
