"""The order in which runs are trained as separate jobs: each after those whose weights or predictions it uses."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fer_lightning.ensemble.experiment import read_ensemble
from fer_lightning.ensemble.training import is_current
from fer_lightning.experiments.configuration import read_model
from fer_lightning.experiments.prerequisites import required_request
from fer_lightning.experiments.request import ExperimentRequest, required_runs
from fer_lightning.experiments.resume import print_on_rank_zero

Train = Callable[[Sequence[ExperimentRequest]], list[ExperimentRequest]]
"""Trains some runs and returns those that did not finish."""


@dataclass(frozen=True)
class Step:
    """A run to train.

    Args:
        request: the run's request.
        needs: the folders of the runs that come first.
    """

    request: ExperimentRequest
    needs: frozenset[Path]


def steps(requests: Iterable[ExperimentRequest], variants: Iterable[ExperimentRequest] = ()) -> dict[Path, Step]:
    """Returns the runs that are not finished, and those that they need at any depth, by their folders.

    An ensemble of which a member was trained again is to be made again.

    Args:
        requests: the runs that are asked for.
        variants: requests for variants that runs start from, whose arguments no file states.

    Raises:
        FileNotFoundError: a run starts from a variant that is neither finished nor among `variants`.
        ValueError: a setting is not valid.
    """
    known = {request.run.path: request for request in variants}
    found: dict[Path, Step] = {}
    waiting = list(requests)
    while waiting:
        request = waiting.pop(0)
        if request.run.path not in found and not is_current(request):
            first = [each for each in needed(request, known) if not is_current(each)]
            found[request.run.path] = Step(request, frozenset(each.run.path for each in first))
            waiting += first
    return found


def needed(request: ExperimentRequest, variants: Mapping[Path, ExperimentRequest]) -> list[ExperimentRequest]:
    """Returns the members of an ensemble, or the runs whose weights a model starts from; see `steps`."""
    if request.is_ensemble:
        return list(read_ensemble(request).requests())
    config = read_model(request)
    named = {name: ExperimentRequest.from_run_name(name).run.path for name in required_runs(config)}
    return [variants.get(path) or required_request(name, request, config) for name, path in named.items()]


def train_in_order(plan: Mapping[Path, Step], train: Train) -> list[ExperimentRequest]:
    """Trains all runs whose needs are finished at once, then those that need them, and so on.

    Args:
        plan: the runs, from `steps`.
        train: trains some runs, such as in jobs of a cluster.

    Returns:
        The requests of the runs that did not finish, among them those that need such a run.

    Raises:
        ValueError: runs need each other.
    """
    waiting, failed = dict(plan), dict[Path, ExperimentRequest]()
    while waiting:
        ready = {path: step for path, step in waiting.items() if not step.needs & waiting.keys()}
        if not ready:
            raise ValueError(f"these runs need each other: {', '.join(map(str, waiting))}")
        possible = [step.request for step in ready.values() if not step.needs & failed.keys()]
        for path, step in ready.items():
            if lacking := sorted(map(str, step.needs & failed.keys())):
                print_on_rank_zero(f"{path} is not trained: it needs {', '.join(lacking)}")
                failed[path] = step.request
        failed |= {request.run.path: request for request in (train(possible) if possible else [])}
        waiting = {path: step for path, step in waiting.items() if path not in ready}
    return list(failed.values())
