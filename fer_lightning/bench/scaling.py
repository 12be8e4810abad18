"""Training on 1, 2, 4 and 8 processes: clips a second, efficiency, waiting, peak memory, and the same predictions."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from data_modules.utils.files import atomic_write
from data_modules.utils.processors import usable_processors
from fer_lightning.evaluation.predictions import PredictionTable
from fer_lightning.experiments.lightning_cli import FerCLI
from fer_lightning.experiments.request import ExperimentRequest
from fer_lightning.runs.folder import RunFolder
from fer_lightning.tables.scaling_page import FORMAT

EXPERIMENT = "ceflnet_synthetic"
PROCESSES = (1, 2, 4, 8)
TIME_LIMIT = 3600.0  # seconds for one number of processes
Scaling = Literal["strong", "weak"]


@dataclass(frozen=True)
class Workload:
    """What is trained.

    Args:
        batch: clips of a step of all processes together in strong scaling.
        per_process: clips of a step of each process in weak scaling.
        size: of the frames, in pixels.
        steps: of each of the two epochs.
        arguments: further options of the experiment.
    """

    batch: int
    per_process: int
    size: int
    steps: int
    arguments: tuple[str, ...] = ()

    def options(self, scaling: Scaling, processes: int, folder: Path) -> list[str]:
        """Returns the command line of a training, whose predictions go to a folder."""
        batch = ["--data.batch_size", str(self.batch)]
        if scaling == "weak":
            batch = ["--data.per_device_batch_size", str(self.per_process)]
        # The layers' sums are in another order on another number of processes; bf16 would show that in the third digit.
        return [
            *ExperimentRequest(EXPERIMENT, size="small", arguments=self.arguments).command_line(),
            *("--trainer.default_root_dir", str(folder), "--trainer.logger", "false", "--trainer.max_epochs", "2"),
            *("--trainer.limit_train_batches", str(self.steps), "--trainer.precision", "32-true"),
            *("--trainer.devices", str(processes), "--trainer.strategy", "ddp" if processes > 1 else "auto"),
            *("--data.selection", "last", "--data.watch_test", "false", "--data.size", str(self.size), *batch),
            *("--model.init_args.backbone.init_args.weights", "random"),
        ]


@dataclass(frozen=True)
class Measurement:
    """What a number of processes comes to.

    Args:
        processes: their number.
        clips: of a step of all processes together.
        clips_per_second: that all processes train on together, in the second epoch.
        waiting: share of the time for which a process waits for data, the mean over processes.
        memory: bytes, the largest peak of a process: of the GPU if there is one.
    """

    processes: int
    clips: int
    clips_per_second: float
    waiting: float
    memory: int


def measure(workload: Workload, scaling: Scaling, processes: int, threads: int, folder: Path) -> Measurement:
    """Trains in processes of their own and returns what they measure; predictions are left in the folder.

    Args:
        workload: what is trained.
        scaling: whether the batch or a process's share of it stays the same.
        processes: their number.
        threads: of each process.
        folder: for the predictions.

    Raises:
        RuntimeError: the training failed; the message ends with what it said.
    """
    options, result = workload.options(scaling, processes, folder), folder / "measured.json"
    module = "fer_lightning.bench.scaling_process"
    command = [sys.executable, "-m", module, str(result), *options]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=TIME_LIMIT, check=False)
    if done.returncode or not result.exists():
        raise RuntimeError(f"training on {processes} processes failed: {(done.stdout + done.stderr)[-2000:]}")
    return Measurement(processes=processes, **json.loads(result.read_text()))


def largest_difference(first: Path, second: Path) -> float:
    """Returns the largest difference of a probability in the prediction tables of two folders.

    Raises:
        ValueError: the tables differ in their clips.
    """
    ours, theirs = (PredictionTable.read(RunFolder(folder).predictions("test")) for folder in (first, second))
    if ours.clip_id.tolist() != theirs.clip_id.tolist() or ours.reason.tolist() != theirs.reason.tolist():
        raise ValueError(
            f"{first.name} and {second.name}: the prediction tables hold {len(ours)} and {len(theirs)} clips"
        )
    found = ~ours.missing
    return float(np.abs(ours.probabilities[found] - theirs.probabilities[found]).max(initial=0.0))


def run(quick: bool = False, out: Path | None = None) -> None:
    """Prints a table for each number of processes that has a GPU or a core each.

    Args:
        quick: two steps of few clips, which show that it runs.
        out: a file for what is measured, which the guide to scaling compares with its model.
    """
    devices = torch.cuda.device_count()
    cores = usable_processors()
    counts = [count for count in PROCESSES if count <= (devices or cores)]
    workload = Workload(64, 8, 112, 30) if devices else Workload(8, 4, 64, 12)
    if quick:
        workload = Workload(4, 2, 32, 2, ("--data.dataset.init_args.subjects", "4", "--data.num_workers", "0"))
        counts = [count for count in counts if count <= 2]
    # The most processes share all cores, and fewer have no more each: one process is the same device in every row.
    threads = max(1, cores // counts[-1])
    hardware = torch.cuda.get_device_name() if devices else "processor core" + f", {threads} threads" * (threads > 1)
    table = Table(title=f"{EXPERIMENT}, frames of {workload.size}², {hardware}")
    measured = list[dict[str, object]]()
    columns = ("scaling", "processes", "clips a step", "clips/s", "efficiency", "waiting", "peak memory", "difference")
    for column in columns:
        table.add_column(column, justify="right")
    with tempfile.TemporaryDirectory() as name:
        FerCLI(workload.options("strong", 1, Path(name, "data")), run=False).datamodule.prepare_data()
        for scaling in ("strong", "weak"):
            for found, row in rows_of(workload, scaling, counts, threads, Path(name)):
                measured.append({"scaling": scaling} | asdict(found))
                table.add_row(scaling, *row)
            table.add_section()
    if out:
        content = {
            "format": FORMAT,
            "hardware": hardware,
            "devices": devices or cores // threads,
            "experiment": EXPERIMENT,
            "size": workload.size,
            "rows": measured,
        }
        atomic_write(out, f"{json.dumps(content, indent=1)}\n".encode())
    Console(width=110).print(table)
    print(
        f"strong: {workload.batch} clips a step, divided; weak: {workload.per_process} in each process. Efficiency: "
        "clips/s by those of one process and their number. Difference: largest one of a probability to that of one "
        "process after training, where the batch is the same. BatchNorm is frozen, as processors do not share its "
        "statistics, and nothing is dropped out, as each process drops other values."
    )


def rows_of(
    workload: Workload, scaling: Scaling, counts: list[int], threads: int, folder: Path
) -> Iterator[tuple[Measurement, tuple[str, ...]]]:
    """Measures each number of processes and yields what it comes to, and the cells of its row."""
    alone = 0.0
    for count in counts:
        own = folder / f"{scaling}-{count}"
        own.mkdir()
        found = measure(workload, scaling, count, threads, own)
        alone = alone or found.clips_per_second / count
        difference = "–"
        if scaling == "strong" and count != counts[0]:
            difference = f"{largest_difference(folder / f'{scaling}-{counts[0]}', own):.1e}"
        yield (
            found,
            (
                *(str(count), str(found.clips), f"{found.clips_per_second:.1f}"),
                f"{found.clips_per_second / (count * alone):.0%}",
                *(f"{found.waiting:.1%}", f"{found.memory / 2**20:.0f} MiB", difference),
            ),
        )
