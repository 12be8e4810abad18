"""Exact paired tests of two systems, and the correction of several tests for their number."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

ALPHA = 0.05


def sign_test(advantage: NDArray[np.int64]) -> float:
    """Returns the exact two-sided p-value of a paired test in which the clips of a cluster stay together.

    Under the hypothesis that the two systems are exchangeable within each cluster, the signs of the advantages are
    independent and equally likely; the p-value is the probability of a sum that is at least as far from 0. With one
    clip in each cluster, this is McNemar's exact test; with several, it keeps its level although clips of one person
    are not independent, which McNemar's does not.

    Args:
        advantage: (K,) in each subject, film or clip, how many more clips the first system predicts correctly.
    """
    sizes = np.abs(advantage[advantage != 0])
    total = int(sizes.sum())
    probability = np.zeros(2 * total + 1)  # of the sums from -total to total
    probability[total] = 1.0
    for size in sizes.tolist():
        moved = np.zeros_like(probability)
        moved[size:] += probability[:-size]
        moved[:-size] += probability[size:]
        probability = moved / 2
    extreme = np.abs(np.arange(-total, total + 1)) >= abs(int(advantage.sum()))
    return min(1.0, float(probability[extreme].sum()))


def holm(p_values: Sequence[float]) -> list[float]:
    """Returns p-values adjusted for the number of tests, in the same order.

    Where the hypotheses with an adjusted value of at most alpha are rejected, the probability that any of them is true
    is at most alpha, however the tests depend on each other (Holm, "A Simple Sequentially Rejective Multiple Test
    Procedure", 1979). NaN, a test that could not be made, is not counted and stays NaN.
    """
    values = np.asarray(p_values, dtype=np.float64)
    order = [int(index) for index in np.argsort(values, kind="stable") if not np.isnan(values[index])]
    adjusted, largest = np.full(len(values), np.nan), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * values[index]))
        adjusted[index] = largest
    return [float(value) for value in adjusted]
