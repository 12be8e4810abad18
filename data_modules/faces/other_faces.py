"""Finds the frames in which somebody else is seen than the person of a clip's main face."""

import numpy as np
from numpy.typing import NDArray

from data_modules.faces.main_face import TrackedBox, candidates, recorded
from data_modules.faces.people import DEFAULT_PEOPLE, PeopleSettings
from data_modules.faces.tracking import FaceTracker


def frames_of_others(
    tracker: FaceTracker,
    main: TrackedBox,
    frame_size: tuple[int, int],
    every: int,
    fps: float,
    max_gap: int = 15,
    settings: PeopleSettings = DEFAULT_PEOPLE,
) -> NDArray[np.int64]:
    """Returns the numbers, (K,), of the frames that show a face of a track that is not of the main face.

    Tracks count that are seen for as long as one of several people must be. As in `TrackedBox`, a face is also in the
    frames between two of its detections, and halfway to the next frame that the detector saw.

    Args:
        tracker: the tracker, after it has seen the whole clip.
        main: the person of the main face.
        frame_size: (width, height) in pixels.
        every: the tracker saw every n-th frame.
        fps: frames per second.
        max_gap: see `TrackedBox`.
        settings: for how long somebody must be seen.
    """
    own = {track.number for track in main.chosen}
    least = min(settings.seconds * fps / every, tracker.looks / 2)
    others = [
        track.number for track in candidates(tracker, frame_size) if track.number not in own and len(track) >= least
    ]
    frames, numbers, _ = recorded(tracker).select(others)
    order = np.lexsort((frames, numbers))
    return _covered(frames[order], numbers[order], every, max(max_gap, every))


def _covered(frames: NDArray[np.int64], numbers: NDArray[np.int64], every: int, max_gap: int) -> NDArray[np.int64]:
    """Returns the frames that detections cover, which are sorted by track and frame."""
    if not len(frames):
        return frames
    following = np.append(frames[1:], frames[-1])
    joined = np.append((numbers[1:] == numbers[:-1]) & (np.diff(frames) <= max_gap), False)
    first, last = np.maximum(frames - every // 2, 0), np.where(joined, following, frames + every // 2)
    steps = np.zeros(last.max() + 2, np.int64)
    np.add.at(steps, first, 1)
    np.add.at(steps, last + 1, -1)
    return np.flatnonzero(steps.cumsum())
