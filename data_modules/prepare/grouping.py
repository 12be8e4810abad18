"""Groups clips by person, and measures how well the similarity of faces tells known people apart."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from sklearn.metrics import roc_curve

THRESHOLDS = np.linspace(0.1, 0.99, 90)  # of similarity, that are tried on known people
WANTED = 0.97  # of the pairs of clips that are put together, the share that is to show one person


def unit(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns vectors (N, D) of length 1."""
    return np.asarray(values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12))


class Groups:
    """Groups of N clips that are joined as long as the mean similarity of two groups reaches a threshold.

    Args:
        vectors: (N, E) unit vectors of the faces.
    """

    def __init__(self, vectors: NDArray[np.float64]) -> None:
        self._single = len(vectors) < 2
        if not self._single:
            distance = np.clip(1 - vectors @ vectors.T, 0, 2)
            self._links = linkage(squareform(distance, checks=False), "average")

    def at(self, threshold: float) -> NDArray[np.int64]:
        """Returns the group (N,) of each clip."""
        if self._single:
            return np.zeros(1, np.int64)
        return np.asarray(fcluster(self._links, 1 - threshold, "distance"), np.int64)


def pairs_in(group: NDArray[np.int64]) -> int:
    """Returns the number of pairs of clips that are in one group, of the groups (N,) of N clips."""
    sizes = np.unique(group, return_counts=True)[1]
    return int((sizes * (sizes - 1) // 2).sum())


@dataclass(frozen=True, eq=False)
class Quality:
    """How well features tell known people apart on which nothing was learned.

    Args:
        people: their number.
        clips: the number of their clips.
        equal_error_rate: at the similarity at which as many pairs of one person are missed as pairs of two are taken
            for one.
        right: (T,) pairs of clips of one person that are put together at each of the T `THRESHOLDS`.
        wrong: (T,) pairs of clips of two people that are.
        pairs: all pairs of clips of one person.
    """

    people: int
    clips: int
    equal_error_rate: float
    right: NDArray[np.int64]
    wrong: NDArray[np.int64]
    pairs: int

    def expected_precision(self, joined: NDArray[np.int64], clips: int) -> NDArray[np.float64]:
        """Returns the precision (T,) of pairs among other clips, at each threshold.

        Among twice as many clips there are four times as many pairs of two people that may be taken for one. One more
        pair of people is expected to be than was seen: without any seen, rarer ones are not ruled out.

        Args:
            joined: (T,) pairs of these clips that are put together at each threshold.
            clips: their number.
        """
        unseen = (self.clips / self.people) ** 2
        wrong = (self.wrong + unseen) * (clips / self.clips) ** 2
        return np.asarray(np.clip(1 - wrong / np.maximum(joined, 1), 0, 1), np.float64)


@dataclass(frozen=True)
class Choice:
    """A threshold, with what it gives.

    Args:
        threshold: mean similarity from which on groups of clips are one person.
        expected: of the pairs of clips at hand that it puts together, the share that is expected to show one person.
        precision: that share among the known people.
        recall: of the pairs of clips of one known person, the share that it puts together.
    """

    threshold: float
    expected: float
    precision: float
    recall: float


def choose(quality: Quality, groups: Groups, clips: int, threshold: float | None = None) -> Choice:
    """Chooses the lowest threshold with the precision `WANTED` among the clips at hand, or else the most precise one.

    Args:
        quality: of the features on known people.
        groups: of the clips at hand.
        clips: their number.
        threshold: that is used whatever is expected of it; the nearest one of `THRESHOLDS` says what it gives.
    """
    joined = np.array([pairs_in(groups.at(each)) for each in THRESHOLDS.tolist()])
    expected = quality.expected_precision(joined, clips)
    if threshold is not None:
        place = int(np.argmin(np.abs(THRESHOLDS - threshold)))
    else:
        enough = np.flatnonzero(expected >= WANTED)
        place = int(enough[0] if len(enough) else np.argmax(expected))
    right, wrong = int(quality.right[place]), int(quality.wrong[place])
    return Choice(
        float(THRESHOLDS[place]) if threshold is None else threshold,
        float(expected[place]),
        right / max(right + wrong, 1),
        right / quality.pairs,
    )


def measure(vectors: NDArray[np.float64], people: NDArray[np.str_]) -> Quality:
    """Measures how well unit vectors (N, E) tell N clips of known people apart, of whom one has two or more."""
    first, second = np.triu_indices(len(vectors), 1)
    wrong, right, _ = roc_curve(people[first] == people[second], (vectors @ vectors.T)[first, second])
    nearest = int(np.argmin(np.abs(wrong - (1 - right))))
    names, person = np.unique(people, return_inverse=True)
    groups = Groups(vectors)
    found = [groups.at(threshold) for threshold in THRESHOLDS.tolist()]
    joined = np.array([pairs_in(group) for group in found])
    one_person = np.array([pairs_in(group * len(names) + person) for group in found])
    return Quality(
        len(names),
        len(vectors),
        float((wrong[nearest] + 1 - right[nearest]) / 2),
        one_person,
        joined - one_person,
        pairs_in(person),
    )
