"""How long the runs of a table may take, from how long similar runs took."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from fer_lightning.experiments.request import ExperimentRequest
from fer_lightning.paths import runs_root
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


def estimate(rows: Sequence[PlannedRow], results: Mapping[str, RowResult] | None = None) -> Estimate:
    """Estimates how long the missing runs of some rows take, with the variants that they start from, on one device.

    A run is taken to be as long as the median of the finished runs of its own row, or else of its experiment, or else
    of its system, at that size; or else as the runs of the row's results, which may be of another machine.

    Args:
        rows: the rows.
        results: name of a row -> the results that it has left.
    """
    left = results or {}
    stored = {run.run.path: left.get(planned.row.name) for planned in rows for run in planned.missing}
    requests = {request.run.path: request for planned in rows for request in (*planned.required, *planned.missing)}
    missing = [request for request in requests.values() if not request.run.finished]
    seconds = [_estimated(request, stored.get(request.run.path)) for request in missing]
    known = [value for value in seconds if value is not None]
    return Estimate(sum(known), len(known), len(seconds) - len(known))


def run_seconds(request: ExperimentRequest) -> float | None:
    """Returns how many seconds a run may take; None if no similar run is finished."""
    size = request.size or request.default_size
    finished = [other for other in _finished() if (other.size or other.default_size) == size]
    own_row = [other for other in finished if other.run.path.parent == request.run.path.parent]
    same_experiment = [other for other in finished if other.experiment == request.experiment]
    same_system = [other for other in finished if other.system == request.system]
    for alike in (own_row, same_experiment, same_system):
        if alike:
            return statistics.median(other.run.read_info().seconds for other in alike)
    return None


def _estimated(request: ExperimentRequest, result: RowResult | None) -> float | None:
    seconds = run_seconds(request)
    return statistics.median(run.seconds for run in result.runs) if seconds is None and result else seconds


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
