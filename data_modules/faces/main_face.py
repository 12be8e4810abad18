"""Chooses the main face of a clip by a vote over tracks, and locates it in every frame.

The vote needs the whole clip, so all detections are kept in compact arrays of 68 bytes each: an hour of video with a
face in each frame takes 7 MB.
"""

from bisect import bisect
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from data_modules.faces.detection import Detection
from data_modules.faces.detection_log import DetectionLog
from data_modules.faces.track import Track
from data_modules.faces.tracker_settings import CostTerm
from data_modules.faces.tracking import FaceTracker


def vote(
    tracks: Sequence[Track],
    num_frames: int,
    frame_size: tuple[int, int],
    weights: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> NDArray[np.float64]:
    """Computes the (N,) votes for each track as the main face: Do et al. (2021), equations 11 and 12.

    Args:
        tracks: the tracks of one clip.
        num_frames: number of frames that the detector saw.
        frame_size: (width, height) in pixels.
        weights: those of `VoteWeights`: of the share of frames, of the size, and of the probability.

    Raises:
        ValueError: the clip has no frames, or the frames have no pixels.
    """
    area = frame_size[0] * frame_size[1]
    if num_frames < 1 or area <= 0:
        raise ValueError(
            f"found {num_frames} frames of {frame_size[0]} x {frame_size[1]} pixels; expected at least one pixel"
        )
    terms = [(len(track) / num_frames, track.mean_area / area, track.mean_score) for track in tracks]
    return np.asarray(terms, dtype=np.float64).reshape(-1, 3) @ np.asarray(weights, dtype=np.float64)


class TrackedBox:
    """Locates in each frame what some tracks of a clip show, which do not share a frame.

    Box and points are interpolated linearly between detections of a track that are at most `max_gap` frames apart.
    Where a track begins or ends, its position also holds for half of the frames up to the next frame that the detector
    saw, and after the last such frame for the rest of the clip. Positions are not interpolated between tracks, as the
    face jumped there. `is_detected` distinguishes detected from interpolated positions.

    Args:
        tracker: the tracker, after it has seen the whole clip.
        chosen: tracks of the tracker in temporal order.
        every: the tracker saw every n-th frame, and those beside cuts.
        max_gap: largest distance in frames between detections that is interpolated; consecutive frames that the
            detector saw always are.

    Raises:
        ValueError: the tracker was made with `record=False`.
    """

    def __init__(self, tracker: FaceTracker, chosen: Sequence[Track], every: int, max_gap: int) -> None:
        self.chosen = list(chosen)
        self._frames, numbers, self._rows = recorded(tracker).select([track.number for track in self.chosen])
        self._begins = np.diff(numbers, prepend=-1) != 0  # (N,) whether this is the first detection of a track
        self._first, self._last = recorded(tracker).held(self._frames, every)
        self._max_gap = max(max_gap, every)

    def at(self, index: int) -> Detection | None:
        """Returns what the tracks show in frame `index`, or None if that is nothing."""
        after = int(np.searchsorted(self._frames, index))
        if after < len(self._frames) and self._frames[after] == index:
            return _detection(self._rows[after])
        if 0 < after < len(self._frames) and not self._begins[after]:
            start, end = self._frames[after - 1], self._frames[after]
            if end - start <= self._max_gap:
                share = np.float32((index - start) / (end - start))
                return _detection((1 - share) * self._rows[after - 1] + share * self._rows[after])
        if after > 0 and index <= self._last[after - 1]:
            return _detection(self._rows[after - 1])
        if after < len(self._frames) and index >= self._first[after]:
            return _detection(self._rows[after])
        return None

    def is_detected(self, index: int) -> bool:
        """Returns whether there is a detection in frame `index`; otherwise `at` interpolates or returns None."""
        after = int(np.searchsorted(self._frames, index))
        return after < len(self._frames) and bool(self._frames[after] == index)


class MainFace(TrackedBox):
    """Locates the main face in each frame: the track with most votes, and further tracks of the same person.

    Args:
        tracker: the tracker, after it has seen the whole clip; its settings have the weights of the vote.
        frame_size: (width, height) in pixels.
        every: see `TrackedBox`.
        max_gap: see `TrackedBox`.

    Raises:
        ValueError: the tracker was made with `record=False`.
    """

    def __init__(self, tracker: FaceTracker, frame_size: tuple[int, int], every: int, max_gap: int = 15) -> None:
        chosen = tracks_of_one(candidates(tracker, frame_size), tracker.settings.appearance)
        super().__init__(tracker, chosen, every, max_gap)


def candidates(tracker: FaceTracker, frame_size: tuple[int, int]) -> list[Track]:
    """Returns the tracks that may show a face, those with the most votes first.

    A single detection in many frames is taken for a false positive.

    Args:
        tracker: the tracker, after it has seen the whole clip; its settings have the weights of the vote.
        frame_size: (width, height) in pixels.
    """
    tracks = [track for track in tracker.tracks if len(track) > 1 or tracker.looks < 4]
    votes = vote(tracks, max(tracker.looks, 1), frame_size, tracker.settings.vote.values)
    return [tracks[i] for i in np.argsort(-votes, kind="stable")]


def recorded(tracker: FaceTracker) -> DetectionLog:
    """Returns the detections that a tracker has recorded.

    Raises:
        ValueError: the tracker was made with `record=False`.
    """
    if tracker.detections is None:
        raise ValueError("this tracker was created with record=False and has no detections; create it with record=True")
    return tracker.detections


def tracks_of_one(ordered: Sequence[Track], terms: tuple[CostTerm, ...]) -> list[Track]:
    """Returns the first of the tracks and those that may show the same person, in temporal order.

    Tracks are added in their order. A track that shares a frame with those already chosen shows another person, as
    nobody is in a frame twice. So does a track of different appearance: its mean histogram or embedding is further from
    the mean of the chosen ones than the tracker's threshold (only if the tracker was given frames). The paper uses the
    first track only; adding others is [our choice].

    Args:
        ordered: tracks, the most important first.
        terms: the tracker's terms of appearance.
    """
    spans: list[tuple[int, int, int]] = []  # first frame, last frame, index in `ordered`: ascending, disjoint
    means: list[NDArray[np.float64]] = []  # (D,) for each kind of features, over all frames of the chosen tracks
    length = 0
    for index, track in enumerate(ordered):
        position = bisect(spans, (track.first_frame,))
        if position > 0 and spans[position - 1][1] >= track.first_frame:
            continue
        if position < len(spans) and spans[position][0] <= track.last_frame:
            continue
        features = [history.mean for history in track.histories]
        pairs = zip(terms, means, features, strict=False)  # features may be missing
        if any(np.linalg.norm(mean - feature) > term.threshold for term, mean, feature in pairs):
            continue
        spans.insert(position, (track.first_frame, track.last_frame, index))
        share = len(track) / (length + len(track))
        means = [mean + share * (feature - mean) for mean, feature in zip(means or features, features, strict=True)]
        length += len(track)
    return [ordered[index] for _, _, index in spans]


def _detection(row: NDArray[np.float32]) -> Detection:
    points = row[5:].reshape(5, 2)
    return Detection(row[:4], float(row[4]), None if np.isnan(points).any() else points)
