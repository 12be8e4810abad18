"""Groups the tracks of a clip by person: who leaves and comes back, or is seen again after a cut, is the same one.

Tracks are joined pairwise, the most alike first, and only where it is sure: a person whom nobody resembles enough
counts as a new one, as two persons in one row of a table are worse than one person in two. All values are [our choice].
"""

import logging
from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import cdist

from data_modules.faces.appearance import Vector, colour_histograms
from data_modules.faces.detection import Detection
from data_modules.faces.main_face import TrackedBox, candidates, tracks_of_one
from data_modules.faces.track import Track
from data_modules.faces.tracking import FaceTracker
from data_modules.video.source import Frame

INNER = 0.7  # of the width and height of a face's box [our choice]
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PeopleSettings:
    """When two tracks are of one person, and which persons count.

    Args:
        seconds: how long somebody must be seen; half of a clip that is shorter than twice as long.
        colour: largest distance between the mean `inner_colours` of two tracks of one person, 0 to 2. Ten people of the
            GRID corpus (Cooke et al., 2006), all before the same wall, are at least 0.09 from each other, and at most
            0.05 from themselves in another part of their recording.
        embedding: the same of mean embeddings of unit length, which decide alone if there are any: colours change with
            the light, from shot to shot.
        ratio: two tracks are joined if their distance is at most this share of that to any third track which is seen
            together with one of them, and which might hence be the other one instead.
        most: how many persons there are at most; a warning tells of others.

    Raises:
        ValueError: a value is out of range.
    """

    seconds: float = 1.0
    colour: float = 0.07
    embedding: float = 1.0
    ratio: float = 0.8
    most: int = 20

    def __post_init__(self) -> None:
        if self.seconds < 0 or min(self.colour, self.embedding) <= 0 or not 0 < self.ratio <= 1 or self.most < 1:
            raise ValueError(
                f"found {self}; expected seconds from 0 on, distances above 0, a ratio within 0 and 1, and 1 or more"
            )


DEFAULT_PEOPLE = PeopleSettings()


def locate_people(
    tracker: FaceTracker,
    frame_size: tuple[int, int],
    every: int,
    fps: float,
    max_gap: int = 15,
    settings: PeopleSettings = DEFAULT_PEOPLE,
) -> list[TrackedBox]:
    """Locates each person of a clip in every frame.

    The first is the person of the clip's main face: the track with most votes. The others follow in the order of the
    votes for their best tracks. There is always a first one, who is in no frame of a clip without a face.

    Args:
        tracker: the tracker, after it has seen the whole clip; made with an embedding, or with `inner_colours`.
        frame_size: (width, height) in pixels.
        every: the tracker saw every n-th frame, and those beside cuts.
        fps: frames per second.
        max_gap: see `TrackedBox`.
        settings: when two tracks are of one person, and which persons count.

    Raises:
        ValueError: the tracker was made with `record=False`.
    """
    least = min(settings.seconds * fps / every, tracker.looks / 2)
    first, *others = _tracks_of_each(tracker, frame_size, settings)
    people = [first, *(group for group in others if sum(map(len, group)) >= least)]
    if len(people) > settings.most:
        log.warning("%d people were found; the first %d are kept", len(people), settings.most)
    return [TrackedBox(tracker, group, every, max_gap) for group in people[: settings.most]]


def locate_main(
    tracker: FaceTracker,
    frame_size: tuple[int, int],
    every: int,
    max_gap: int = 15,
    settings: PeopleSettings = DEFAULT_PEOPLE,
) -> TrackedBox:
    """Locates the person of a clip's main face in every frame, across cuts only where it is sure who it is.

    The tracks of the first of `locate_people` say in which shots the person is. Within each of these shots, further
    tracks are joined as in `MainFace`, as who is lost for a moment between two cuts is rarely somebody else.

    Args:
        tracker: see `locate_people`.
        frame_size: (width, height) in pixels.
        every: the tracker saw every n-th frame, and those beside cuts.
        max_gap: see `TrackedBox`.
        settings: when two tracks are of one person.

    Raises:
        ValueError: the tracker was made with `record=False`.
    """
    sure = {track.number for track in _tracks_of_each(tracker, frame_size, settings)[0]}
    shots: list[list[Track]] = [[] for _ in range(len(tracker.cuts) + 1)]
    for track in candidates(tracker, frame_size):
        shots[bisect(tracker.cuts, track.first_frame)].append(track)
    terms = tracker.settings.appearance[: 1 + tracker.embeds]  # `inner_colours` are for `groups_of` alone
    chosen: list[Track] = []
    for tracks in shots:
        best = next((track for track in tracks if track.number in sure), None)
        if best is not None:
            ordered = [best, *(track for track in tracks if track is not best)]
            chosen += tracks_of_one(ordered, terms)
    return TrackedBox(tracker, chosen, every, max_gap)


def _tracks_of_each(tracker: FaceTracker, frame_size: tuple[int, int], settings: PeopleSettings) -> list[list[Track]]:
    """Returns the tracks of each person in temporal order, that of the main face first, who may have none."""
    ordered = candidates(tracker, frame_size)
    limit = settings.embedding if tracker.embeds else settings.colour
    return [[ordered[i] for i in group] for group in groups_of(ordered, limit, settings.ratio)] or [[]]


def inner_colours(frame: Frame, face: Detection) -> Vector:
    """Computes the colour histograms, (120,), of the inner part of a face, without hair and what is behind it.

    Args:
        frame: (H, W, 3) RGB.
        face: in the frame.
    """
    corners = face.box.reshape(2, 2)
    middle = corners.mean(0)
    return colour_histograms(frame, (middle + INNER * (corners - middle)).reshape(4))


def groups_of(tracks: Sequence[Track], limit: float, ratio: float = 1.0) -> list[list[int]]:
    """Groups tracks by person; returns the indices of each group in temporal order, groups by their first index.

    The pair of groups of the smallest distance is joined again and again, unless they share a frame, differ too much,
    or one of them resembles a third one nearly as much.

    Args:
        tracks: the last of their features is compared.
        limit: largest distance of two tracks of one person.
        ratio: see `PeopleSettings`.
    """
    groups = [[index] for index in range(len(tracks))]
    if len(tracks) > 1 and tracks[0].histories:
        _join(groups, tracks, limit, ratio)
    return [sorted(group, key=lambda index: tracks[index].first_frame) for group in groups if group]


def _join(groups: list[list[int]], tracks: Sequence[Track], limit: float, ratio: float) -> None:
    """Joins groups in place; those that became part of an earlier one are left empty."""
    means = np.stack([track.histories[-1].mean for track in tracks])  # (N, D)
    counts = np.array([len(track) for track in tracks], np.float64)
    first, last = (np.array([getattr(track, name) for track in tracks]) for name in ("first_frame", "last_frame"))
    together = (first[:, None] <= last) & (first <= last[:, None])  # (N, N) groups that share a frame
    np.fill_diagonal(together, False)
    distance = cdist(means, means)
    candidate = (distance <= limit) & ~together
    np.fill_diagonal(candidate, False)
    while candidate.any():
        a, b = sorted(map(int, np.unravel_index(np.where(candidate, distance, np.inf).argmin(), distance.shape)))
        candidate[a, b] = candidate[b, a] = False
        rivals = np.concatenate([distance[a, together[b]], distance[b, together[a]]])
        if distance[a, b] > ratio * rivals.min(initial=np.inf):
            continue
        share = counts[b] / (counts[a] + counts[b])
        means[a], counts[a], counts[b] = means[a] + share * (means[b] - means[a]), counts[a] + counts[b], 0.0
        groups[a], groups[b] = groups[a] + groups[b], []
        together[a] = together[:, a] = together[a] | together[b]
        together[b] = together[:, b] = candidate[b] = candidate[:, b] = False
        distance[a] = distance[:, a] = np.linalg.norm(means - means[a], axis=1)
        candidate[a] = candidate[:, a] = (distance[a] <= limit) & ~together[a] & (counts > 0)
        candidate[a, a] = False
