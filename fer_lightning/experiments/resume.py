"""Where a run stands: whether it may go on with some settings, and what is said of it."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from filelock import FileLock, Timeout
from pytorch_lightning.utilities import rank_zero_only

from fer_lightning.evaluation.predictions import PredictionTable
from fer_lightning.experiments.request import Request
from fer_lightning.report.summary import summary_line
from fer_lightning.runs.folder import RunFolder

OF_THE_MACHINE = (
    "trainer.accelerator",
    "trainer.devices",
    "trainer.num_nodes",
    "trainer.strategy",
    "trainer.precision",
)
OF_THE_SESSION = ("trainer.default_root_dir", "trainer.logger", "trainer.enable_progress_bar", "experiment.summary")
OF_THE_LOADING = ("data.num_workers", "data.dataset.init_args.workers", "data.dataset.init_args.root")
INDIFFERENT = (*OF_THE_MACHINE, *OF_THE_SESSION, *OF_THE_LOADING)
"""Settings that decide no result: a run may go on in another place or on another machine."""


def settings(config: object, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Dotted names and values of what decides a result."""
    if prefix.startswith(INDIFFERENT):
        return
    if isinstance(config, dict) and config:
        for key, value in config.items():
            yield from settings(value, f"{prefix}.{key}" if prefix else key)
    else:
        yield prefix, config


def refuse_other_settings(run: RunFolder, config: dict[str, Any]) -> None:
    """Keeps one folder to one configuration: half a training with each of two would be neither.

    What stopped before its first checkpoint begins anew, so its settings may be mended.

    Raises:
        ValueError: the run in the folder was begun with other settings; the message lists them.
    """
    begun = run.finished or (run.checkpoints / "last.ckpt").exists()
    if not (begun and run.config.exists()):
        return
    earlier, now = (dict(settings(values)) for values in (run.read_config(), config))
    differing = sorted(key for key in earlier.keys() | now.keys() if earlier.get(key) != now.get(key))
    if differing:
        lines = [f"  {key}: {earlier.get(key)} there, {now.get(key)} now" for key in differing[:10]]
        raise ValueError(
            f"{run.path} was begun with other settings:\n" + "\n".join(lines) + "\n"
            "Give this one a folder of its own with --name (ARGS='--name NAME ...'), or delete that one"
        )


@contextmanager
def alone(run: RunFolder) -> Iterator[None]:
    """Waits until no other process trains the run: two would write over each other's checkpoints.

    Several jobs that need the same weights may begin at once; the first trains them, the others then find them.
    """
    if getattr(rank_zero_only, "rank", 0):  # the other processes of one training
        yield
        return
    run.path.mkdir(parents=True, exist_ok=True)
    lock = FileLock(run.lock)  # the system lets go of it when a process dies
    try:
        lock.acquire(blocking=False)
    except Timeout:
        say(f"{run.path} is being trained by another process; waiting for it")
        lock.acquire()
    except NotImplementedError:
        say(f"the file system of {run.path} knows no locks: see to it that no other process trains this run")
    try:
        yield
    finally:
        lock.release()


def train_apart(request: Request, environment: Mapping[str, str] = os.environ) -> int:
    """Trains a run in a process of its own; returns that one's status, which is not 0 where it did not finish."""
    command = [sys.executable, "-m", "fer_lightning", "train", *request.arguments_of_train()]
    return subprocess.run(command, env=dict(environment), check=False).returncode


def say_result(run: RunFolder) -> None:
    """Where a finished run's report is, and its measures."""
    say(f"report: {run.report}")
    say(summary_line(PredictionTable.read(run.predictions("test"))))
    info = run.read_info()
    if info.selection == "best_on_test":
        what = "the epoch" if info.epoch >= 0 else "the ensemble or a member of it"
        say(f"best_on_test: {what} was chosen on the very split that is reported here")


@rank_zero_only
def say(text: str) -> None:
    """Prints, in the first process only."""
    print(text, flush=True)
