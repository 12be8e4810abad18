"""The ways to make one model of several, behind one protocol: fitted on some clips, applied to any."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from data_modules.folds import assign_folds
from data_modules.manifest import VideoRecord
from fer_lightning.ensemble.joint import JointLateFusion
from fer_lightning.ensemble.search import search_weights
from fer_lightning.ensemble.selection import best_selection
from fer_lightning.ensemble.sums import Predictions, average, weighted_sum
from fer_lightning.predictions import PredictionTable

FOLDS = 5

Probabilities = NDArray[np.float64]


@dataclass(frozen=True)
class Fitted:
    """An ensemble that can be applied."""

    predict: Callable[[Predictions], Probabilities]
    weights: dict[str, float] | None  # of all members, summing to 1; None where they have no single weight
    branches: Callable[[Predictions], list[Probabilities]] | None = None  # what each of its groups says alone


class Method(Protocol):
    """A way to make one model of several."""

    @property
    def name(self) -> str:
        """What it is called in a run's `run.json`."""

    @property
    def searches(self) -> bool:
        """Whether it looks at true classes."""

    def describe(self) -> str:
        """In words, for people."""

    def fit(self, p: Predictions, table: PredictionTable) -> Fitted:
        """Fitted on the clips of a table (whose own predictions do not matter); p: name -> (M, C) of these clips."""


@dataclass(frozen=True)
class Average:
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
class FixedWeights:
    """A weighted sum whose weights somebody gives: name -> weight, of any sum."""

    weights: dict[str, float]

    name = "WeightedSum"
    searches = False

    def describe(self) -> str:
        """In words."""
        return "weighted sum, weights as given"

    def fit(self, p: Predictions, table: PredictionTable) -> Fitted:
        """The same whatever the clips."""
        return _weighted(self.weights)


@dataclass(frozen=True)
class SearchedWeights:
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
class BestSelection:
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
class JointFusion:
    """Joint late fusion of groups of members; see `JointLateFusion`."""

    groups: tuple[tuple[str, ...], ...]

    name = "JointLateFusion"
    searches = True

    def describe(self) -> str:
        """In words."""
        return f"joint late fusion of the groups {' / '.join(', '.join(group) for group in self.groups)}"

    def fit(self, p: Predictions, table: PredictionTable) -> Fitted:
        """Trains."""
        fusion = JointLateFusion(self.groups, len(table.class_names)).fit(p, table.label)
        return Fitted(fusion.predict, None, fusion.predict_branches)


def _weighted(weights: dict[str, float]) -> Fitted:
    total = sum(weights.values())
    if not total > 0:
        raise ValueError(f"weights {list(weights.values())}: expected numbers from 0 up, one of them above 0")
    shares = {name: weight / total for name, weight in weights.items()}
    return Fitted(lambda p: weighted_sum(p, shares), shares)


def cross_fitted(
    method: Method, p: Predictions, table: PredictionTable, reach: Callable[[float], None] = lambda done: None
) -> Probabilities | None:
    """(M, C) what the method says of each clip of a table when it is fitted on the clips of other subjects.

    The folds are exclusive in subjects and depend on the clips alone. None where there are not two of them: the clips
    are of one subject, or no two of one emotion. `reach` is told how many of `FOLDS` folds are done.
    """
    records = [
        VideoRecord(clip_id, PurePosixPath(clip_id).name, emotion, subject=subject)
        for clip_id, emotion, subject in zip(
            table.clip_id.tolist(), table.emotion.tolist(), table.subject.tolist(), strict=True
        )
    ]
    frequent = np.unique(table.emotion, return_counts=True)[1].max(initial=0)
    folds = min(FOLDS, len({record.subject or record.clip_id for record in records}), int(frequent))
    if folds < 2:
        return None
    fold = np.array(assign_folds(records, folds, "ensemble"))
    values = {name: np.asarray(array) for name, array in p.items()}
    found = np.full((len(table), len(table.class_names)), np.nan)
    for number in range(1, folds + 1):
        held_out = fold == number
        fitted = method.fit({name: array[~held_out] for name, array in values.items()}, table.select(~held_out))
        found[held_out] = fitted.predict({name: array[held_out] for name, array in values.items()})
        reach(number / folds * FOLDS)
    return found


def groups_of(text: str, names: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """`a,b,c/d,e` -> the groups of members, each given by its name or its place, counted from 1.

    Raises:
        ValueError: what is no member, or groups that do not hold every member once.
    """
    groups = tuple(tuple(_member(item, names) for item in group.split(",")) for group in text.split("/"))
    if sorted(name for group in groups for name in group) != sorted(names):
        raise ValueError(f"--groups {text}: expected each of {', '.join(names)} in one group; such as a,b/c")
    return groups


def _member(item: str, names: Sequence[str]) -> str:
    if item in names:
        return item
    if item.isascii() and item.isdecimal() and 1 <= int(item) <= len(names):
        return names[int(item) - 1]
    raise ValueError(f"--groups: no member {item!r}; expected {', '.join(names)}, or a place from 1 to {len(names)}")
