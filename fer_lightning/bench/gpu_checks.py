"""Runs the checks of a machine with a GPU within a given time, and writes what came of them into one file.

Each part has a process of its own with a budget of seconds: a part that fails, hangs or loses the GPU stops no other,
and the rows that it had measured are kept.
"""

import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import torch

from data_modules.utils.files import atomic_write
from fer_lightning import __version__
from fer_lightning.bench.gpu_parts import LEFT_OUT
from fer_lightning.predict.recogniser import select_device
from fer_lightning.runs.folder import commit
from fer_lightning.tables.gpu_table import FORMAT, results_file
from fer_lightning.training.cost import hardware_name

BUDGETS = {"steps": 200, "tests": 150, "ceflnet": 60, "variants": 90, "loader": 90, "predict": 60, "fer2013": 120}
"""Seconds that a part may take, start-up included, if they are left."""
LEAST = 20.0
"""Seconds below which a part is not begun."""
PACKAGES = ("torch", "torchvision", "pytorch-lightning", "torchmetrics", "timm", "numpy")

Status = Literal["done", "failed", "stopped", "not run"]


@dataclass(frozen=True)
class PartResult:
    """What came of a part.

    Args:
        name: its name.
        status: `stopped` if it took longer than it might; `not run` if the time was over or its data is not there.
        seconds: that it took.
        error: why it is not done; empty if it is.
        rows: what it measured.
        commit: of the code that ran.
    """

    name: str
    status: Status
    seconds: float = 0.0
    error: str = ""
    rows: list[dict[str, Any]] = field(default_factory=list)
    commit: str | None = field(default_factory=commit)


def run(parts: Sequence[str], device: str, small: bool, seconds: float, out: Path | None) -> int:
    """Runs the checks, prints each part's result, and writes the file after each.

    Parts of earlier runs on the same device, with the same versions and size, stay in the file until they run again.

    Args:
        parts: their names, in the order in which they run.
        device: auto, cpu or cuda.
        small: systems at small size.
        seconds: for all parts together.
        out: the file; None for the one that the documentation's table is made from.

    Returns:
        The exit status: 1 if any part failed or took too long.
    """
    place, path, start = select_device(device), out or results_file(), time.monotonic()
    head = {"format": FORMAT, "device": describe(place), "size": "small" if small else "paper"}
    kept, results = earlier_parts(path, head), list[PartResult]()
    for part in parts:
        command = [sys.executable, "-m", "fer_lightning", "bench", "gpu", "--parts", part, "--device", place.type]
        left = seconds - (time.monotonic() - start)
        results.append(run_part(part, [*command, *(["--small"] if small else [])], left, BUDGETS[part]))
        _print(results[-1])
        found = kept | {each.name: asdict(each) for each in results}
        content = head | {"parts": [found[name] for name in BUDGETS if name in found]}
        atomic_write(path, json.dumps(content, indent=1).encode())
    print(f"{path}: {sum(each.status == 'done' for each in results)} of {len(parts)} parts are done")
    return int(any(each.status in ("failed", "stopped") for each in results))


def earlier_parts(path: Path, head: Mapping[str, object]) -> dict[str, Any]:
    """Returns the parts in a file by their names; none if there is no file, or its other content is not `head`."""
    if not path.is_file():
        return {}
    content = json.loads(path.read_bytes())
    parts = content.pop("parts", [])
    return {part["name"]: part for part in parts} if content == head else {}


def run_part(name: str, command: Sequence[str], left: float, budget: float) -> PartResult:
    """Runs a part in a process group of its own, which is killed when its time is over.

    Args:
        name: of the part.
        command: what runs it; `--rows FILE` is added.
        left: seconds that are left for all parts.
        budget: seconds that the part may take.
    """
    if left < min(LEAST, budget):
        return PartResult(name, "not run", error=f"{max(left, 0):.0f} s were left")
    limit, start = min(left, budget), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        rows, messages = Path(folder, "rows"), Path(folder, "messages")
        with messages.open("wb") as log:
            process = subprocess.Popen(
                [*command, "--rows", str(rows)], stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
            try:
                status: Status = "done" if process.wait(limit) == 0 else "failed"
            except subprocess.TimeoutExpired:
                status = "stopped"
            finally:
                with suppress(ProcessLookupError):  # what the part started ends with it
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        said = messages.read_text(errors="replace").strip()
        errors = {"done": "", "failed": said[-1500:], "stopped": f"not done after {limit:.0f} s"}
        found = read_rows(rows)
    if found and LEFT_OUT in found[-1]:
        return PartResult(name, "not run", time.monotonic() - start, found[-1][LEFT_OUT])
    return PartResult(name, status, time.monotonic() - start, errors[status], found)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Returns the rows of a file of JSON lines; a process that was killed may leave its last line unfinished."""
    found = []
    for line in path.read_text().splitlines() if path.exists() else ():
        with suppress(ValueError):
            found.append(json.loads(line))
    return found


def describe(device: torch.device) -> Mapping[str, object]:
    """Returns the name of a device and the versions of what computes on it."""
    on_gpu = device.type == "cuda"
    return {
        "type": device.type,
        "name": hardware_name(device),
        "mebibytes": torch.cuda.get_device_properties(device).total_memory // 2**20 if on_gpu else None,
        "versions": {
            "fer_lightning": __version__,
            "python": platform.python_version(),
            **{package: version(package) for package in PACKAGES},
            "cuda": torch.version.cuda if on_gpu else None,
            "cudnn": torch.backends.cudnn.version() if on_gpu else None,  # type: ignore[no-untyped-call]
        },
    }


def _print(result: PartResult) -> None:
    reason = f": {result.error.splitlines()[-1]}" if result.error else ""
    print(f"{result.name}: {result.status} after {result.seconds:.0f} s, {len(result.rows)} rows{reason}", flush=True)
