"""The ways to make one model of several, behind one protocol: fitted on some clips, applied to any."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from data_modules.datasets.folds import assign_folds
from data_modules.datasets.splits import person_or_film
from data_modules.manifest import VideoRecord
from fer_lightning.ensemble.joint import JointLateFusion
from fer_lightning.ensemble.search import search_weights
from fer_lightning.ensemble.selection import best_selection
from fer_lightning.ensemble.sums import Predictions, average, weighted_sum, weights_of
from fer_lightning.evaluation.predictions import PredictionTable

FOLDS = 5

Probabilities = NDArray[np.float64]


@dataclass(frozen=True)
class Fitted:
    """An ensemble that can be applied."""

    predict: Callable[[Predictions], Probabilities]
    weights: dict[str, float] | None  # of all members, summing to 1; None where they have no single weight
    fusion: JointLateFusion | None = None  # the network of a joint late fusion


class Method(ABC):
    """A way to make one model of several."""

    name: ClassVar[str]
    """What it is called in a run's `run.json`."""
    searches: ClassVar[bool]
    """Whether it looks at true classes."""

    @abstractmethod
    def describe(self) -> str:
        """In words, for people."""

    @abstractmethod
    def fit(self, p: Predictions, table: PredictionTable) -> Fitted:
        """Fitted on the clips of a table (whose own predictions do not matter); p: name -> (M, C) of these clips."""

    def refuse(self, names: Sequence[str]) -> None:  # noqa: B027 - most take any members
        """Refuses members that it cannot be made of, before these are trained.

        Raises:
            ValueError: it speaks of other members.
        """


@dataclass(frozen=True)
class Average(Method):
    """The mean of all members."""

    name = "Average"
    searches = False

    def describe(self) -> str:
        """In words."""
        return "average"

    def fit(self, p: Predictions, table: PredictionTable) -> Fitted:
        """The same whatever the clips."""
        return Fitted(average, dict.fromkeys(p, 1 / len(p)))


@dataclass(frozen=True)
class FixedWeights(Method):
    """A weighted sum whose weights somebody gives, of any sum.

    Args:
        weights: a member's name -> its weight; or one for each member, in their order.
    """

    weights: dict[str, float] | list[float]

    name = "WeightedSum"
    searches = False

    def describe(self) -> str:
        """In words."""
        return "weighted sum, weights as given"

    def refuse(self, names: Sequence[str]) -> None:
        """Refuses weights that are not of these members."""
        weights_of(names, self._by_name(names))

    def fit(self, p: Predictions, table: PredictionTable) -> Fitted:
        """The same whatever the clips."""
        return _weighted(self._by_name(list(p)))

    def _by_name(self, names: Sequence[str]) -> dict[str, float]:
        if isinstance(self.weights, dict):
            return self.weights
        if len(self.weights) != len(names):
            raise ValueError(
                f"{len(self.weights)} weights for {len(names)} members: expected one each, in the order of "
                f"{', '.join(names)}"
            )
        return dict(zip(names, self.weights, strict=True))


@dataclass(frozen=True)
class SearchedWeights(Method):
    """A weighted sum whose weights are searched; see `search_weights`."""

    step: float = 0.02

    name = "WeightedSum"
    searches = True

    def describe(self) -> str:
        """In words."""
        return f"weighted sum, weights searched in steps of {self.step}"

    def fit(self, p: Predictions, table: PredictionTable) -> Fitted:
        """Searches."""
        return _weighted(search_weights(p, table.label, self.step))


@dataclass(frozen=True)
class BestSelection(Method):
    """The average of the selected members; see `best_selection`."""

    max_models: int = 5

    name = "BestSelection"
    searches = True

    def describe(self) -> str:
        """In words."""
        return f"best selection of at most {self.max_models}"

    def fit(self, p: Predictions, table: PredictionTable) -> Fitted:
        """Selects."""
        chosen = best_selection(p, table.label, self.max_models)
        return _weighted({name: float(name in chosen) for name in p})


@dataclass(frozen=True)
class JointFusion(Method):
    """Joint late fusion of groups of members; see `JointLateFusion`.

    Args:
        groups: the members of each group, by their names or their places, counted from 1.
    """

    groups: tuple[tuple[str | int, ...], ...]

    name = "JointLateFusion"
    searches = True

    def describe(self) -> str:
        """In words."""
        return f"joint late fusion of the groups {' / '.join(', '.join(map(str, group)) for group in self.groups)}"

    def named(self, names: Sequence[str]) -> tuple[tuple[str, ...], ...]:
        """The groups by their members' names.

        Raises:
            ValueError: what is no member, or groups that do not hold every member once.
        """
        groups = tuple(tuple(_member(str(item), names) for item in group) for group in self.groups)
        if sorted(name for group in groups for name in group) != sorted(names) or not all(groups):
            said = "/".join(",".join(map(str, group)) for group in self.groups)
            raise ValueError(f"groups {said}: expected each of {', '.join(names)} in one group; such as a,b/c")
        return groups

    def refuse(self, names: Sequence[str]) -> None:
        """Refuses groups that do not hold each of these members once."""
        self.named(names)

    def fit(self, p: Predictions, table: PredictionTable) -> Fitted:
        """Trains."""
        fusion = JointLateFusion(self.named(list(p)), len(table.class_names)).fit(p, table.label)
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
    """(M, C) what the method says of each clip of a table when it is fitted on clips of other films or subjects.

    The folds are exclusive in films, or in subjects where films are not known, and depend on the clips alone. None
    where there are not two of them: the clips are of one film or subject, or no two of one emotion. `advance` is told
    how many of `FOLDS` folds are done.
    """
    columns = (getattr(table, name).tolist() for name in ("clip_id", "emotion", "subject", "group"))
    records = [
        VideoRecord(clip_id, PurePosixPath(clip_id).name, emotion, subject=subject, group=group)
        for clip_id, emotion, subject, group in zip(*columns, strict=True)
    ]
    frequent = np.unique(table.emotion, return_counts=True)[1].max(initial=0)
    folds = min(FOLDS, len({person_or_film(record) for record in records}), int(frequent))
    if folds < 2:
        return None
    fold = np.array(assign_folds(records, folds, "ensemble"))
    values = {name: np.asarray(array) for name, array in p.items()}
    found = np.full((len(table), len(table.class_names)), np.nan)
    for number in range(1, folds + 1):
        held_out = fold == number
        fitted = method.fit({name: array[~held_out] for name, array in values.items()}, table.select(~held_out))
        found[held_out] = fitted.predict({name: array[held_out] for name, array in values.items()})
        advance(number / folds * FOLDS)
    return found


def _member(item: str, names: Sequence[str]) -> str:
    if item in names:
        return item
    if item.isascii() and item.isdecimal() and 1 <= int(item) <= len(names):
        return names[int(item) - 1]
    raise ValueError(f"groups: no member {item!r}; expected {', '.join(names)}, or a place from 1 to {len(names)}")
