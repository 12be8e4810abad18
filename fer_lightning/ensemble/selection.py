"""Best selection of models for an average (Do et al., 2021, section 5, https://doi.org/10.3390/s21072344)."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from fer_lightning.ensemble.sums import Predictions, checked_labels, combined, count_correct, stacked

Count = Callable[[Sequence[int]], int]


def best_selection(p: Predictions, labels: ArrayLike, max_models: int = 5) -> list[str]:
    """Selects the models whose average is most accurate, by a greedy search that starts from each model in turn.

    The models are sorted by accuracy, in alphabetical order if it is equal [our choice]. Each one starts a list. The
    first model that raises the accuracy of the list's average is added, repeatedly, until no model does or the list
    holds `max_models` (T = 5 in the paper). Of all lists, the most accurate one is taken, then the smallest, then
    [our choice] the one whose first model is best.

    Args:
        p: name -> (M, C) probabilities; NaN where a model has no prediction, see `average`.
        labels: (M,) true classes; a clip for which no model of a list has a prediction counts as an error.
        max_models: the largest number of models, T in the paper.

    Returns:
        The models' names in the order of their selection.

    Raises:
        ValueError: `max_models` is below 1, or shapes do not match.
    """
    if max_models < 1:
        raise ValueError(f"max_models {max_models}: expected 1 or more")
    names, values = stacked(p)
    truth = checked_labels(labels, *values.shape[1:])

    def correct(chosen: Sequence[int]) -> int:
        return count_correct(combined(values[list(chosen)], np.full(len(chosen), 1 / len(chosen))), truth)

    order = sorted(range(len(names)), key=lambda k: (-correct([k]), names[k]))
    lists = [_grow(first, order, correct, max_models) for first in order]
    best = max(lists, key=lambda chosen: (correct(chosen), -len(chosen)))  # the first of equal ones
    return [names[k] for k in best]


def _grow(first: int, order: Sequence[int], correct: Count, max_models: int) -> list[int]:
    """Grows the list that begins with a model (equation 32)."""
    chosen = [first]
    while len(chosen) < max_models:
        reached = correct(chosen)
        addition = next((k for k in order if k not in chosen and correct([*chosen, k]) > reached), None)
        if addition is None:
            break
        chosen.append(addition)
    return chosen
