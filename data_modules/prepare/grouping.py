"""Groups clips by person, and measures how well the similarity of faces tells known people apart."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import AgglomerativeClustering
from sklearn.metrics import roc_curve

THRESHOLDS = np.linspace(0.1, 0.99, 90)  # of similarity, that are tried on known people


def unit(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns vectors (N, D) of length 1."""
    return np.asarray(values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12))


@dataclass(frozen=True)
class Quality:
    """How well features tell known people apart on which nothing was learned.

    Args:
        people: their number.
        equal_error_rate: at the similarity at which as many pairs of one person are missed as pairs of two are taken
            for one.
        threshold: mean similarity from which on groups of clips are one person; of those tried, the one with the
            highest F1 of pairs.
        precision: of the pairs of clips that it puts together, the share that show one person.
        recall: of the pairs of clips of one person, the share that it puts together.
    """

    people: int
    equal_error_rate: float
    threshold: float
    precision: float
    recall: float


def measure(vectors: NDArray[np.float64], people: NDArray[np.str_]) -> Quality:
    """Measures how well unit vectors (N, E) tell N clips of known people apart."""
    first, second = np.triu_indices(len(vectors), 1)
    same, similarity = people[first] == people[second], (vectors @ vectors.T)[first, second]
    wrong, right, _ = roc_curve(same, similarity)
    nearest = int(np.argmin(np.abs(wrong - (1 - right))))
    rated = []
    for threshold in THRESHOLDS.tolist():
        group = same_person(vectors, threshold)
        joined = group[first] == group[second]
        both = int((joined & same).sum())
        precision, recall = both / max(int(joined.sum()), 1), both / max(int(same.sum()), 1)
        rated.append((2 * precision * recall / max(precision + recall, 1e-12), threshold, precision, recall))
    _, threshold, precision, recall = max(rated)
    error = float((wrong[nearest] + 1 - right[nearest]) / 2)
    return Quality(len(set(people.tolist())), error, threshold, precision, recall)


def same_person(vectors: NDArray[np.float64], threshold: float) -> NDArray[np.int64]:
    """Returns the group (N,) of each of N unit vectors: groups whose mean similarity reaches a threshold are joined."""
    if len(vectors) < 2:
        return np.zeros(len(vectors), np.int64)
    distance = np.clip(1 - vectors @ vectors.T, 0, 2)
    clustering = AgglomerativeClustering(
        n_clusters=None, metric="precomputed", linkage="average", distance_threshold=1 - threshold
    )
    return np.asarray(clustering.fit(distance).labels_, np.int64)
