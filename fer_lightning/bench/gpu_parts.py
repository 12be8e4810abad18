"""What is checked on a GPU: each part writes its rows as they are measured, in a process of its own."""

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

import fer_lightning
from data_modules.datasets.dataset import data_root
from data_modules.utils.messages import first_line
from data_modules.utils.processors import usable_processors
from fer_lightning.bench.features import epoch
from fer_lightning.bench.loader import waiting_share
from fer_lightning.bench.predict import FPS, frames_of_a_person
from fer_lightning.bench.step import compare
from fer_lightning.bench.system_step import (
    DEFAULT,
    VARIANTS,
    NothingTrainedError,
    SystemStep,
    Variant,
    measure,
    trained_systems,
)
from fer_lightning.experiments.system import Size
from fer_lightning.predict.recogniser import Recogniser, select_device
from fer_lightning.predict.request import RecognitionOptions

Row = dict[str, Any]
Write = Callable[[Row], None]
"""Keeps a row at once, so that what was measured outlives a part that fails or takes too long."""
LEFT_OUT = "left_out"
"""The field of a row that says why a part does not run here."""
SUBJECTS = 8
"""People of the rendered set that `fer bench pack-gpu` packs."""


class FailedError(Exception):
    """Some rows of a part are wrong; the message counts them."""


def steps(device: torch.device, size: Size, write: Write) -> None:
    """The training step of every system against its networks alone. One that fails does not stop the others."""
    for system in trained_systems():
        _step(system, device, size, DEFAULT, write)


def variants(device: torch.device, size: Size, write: Write) -> None:
    """CEFLNet's step with each setting that is not the default; `torch.compile`, the last, takes a minute to begin."""
    for variant in VARIANTS[:-1] if size == "small" else VARIANTS:
        _step("ceflnet", device, size, variant, write)


def _step(system: str, device: torch.device, size: Size, variant: Variant, write: Write) -> None:
    clips, repeats = (2, 1) if size == "small" else (None, 6)
    try:
        write(step_row(measure(system, size, device, variant, clips, repeats)))
    except NothingTrainedError:
        return
    except Exception as error:  # out of memory, a compiler that fails: the row says so
        write({"system": system, "variant": variant.name, "error": f"{type(error).__name__}: {first_line(error)}"})
    if device.type == "cuda":
        torch.cuda.empty_cache()


def step_row(step: SystemStep) -> Row:
    """Returns the row of a step, with what follows from its measurements."""
    return asdict(step) | {"clips_per_second": step.clips_per_second, "share": step.share}


def ceflnet(device: torch.device, size: Size, write: Write) -> None:
    """CEFLNet's step against one frame after another in fp32, as in public implementations."""
    batch_size, side, repeats = (1, 64, 1) if size == "small" else (8, 224, 5)
    times = compare(batch_size, side, repeats, device=device)
    for each in times:
        write({"name": each.name, "seconds": each.seconds, "times_as_fast": times[0].seconds / each.seconds})


def loader(device: torch.device, size: Size, write: Write) -> None:
    """The share of a training step for which CEFLNet waits for its data, by the number of workers."""
    count = usable_processors()
    number, times = (2, 1) if size == "small" else (48, 10)
    people = ("--data.dataset.init_args.subjects", str(SUBJECTS))
    for workers in (0,) if size == "small" else sorted({2, count // 2, count} - {0}):
        share = waiting_share("ceflnet_synthetic", workers, number, size, (*people, *_on(device)), times)
        write({"workers": workers, "waiting": share})


def predict(device: torch.device, size: Size, write: Write) -> None:
    """Prediction from an array of frames, for which no decoder is needed.

    Raises:
        FailedError: faces were found in less than nine tenths of the frames, each of which shows one.
    """
    seconds = 2 if size == "small" else 40
    frames = frames_of_a_person(seconds)
    recogniser = Recogniser(options=RecognitionOptions(device=device.type))
    recogniser.frames(frames[: FPS // 2], FPS)
    start = time.perf_counter()
    video = recogniser.frames(frames, FPS).video
    elapsed = time.perf_counter() - start
    write({"video_seconds": seconds, "seconds": elapsed, "times_real_time": seconds / elapsed})
    if video.frames_with_face < 0.9 * video.frames:
        raise FailedError(f"faces were found in {video.frames_with_face} of {video.frames} frames")


def fer2013(device: torch.device, size: Size, write: Write) -> None:
    """An epoch of DenseNet-FC on the images of FER2013, if they are there."""
    if not (data_root() / "fer2013" / "fer2013.csv").is_file():
        write({LEFT_OUT: f"no fer2013/fer2013.csv in {data_root()}; it is packed from FER_DATA if it is there"})
        return
    arguments = ("--model.init_args.backbone.init_args.weights", "random", *_on(device))
    write({"seconds": epoch("densenet_fc_fer2013", size, arguments, 2 if size == "small" else None)})


def _on(device: torch.device) -> tuple[str, str]:
    return ("--trainer.accelerator", "gpu" if device.type == "cuda" else "cpu")


def tests(device: torch.device, size: Size, write: Write) -> None:
    """The tests that are marked `gpu`.

    Raises:
        FailedError: some failed.
        FileNotFoundError: this is no checkout, which has the tests.
    """
    import pytest  # nothing else needs it

    folder = Path(fer_lightning.__file__).parents[1] / "tests" / "gpu"
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} does not exist: the tests are in a checkout of the repository alone")
    os.environ["FER_TEST_DEVICE"] = device.type
    recorder = _Recorder(write)
    chosen = "gpu and not slow" if size == "small" else "gpu"
    pytest.main([str(folder), "-q", "-m", chosen, "-p", "no:cacheprovider"], [recorder])
    if recorder.failed or not recorder.count:
        raise FailedError(f"{len(recorder.failed)} of {recorder.count} tests failed: {', '.join(recorder.failed)}")


class _Recorder:
    """A plugin of pytest that writes each test's outcome."""

    def __init__(self, write: Write) -> None:
        self.write, self.count, self.failed = write, 0, list[str]()

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Writes the outcome of a test, which is that of its setup where this was skipped or failed."""
        if report.when != "call" and report.outcome == "passed":
            return
        name = report.nodeid.partition("::")[2]
        row: Row = {"test": name, "outcome": report.outcome, "seconds": report.duration}
        if report.outcome != "passed":
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
            row["reason"] = str(reason)[-500:]
        self.count += 1
        self.failed += [name] if report.outcome == "failed" else []
        self.write(row)


PARTS: dict[str, Callable[[torch.device, Size, Write], None]] = {
    part.__name__: part for part in (steps, tests, ceflnet, variants, loader, predict, fer2013)
}


def write_rows(part: str, device: str, small: bool, path: Path) -> None:
    """Runs a part and writes each of its rows as a line of JSON.

    Args:
        part: one of `PARTS`.
        device: auto, cpu or cuda.
        small: systems at small size.
        path: the file, which is appended to.
    """
    with path.open("a", encoding="utf-8") as file:

        def write(row: Row) -> None:
            print(json.dumps(row), file=file, flush=True)

        PARTS[part](select_device(device), "small" if small else "paper", write)
