"""The track of one face over time, and the settings that distinguish faces."""

from collections.abc import Sequence
from dataclasses import dataclass

from data_modules.faces.appearance import FeatureHistory, Vector
from data_modules.faces.detection import Detection


@dataclass(frozen=True)
class CostTerm:
    """The weight of one kind of distance in the cost, and the threshold beyond which a pair is forbidden."""

    weight: float
    threshold: float


@dataclass(frozen=True)
class TrackerSettings:
    """Weights and thresholds of face tracking. The paper (Do et al. 2021) names the terms, but no values.

    Distances of position and size depend neither on the resolution nor on the number of frames in between. The distance
    between centres is divided by the geometric mean of the two faces' sides, sizes are compared by their logarithms,
    and both are divided by the square root of the frames in between: a head sways, so its distance grows as that of a
    random walk. (A threshold that grew linearly with time would soon allow any position.)

    Raises:
        ValueError: a weight is negative, a threshold is not positive, `k` is below 1, or `max_gap` is negative.
    """

    colour: CostTerm = CostTerm(1.0, 0.5)  # [our choice] colour histograms, distances up to 2
    embedding: CostTerm = CostTerm(1.0, 1.1)  # [our choice] unit vectors, distances up to 2
    position: CostTerm = CostTerm(1.0, 0.6)  # [our choice] in sides of the face, after one frame
    size: CostTerm = CostTerm(0.5, 0.7)  # [our choice] in log width and log height, after one frame
    k: int = 10  # [our choice] features are compared with the mean over a track's last k faces
    max_gap: int = 15  # [our choice] a track ends when its face is not seen for more frames than this

    def __post_init__(self) -> None:
        for name in ("colour", "embedding", "position", "size"):
            term: CostTerm = getattr(self, name)
            if not (term.weight >= 0 and term.threshold > 0):
                raise ValueError(f"{name}: {term}; expected a weight of 0 or more and a positive threshold")
        if self.k < 1 or self.max_gap < 0:
            raise ValueError(
                f"found k = {self.k}, max_gap = {self.max_gap}; expected k of at least 1 and max_gap of at least 0"
            )

    @property
    def appearance(self) -> tuple[CostTerm, ...]:
        """The terms of appearance in the order in which tracks store their features."""
        return self.colour, self.embedding


class Track:
    """One face over time: sums for the vote, and the features of recent faces, in constant memory.

    Args:
        number: number of the track, counted from 0.
        index: frame number of the first detection.
        face: the first detection.
        features: features of that face, one vector for each kind: histograms, embedding.
        k: number of faces in the recent mean of features.
    """

    def __init__(self, number: int, index: int, face: Detection, features: Sequence[Vector], k: int) -> None:
        self.number, self.first_frame = number, index
        self.histories = tuple(FeatureHistory(vector, k) for vector in features)
        self._length, self._area, self._score = 0, 0.0, 0.0
        self._count(index, face)

    def __len__(self) -> int:
        """Returns the number of detections."""
        return self._length

    @property
    def mean_area(self) -> float:
        """The mean area of the boxes in square pixels."""
        return self._area / self._length

    @property
    def mean_score(self) -> float:
        """The mean score of the detections."""
        return self._score / self._length

    def add(self, index: int, face: Detection, features: Sequence[Vector]) -> None:
        """Appends a later detection: equation 9."""
        for history, vector in zip(self.histories, features, strict=True):
            history.add(vector)
        self._count(index, face)

    def end(self) -> None:
        """Releases the memory that only an active track needs."""
        for history in self.histories:
            history.forget()

    def _count(self, index: int, face: Detection) -> None:
        self.last_frame, self.box = index, face.box
        width, height = (float(side) for side in face.box[2:] - face.box[:2])
        self._length += 1
        self._area += max(width, 0.0) * max(height, 0.0)
        self._score += face.score
