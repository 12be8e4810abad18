"""Runs in processes of their own: one after another, or several at once. `cluster.py` has jobs of a cluster."""

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from data_modules.utils.processors import usable_processors
from data_modules.utils.text import counted
from fer_lightning.experiments.request import ExperimentRequest
from fer_lightning.experiments.resume import print_on_rank_zero, train_in_subprocess, training_command
from fer_lightning.paths import JOBS, runs_root

VISIBLE, THREADS = "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS"
INTERVAL = 0.2
"""Seconds between looks at the processes."""


def train_all(requests: Sequence[ExperimentRequest], at_once: int | None = None) -> list[ExperimentRequest]:
    """Trains each run in its own process and returns the requests that failed.

    Args:
        requests: the runs.
        at_once: how many are trained at the same time; they share GPUs and processors. None for one, or one for each
            GPU.
    """
    environments = _environments(max(min(at_once or torch.cuda.device_count(), len(requests)), 1))
    if len(environments) > 1:
        return _train_at_once(requests, environments)
    return [request for request in requests if train_in_subprocess(request, environments[0])]


def _environments(number: int) -> list[dict[str, str]]:
    """Returns the variables of so many processes: each has one of the GPUs, and its share of the processors."""
    visible = os.environ.get(VISIBLE)  # numbers or names of the GPUs that this command may use itself
    gpus = torch.cuda.device_count()
    names = [name.strip() for name in visible.split(",")] if visible else [str(gpu) for gpu in range(gpus)]
    threads = {THREADS: str(max(usable_processors() // number, 1))} if number > 1 else {}
    return [threads | os.environ | ({VISIBLE: names[process % gpus]} if gpus else {}) for process in range(number)]


@dataclass(frozen=True)
class _Training:
    """A run that a process trains."""

    request: ExperimentRequest
    environment: Mapping[str, str]
    messages: Path
    process: subprocess.Popen[bytes]
    start: float

    @classmethod
    def begin(cls, request: ExperimentRequest, environment: Mapping[str, str], folder: Path) -> "_Training":
        """Starts the process; signals of the terminal do not reach it."""
        path = folder / f"{request.run.path.parent.name}-{request.run.path.name}.log"
        with path.open("ab") as file:  # another command may train the same run, and wait for this one
            process = subprocess.Popen(
                training_command(request), env=environment, stdout=file, stderr=file, start_new_session=True
            )
        return cls(request, environment, path, process, time.monotonic())


def _train_at_once(
    requests: Sequence[ExperimentRequest], environments: Sequence[Mapping[str, str]]
) -> list[ExperimentRequest]:
    """Trains as many runs at the same time as there are environments; if the command is stopped, stops all of them."""
    folder = runs_root() / JOBS
    folder.mkdir(parents=True, exist_ok=True)
    print_on_rank_zero(f"{counted(len(requests), 'run')}, {len(environments)} at once; messages in {folder}")
    waiting, free, running, failed = list(requests), list(environments), list[_Training](), list[ExperimentRequest]()
    try:
        while waiting or running:
            while waiting and free:
                running.append(_Training.begin(waiting.pop(0), free.pop(0), folder))
            for each in [each for each in running if each.process.poll() is not None]:
                running.remove(each)
                free.append(each.environment)
                place = f"{len(requests) - len(waiting) - len(running)} of {len(requests)}: {each.request.run.path}"
                if each.process.returncode:
                    failed.append(each.request)
                    print_on_rank_zero(f"{place} did not finish; its messages: {each.messages}")
                else:
                    print_on_rank_zero(f"{place} is finished ({time.monotonic() - each.start:.0f} s)")
            time.sleep(INTERVAL)
    finally:
        for each in running:
            with suppress(ProcessLookupError):
                os.killpg(each.process.pid, signal.SIGTERM)  # also what it trains first, in a process of its own
        for each in running:
            each.process.wait()
    return [request for request in requests if request in failed]
