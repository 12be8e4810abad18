"""Finds the person that a face belongs to in each frame of a clip, as in Do et al. (2021), section 3.3, or as we do.

The paper gives each face candidate a person candidate and tracks both. It prints that this is the candidate of the
smallest intersection over union, or else the whole scene. Which box belongs to a face is a choice with a name:

- `largest`: the box of the largest intersection over union. Among boxes that hold the face it is the smallest one.
- `smallest`: the box of the smallest intersection over union above 0, as printed: often the largest that touches it.
- `tracked`: persons are linked over time as faces are, and the track that holds the face longest is the face's person.
"""

from collections.abc import Sequence
from typing import Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from data_modules.faces.detection import Detection, FaceLocator
from data_modules.faces.main_face import TrackedBox, recorded, tracks_of_one
from data_modules.faces.tracker_settings import TrackerSettings
from data_modules.faces.tracking import FaceTracker, overlaps

PersonRule = Literal["largest", "smallest", "tracked"]
Box = NDArray[np.float32]


class PersonLocator(Protocol):
    """Finds the person around a face."""

    def at(self, index: int, face: NDArray[np.floating]) -> Box | None:
        """Returns the (4,) box of the person around a (4,) face in frame `index`; None for the whole frame."""


class PersonFinder:
    """Collects the persons detected in some frames of a clip, and then finds the one around a face.

    Args:
        rule: which box belongs to a face.
        every: the detector sees every n-th frame.
        max_gap: for how many frames a box holds; with `tracked`, the largest distance that is interpolated.
        tracking: how persons are linked with `tracked`; without the term of the embedding, which is one of faces.
    """

    def __init__(self, rule: PersonRule, every: int, max_gap: int, tracking: TrackerSettings | None = None) -> None:
        if rule not in get_args(PersonRule):
            raise ValueError(f"no rule {rule!r} for the person of a face; expected {', '.join(get_args(PersonRule))}")
        self._rule, self._every, self._max_gap = rule, every, max_gap
        self._boxes = PersonBoxes(max_gap, rule == "smallest")
        self._tracker = FaceTracker(tracking, max_gap=max(max_gap, 3 * every))

    def add(self, index: int, persons: Sequence[Detection], frame: NDArray[np.uint8] | None = None) -> None:
        """Adds the persons detected in frame `index`, (H, W, 3) RGB; frames are always given or never."""
        if self._rule == "tracked":
            self._tracker.update(index, persons, frame)
        else:
            self._boxes.add(index, persons)

    def begin_shot(self, index: int) -> None:
        """Ends the tracks of persons, see `FaceTracker.begin_shot`."""
        self._tracker.begin_shot(index)

    def located(self, faces: FaceLocator) -> PersonLocator:
        """Returns the persons of the clip's main face, after the detector has seen the whole clip."""
        if self._rule == "tracked":
            return PersonTracks(self._tracker, faces, self._every, self._max_gap)
        return self._boxes


class PersonBoxes:
    """Stores the persons detected in some frames and finds the one around a face in the nearest of them.

    Args:
        max_gap: how many frames away the nearest frame may be.
        smallest: take the smallest overlap above 0 instead of the largest one.
    """

    def __init__(self, max_gap: int, smallest: bool = False) -> None:
        self._frames: list[int] = []  # frames that the detector saw
        self._boxes: list[Box] = []  # (P, 4) of each of these frames
        self._max_gap, self._smallest = max_gap, smallest

    def add(self, index: int, persons: Sequence[Detection]) -> None:
        """Adds the persons detected in frame `index`."""
        self._frames.append(index)
        self._boxes.append(np.array([person.box for person in persons], dtype=np.float32).reshape(-1, 4))

    def at(self, index: int, face: NDArray[np.floating]) -> Box | None:
        """Returns the (4,) box of the person around a face, from the frame nearest to `index` that was analysed.

        Returns None if that frame is further away than `max_gap`, or if no person overlaps the face.
        """
        following = int(np.searchsorted(self._frames, index))
        nearest = min(
            range(max(0, following - 1), min(following + 1, len(self._frames))),
            key=lambda position: abs(self._frames[position] - index),
            default=None,
        )
        if nearest is None or abs(self._frames[nearest] - index) > self._max_gap:
            return None
        return person_of(face, list(self._boxes[nearest]), self._smallest)


class PersonTracks:
    """Finds the person of a clip's main face among tracks of persons, in every frame.

    It is the track that holds the largest share of the face, summed over the frames that the detector saw, and further
    tracks of the same person, see `tracks_of_one`. [our choice] The paper pairs faces and persons before tracking.

    Args:
        tracker: the tracker of persons, after it has seen the whole clip.
        faces: locates the main face.
        every: see `TrackedBox`.
        max_gap: see `TrackedBox`.
    """

    def __init__(self, tracker: FaceTracker, faces: FaceLocator, every: int, max_gap: int) -> None:
        tracks = tracker.tracks
        frames, numbers, rows = recorded(tracker).select([track.number for track in tracks])
        held = dict.fromkeys((track.number for track in tracks), 0.0)
        for index, number, row in zip(frames.tolist(), numbers.tolist(), rows, strict=True):
            face = faces.at(index)
            held[number] += 0.0 if face is None else _share_held(face.box, row[:4])
        ordered = sorted((track for track in tracks if held[track.number] > 0), key=lambda track: -held[track.number])
        self._boxes = TrackedBox(tracker, tracks_of_one(ordered, tracker.settings.appearance), every, max_gap)

    def at(self, index: int, face: NDArray[np.floating]) -> Box | None:
        """Returns the (4,) box of the person in frame `index`; None if there is none that overlaps the face."""
        person = self._boxes.at(index)
        return None if person is None or not _share_held(face, person.box) > 0 else np.asarray(person.box, np.float32)


def person_of(
    face_box: NDArray[np.floating], person_boxes: Sequence[NDArray[np.floating]], smallest: bool = False
) -> Box | None:
    """Finds the person that a face belongs to by the intersection over union of their boxes.

    Args:
        face_box: (4,) left, top, right, bottom.
        person_boxes: (4,) each, or (N, 4).
        smallest: take the smallest one above 0 instead of the largest one.

    Returns:
        (4,) the person's box, or None if no box overlaps the face; the whole frame is then used for the person.
    """
    if not len(person_boxes):
        return None
    overlap = overlaps(face_box, person_boxes)
    if not overlap.any():
        return None
    best = np.argmin(np.where(overlap > 0, overlap, np.inf)) if smallest else np.argmax(overlap)
    return np.asarray(person_boxes[int(best)], np.float32)


def _share_held(face: NDArray[np.floating], person: NDArray[np.floating]) -> float:
    """Computes the share of a face's box that lies in a person's, both (4,)."""
    a, b = np.asarray(face, np.float64), np.asarray(person, np.float64)
    common = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None).prod()
    return float(common / max(np.clip(a[2:] - a[:2], 0, None).prod(), 1e-9))
