"""Rules for resuming a run: the same settings, the same data, one process at a time."""

import inspect
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass, replace
from math import prod
from typing import Any

from pytorch_lightning.utilities import rank_zero_only

from data_modules.audio.settings import AudioSettings
from data_modules.datasets.dataset import DatasetNotFoundError, VideoDataset
from data_modules.faces.settings import FaceSettings
from data_modules.loading.datamodule import VideoDataModule
from data_modules.loading.transforms import ClipAugmentation
from data_modules.manifest import VideoRecord, read_manifest, write_manifest
from data_modules.utils.file_lock import file_lock
from data_modules.utils.files import check_writable
from data_modules.utils.text import counted
from fer_lightning.evaluation.calibration_file import calibration_line
from fer_lightning.evaluation.other_epochs import other_epochs_line
from fer_lightning.evaluation.predictions import PredictionTable
from fer_lightning.experiments.launchers import started_processes
from fer_lightning.experiments.request import ExperimentRequest
from fer_lightning.report.summary import result_lines
from fer_lightning.runs.folder import RunFolder
from fer_lightning.runs.own_classes import own_class
from fer_lightning.training.checkpoints import LAST, PREVIOUS

MACHINE_KEYS = (
    "trainer.accelerator",
    "trainer.devices",
    "trainer.num_nodes",
    "trainer.strategy",
    "trainer.accumulate_grad_batches",  # divides the batch, as devices do
    "trainer.sync_batchnorm",  # as the devices have it
)
COMPUTED = ("trainer.precision", "data.transform_on")
"""Settings of how a result is computed, with which a run may go on anywhere."""
MACHINES_CHOICE = (*COMPUTED, "data.batch_size")
"""Settings that decide a result and may be left to the machine: None where nothing is trained, else the choice."""
SESSION_KEYS = (
    "trainer.default_root_dir",
    "trainer.logger",
    "trainer.enable_progress_bar",
    "experiment.summary",
    "experiment.faces",
    "experiment.needs",
    "experiment.lengthen",
    "experiment.person",
    "experiment.temporal",
    "experiment.compile",  # which rounds otherwise, as other kernels of the same machine may
    "experiment.small",
)
LOADING_KEYS = (
    "data.num_workers",
    "data.worker_timeout",
    "data.watch_test",
    "data.dataset.init_args.workers",
    "data.dataset.init_args.root",
)
RUNTIME_ONLY_KEYS = (*MACHINE_KEYS, *SESSION_KEYS, *LOADING_KEYS)
"""Settings that do not decide a result: a run may be resumed in another place or on another machine.

The data set's folder is one of them; `refuse_other_data` compares the data itself.
"""
COMPARED = ("emotion", "subject", "group", "split", "fold", "quarter_turns")
"""Columns of the manifest that decide results. A clip's id takes the place of its path."""
SECTIONS: dict[str, type] = {
    "data": VideoDataModule,
    "augmentation": ClipAugmentation,
    "faces": FaceSettings,
    "audio": AudioSettings,
}
"""The classes of the sections of a configuration that name none."""
MAX_EXAMPLES = 3  # clips that a message names


def result_settings(config: object, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Yields the dotted name and the value of every setting that may change a result."""
    if prefix.startswith(RUNTIME_ONLY_KEYS):
        return
    if isinstance(config, dict) and config:
        for key, value in config.items():
            yield from result_settings(value, f"{prefix}.{key}" if prefix else key)
    elif prefix.endswith("class_path") and isinstance(config, str):
        yield prefix, _defined_in(config)
    else:
        yield prefix, config


def _defined_in(class_path: str) -> str:
    """Returns the path of a class of this suite by the module that defines it: several modules may export it."""
    found = own_class(class_path)
    return f"{found.__module__}.{found.__qualname__}" if found else class_path


def with_new_arguments(settings: Any, now: Any, section: str = "") -> Any:
    """Returns a run's settings with the arguments that its classes have got since it began, at their defaults.

    Args:
        settings: of the run.
        now: settings of today, whose arguments are added where the run has the same class.
        section: the key under which the settings are.
    """
    if not (isinstance(settings, dict) and isinstance(now, dict)):
        return settings
    result = {key: with_new_arguments(value, now.get(key), key) for key, value in settings.items()}
    path, own, others = settings.get("class_path"), settings.get("init_args"), now.get("init_args")
    found = own_class(path) if isinstance(path, str) else None
    if found and _defined_in(str(now.get("class_path"))) == _defined_in(str(path)) and own and others:
        result["init_args"] |= _new_arguments(found, own, others)
    elif section in SECTIONS:
        result |= _new_arguments(SECTIONS[section], settings, now)
    return result


def _new_arguments(found: type, own: dict[str, Any], others: dict[str, Any]) -> dict[str, object]:
    """Returns the defaults of the arguments of a class that are among `others` only."""
    defaults = _defaults(found)
    added = {name: defaults[name] for name in others.keys() - own.keys() if name in defaults}
    return {
        name: asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
        for name, value in added.items()
    }


def _defaults(found: type) -> dict[str, object]:
    """Returns the defaults of a class's arguments, those that it passes on to its base classes included."""
    defaults: dict[str, object] = {}
    for base in reversed(found.__mro__[:-1]):  # without `object`
        parameters = inspect.signature(base).parameters.values()
        defaults |= {each.name: each.default for each in parameters if each.default is not inspect.Parameter.empty}
    return defaults


def has_begun(run: RunFolder) -> bool:
    """Whether a run's folder holds a checkpoint or a finished run."""
    return run.finished or any((run.checkpoints / name).exists() for name in (LAST, PREVIOUS))


def refuse_other_settings(run: RunFolder, config: dict[str, Any]) -> None:
    """Refuses to resume a run with other settings than those it was started with.

    A run that stopped before its first checkpoint starts from the beginning, so its settings may still be changed.
    An argument that a class has got since the run began is taken to have had its default. What is left to the machine
    (None) is not compared.

    Raises:
        ValueError: the run was started with other settings; the message lists them.
    """
    if not (has_begun(run) and run.config.exists()):
        return
    settings = with_new_arguments(_in_todays_terms(run.read_config()), config)
    before, now = (dict(result_settings(values)) for values in (settings, config))
    left = {key for key in MACHINES_CHOICE if now.get(key) is None}
    differing = sorted(key for key in (before.keys() | now.keys()) - left if before.get(key) != now.get(key))
    if differing:
        lines = [f"  {key}: {before.get(key)} there, {now.get(key)} now" for key in differing[:10]]
        advice = "Train under another name with --name (ARGS='--name NAME ...'), or delete that folder"
        if set(differing) <= set(COMPUTED):
            stated = " ".join(f"--{key} {before.get(key)}" for key in differing)
            advice = f"Go on with {stated}, or train under another name with --name"
        raise ValueError(f"{run.path} was begun with other settings:\n" + "\n".join(lines) + f"\n{advice}")


def _in_todays_terms(settings: dict[str, Any]) -> dict[str, Any]:
    """Returns a run's settings with the batch of all devices together, and with where crops were transformed.

    Before `per_device_batch_size` existed, `batch_size` was that of a process, for each of the accumulated batches.
    Before `transform_on` existed, the workers did it.
    """
    data, trainer = {"transform_on": "workers", **(settings.get("data") or {})}, settings.get("trainer") or {}
    if "batch_size" in data and "per_device_batch_size" not in data:
        devices = str(trainer.get("devices"))
        parts = (
            trainer.get("num_nodes"),
            trainer.get("accumulate_grad_batches"),
            devices if devices.isdecimal() else 1,
        )
        data["batch_size"] *= prod(int(part or 1) for part in parts)
    return {**settings, "data": data}


def write_clips(run: RunFolder, dataset: VideoDataset) -> None:
    """Records which clips a run is trained and evaluated on; `refuse_other_data` reads the list."""
    write_manifest(run.clips, [replace(record, path="", truth="") for record in dataset.records()])


def refuse_other_data(run: RunFolder, dataset: VideoDataset) -> None:
    """Refuses to resume a run with other clips than those it was started with; the clips may have moved.

    No video is read. Two cases pass without a comparison: runs of versions that did not record their clips, and data
    that is not on this machine. A finished run does not need its data, and an unfinished one reports that it is
    missing when it is prepared.

    Raises:
        ValueError: the run was started with other clips; the message counts them and names some.
    """
    if not (has_begun(run) and run.clips.exists()):
        return
    try:
        records = dataset.records()
    except DatasetNotFoundError:
        return
    before, now = ({record.clip_id: record for record in each} for each in (read_manifest(run.clips), records))
    lines = [*_extra_clips("there", before, now), *_extra_clips("now", now, before), *_changed_columns(before, now)]
    if lines:
        raise ValueError(
            f"{run.path} was begun with other data: {counted(len(before), 'clip')} there, {len(now)} now in "
            f"{dataset.folder}\n"
            + "\n".join(f"  {line}" for line in lines)
            + "\nTrain under another name with --name (ARGS='--name NAME ...'), or delete that folder"
        )


def _extra_clips(place: str, clips: Mapping[str, VideoRecord], others: Mapping[str, VideoRecord]) -> Iterator[str]:
    """Yields a line about the clips that `others` lacks, if there are any."""
    extra = [clip_id for clip_id in clips if clip_id not in others]
    if extra:
        yield f"only {place}: {counted(len(extra), 'clip')}, such as {', '.join(extra[:MAX_EXAMPLES])}"


def _changed_columns(before: Mapping[str, VideoRecord], now: Mapping[str, VideoRecord]) -> Iterator[str]:
    """Yields a line about each compared column that differs in clips that both lists hold."""
    common = [(before[clip_id], now[clip_id]) for clip_id in before if clip_id in now]
    for column in COMPARED:
        values = [(old.clip_id, getattr(old, column), getattr(new, column)) for old, new in common]
        changes = [f"{clip} ({old or 'none'} there, {new or 'none'} now)" for clip, old, new in values if old != new]
        if changes:
            yield f"another {column}: {counted(len(changes), 'clip')}, such as {', '.join(changes[:MAX_EXAMPLES])}"


@contextmanager
def run_lock(run: RunFolder) -> Iterator[None]:
    """Waits until no other process trains the run, and keeps others out while it is held.

    Two processes would overwrite each other's checkpoints. Several jobs that need the same weights may start at once:
    the first one trains them, the others wait and then find them.

    Raises:
        ValueError: another process trains the run, and this is one of several that a launcher has started: the others
            would not wait as long for this one.
    """
    if getattr(rank_zero_only, "rank", 0):  # the first process of a distributed training holds the lock for all
        yield
        return
    check_writable(run.path)
    with file_lock(run.lock, f"{run.path} is being trained by another process", _wait_or_refuse):
        yield


def _wait_or_refuse(busy: str) -> None:
    """Says that this process waits for another one, unless it is the first of several that a launcher has started."""
    started = started_processes()
    if started and started[1] > 1:
        raise ValueError(f"{busy}; start the processes of {started[0]} again when that one has ended")
    print_on_rank_zero(f"{busy}; waiting for it")


def training_command(request: ExperimentRequest) -> list[str]:
    """Returns the command that trains a run in a process of its own."""
    return [sys.executable, "-m", "fer_lightning", "train", *request.train_arguments()]


def train_in_subprocess(request: ExperimentRequest, environment: Mapping[str, str] = os.environ) -> int:
    """Trains a run in a process of its own and returns its exit status, which is 0 if the run was finished."""
    return subprocess.run(training_command(request), env=dict(environment), check=False).returncode


def print_result(run: RunFolder) -> None:
    """Prints where a finished run's report is, its metrics, and what is known of its confidence."""
    print_on_rank_zero(f"report: {run.report}")
    results = result_lines(PredictionTable.read(run.predictions("test")))
    for line in (*results, calibration_line(run), other_epochs_line(run)):
        if line:
            print_on_rank_zero(line)
    info = run.read_info()
    if info.selection == "best_on_test":
        what = "the epoch" if info.epoch >= 0 else "the ensemble or a member of it"
        print_on_rank_zero(f"best_on_test: {what} was chosen on the very split that is reported here")


@rank_zero_only
def print_on_rank_zero(text: str) -> None:
    """Prints a line, in the first process of a distributed training only."""
    print(text, flush=True)
