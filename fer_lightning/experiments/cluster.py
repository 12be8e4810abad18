"""Runs as jobs of a cluster, through submitit: each job trains one run with `fer train`."""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from data_modules.utils.text import counted
from fer_lightning.experiments.request import ExperimentRequest
from fer_lightning.experiments.resume import print_on_rank_zero
from fer_lightning.experiments.training_job import TrainingJob

Scheduler = Literal["slurm", "local"]
OptionValue = bool | int | float | str | list[str]
TRAIN = (sys.executable, "-m", "fer_lightning", "train")
DEFAULTS: dict[str, OptionValue] = {"name": "fer", "timeout_min": 24 * 60}
"""Options unless others are given; submitit's own time limits, 2 and 5 minutes, end before an epoch does."""
LISTS = ("slurm_setup", "slurm_teardown", "slurm_srun_args", "local_setup")  # options that are lists of commands


@dataclass(frozen=True)
class Cluster:
    """A scheduler with the options of its jobs. The command that submits them waits for them.

    Args:
        scheduler: `slurm`, which is given all runs at once; or `local`, processes of this machine, one after another.
        folder: a folder for the jobs' messages, on a disk that all machines share.
        options: submitit's parameters, such as `timeout_min`, `gpus_per_node` and `slurm_partition`.
        command: the command of a job, to which the arguments of `fer train` are added.
        interval: seconds between looks at the jobs.

    Raises:
        ValueError: submitit is not installed, an option does not exist or does not fit, or there is no Slurm here.
    """

    scheduler: Scheduler
    folder: Path
    options: dict[str, OptionValue] = field(default_factory=dict)
    command: tuple[str, ...] = TRAIN
    interval: float = 2.0

    def __post_init__(self) -> None:
        """Checks the options before anything is trained."""
        self._executor()

    def train_all(self, requests: Sequence[ExperimentRequest]) -> list[ExperimentRequest]:
        """Trains each run in a job of its own, waits for the jobs, and returns the requests that failed.

        Raises:
            KeyboardInterrupt: after saying what becomes of the jobs.
        """
        together = [list(requests)] if self.scheduler == "slurm" else [[request] for request in requests]
        return [failed for group in together if group for failed in self._train_together(group)]

    def _executor(self) -> Any:
        """Returns submitit's executor with the options."""
        submitit = _submitit()
        try:
            executor = submitit.AutoExecutor(folder=self.folder / "%j", cluster=self.scheduler)
        except RuntimeError as error:
            raise ValueError(
                f"--jobs {self.scheduler}: {error}; run the command on a machine that can submit jobs, or use "
                "--jobs local"
            ) from error
        try:
            executor.update_parameters(**(DEFAULTS | self.options))
        except (AssertionError, NameError, TypeError, ValueError) as error:
            raise ValueError(
                f"--job-options: {str(error).splitlines()[0]} Expected options of submitit, such as timeout_min=600 "
                "and gpus_per_node=1, or a scheduler's own with its name in front, such as slurm_partition=gpu"
            ) from error
        return executor

    def _train_together(self, requests: list[ExperimentRequest]) -> list[ExperimentRequest]:
        """Submits jobs, waits for all of them, and returns the requests of those that failed."""
        executor = self._executor()
        with executor.batch():  # on Slurm, a job array
            jobs = [executor.submit(TrainingJob((*self.command, *each.train_arguments()))) for each in requests]
        ids = [job.job_id for job in jobs]
        print_on_rank_zero(f"submitted {counted(len(jobs), 'job')} ({', '.join(ids)}); messages in {self.folder}")
        try:
            return self._wait(dict(zip(ids, zip(jobs, requests, strict=True), strict=True)))
        except KeyboardInterrupt:
            print_on_rank_zero(_farewell(self.scheduler, ids))
            raise

    def _wait(self, waiting: dict[str, tuple[Any, ExperimentRequest]]) -> list[ExperimentRequest]:
        """Waits for jobs, says which are done, and returns the requests of those that failed."""
        failed, total = [], len(waiting)
        while waiting:
            for name in [name for name, (job, _) in waiting.items() if job.done()]:
                job, request = waiting.pop(name)
                place = f"{total - len(waiting)} of {total}, job {name}: {request.run.path}"
                if _succeeded(job):
                    print_on_rank_zero(f"{place} is finished")
                else:
                    failed.append(request)
                    print_on_rank_zero(f"{place} did not finish; its messages: {job.paths.stdout}, {job.paths.stderr}")
            if waiting:
                time.sleep(self.interval)
        return failed


def _submitit() -> Any:
    """Imports submitit, which is installed with the extra `slurm`.

    Raises:
        ValueError: it is not installed.
    """
    try:
        return import_module("submitit")
    except ModuleNotFoundError as error:
        raise ValueError(
            "--jobs needs submitit, which is not installed: pip install 'fer_lightning[slurm]', or `make setup` with "
            "slurm among EXTRAS"
        ) from error


def _succeeded(job: Any) -> bool:
    """Whether a job that is done finished its run; it has a result for each of its tasks."""
    return job.exception() is None and not any(job.results())


def _farewell(scheduler: Scheduler, ids: list[str]) -> str:
    """Says what becomes of jobs whose command is stopped."""
    if scheduler == "local":
        return "the job is stopped with this command; the same command goes on: finished runs are skipped"
    return (
        f"the jobs go on without this command (scancel {' '.join(dict.fromkeys(each.split('_')[0] for each in ids))} "
        "stops them). The same command goes on: finished runs are skipped, and of a run that a job still trains, a new "
        "job waits for its training.lock"
    )


def read_options(options: Sequence[str]) -> dict[str, OptionValue]:
    """Returns the options of jobs from `key=value` texts, with numbers and truth values as such.

    Raises:
        ValueError: a text has another form.
    """
    read: dict[str, OptionValue] = {}
    for text in options:
        key, equals, value = text.partition("=")
        if not (key and equals):
            raise ValueError(f"--job-options: expected key=value, such as timeout_min=600; found {text!r}")
        read[key] = [value] if key in LISTS else _value(value)
    return read


def _value(text: str) -> OptionValue:
    """Returns a text as a number or truth value if it is one."""
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
