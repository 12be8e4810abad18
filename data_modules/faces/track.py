"""The track of one face over time, and the settings that distinguish faces."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from data_modules.faces.appearance import FeatureHistory, Vector
from data_modules.faces.detection import Detection


@dataclass(frozen=True)
class CostTerm:
    """The weight of one kind of distance in the cost, and the threshold beyond which a pair is forbidden."""

    weight: float
    threshold: float


@dataclass(frozen=True)
class VoteWeights:
    """Weights of the vote for a clip's main face: Do et al. (2021), equation 12. All values are [our choice].

    Args:
        frequency: c_freq, for the share of frames that have the face.
        size: c_size, for its mean area relative to the frame's.
        probability: c_prob, for the mean detection probability.

    Raises:
        ValueError: a weight is negative, or all are 0.
    """

    frequency: float = 1.0
    size: float = 1.0
    probability: float = 1.0

    def __post_init__(self) -> None:
        if min(self.values) < 0 or not any(self.values):
            raise ValueError(f"found {self}; expected weights of 0 or more, and one above 0")

    @property
    def values(self) -> tuple[float, float, float]:
        """The weights in the order of the equation."""
        return self.frequency, self.size, self.probability


@dataclass(frozen=True)
class TrackerSettings:
    """Weights and thresholds of face tracking. The paper (Do et al. 2021) names the terms, but no values.

    Distances of position and size depend neither on the resolution nor on the number of frames in between. The distance
    between centres is divided by the geometric mean of the two faces' sides, sizes are compared by their logarithms,
    and both are divided by the square root of the frames in between: a head sways, so its distance grows as that of a
    random walk. (A threshold that grew linearly with time would soon allow any position.)

    Args:
        colour: of the distance between colour histograms, 0 to 2.
        embedding: of the distance between embeddings of unit length, 0 to 2; it needs an `embedder`.
        position: of the distance between centres, in sides of the face after one frame.
        size: of the distance between log widths and log heights, after one frame.
        k: features are compared with the mean over a track's last k faces.
        embedder: the network that embeds faces by identity: insightface's, whose weights are for non-commercial
            research, or none, which leaves that term out.
        vote: weights of the vote for the main face.

    Raises:
        ValueError: a weight is negative, a threshold is not positive, or `k` is below 1.
    """

    colour: CostTerm = CostTerm(1.0, 0.5)  # [our choice], as all values here
    embedding: CostTerm = CostTerm(1.0, 1.1)
    position: CostTerm = CostTerm(1.0, 0.6)
    size: CostTerm = CostTerm(0.5, 0.7)
    k: int = 10
    embedder: Literal["none", "insightface"] = "none"
    vote: VoteWeights = VoteWeights()

    def __post_init__(self) -> None:
        for name in ("colour", "embedding", "position", "size"):
            term: CostTerm = getattr(self, name)
            if not (term.weight >= 0 and term.threshold > 0):
                raise ValueError(f"{name}: {term}; expected a weight of 0 or more and a positive threshold")
        if self.k < 1:
            raise ValueError(f"found k = {self.k}; expected at least 1")

    @property
    def appearance(self) -> tuple[CostTerm, ...]:
        """The terms of appearance in the order in which tracks store their features."""
        return self.colour, self.embedding


DEFAULT_TRACKING = TrackerSettings()


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
