"""The settings that distinguish faces from frame to frame; importing them loads nothing that reads pictures."""

from dataclasses import dataclass
from typing import Literal


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
