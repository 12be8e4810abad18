"""Who the main face is - a vote over tracks - and where it is in every frame.

A tracker forgets; what needs the whole clip is kept here: where each face was, in compact arrays of 68 bytes a
detection (an hour of video with a face in each frame takes 7 MB).
"""

from bisect import bisect
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from data_modules.faces.detection import Detection
from data_modules.faces.track import CostTerm, Track
from data_modules.faces.tracking import FaceTracker


def vote(
    tracks: Sequence[Track],
    num_frames: int,
    frame_size: tuple[int, int],
    weights: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> NDArray[np.float64]:
    """(N,) how much speaks for each track as the main face: Do et al. (2021), equations 11 and 12.

    Args:
        tracks: of one clip.
        num_frames: the clip's length; where only some frames were looked at, how many.
        frame_size: (width, height) in pixels.
        weights: c_freq of the share of frames, c_size of the mean face area over the frame's, c_prob of the mean
            detection probability. The defaults are [our choice].

    Raises:
        ValueError: a clip without frames, or frames without pixels.
    """
    area = frame_size[0] * frame_size[1]
    if num_frames < 1 or area <= 0:
        raise ValueError(f"{num_frames} frames of {frame_size[0]} x {frame_size[1]} pixels; expected one pixel or more")
    terms = [(len(track) / num_frames, track.mean_area / area, track.mean_score) for track in tracks]
    return np.asarray(terms, dtype=np.float64).reshape(-1, 3) @ np.asarray(weights, dtype=np.float64)


class MainFace:
    """The main face in each frame: the track with most votes, and others only where they may be the same person.

    A person is never in one frame twice. So a further track joins, in the order of votes, if it lies wholly before,
    between or after what is already chosen; one that shares a frame with it is somebody else. So is one that looks
    otherwise, where the tracker was given frames: its mean histogram or embedding is further from the mean of those
    chosen than the tracker's threshold. (The paper has the first track alone; joining is [our choice].)

    Between detections of one track the box and the points are interpolated linearly, over `max_gap` frames at most;
    where a track begins or ends between two looks, its place there holds for half of the frames between, and after the
    last look for the rest of the clip. Between two tracks nothing is: there the face jumped. `is_detected` tells frames
    with a detection of their own from all these.

    Args:
        tracker: that has seen the whole clip.
        frame_size: (width, height) in pixels.
        every: the tracker saw each `every`-th frame.
        max_gap: from a detection to the next, in frames, at most so far apart are places interpolated. Consecutive
            looks always are.
        weights: of the vote.

    Raises:
        ValueError: the tracker was made with `record=False`.
    """

    def __init__(
        self,
        tracker: FaceTracker,
        frame_size: tuple[int, int],
        every: int,
        max_gap: int = 15,
        weights: tuple[float, float, float] = (1.0, 1.0, 1.0),
    ) -> None:
        if tracker.detections is None:
            raise ValueError("this tracker was made with record=False and has no detections; make it with record=True")
        # one detection in many looks is a false one: a face that no second look confirms
        tracks = [track for track in tracker.tracks if len(track) > 1 or tracker.looks < 4]
        votes = vote(tracks, max(tracker.looks, 1), frame_size, weights)
        ordered = [tracks[i] for i in np.argsort(-votes, kind="stable")]
        self.chosen = _same_person(ordered, tracker.settings.appearance)
        self._frames, numbers, self._rows = tracker.detections.select([track.number for track in self.chosen])
        self._begins = np.diff(numbers, prepend=-1) != 0  # (N,) whether a track begins with this detection
        self._every, self._max_gap, self._last_look = every, max(max_gap, every), tracker.last_look

    def at(self, index: int) -> Detection | None:
        """The main face in frame `index`, None where nobody is seen."""
        after = int(np.searchsorted(self._frames, index))
        if after < len(self._frames) and self._frames[after] == index:
            return _detection(self._rows[after])
        if 0 < after < len(self._frames) and not self._begins[after]:
            start, end = self._frames[after - 1], self._frames[after]
            if end - start <= self._max_gap:
                share = np.float32((index - start) / (end - start))
                return _detection((1 - share) * self._rows[after - 1] + share * self._rows[after])
        if after > 0 and index - self._frames[after - 1] <= self._reach(after - 1):
            return _detection(self._rows[after - 1])
        if after < len(self._frames) and self._frames[after] - index <= self._every // 2:
            return _detection(self._rows[after])
        return None

    def is_detected(self, index: int) -> bool:
        """Whether a detector saw the main face in frame `index` itself; where not, `at` gives None or interpolates."""
        after = int(np.searchsorted(self._frames, index))
        return after < len(self._frames) and bool(self._frames[after] == index)

    def _reach(self, row: int) -> int:
        """For how many frames a place holds after its detection: half of the way to the next look, or to the end."""
        return self._every - 1 if self._frames[row] == self._last_look else self._every // 2


def _same_person(ordered: Sequence[Track], terms: tuple[CostTerm, ...]) -> list[Track]:
    """Of tracks in the order of votes the first, and those that may be the same person, in the order of time."""
    spans: list[tuple[int, int, int]] = []  # first frame, last frame, place in `ordered`: ascending, disjoint
    means: list[NDArray[np.float64]] = []  # (D,) of each kind of features, over all frames of the chosen
    length = 0
    for place, track in enumerate(ordered):
        here = bisect(spans, (track.first_frame,))
        if here > 0 and spans[here - 1][1] >= track.first_frame:
            continue
        if here < len(spans) and spans[here][0] <= track.last_frame:
            continue
        looks = [history.mean for history in track.histories]
        pairs = zip(terms, means, looks, strict=False)  # no terms for what is not known
        if any(np.linalg.norm(mean - look) > term.threshold for term, mean, look in pairs):
            continue
        spans.insert(here, (track.first_frame, track.last_frame, place))
        share = len(track) / (length + len(track))
        means = [mean + share * (look - mean) for mean, look in zip(means or looks, looks, strict=True)]
        length += len(track)
    return [ordered[place] for _, _, place in spans]


def _detection(row: NDArray[np.float32]) -> Detection:
    points = row[5:].reshape(5, 2)
    return Detection(row[:4], float(row[4]), None if np.isnan(points).any() else points)
