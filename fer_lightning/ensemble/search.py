"""The search for the weights of a weighted sum, on a grid over all weights that sum to 1."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, islice
from math import comb

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fer_lightning.ensemble.sums import Predictions, answered, checked_labels, stacked

EXHAUSTIVE = 1_000_000  # combinations of which each is tried: five models at 0.02 make 316 251
BLOCK = 3  # weights that are searched at once where there are more
CELLS = 1 << 18  # combinations times clips at once: two arrays of 2 MB, which stay in the cache
TIE = 1e-12  # scores that are closer are equal, as in sums that are rounded to 12 decimals

Key = tuple[int, int, tuple[int, ...]]  # right clips, minus the sum of squares, parts: the larger the better


def search_weights(p: Predictions, labels: ArrayLike, step: float = 0.02) -> dict[str, float]:
    """The weights with which the weighted sum is right in most clips (bi-modality paper, the search of equation 4).

    Weights are multiples of `step` from 0 to 1 and sum to 1. Up to a million combinations each one is tried. Beyond,
    the weights of every three models are searched in turn over all divisions of what these three have together, until
    no three can be bettered; once from even weights, once from the best model alone. That never ends below the best
    model alone, but it may miss the best weights.

    Many weights are right in the same clips. [our choice] The most even are taken (the least sum of squares), then
    those that give more to the model that is better alone, then to the first in the alphabet. So neither the order of
    the models nor chance decides.

    Args:
        p: name -> (M, C) probabilities; NaN where a model has no prediction, see `weighted_sum`.
        labels: (M,) true classes; a clip that no model with a weight answers is an error.
        step: of the grid; a whole number of steps makes 1.

    Raises:
        ValueError: the step does not divide 1, or arrays that do not fit.
    """
    total = _steps(step)
    names, values = stacked(p)
    margins = _Margins.of(values, checked_labels(labels, *values.shape[1:]))
    alone = margins.right(np.eye(len(names)))
    order = sorted(range(len(names)), key=lambda k: (-int(alone[k]), names[k]))
    search = _Search(margins.ordered(order), total)
    if comb(total + len(names) - 1, len(names) - 1) <= EXHAUSTIVE:
        best = search.best(search.alone(), range(len(names)))
    else:
        best = max(search.ascended(search.even()), search.ascended(search.alone()))
    found = {names[k]: parts / total for k, parts in zip(order, best[2], strict=True)}
    return {name: found[name] for name in p}


def compositions(total: int, members: int, rows: int) -> Iterator[NDArray[np.int64]]:
    """All ways to divide `total` parts among `members`, (rows, members) at a time, in lexicographic order."""
    slots = total + members - 1  # the parts, and the bars between the members
    bars = combinations(range(slots), members - 1)
    while chunk := list(islice(bars, rows)):
        places = np.array(chunk, dtype=np.int64).reshape(len(chunk), members - 1)
        yield np.diff(places, axis=1, prepend=-1, append=slots) - 1


@dataclass(frozen=True, eq=False)
class _Margins:
    """By how much each model puts each rival of a clip's label above it.

    A weighted sum is right in a clip when no rival's weighted margin is above 0. `none` is a rival too: its margin is 0
    where a model has no prediction and -1 elsewhere, so that it wins where no model with a weight answers.
    """

    rivals: NDArray[np.float64]  # (C, K, U) of the U clips that are right with some weights and wrong with others

    @classmethod
    def of(cls, values: NDArray[np.float64], labels: NDArray[np.int64]) -> "_Margins":
        """Of probabilities (K, M, C) and labels (M,)."""
        there = answered(values)
        known = np.nan_to_num(values, nan=0.0)
        clips, classes = known.shape[1:]
        others = np.arange(classes - 1) + (np.arange(classes - 1) >= labels[:, None])  # (M, C - 1)
        own = known[:, np.arange(clips), labels]  # (K, M)
        margin = known[:, np.arange(clips)[:, None], others] - own[..., None]  # (K, M, C - 1)
        margin += np.where(others < labels[:, None], TIE, -TIE)  # of equal classes the first is predicted
        none = np.where(there, -1.0, 0.0) + TIE
        rivals = np.concatenate([margin, none[..., None]], axis=2).transpose(2, 0, 1)  # (C, K, M)
        right, wrong = (rivals <= 0).all(axis=(0, 1)), (rivals > 0).all(axis=1).any(axis=0)
        return cls(np.ascontiguousarray(rivals[:, :, ~right & ~wrong]))

    def ordered(self, order: Sequence[int]) -> "_Margins":
        """The same with the models in another order."""
        return _Margins(np.ascontiguousarray(self.rivals[:, list(order)]))

    def right(self, weights: NDArray[np.float64]) -> NDArray[np.int64]:
        """(B,) how many of the U clips are right with each of the weights (B, K), which sum to 1."""
        worst = weights @ self.rivals[0]  # (B, U)
        other = np.empty_like(worst)
        for rival in self.rivals[1:]:
            np.maximum(worst, np.matmul(weights, rival, out=other), out=worst)
        return np.asarray(np.count_nonzero(worst <= 0, axis=1))


@dataclass(frozen=True, eq=False)
class _Search:
    """Weights in whole parts of `total`; the models stand in the order of their accuracy."""

    margins: _Margins
    total: int

    @property
    def members(self) -> int:
        return int(self.margins.rivals.shape[1])

    def even(self) -> tuple[int, ...]:
        """As even as parts can be, the better models first."""
        share, left = divmod(self.total, self.members)
        return tuple(share + (k < left) for k in range(self.members))

    def alone(self) -> tuple[int, ...]:
        """All to the best model."""
        return (self.total, *[0] * (self.members - 1))

    def best(self, start: tuple[int, ...], block: Sequence[int]) -> Key:
        """The best of all divisions of what the models of the block have at the start; the others keep theirs."""
        rows = max(1, CELLS // max(1, self.margins.rivals.shape[2]))
        places, found = list(block), []
        for divided in compositions(sum(start[k] for k in places), len(places), rows):
            parts = np.tile(np.array(start, dtype=np.int64), (len(divided), 1))
            parts[:, places] = divided
            right = self.margins.right(parts / self.total)
            most = np.flatnonzero(right == right.max())
            squares = (parts[most] ** 2).sum(axis=1)
            last = most[np.flatnonzero(squares == squares.min())[-1]]  # the last in lexicographic order
            found.append((int(right[last]), -int(squares.min()), tuple(parts[last].tolist())))
        return max(found)

    def ascended(self, start: tuple[int, ...]) -> Key:
        """Where no block of three can be bettered."""
        reached, better = self.best(start, range(1)), True  # a block of one has nothing to divide: the start itself
        while better:
            before = reached
            for block in combinations(range(self.members), BLOCK):
                reached = max(reached, self.best(reached[2], block))
            better = reached > before
        return reached


def _steps(step: float) -> int:
    """How many steps make 1."""
    if not 0 < step <= 1 or abs(round(1 / step) * step - 1) > 1e-9:
        raise ValueError(f"step {step}: expected a part of 1 such as 0.02 or 0.05, a whole number of which makes 1")
    return round(1 / step)
