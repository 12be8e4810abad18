"""Lengthens short clips with frames interpolated by optical flow, without a trained network."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar, overload

import cv2
import numpy as np
from numpy.typing import NDArray

from data_modules.video.source import Frame

Number = TypeVar("Number", float, NDArray[np.float32])

Flow = NDArray[np.float32]
"""(H, W, 2) displacement in pixels (right, down) of each pixel's content from one frame to another."""

SMALLEST = 16  # pixels: DIS halves the image and uses patches of 8; with less, OpenCV reads out of bounds
ROUNDS = 2  # of `warp_along_flow`: one suffices for slow motion, two for fast motion; more change nothing
NEIGHBOURHOOD = 4.0  # standard deviation in pixels of the window in which two frames are compared


@dataclass(frozen=True)
class LengthenedClip:
    """A clip of L frames made from T frames."""

    crops: list[Frame]  # L of (H, W, 3)
    position: NDArray[np.float64]  # (L,) position of each between the original frames, 0 to T - 1
    interpolated: NDArray[np.bool_]  # (L,) false for original frames


def lengthen(crops: Sequence[Frame], length: int) -> LengthenedClip:
    """Lengthens a clip to at least `length` frames, evenly spaced in time, with the same first and last frame.

    The papers leave the method open or use a trained one. [our choice] Dense optical flow (DIS, Kroeger et al. 2016,
    https://arxiv.org/abs/1603.03590) is computed in both directions; both neighbours are warped to the time in between
    and blended, weighted by their distance in time. Where the flow does not explain the difference between them, they
    are blended without warping.

    Args:
        crops: T frames (H, W, 3) of one size, at least 16 x 16 pixels. A single frame is repeated; a clip of `length`
            frames or more is returned unchanged.
        length: number of frames to reach.

    Raises:
        ValueError: there are no frames, or the frames differ in size or are too small for optical flow.
    """
    count = len(crops)
    if not count:
        raise ValueError("a clip without frames cannot be lengthened; expected at least one")
    if count >= length:
        return LengthenedClip(list(crops), np.arange(count, dtype=np.float64), np.zeros(count, np.bool_))
    if count == 1:
        return LengthenedClip([crops[0]] * length, np.zeros(length), np.zeros(length, np.bool_))
    _check_sizes(crops)
    steps = np.arange(length) * (count - 1)
    position, interpolated = (
        steps / (length - 1),
        steps % (length - 1) != 0,
    )  # integer arithmetic avoids rounding errors
    finder = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    longer: list[Frame] = [crops[int(p)] for p in position]
    for first in np.unique(position[interpolated].astype(np.int64)):
        targets = np.flatnonzero(interpolated & (position.astype(np.int64) == first))
        frames = interpolate_frames(crops[first], crops[first + 1], (position[targets] % 1).tolist(), finder)
        for i, frame in zip(targets, frames, strict=True):
            longer[i] = frame
    return LengthenedClip(longer, position, interpolated)


def interpolate_frames(low: Frame, high: Frame, shares: Sequence[float], finder: cv2.DISOpticalFlow) -> list[Frame]:
    """Interpolates frames, (H, W, 3) each, at these shares (0 to 1) of the time from `low` to `high`."""
    low_grey, high_grey = (cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (low, high))
    forward, backward = finder.calc(low_grey, high_grey, None), finder.calc(high_grey, low_grey, None)
    return [
        _blend(low, high, warp_along_flow(low, forward, t), warp_along_flow(high, backward, 1 - t), t) for t in shares
    ]


def _blend(low: Frame, high: Frame, low_warped: Frame, high_warped: Frame, share: float) -> Frame:
    """Blends two warped frames, or the original ones where warping does not make them more similar.

    There the flow is wrong: something appears or disappears (teeth, the white of an eye), or there is only noise.
    """
    original, warped = _difference(low, high), _difference(low_warped, high_warped)
    trust = np.clip(2 * (original - warped) / (original + warped + 1), 0, 1)[..., None]
    unwarped = (1 - share) * np.float32(low) + share * np.float32(high)
    blended = (1 - share) * np.float32(low_warped) + share * np.float32(high_warped)
    return np.asarray(np.rint(unwarped + trust * (blended - unwarped)), dtype=np.uint8)


def _difference(a: Frame, b: Frame) -> NDArray[np.float32]:
    """Returns the (H, W) absolute difference of two frames, summed over colours and smoothed over a neighbourhood."""
    total = cv2.absdiff(a, b).sum(axis=2, dtype=np.float32)
    return np.asarray(cv2.GaussianBlur(total, (0, 0), NEIGHBOURHOOD), dtype=np.float32)


def warp_along_flow(frame: Frame, flow: Flow, share: float) -> Frame:
    """Warps a frame by a share of the flow.

    The flow is known at the start of each motion, but needed at its end: the content at x came from the point y with
    y + share * flow(y) = x, which fixed-point iteration finds for smooth flow.
    """
    height, width = frame.shape[:2]
    grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(np.float32)  # (H, W, 2)
    origin = grid - np.float32(share) * flow
    for _ in range(ROUNDS):
        displacement = cv2.remap(flow, origin, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        origin = grid - np.float32(share) * displacement
    warped = cv2.remap(frame, origin, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(warped, dtype=np.uint8)


@overload
def interpolate(low: Number, high: Number, share: float) -> Number: ...
@overload
def interpolate(low: Number | None, high: Number | None, share: float) -> Number | None: ...
def interpolate(low: Number | None, high: Number | None, share: float) -> Number | None:
    """Interpolates numbers such as boxes or landmarks linearly between two frames, at a share (0 to 1) of the time.

    Returns None if either of the two is None.
    """
    if low is None or high is None:
        return None
    return low + (high - low) * share


def _check_sizes(crops: Sequence[Frame]) -> None:
    shapes = {crop.shape for crop in crops}
    if len(shapes) > 1 or min(crops[0].shape[:2]) < SMALLEST:
        raise ValueError(
            f"found frames of {', '.join(f'{s[1]} x {s[0]}' for s in sorted(shapes))} pixels; "
            f"expected one size of at least {SMALLEST} x {SMALLEST}"
        )
