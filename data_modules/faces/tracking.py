"""Links detections of faces into tracks as in Do et al. (2021), sections 3.3 and 3.4, equations 1 to 13.

The tracker works on streams: it needs constant memory for each track. `main_face` chooses the main face of a clip and
locates it in each frame.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from data_modules.faces.appearance import Embed, Vector, colour_histograms, unit_embedding
from data_modules.faces.detection import Detection
from data_modules.faces.detection_log import DetectionLog
from data_modules.faces.track import Track
from data_modules.faces.tracker_settings import CostTerm, TrackerSettings
from data_modules.video.source import Frame


class FaceTracker:
    """Links detections from frame to frame; `update` is called with ascending frame numbers.

    Each face is compared with each active track by four Euclidean distances: of HSV histograms and of an embedding,
    each to the mean over the track's last k faces; of position; and of size. A distance beyond its threshold forbids a
    pair. The Hungarian method finds the pairs of lowest cost; a face without a pair starts a new track.

    Args:
        settings: weights, thresholds and k.
        embed: embeds a face, such as a face recognition network. Without it, the term of the embedding is omitted. If
            `update` gets no frames, both terms of appearance are.
        describe: describes a face, for telling later whether two tracks are of one person: the last of the features
            whose mean each track keeps. It has no part in the cost.
        max_gap: a track ends when its face is not seen for more frames than this. The default is [our choice].
        record: whether to keep all tracks and detections (68 bytes each, and 4 for each frame seen), which `MainFace`
            needs for its vote over the whole clip. Otherwise tracks that have ended are dropped, and memory does not
            grow with the video.

    Attributes:
        detections: the recorded detections; None without `record`.
        looks: number of frames seen.
        last_look: number of the last frame seen, -1 before the first.
        cuts: number of the first frame of each shot but the first.

    Raises:
        ValueError: `max_gap` is negative.
    """

    def __init__(
        self,
        settings: TrackerSettings | None = None,
        embed: Embed | None = None,
        describe: Embed | None = None,
        *,
        max_gap: int = 15,
        record: bool = True,
    ) -> None:
        if max_gap < 0:
            raise ValueError(f"found max_gap = {max_gap}; expected at least 0")
        self.settings, self._max_gap = settings or TrackerSettings(), max_gap
        self.detections = DetectionLog() if record else None
        self.looks, self.last_look, self.cuts = 0, -1, list[int]()
        self._embed, self._describe, self._with_frames = embed, describe, False
        self._ended: list[Track] = []
        self._live: list[Track] = []
        self._next_number = 0

    @property
    def embeds(self) -> bool:
        """Whether faces are embedded by identity."""
        return self._embed is not None

    @property
    def tracks(self) -> list[Track]:
        """All tracks in the order of their numbers; without `record`, only the active ones."""
        return sorted([*self._ended, *self._live], key=lambda track: track.number)

    def update(self, index: int, faces: Sequence[Detection], frame: Frame | None = None) -> list[int]:
        """Adds the faces of frame `index` to the tracks that they continue, or starts new tracks.

        Args:
            index: frame number, larger than the previous one.
            faces: all faces detected in the frame.
            frame: (H, W, 3) RGB, for the terms of appearance; either always given or never.

        Returns:
            The track number of each face, counted from 0.

        Raises:
            ValueError: frames are out of order or only sometimes given, or a box is invalid.
        """
        self._check(index, faces, frame)
        self.looks, self.last_look, self._with_frames = self.looks + 1, index, frame is not None
        if self.detections is not None:
            self.detections.add_look(index)
        self._end_tracks(index)
        features = [self._features(frame, face) for face in faces]
        numbers = [-1] * len(faces)
        if self._live and faces:
            for i, j in assign(self._cost(index, faces, features)):
                self._live[i].add(index, faces[j], features[j])
                numbers[j] = self._live[i].number
        for j, face in enumerate(faces):
            if numbers[j] < 0:
                numbers[j], self._next_number = self._next_number, self._next_number + 1
                self._live.append(Track(numbers[j], index, face, features[j], self.settings.k))
            if self.detections is not None:
                self.detections.add(index, numbers[j], face)
        return numbers

    def begin_shot(self, index: int) -> None:
        """Ends all tracks, as faces before a cut do not continue after it; frame `index` is the first of the shot.

        The detector should see it and the one before: positions hold halfway to the next frame that is seen.
        """
        self._end(self._live)
        self._live = []
        self.cuts.append(index)

    def _check(self, index: int, faces: Sequence[Detection], frame: Frame | None) -> None:
        if index <= self.last_look:
            raise ValueError(f"found frame {index} after frame {self.last_look}; expected frames in ascending order")
        if self.looks and self._with_frames != (frame is not None):
            found, before = ("without", "with") if self._with_frames else ("with", "without")
            raise ValueError(f"found frame {index} {found} its image, but earlier ones {before}; give all or none")
        for face in faces:
            if np.shape(face.box) != (4,) or not np.isfinite(face.box).all():
                raise ValueError(f"frame {index}: found the box {face.box}; expected four finite numbers")

    def _end_tracks(self, index: int) -> None:
        ended = [track for track in self._live if index - track.last_frame > self._max_gap]
        if ended:
            self._live = [track for track in self._live if index - track.last_frame <= self._max_gap]
            self._end(ended)

    def _end(self, tracks: Sequence[Track]) -> None:
        for track in tracks:
            track.end()
        if self.detections is not None:
            self._ended += tracks

    def _features(self, frame: Frame | None, face: Detection) -> tuple[Vector, ...]:
        """Returns the features of appearance (equation 4) in the order of `TrackerSettings.appearance`."""
        if frame is None:
            return ()
        embedding = () if self._embed is None else (unit_embedding(self._embed, frame, face),)
        description = () if self._describe is None else (self._describe(frame, face),)
        return (colour_histograms(frame, face.box), *embedding, *description)

    def _cost(
        self, index: int, faces: Sequence[Detection], features: Sequence[tuple[Vector, ...]]
    ) -> NDArray[np.float64]:
        """Returns the (I, J) cost of each face for each active track."""
        old, new = np.stack([track.box for track in self._live]), np.stack([face.box for face in faces])
        passed = np.array([index - track.last_frame for track in self._live])
        distances, terms = [*_motion(old, new, passed)], [self.settings.position, self.settings.size]
        kinds = len(features[0]) - (self._with_frames and self._describe is not None)
        for kind, term in zip(range(kinds), self.settings.appearance, strict=False):
            recent = np.stack([track.histories[kind].recent for track in self._live])
            distances.append(cdist(recent, np.stack([vectors[kind] for vectors in features])))
            terms.append(term)
        return total_cost(distances, terms)


def _motion(
    old: NDArray[np.float32], new: NDArray[np.float32], passed: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Computes (I, J) distances of position and of size between boxes, see `TrackerSettings`.

    Args:
        old: (I, 4) last boxes of tracks.
        new: (J, 4) boxes of faces.
        passed: (I,) frames since each old box.
    """
    a, b = old.astype(np.float64), new.astype(np.float64)
    sides_a, sides_b = (np.log(np.maximum(boxes[:, 2:] - boxes[:, :2], 1e-3)) for boxes in (a, b))
    side = np.exp((sides_a.mean(1)[:, None] + sides_b.mean(1)) / 2)  # (I, J)
    root = np.sqrt(passed)[:, None]
    position = cdist((a[:, :2] + a[:, 2:]) / 2, (b[:, :2] + b[:, 2:]) / 2) / (side * root)
    return position, cdist(sides_a, sides_b) / root


def total_cost(distances: Sequence[NDArray[np.float64]], terms: Sequence[CostTerm]) -> NDArray[np.float64]:
    """Computes the (I, J) cost of pairs of tracks and faces: equations 5 and 6.

    It is the weighted sum of the distances, each divided by its total, and infinite for forbidden pairs.

    Args:
        distances: (I, J) distances of each kind, from tracks to faces.
        terms: weight and threshold of each kind.
    """
    cost = np.zeros_like(distances[0])
    for distance, term in zip(distances, terms, strict=True):
        allowed = distance <= term.threshold
        total = float(distance[allowed].sum())
        cost += np.where(allowed, term.weight * distance / (total or 1.0), math.inf)
    return cost


def assign(cost: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Assigns faces to tracks: equations 7 and 8.

    Returns pairs (track, face) with each track and face at most once: as many pairs as possible, and of these choices
    the one of lowest cost. Pairs of infinite cost are never returned.
    """
    allowed = np.isfinite(cost)
    prohibitive = 1.0 + float(cost[allowed].sum())  # a forbidden pair costs more than all others together
    pairs = zip(*linear_sum_assignment(np.where(allowed, cost, prohibitive)), strict=True)
    return [(int(i), int(j)) for i, j in pairs if allowed[i, j]]


def overlaps(box: NDArray[np.floating], boxes: Sequence[NDArray[np.floating]]) -> NDArray[np.float64]:
    """Computes the (N,) intersection over union of one (4,) box with (N, 4) boxes."""
    a, b = np.asarray(box, np.float64), np.asarray(boxes, np.float64).reshape(-1, 4)
    common = np.clip(np.minimum(a[2:], b[:, 2:]) - np.maximum(a[:2], b[:, :2]), 0, None).prod(1)
    union = np.clip(a[2:] - a[:2], 0, None).prod() + np.clip(b[:, 2:] - b[:, :2], 0, None).prod(1) - common
    return np.asarray(common / np.maximum(union, 1e-9), np.float64)
