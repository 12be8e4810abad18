"""Faces over time: detections become tracks, and a vote names the main face.

Tracks are kept in compact arrays, 68 bytes a detection: an hour of video with a face in each frame takes 7 MB.
"""

from array import array
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from data_modules.detection import Detection

ROW = 15  # box 4, score 1, points 10 (NaN where the detector gives none)


class Track:
    """One face over time."""

    def __init__(self) -> None:
        self._frames = array("q")
        self._rows = array("f")

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def frames(self) -> NDArray[np.int64]:
        """(N,) frame numbers of its detections, ascending."""
        return np.array(self._frames, dtype=np.int64)

    @property
    def rows(self) -> NDArray[np.float32]:
        """(N, 15): box, score, and five points (x, y)."""
        return np.array(self._rows, dtype=np.float32).reshape(-1, ROW)

    @property
    def last(self) -> Detection:
        """Its latest detection."""
        return _detection(np.array(self._rows[-ROW:], dtype=np.float32))

    @property
    def last_frame(self) -> int:
        """The frame number of its latest detection."""
        return self._frames[-1]

    def add(self, index: int, face: Detection) -> None:
        """Appends a later detection."""
        self._frames.append(index)
        points = np.full(10, np.nan) if face.points is None else face.points.reshape(10)
        self._rows.extend(float(value) for value in (*face.box, face.score, *points))


def _detection(row: NDArray[np.float32]) -> Detection:
    points = row[5:].reshape(5, 2)
    return Detection(row[:4], float(row[4]), None if np.isnan(points).any() else points)


class FaceTracker:
    """Links detections from frame to frame; `update` is called with ascending frame numbers.

    Args:
        max_gap: a face that is not seen for more frames than this ends its track.
        max_distance: how far a face may move between two looks, as a share of its size.
    """

    def __init__(self, max_gap: int = 15, max_distance: float = 0.6) -> None:
        self.tracks: list[Track] = []
        self.looks = 0
        self.last_look = -1
        self._live: list[Track] = []
        self._max_gap, self._max_distance = max_gap, max_distance

    def update(self, index: int, faces: Sequence[Detection]) -> None:
        """Adds the faces of frame `index` to the tracks they continue, or begins new ones."""
        self.looks, self.last_look = self.looks + 1, index
        self._live = [track for track in self._live if index - track.last_frame <= self._max_gap]
        new = set(range(len(faces)))
        if self._live and faces:
            likeness = self._likeness([track.last.box for track in self._live], [face.box for face in faces])
            for i, j in zip(*linear_sum_assignment(-likeness), strict=True):
                if likeness[i, j] > 0:
                    self._live[i].add(index, faces[j])
                    new.discard(int(j))
        for j in sorted(new):
            track = Track()
            track.add(index, faces[j])
            self.tracks.append(track)
            self._live.append(track)

    def _likeness(self, old: Sequence[NDArray[np.float32]], new: Sequence[NDArray[np.float32]]) -> NDArray[np.float64]:
        """(I, J): intersection over union plus nearness of the centres, 0 where it cannot be the same face."""
        a, b = np.stack(old)[:, None].astype(np.float64), np.stack(new)[None].astype(np.float64)
        overlap = np.prod(np.clip(np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]), 0, None), -1)
        area_a, area_b = np.prod(a[..., 2:] - a[..., :2], -1), np.prod(b[..., 2:] - b[..., :2], -1)
        size = np.sqrt(np.maximum(np.sqrt(np.maximum(area_a * area_b, 1e-9)), 1e-9))
        distance = np.linalg.norm((a[..., :2] + a[..., 2:] - b[..., :2] - b[..., 2:]) / 2, axis=-1) / size
        ratio = np.maximum(area_a, area_b) / np.maximum(np.minimum(area_a, area_b), 1e-9)
        possible = (distance < self._max_distance) & (ratio < 4)
        likeness: NDArray[np.float64] = np.where(
            possible, overlap / np.maximum(area_a + area_b - overlap, 1e-9) + 1 - distance / self._max_distance, 0.0
        )
        return likeness


def vote(
    tracks: Sequence[Track],
    num_frames: int,
    frame_size: tuple[int, int],
    weights: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> NDArray[np.float64]:
    """(N,) how much speaks for each track as the main face: its length, its size, and the detector's scores.

    Args:
        tracks: of one clip.
        num_frames: how many frames were looked at.
        frame_size: (width, height).
        weights: of the share of frames, of the side of the face's mean area over the frame's, of the mean score.
    """
    side = float(np.sqrt(frame_size[0] * frame_size[1]))
    shares = []
    for track in tracks:
        rows = track.rows
        size = float(np.mean(np.sqrt(np.clip(np.prod(rows[:, 2:4] - rows[:, :2], axis=1), 0, None)))) / side
        shares.append((len(track) / max(num_frames, 1), size, float(rows[:, 4].mean())))
    return np.asarray(shares, dtype=np.float64).reshape(-1, 3) @ np.asarray(weights, dtype=np.float64)


class MainFace:
    """The main face in each frame: the track with most votes, and others only where they may be the same person.

    A person is never in one frame twice. So a further track joins, in the order of votes, if it lies wholly before,
    between or after what is already chosen; one that shares a frame with it is somebody else. Between detections the
    box and the points are interpolated linearly; where a track begins or ends between two looks, its place there
    holds for half of the frames between, and after the last look for the rest of the clip.
    """

    def __init__(self, tracker: FaceTracker, frame_size: tuple[int, int], every: int, max_gap: int = 15) -> None:
        # one detection in many looks is a false one: a face that no second look confirms
        tracks = [track for track in tracker.tracks if len(track) > 1 or tracker.looks < 4]
        order = np.argsort(-vote(tracks, tracker.looks, frame_size), kind="stable")
        self.chosen: list[Track] = []
        for track in (tracks[i] for i in order):
            if not any(_overlap(track, other) for other in self.chosen):
                self.chosen.append(track)
        self.chosen.sort(key=lambda track: track.frames[0])
        self._frames = np.concatenate([np.zeros(0, np.int64), *(track.frames for track in self.chosen)])
        self._rows = np.concatenate([np.zeros((0, ROW), np.float32), *(track.rows for track in self.chosen)])
        self._starts = frozenset(np.cumsum([0, *(len(track) for track in self.chosen)]).tolist())
        self._every, self._max_gap, self._last_look = every, max(max_gap, every), tracker.last_look

    def at(self, index: int) -> Detection | None:
        """The main face in frame `index`, None where nobody is seen."""
        after = int(np.searchsorted(self._frames, index))
        if after < len(self._frames) and self._frames[after] == index:
            return _detection(self._rows[after])
        if 0 < after < len(self._frames) and after not in self._starts:
            start, end = self._frames[after - 1], self._frames[after]
            if end - start <= self._max_gap:
                share = np.float32((index - start) / (end - start))
                return _detection((1 - share) * self._rows[after - 1] + share * self._rows[after])
        if after > 0 and index - self._frames[after - 1] <= self._reach(after - 1):
            return _detection(self._rows[after - 1])
        if after < len(self._frames) and self._frames[after] - index <= self._every // 2:
            return _detection(self._rows[after])
        return None

    def _reach(self, row: int) -> int:
        """For how many frames a place holds after its detection: half of the way to the next look, or to the end."""
        return self._every - 1 if self._frames[row] == self._last_look else self._every // 2


def _overlap(a: Track, b: Track) -> bool:
    """Whether the spans of two tracks share a frame."""
    return bool(a.frames[0] <= b.last_frame and b.frames[0] <= a.last_frame)
