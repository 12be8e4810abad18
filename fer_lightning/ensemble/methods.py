"""The methods that combine several models, with one interface: fit on some clips, predict for any."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from data_modules.datasets.folds import assign_folds
from data_modules.datasets.splits import inseparable
from data_modules.manifest import VideoRecord
from data_modules.utils.text import counted
from fer_lightning.ensemble.joint import JointLateFusion
from fer_lightning.ensemble.search import search_weights
from fer_lightning.ensemble.selection import best_selection
from fer_lightning.ensemble.sums import Predictions, average, weighted_sum, weights_of
from fer_lightning.evaluation.bootstrap import Interval
from fer_lightning.evaluation.predictions import PredictionTable

FOLDS = 5
MAX_EXHAUSTIVE_DRAW = 20_000  # combinations of weights that are all tried on a resample

Probabilities = NDArray[np.float64]


@dataclass(frozen=True)
class Fitted:
    """A fitted ensemble."""

    predict: Callable[[Predictions], Probabilities]
    weights: dict[str, float] | None  # of all members, summing to 1; None if the method has no weights per member
    fusion: JointLateFusion | None = None  # the network of a joint late fusion
    intervals: Mapping[str, Interval] = field(
        default_factory=dict
    )  # of searched weights, see `ensemble.weight_intervals`


class Method(ABC):
    """A method that combines several models into one."""

    name: ClassVar[str]
    """The model's name in a run's `run.json`."""
    searches: ClassVar[bool]
    """Whether the method is fitted to true classes."""

    @abstractmethod
    def describe(self) -> str:
        """Returns a short description of the method for messages and reports."""

    @abstractmethod
    def fit(self, p: Predictions, table: PredictionTable) -> Fitted:
        """Fits the method on M clips.

        Args:
            p: each member's name -> its (M, C) probabilities for these clips.
            table: the clips with their true classes; its probabilities are not used.
        """

    def weights_on(self, p: Predictions, labels: NDArray[np.int64]) -> dict[str, float] | None:
        """Returns the weights that the method finds on a resample of clips; None if it searches no weights."""
        return None

    def check_members(self, names: Sequence[str]) -> None:  # noqa: B027 - most methods take any members
        """Checks that the method can combine these members, before they are trained.

        Raises:
            ValueError: the method's weights or groups do not fit the members.
        """


@dataclass(frozen=True)
class Average(Method):
    """The mean of all members' probabilities."""

    name = "Average"
    searches = False

    def describe(self) -> str:
        """Returns a short description of the method."""
        return "average"

    def fit(self, p: Predictions, table: PredictionTable) -> Fitted:
        """Returns the average of the members, which does not depend on the clips."""
        return Fitted(average, dict.fromkeys(p, 1 / len(p)))


@dataclass(frozen=True)
class FixedWeights(Method):
    """A weighted sum with given weights, which are scaled to sum to 1.

    Args:
        weights: a member's name -> its weight, or one weight per member in the order of the members.
    """

    weights: dict[str, float] | list[float]

    name = "WeightedSum"
    searches = False

    def describe(self) -> str:
        """Returns a short description of the method."""
        return "weighted sum, weights as given"

    def check_members(self, names: Sequence[str]) -> None:
        """Checks that there is a weight for each member and no other.

        Raises:
            ValueError: the weights do not fit the members.
        """
        weights_of(names, self._by_name(names))

    def fit(self, p: Predictions, table: PredictionTable) -> Fitted:
        """Returns the weighted sum of the members, which does not depend on the clips."""
        return _weighted(self._by_name(list(p)))

    def _by_name(self, names: Sequence[str]) -> dict[str, float]:
        if isinstance(self.weights, dict):
            return self.weights
        if len(self.weights) != len(names):
            raise ValueError(
                f"{counted(len(self.weights), 'weight')} for {counted(len(names), 'member')}: expected one weight for "
                f"each of "
                f"{', '.join(names)}"
            )
        return dict(zip(names, self.weights, strict=True))


@dataclass(frozen=True)
class SearchedWeights(Method):
    """A weighted sum whose weights are searched on a grid; see `search_weights`.

    Args:
        step: of the grid.
    """

    step: float = 0.02

    name = "WeightedSum"
    searches = True

    def describe(self) -> str:
        """Returns a short description of the method."""
        return f"weighted sum, weights searched in steps of {self.step}"

    def fit(self, p: Predictions, table: PredictionTable) -> Fitted:
        """Searches the weights with which most clips are classified correctly."""
        return _weighted(search_weights(p, table.label, self.step))

    def weights_on(self, p: Predictions, labels: NDArray[np.int64]) -> dict[str, float]:
        """Searches the weights on a resample, three models at a time where trying all combinations would take long."""
        return search_weights(p, labels, self.step, MAX_EXHAUSTIVE_DRAW)


@dataclass(frozen=True)
class BestSelection(Method):
    """The average of the selected members; see `best_selection`.

    Args:
        max_models: the largest number of members to select.
    """

    max_models: int = 5

    name = "BestSelection"
    searches = True

    def describe(self) -> str:
        """Returns a short description of the method."""
        return f"best selection of at most {self.max_models}"

    def fit(self, p: Predictions, table: PredictionTable) -> Fitted:
        """Selects members on the clips; the others get the weight 0."""
        return _weighted(self.weights_on(p, table.label))

    def weights_on(self, p: Predictions, labels: NDArray[np.int64]) -> dict[str, float]:
        """Returns equal weights for the members that are selected on some clips, and 0 for the others."""
        chosen = best_selection(p, labels, self.max_models)
        return {name: (name in chosen) / len(chosen) for name in p}


@dataclass(frozen=True)
class JointFusion(Method):
    """Joint late fusion of groups of members; see `JointLateFusion`.

    Args:
        groups: the members of each group, by name or by number, counted from 1.
    """

    groups: tuple[tuple[str | int, ...], ...]

    name = "JointLateFusion"
    searches = True

    def describe(self) -> str:
        """Returns a short description of the method."""
        return f"joint late fusion of the groups {' / '.join(', '.join(map(str, group)) for group in self.groups)}"

    def named_groups(self, names: Sequence[str]) -> tuple[tuple[str, ...], ...]:
        """Returns the groups as names of members.

        Raises:
            ValueError: a group holds something other than a member, or a member is not in exactly one group.
        """
        groups = tuple(tuple(_member(str(item), names) for item in group) for group in self.groups)
        if sorted(name for group in groups for name in group) != sorted(names) or not all(groups):
            text = "/".join(",".join(map(str, group)) for group in self.groups)
            raise ValueError(f"groups {text}: expected each of {', '.join(names)} in one group; such as a,b/c")
        return groups

    def check_members(self, names: Sequence[str]) -> None:
        """Checks that each member is in exactly one group.

        Raises:
            ValueError: the groups do not fit the members.
        """
        self.named_groups(names)

    def fit(self, p: Predictions, table: PredictionTable) -> Fitted:
        """Trains the fusion network on the clips."""
        fusion = JointLateFusion(self.named_groups(list(p)), len(table.class_names)).fit(p, table.label)
        return Fitted(fusion.predict, None, fusion)


def _weighted(weights: dict[str, float]) -> Fitted:
    total = sum(weights.values())
    if not total > 0:
        raise ValueError(f"weights {list(weights.values())}: expected numbers from 0 up, one of them above 0")
    shares = {name: weight / total for name, weight in weights.items()}
    return Fitted(lambda p: weighted_sum(p, shares), shares)


def cross_fitted(
    method: Method, p: Predictions, table: PredictionTable, advance: Callable[[float], None] = lambda done: None
) -> Probabilities | None:
    """Predicts each clip of a table with the method fitted on clips of other films or subjects (cross-fitting).

    No film or subject occurs in two folds. The folds depend on the clips alone.

    Args:
        method: to fit.
        p: each member's name -> its (M, C) probabilities.
        table: the M clips with their true classes.
        advance: called with the progress, from 0 to `FOLDS`, after each fold.

    Returns:
        Probabilities (M, C), or None if there cannot be two folds: all clips are of one film or subject, or no two
        clips have the same emotion.
    """
    columns = (getattr(table, name).tolist() for name in ("clip_id", "emotion", "subject", "group"))
    records = [
        VideoRecord(clip_id, PurePosixPath(clip_id).name, emotion, subject=subject, group=group)
        for clip_id, emotion, subject, group in zip(*columns, strict=True)
    ]
    frequent = np.unique(table.emotion, return_counts=True)[1].max(initial=0)
    folds = min(FOLDS, len(set(inseparable(records))), int(frequent))
    if folds < 2:
        return None
    fold = np.array(assign_folds(records, folds, "ensemble"))
    values = {name: np.asarray(array) for name, array in p.items()}
    probabilities = np.full((len(table), len(table.class_names)), np.nan)
    for number in range(1, folds + 1):
        held_out = fold == number
        fitted = method.fit({name: array[~held_out] for name, array in values.items()}, table.select(~held_out))
        probabilities[held_out] = fitted.predict({name: array[held_out] for name, array in values.items()})
        advance(number / folds * FOLDS)
    return probabilities


def _member(item: str, names: Sequence[str]) -> str:
    if item in names:
        return item
    if item.isascii() and item.isdecimal() and 1 <= int(item) <= len(names):
        return names[int(item) - 1]
    raise ValueError(f"groups: no member {item!r}; expected {', '.join(names)}, or a number from 1 to {len(names)}")
