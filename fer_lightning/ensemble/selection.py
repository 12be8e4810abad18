"""Best selection (section 5).

Do et al. (2021), "Context-Aware Emotion Recognition in the Wild Using Spatio-Temporal and Temporal-Pyramid Models",
Sensors 21, 2344, https://doi.org/10.3390/s21072344
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from fer_lightning.ensemble.sums import Predictions, checked_labels, combined, right_clips, stacked

Count = Callable[[Sequence[int]], int]


def best_selection(p: Predictions, labels: ArrayLike, max_models: int = 5) -> list[str]:
    """The models whose average is best, found greedily from each model in turn; in the order they were taken.

    The models stand in the order of their accuracy. Each one in turn begins a list, to which the first model is added,
    from the left, that raises the accuracy of the list's average, again and again until there is none or the list holds
    `max_models` (T = 5 in the paper). Of all lists the most accurate is kept, then the smallest, then [our choice] the
    one whose first model is best. Models of the same accuracy stand in alphabetical order [our choice].

    Args:
        p: name -> (M, C) probabilities; NaN where a model has no prediction, see `average`.
        labels: (M,) true classes; a clip that no model of a list answers is an error.
        max_models: T.

    Raises:
        ValueError: `max_models` is below 1, or arrays that do not fit.
    """
    if max_models < 1:
        raise ValueError(f"max_models {max_models}: expected 1 or more")
    names, values = stacked(p)
    truth = checked_labels(labels, *values.shape[1:])

    def right(chosen: Sequence[int]) -> int:
        return right_clips(combined(values[list(chosen)], np.full(len(chosen), 1 / len(chosen))), truth)

    order = sorted(range(len(names)), key=lambda k: (-right([k]), names[k]))
    lists = [_grown(first, order, right, max_models) for first in order]
    best = max(lists, key=lambda closed: (right(closed), -len(closed)))  # the first of equal ones
    return [names[k] for k in best]


def _grown(first: int, order: Sequence[int], right: Count, max_models: int) -> list[int]:
    """The list that begins with a model (equation 32)."""
    closed = [first]
    while len(closed) < max_models:
        reached = right(closed)
        better = (k for k in order if k not in closed and right([*closed, k]) > reached)
        found = next(better, None)
        if found is None:
            break
        closed.append(found)
    return closed
