"""How long the runs of a table may take, from how long similar runs and the systems' training steps took."""

import math
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise

from data_modules.datasets.dataset import DatasetNotFoundError
from data_modules.utils.text import counted
from fer_lightning.ensemble.order import steps
from fer_lightning.experiments.datasets import build_dataset
from fer_lightning.experiments.request import ExperimentRequest
from fer_lightning.experiments.system import Size
from fer_lightning.paths import runs_root
from fer_lightning.tables.model_costs import ModelCost, comparable, read_costs
from fer_lightning.tables.plan import PlannedRow
from fer_lightning.tables.results import kept_results


@dataclass(frozen=True)
class Duration:
    """How long a run may take, in seconds, and what says so."""

    seconds: float
    source: str


@dataclass(frozen=True)
class Estimate:
    """How long some runs may take.

    Args:
        known: of each run whose time could be estimated.
        unknown: the other runs, about whose system nothing is known at that size.
    """

    known: tuple[Duration, ...]
    unknown: tuple[ExperimentRequest, ...]

    @property
    def seconds(self) -> float:
        """The time of the runs whose time could be estimated."""
        return sum(each.seconds for each in self.known)

    def written(self) -> str:
        """Returns the estimate as text."""
        hours = f"about {self.seconds / 3600:.1f} h" if self.known else "time unknown"
        return f"{hours}, {len(self.unknown)} of unknown length" if self.known and self.unknown else hours

    def reasons(self) -> Iterator[str]:
        """Yields sentences about what the estimate is made of, and what is missing for the runs of unknown length."""
        for source, runs in Counter(each.source for each in self.known).items():
            yield f"The time of {counted(runs, 'run')} is that of {source}."
        for size in sorted({_size(each) for each in self.unknown}):
            unknown = [each.system for each in self.unknown if _size(each) == size]
            command = f"fer bench models {' '.join(sorted(set(unknown)))} --size {size}"
            yield f"The time of {counted(len(unknown), 'run')} is not known; {command} measures their steps."


def estimate(rows: Sequence[PlannedRow], durations: "Durations | None" = None) -> Estimate:
    """Estimates how long the missing runs of some rows take on one device, with all that they start from and combine.

    Combining the members of an ensemble is left out.

    Args:
        rows: the rows.
        durations: of the finished runs, if they have been read.
    """
    known = durations or Durations()
    missing = [request for planned in rows for request in planned.untrained]
    plan = steps(missing, [request for planned in rows for request in planned.required])
    requests = [step.request for step in plan.values() if not step.request.is_ensemble]
    found = [(request, known.duration(request)) for request in requests]
    return Estimate(
        tuple(duration for _, duration in found if duration),
        tuple(request for request, duration in found if duration is None),
    )


@dataclass(frozen=True)
class _Past:
    """A run that was finished, and the seconds that it took."""

    request: ExperimentRequest
    seconds: float
    is_kept: bool = False  # whether it is known of the results that its row has left, and not of its folder

    def is_of_row(self, request: ExperimentRequest) -> bool:
        """Whether a request is for a run of the same row, perhaps of another fold or seed."""
        if self.request.experiment != request.experiment:
            return False
        if self.is_kept:  # results keep the arguments of their row, and no name
            return self.request.arguments == request.arguments
        return self.request.name == request.name


class Durations:
    """How long finished runs took, and the steps of systems that `fer bench models` has measured."""

    def __init__(self) -> None:
        """Reads the finished runs of all experiments, the results that rows have left, and the file of costs.

        Runs that do not say how long they took are passed over.

        Raises:
            ValueError: a run's facts, a row's results or the costs are damaged.
        """
        self._past = [past for past in (*_finished(), *_kept()) if past.seconds]
        self._costs = read_costs()
        self._clips_of = cache(clips_of)

    def duration(self, request: ExperimentRequest) -> Duration | None:
        """Returns how long a run may take; None if nothing says so.

        That is the median of the runs that are most alike at its size: of its row, of its experiment, or of its system,
        whose time grows with the clips and epochs; in each case of runs that are here rather than of kept results. Or
        else it follows from its measured steps and what the steps of other systems took in finished runs on the data
        set, or from its steps alone.
        """
        sized = [past for past in self._past if _size(past.request) == _size(request)]
        levels = (
            ("the same row", [past for past in sized if past.is_of_row(request)]),
            ("the same experiment", [past for past in sized if past.request.experiment == request.experiment]),
            ("the same system, by clips and epochs", [past for past in sized if past.request.system == request.system]),
        )
        for level, alike in levels:
            for place, is_kept in (("finished runs", False), ("kept results", True)):
                runs = [past for past in alike if past.is_kept == is_kept]
                if found := [each for past in runs if (each := self._scaled(past, request)) is not None]:
                    return Duration(statistics.median(found), f"{place} of {level}")
        return self._by_other_systems(request, sized) or self._by_steps(request)

    def _scaled(self, past: _Past, request: ExperimentRequest) -> float | None:
        """Returns the seconds of a run as if on the data set of a request; None if their clips are not known."""
        if past.request.experiment == request.experiment:
            return past.seconds
        own, other = self._clips_seen(request), self._clips_seen(past.request)
        return past.seconds * own / other if own and other else None

    def _clips_seen(self, request: ExperimentRequest) -> int | None:
        """Returns how many clips a training sees in all of its epochs."""
        clips = self._clips_of(request.dataset)
        return clips[0] * _epochs(request) if clips else None

    def _by_other_systems(self, request: ExperimentRequest, sized: Sequence[_Past]) -> Duration | None:
        here = [past for past in sized if past.request.dataset == request.dataset and not past.is_kept]
        ratios = [past.seconds / other for past in here if (other := self.work(past.request))]
        work = self.work(request)
        if not (work and ratios):
            return None
        return Duration(work * statistics.median(ratios), "finished runs of other systems, by their measured steps")

    def _by_steps(self, request: ExperimentRequest) -> Duration | None:
        cost, clips = self._cost(request), self._clips_of(request.dataset)
        if cost is None or clips is None or cost.views_per_second is None:
            return None
        forward = _epochs(request) / cost.views_per_second
        trained, reported = clips
        work = self.work(request)
        seconds = trained * (forward if work is None else work) + reported * forward
        return Duration(seconds, f"steps measured on {cost.device}, {cost.precision}, without loading or caching")

    def _cost(self, request: ExperimentRequest) -> ModelCost | None:
        return comparable(self._costs, _size(request)).get(request.system)

    def work(self, request: ExperimentRequest) -> float | None:
        """Returns the seconds of the training steps for each clip of the data set, all epochs together, as measured by
        `fer bench models`; None if that has not measured the system.
        """
        cost = self._cost(request)
        step = cost.step_seconds_per_clip if cost else None
        return None if step is None else step * _epochs(request)

    def in_order_of_cost(self, rows: Sequence[PlannedRow]) -> list[PlannedRow]:
        """Returns rows with the shortest runs first, and those last of which nothing is known."""

        def key(planned: PlannedRow) -> tuple[float, float]:
            first = planned.requests[0]
            duration, work = self.duration(first), self.work(first)
            return math.inf if duration is None else duration.seconds, math.inf if work is None else work

        return sorted(rows, key=key)


def clips_of(data: str) -> tuple[int, int] | None:
    """Returns how many clips of a data set are trained on, with the inner split, and how many are reported on.

    They are those of a fold of a complete copy, or else of the copy on this machine; None where neither is known.
    """
    dataset = build_dataset(data)
    clips = {count.split: count.clips for count in dataset.counts}
    if not clips:
        try:
            clips = Counter(record.split for record in dataset.records())
        except DatasetNotFoundError:
            return None
    if "" in clips:  # all splits together
        reported = clips[""] // dataset.folds
        return clips[""] - reported, reported
    return clips["train"] + clips.get("inner", 0), clips["test"]


def _size(request: ExperimentRequest) -> Size:
    return request.size or request.default_size


def _epochs(request: ExperimentRequest) -> int:
    """Returns the number of epochs of a request's arguments, or that the last layer of its settings names."""
    stated = dict(pairwise(request.arguments)).get("--trainer.max_epochs")
    layers = ((layer.content.get("trainer") or {}).get("max_epochs") for layer in reversed(request.layers()))
    return next((int(epochs) for epochs in (stated, *layers) if epochs is not None), 0)


def _finished() -> Iterator[_Past]:
    """Yields the finished runs of experiments; other folders of runs are passed over."""
    for path in sorted(runs_root().glob("*/*-*/run.json")):
        try:
            request = ExperimentRequest.from_run_name("/".join(path.parent.parts[-2:]))
            is_run = bool(request.names) and request.run.finished
        except (FileNotFoundError, ValueError):
            continue
        if is_run:
            yield _Past(request, request.run.read_info().seconds)


def _kept() -> Iterator[_Past]:
    """Yields the runs of all rows that have left results; those of systems that exist no more are passed over."""
    for result in kept_results():
        size: Size = "small" if result.size == "small" else "paper"
        request = ExperimentRequest(result.experiment, size=size, arguments=result.arguments)
        try:
            is_known = bool(request.names)
        except FileNotFoundError:
            continue
        for run in result.runs if is_known else ():
            yield _Past(replace(request, fold=run.fold, seed=run.seed), run.seconds, is_kept=True)
