"""One face over time, and how it is told from another."""

from collections.abc import Sequence
from dataclasses import dataclass

from data_modules.faces.appearance import FeatureHistory, Vector
from data_modules.faces.detection import Detection


@dataclass(frozen=True)
class CostTerm:
    """What one kind of observation counts: its weight in the cost; the distance beyond which a pair is forbidden."""

    weight: float
    threshold: float


@dataclass(frozen=True)
class TrackerSettings:
    """How a face is told from another. The paper gives the terms; it states no value.

    Positions and sizes are compared in units that neither the resolution nor the number of frames between two looks
    changes. A distance between centres is divided by the geometric mean of the two faces' sides, a size is compared by
    its logarithm, and both are divided by the square root of the frames that have passed: a head sways, so that how far
    it gets grows like a random walk's way. (Growing with the time itself, it would soon be allowed everywhere.)

    Raises:
        ValueError: a weight is negative, a threshold not positive, `k` below 1, or `max_gap` negative.
    """

    colour: CostTerm = CostTerm(1.0, 0.5)  # [our choice] of colour histograms, distances up to 2
    embedding: CostTerm = CostTerm(1.0, 1.1)  # [our choice] unit vectors, distances up to 2
    position: CostTerm = CostTerm(1.0, 0.6)  # [our choice] in sides of the face, after one frame
    size: CostTerm = CostTerm(0.5, 0.7)  # [our choice] of log width and log height, after one frame
    k: int = 10  # [our choice] features are compared with the mean of a track's last k
    max_gap: int = 15  # [our choice] a face unseen for more frames than this ends its track

    def __post_init__(self) -> None:
        for name in ("colour", "embedding", "position", "size"):
            term: CostTerm = getattr(self, name)
            if not (term.weight >= 0 and term.threshold > 0):
                raise ValueError(f"{name}: {term}; expected a weight of 0 or more and a positive threshold")
        if self.k < 1 or self.max_gap < 0:
            raise ValueError(f"k = {self.k}, max_gap = {self.max_gap}; expected 1 or more, and 0 or more")

    @property
    def appearance(self) -> tuple[CostTerm, ...]:
        """The terms of a face's features, in the order in which tracks keep them."""
        return self.colour, self.embedding


class Track:
    """One face over time: sums for the vote, and what the next face is compared with. Its size is constant.

    Args:
        number: of the track, counted from 0.
        index: the frame it begins in.
        face: its first detection.
        features: of that face, one vector for each kind: histograms, embedding.
        k: how many faces the recent mean of features is over.
    """

    def __init__(self, number: int, index: int, face: Detection, features: Sequence[Vector], k: int) -> None:
        self.number, self.first_frame = number, index
        self.histories = tuple(FeatureHistory(vector, k) for vector in features)
        self._length, self._area, self._score = 0, 0.0, 0.0
        self._count(index, face)

    def __len__(self) -> int:
        """How many detections it has."""
        return self._length

    @property
    def mean_area(self) -> float:
        """Of its boxes, in square pixels."""
        return self._area / self._length

    @property
    def mean_score(self) -> float:
        """Of its detections."""
        return self._score / self._length

    def add(self, index: int, face: Detection, features: Sequence[Vector]) -> None:
        """Appends a later detection: equation 9."""
        for history, vector in zip(self.histories, features, strict=True):
            history.add(vector)
        self._count(index, face)

    def end(self) -> None:
        """Lets go of what only a live track needs."""
        for history in self.histories:
            history.forget()

    def _count(self, index: int, face: Detection) -> None:
        self.last_frame, self.box = index, face.box
        width, height = (float(side) for side in face.box[2:] - face.box[:2])
        self._length += 1
        self._area += max(width, 0.0) * max(height, 0.0)
        self._score += face.score
