"""Where a run stands: whether it may go on with some settings and data, and what is said of it."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from typing import Any

from filelock import FileLock, Timeout
from pytorch_lightning.utilities import rank_zero_only

from data_modules.datasets.dataset import DatasetNotFoundError, VideoDataset
from data_modules.manifest import VideoRecord, read_manifest, write_manifest
from fer_lightning.evaluation.predictions import PredictionTable
from fer_lightning.experiments.request import Request
from fer_lightning.report.summary import summary_line
from fer_lightning.runs.folder import RunFolder

MACHINE_KEYS = (
    "trainer.accelerator",
    "trainer.devices",
    "trainer.num_nodes",
    "trainer.strategy",
    "trainer.precision",
)
SESSION_KEYS = (
    "trainer.default_root_dir",
    "trainer.logger",
    "trainer.enable_progress_bar",
    "experiment.summary",
    "experiment.small",
)
LOADING_KEYS = (
    "data.num_workers",
    "data.worker_timeout",
    "data.dataset.init_args.workers",
    "data.dataset.init_args.root",
)
RUNTIME_ONLY_KEYS = (*MACHINE_KEYS, *SESSION_KEYS, *LOADING_KEYS)
"""Settings that decide no result: a run may go on in another place or on another machine.

Where the data lies is one of them; `refuse_other_data` compares what the data is.
"""
COMPARED = ("emotion", "subject", "group", "split", "fold", "quarter_turns")
"""What of a clip decides results; its id stands for its path."""
SHOWN = 3  # clips that a message names


def settings(config: object, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Dotted names and values of what decides a result."""
    if prefix.startswith(RUNTIME_ONLY_KEYS):
        return
    if isinstance(config, dict) and config:
        for key, value in config.items():
            yield from settings(value, f"{prefix}.{key}" if prefix else key)
    elif prefix.endswith("class_path") and isinstance(config, str):
        yield prefix, _defined_in(config)
    else:
        yield prefix, config


def _defined_in(class_path: str) -> str:
    """A class of this suite by the module that defines it: it can be imported from several places."""
    module, _, name = class_path.rpartition(".")
    if module.split(".")[0] not in ("data_modules", "fer_lightning"):
        return class_path
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError):
        return class_path  # making it will name it
    return f"{found.__module__}.{found.__qualname__}"


def begun(run: RunFolder) -> bool:
    """Whether there is anything in a run's folder to go on from."""
    return run.finished or (run.checkpoints / "last.ckpt").exists()


def refuse_other_settings(run: RunFolder, config: dict[str, Any]) -> None:
    """Keeps one folder to one configuration: half a training with each of two would be neither.

    What stopped before its first checkpoint begins anew, so its settings may be mended.

    Raises:
        ValueError: the run in the folder was begun with other settings; the message lists them.
    """
    if not (begun(run) and run.config.exists()):
        return
    earlier, now = (dict(settings(values)) for values in (run.read_config(), config))
    differing = sorted(key for key in earlier.keys() | now.keys() if earlier.get(key) != now.get(key))
    if differing:
        lines = [f"  {key}: {earlier.get(key)} there, {now.get(key)} now" for key in differing[:10]]
        raise ValueError(
            f"{run.path} was begun with other settings:\n" + "\n".join(lines) + "\n"
            "Give this one a folder of its own with --name (ARGS='--name NAME ...'), or delete that one"
        )


def keep_clips(run: RunFolder, dataset: VideoDataset) -> None:
    """Writes down which clips a run is trained and evaluated on, for `refuse_other_data`."""
    write_manifest(run.clips, [replace(record, path="", truth="") for record in dataset.records()])


def refuse_other_data(run: RunFolder, dataset: VideoDataset) -> None:
    """Keeps one folder to the clips that it was begun with, wherever they lie.

    No video is read. Runs of versions that kept no list of their clips are not refused, nor those whose data is not
    there: what is finished needs none, and what is not says so when it goes on.

    Raises:
        ValueError: the run was begun with other clips; the message says how many and names some.
    """
    if not (begun(run) and run.clips.exists()):
        return
    try:
        records = dataset.records()
    except DatasetNotFoundError:
        return
    earlier, now = ({record.clip_id: record for record in each} for each in (read_manifest(run.clips), records))
    lines = [*_surplus("there", earlier, now), *_surplus("now", now, earlier), *_otherwise(earlier, now)]
    if lines:
        raise ValueError(
            f"{run.path} was begun with other data: {len(earlier)} clips there, {len(now)} now in {dataset.folder}\n"
            + "\n".join(f"  {line}" for line in lines)
            + "\nGive this one a folder of its own with --name (ARGS='--name NAME ...'), or delete that one"
        )


def _surplus(where: str, clips: Mapping[str, VideoRecord], others: Mapping[str, VideoRecord]) -> Iterator[str]:
    """The clips that only one of both has, in a line."""
    only = [clip_id for clip_id in clips if clip_id not in others]
    if only:
        yield f"only {where}: {len(only)} clips, such as {', '.join(only[:SHOWN])}"


def _otherwise(earlier: Mapping[str, VideoRecord], now: Mapping[str, VideoRecord]) -> Iterator[str]:
    """What is said otherwise of clips that both have, in a line for each column."""
    both = [(earlier[clip_id], now[clip_id]) for clip_id in earlier if clip_id in now]
    for column in COMPARED:
        values = [(old.clip_id, getattr(old, column), getattr(new, column)) for old, new in both]
        other = [f"{clip} ({old or 'none'} there, {new or 'none'} now)" for clip, old, new in values if old != new]
        if other:
            yield f"another {column}: {len(other)} clips, such as {', '.join(other[:SHOWN])}"


@contextmanager
def run_lock(run: RunFolder) -> Iterator[None]:
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


def train_in_subprocess(request: Request, environment: Mapping[str, str] = os.environ) -> int:
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
