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
        every: the tracker saw every n-th frame, and those beside cuts.
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
    if not len(frames):
        return frames
    order = np.lexsort((frames, numbers))
    frames, numbers = frames[order], numbers[order]
    joined = np.append((np.diff(numbers) == 0) & (np.diff(frames) <= max(max_gap, every)), False)
    first, last = recorded(tracker).held(frames, every)
    return _covered(np.maximum(first, 0), np.where(joined, np.roll(frames, -1), last))


def _covered(first: NDArray[np.int64], last: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns the frames from any of the first to its last."""
    steps = np.zeros(last.max() + 2, np.int64)
    np.add.at(steps, first, 1)
    np.add.at(steps, last + 1, -1)
    return np.flatnonzero(steps.cumsum())
