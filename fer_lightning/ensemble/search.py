"""The search for the weights of a weighted sum, on a grid over all weights that sum to 1."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, islice
from math import comb

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fer_lightning.ensemble.sums import Predictions, checked_labels, has_prediction, stacked

MAX_EXHAUSTIVE = 1_000_000  # combinations that are all tried: five models at 0.02 make 316 251
BLOCK = 3  # weights that are searched together if there are more combinations
CELLS = 1 << 18  # combinations times clips at once: two arrays of 2 MB, which fit in the cache
TIE = 1e-12  # scores that differ by less are equal, as in sums that are rounded to 12 decimals

Candidate = tuple[int, int, tuple[int, ...]]  # correct clips, minus the sum of squares, parts: larger is better


def search_weights(
    p: Predictions, labels: ArrayLike, step: float = 0.02, max_exhaustive: int = MAX_EXHAUSTIVE
) -> dict[str, float]:
    """Searches the weights with which the weighted sum classifies most clips correctly (Li et al., 2019, equation 4).

    Weights are multiples of `step` from 0 to 1 and sum to 1. Up to `max_exhaustive` combinations, all are tried. If
    there are more, the weights of every three models are searched in turn over all divisions of their total, until no
    three improve the result; once from even weights, once from the best model alone. The result is never worse than the
    best model alone, but it may not be the optimum.

    Among equally good weights, the most even are taken [our choice] (the smallest sum of squares), then those that give
    more to the model that is better alone, then to the first in alphabetical order. The result thus depends neither on
    the order of the models nor on chance.

    Args:
        p: name -> (M, C) probabilities; NaN where a model has no prediction, see `weighted_sum`.
        labels: (M,) true classes; a clip for which no model with a weight has a prediction counts as an error.
        step: of the grid; 1 must be a multiple of it.
        max_exhaustive: the largest number of combinations that are all tried.

    Returns:
        The weight of each model.

    Raises:
        ValueError: 1 is not a multiple of the step, or shapes do not match.
    """
    total = _steps(step)
    names, values = stacked(p)
    margins = _Margins.from_probabilities(values, checked_labels(labels, *values.shape[1:]))
    correct_alone = margins.count_correct(np.eye(len(names)))
    order = sorted(range(len(names)), key=lambda k: (-int(correct_alone[k]), names[k]))
    search = _Search(margins.ordered(order), total)
    if comb(total + len(names) - 1, len(names) - 1) <= max_exhaustive:
        best = search.best_division(search.best_model_alone(), range(len(names)))
    else:
        best = max(search.ascend(search.even()), search.ascend(search.best_model_alone()))
    weights = {names[k]: parts / total for k, parts in zip(order, best[2], strict=True)}
    return {name: weights[name] for name in p}


def compositions(total: int, members: int, rows: int) -> Iterator[NDArray[np.int64]]:
    """Yields all divisions of `total` parts among `members`, (rows, members) at a time, in lexicographic order."""
    slots = total + members - 1  # the parts, and the separators between the members
    bars = combinations(range(slots), members - 1)
    while chunk := list(islice(bars, rows)):
        places = np.array(chunk, dtype=np.int64).reshape(len(chunk), members - 1)
        yield np.diff(places, axis=1, prepend=-1, append=slots) - 1


@dataclass(frozen=True, eq=False)
class _Margins:
    """The amounts by which each model scores each rival class above a clip's label.

    A weighted sum is correct in a clip if no rival's weighted margin is above 0. `none` is a rival too: its margin is 0
    where a model has no prediction and -1 elsewhere, so it wins if no model with a weight has a prediction.
    """

    rivals: NDArray[np.float64]  # (C, K, U) of the U clips that are correct with some weights and wrong with others

    @classmethod
    def from_probabilities(cls, values: NDArray[np.float64], labels: NDArray[np.int64]) -> "_Margins":
        """Computes the margins from probabilities (K, M, C) and labels (M,)."""
        probabilities = np.nan_to_num(values, nan=0.0)
        clips, classes = probabilities.shape[1:]
        others = np.arange(classes - 1) + (np.arange(classes - 1) >= labels[:, None])  # (M, C - 1)
        own = probabilities[:, np.arange(clips), labels]  # (K, M)
        margin = probabilities[:, np.arange(clips)[:, None], others] - own[..., None]  # (K, M, C - 1)
        margin += np.where(others < labels[:, None], TIE, -TIE)  # of equal classes the first is predicted
        none = np.where(has_prediction(values), -1.0, 0.0) + TIE
        rivals = np.concatenate([margin, none[..., None]], axis=2).transpose(2, 0, 1)  # (C, K, M)
        always_correct = (rivals <= 0).all(axis=(0, 1))
        always_wrong = (rivals > 0).all(axis=1).any(axis=0)
        return cls(np.ascontiguousarray(rivals[:, :, ~always_correct & ~always_wrong]))

    def ordered(self, order: Sequence[int]) -> "_Margins":
        """Returns the margins with the models in another order."""
        return _Margins(np.ascontiguousarray(self.rivals[:, list(order)]))

    def count_correct(self, weights: NDArray[np.float64]) -> NDArray[np.int64]:
        """Counts which of the U clips are correct (B,) with each of the weights (B, K), which sum to 1."""
        worst = weights @ self.rivals[0]  # (B, U)
        other = np.empty_like(worst)
        for rival in self.rivals[1:]:
            np.maximum(worst, np.matmul(weights, rival, out=other), out=worst)
        return np.asarray(np.count_nonzero(worst <= 0, axis=1))


@dataclass(frozen=True, eq=False)
class _Search:
    """A search over weights in whole parts of `total`; the models are sorted by their accuracy, best first."""

    margins: _Margins
    total: int

    @property
    def members(self) -> int:
        return int(self.margins.rivals.shape[1])

    def even(self) -> tuple[int, ...]:
        """Divides the parts as evenly as possible; the better models get the remainder."""
        share, remainder = divmod(self.total, self.members)
        return tuple(share + (k < remainder) for k in range(self.members))

    def best_model_alone(self) -> tuple[int, ...]:
        """Gives all parts to the best model."""
        return (self.total, *[0] * (self.members - 1))

    def best_division(self, start: tuple[int, ...], block: Sequence[int]) -> Candidate:
        """Tries all divisions of the parts that the models of a block have together; the others keep their parts."""
        rows = max(1, CELLS // max(1, self.margins.rivals.shape[2]))
        models, candidates = list(block), []
        for divisions in compositions(sum(start[k] for k in models), len(models), rows):
            parts = np.tile(np.array(start, dtype=np.int64), (len(divisions), 1))
            parts[:, models] = divisions
            correct = self.margins.count_correct(parts / self.total)
            most = np.flatnonzero(correct == correct.max())
            squares = (parts[most] ** 2).sum(axis=1)
            last = most[np.flatnonzero(squares == squares.min())[-1]]  # the last in lexicographic order
            candidates.append((int(correct[last]), -int(squares.min()), tuple(parts[last].tolist())))
        return max(candidates)

    def ascend(self, start: tuple[int, ...]) -> Candidate:
        """Improves the weights until no block of three models can be improved."""
        best, is_improving = self.best_division(start, range(1)), True  # a block of one model leaves the start as it is
        while is_improving:
            before = best
            for block in combinations(range(self.members), BLOCK):
                best = max(best, self.best_division(best[2], block))
            is_improving = best > before
        return best


def _steps(step: float) -> int:
    """Returns the number of steps from 0 to 1."""
    if not 0 < step <= 1 or abs(round(1 / step) * step - 1) > 1e-9:
        raise ValueError(f"step {step}: expected a number of which 1 is a multiple, such as 0.02 or 0.05")
    return round(1 / step)
