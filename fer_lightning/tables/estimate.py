"""How long the runs of a table may take, from how long similar runs took."""

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from fer_lightning.experiments.request import ExperimentRequest
from fer_lightning.experiments.system import Size
from fer_lightning.paths import runs_root
from fer_lightning.tables.model_costs import comparable, read_costs
from fer_lightning.tables.plan import PlannedRow
from fer_lightning.tables.results import RowResult


@dataclass(frozen=True)
class Estimate:
    """How long some runs may take.

    Args:
        seconds: of those whose time could be estimated.
        known: their number.
        unknown: number of the others, of whose system no run is finished at that size.
    """

    seconds: float
    known: int
    unknown: int

    def written(self) -> str:
        """Returns the estimate as text."""
        hours = f"about {self.seconds / 3600:.1f} h" if self.known else "time unknown"
        return f"{hours}, {self.unknown} of unknown length" if self.known and self.unknown else hours


def estimate(
    rows: Sequence[PlannedRow],
    results: Mapping[str, RowResult] | None = None,
    durations: "Durations | None" = None,
) -> Estimate:
    """Estimates how long the missing runs of some rows take, with the variants that they start from, on one device.

    Args:
        rows: the rows.
        results: name of a row -> the results that it has left, whose runs may be of another machine.
        durations: of the finished runs, if they have been read.
    """
    left, known = results or {}, durations or Durations()
    stored = {run.run.path: left.get(planned.row.name) for planned in rows for run in planned.missing}
    requests = {request.run.path: request for planned in rows for request in (*planned.required, *planned.missing)}
    missing = [request for request in requests.values() if not request.run.finished]
    seconds = [known.seconds(request, stored.get(request.run.path)) for request in missing]
    found = [value for value in seconds if value is not None]
    return Estimate(sum(found), len(found), len(seconds) - len(found))


class Durations:
    """How long finished runs took, and the steps of systems that `fer bench models` has measured."""

    def __init__(self) -> None:
        """Reads the finished runs of all experiments, and the file of costs."""
        self._finished = [(request, request.run.read_info().seconds) for request in _finished()]
        self._costs = read_costs()

    def seconds(self, request: ExperimentRequest, result: RowResult | None = None) -> float | None:
        """Returns how many seconds a run may take; None if nothing says so.

        That is the median of the finished runs of its own row, or else of its experiment, or else of its system, at its
        size; or else of the runs of its row's results; or else, for each second of its work, what finished runs of
        other systems on the data set took.

        Args:
            request: the run.
            result: the results that its row has left.
        """
        finished = [(other, seconds) for other, seconds in self._finished if _size(other) == _size(request)]
        same_row = [seconds for other, seconds in finished if other.run.path.parent == request.run.path.parent]
        same_experiment = [seconds for other, seconds in finished if other.experiment == request.experiment]
        same_system = [seconds for other, seconds in finished if other.system == request.system]
        for alike in (same_row, same_experiment, same_system):
            if alike:
                return statistics.median(alike)
        if result:
            return statistics.median(run.seconds for run in result.runs)
        work = self.work(request)
        same_data = [(self.work(other), seconds) for other, seconds in finished if other.dataset == request.dataset]
        ratios = [seconds / other for other, seconds in same_data if other]
        return work * statistics.median(ratios) if work and ratios else None

    def work(self, request: ExperimentRequest) -> float | None:
        """Returns the seconds of the training steps for each clip of the data set, all epochs together, as measured by
        `fer bench models`; None if that has not measured the system.
        """
        cost = comparable(self._costs, _size(request)).get(request.system)
        step = cost.step_seconds_per_clip if cost else None
        return None if step is None else step * _epochs(request)

    def in_order_of_cost(self, rows: Sequence[PlannedRow]) -> list[PlannedRow]:
        """Returns rows with the shortest runs first, and those last of which nothing is known."""

        def key(planned: PlannedRow) -> tuple[float, float]:
            first = planned.requests[0]
            seconds, work = self.seconds(first), self.work(first)
            return math.inf if seconds is None else seconds, math.inf if work is None else work

        return sorted(rows, key=key)


def _size(request: ExperimentRequest) -> Size:
    return request.size or request.default_size


def _epochs(request: ExperimentRequest) -> int:
    """Returns the number of epochs that the last layer of a request's settings names."""
    found = ((layer.content.get("trainer") or {}).get("max_epochs") for layer in reversed(request.layers()))
    return next((int(epochs) for epochs in found if epochs is not None), 0)


def _finished() -> Iterator[ExperimentRequest]:
    """Yields the finished runs of experiments; other folders of runs are passed over."""
    for path in sorted(runs_root().glob("*/*-*/run.json")):
        try:
            request = ExperimentRequest.from_run_name("/".join(path.parent.parts[-2:]))
            is_run = bool(request.names) and request.run.finished
        except (FileNotFoundError, ValueError):
            continue
        if is_run:
            yield request
