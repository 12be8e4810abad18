"""Time to open a large data set: to read its manifest, and to set up training on it."""

import csv
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from data_modules.datasets.dataset import store_root
from data_modules.datasets.dfew import CLIPS, CODES, DFEW, LISTS
from data_modules.loading.datamodule import VideoDataModule
from data_modules.manifest import check_records
from data_modules.prepare.faces import store_for
from data_modules.sampling import SubvideoSampler
from data_modules.store.clip_file import ClipSummary

FRAMES = 16  # of each clip in the store's index
CLIP_COUNT = 16_372
REPEATS = 3


def write_tree(root: Path, clips: int) -> None:
    """Writes a data set with the layout of DFEW, in which each clip is one empty file."""
    codes = sorted(CODES)
    for number in range(1, clips + 1):
        folder = root / CLIPS / f"{number:05d}"
        folder.mkdir(parents=number == 1)
        (folder / "1.jpg").touch()
    for split, numbers in (
        ("train", range(1, clips + 1 - clips // 5)),
        ("test", range(clips + 1 - clips // 5, clips + 1)),
    ):
        path = root / LISTS / f"{split}(single-labeled)" / "set_1.csv"
        path.parent.mkdir(parents=True)
        with path.open("w", newline="") as file:
            rows = ((f"{number:05d}", codes[number % len(codes)]) for number in numbers)
            csv.writer(file).writerows([("video_name", "label"), *rows])


def seconds(work: Callable[[], object]) -> list[float]:
    """Returns the seconds of each of several calls."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return times


def opening(root: Path, clips: int) -> Iterator[tuple[str, list[float]]]:
    """Writes a data set below `root`; yields the name of each part of opening it, with its seconds."""
    write_tree(root, clips)
    dataset = DFEW(root)
    yield "manifest", seconds(lambda: check_records(dataset.records(), dataset.name))
    store = store_for(dataset)
    store.write_index(ClipSummary(record.clip_id, FRAMES, FRAMES, 25.0) for record in dataset.records())
    yield "prepared set, for training", seconds(lambda: VideoDataModule(dataset, SubvideoSampler()).setup())


@contextmanager
def _store_in(folder: Path) -> Iterator[None]:
    """Sets the variable FER_STORE during the measurement."""
    before = os.environ.get("FER_STORE")
    os.environ["FER_STORE"] = str(folder)
    try:
        assert store_root() == folder
        yield
    finally:
        if before is None:
            del os.environ["FER_STORE"]
        else:
            os.environ["FER_STORE"] = before


def run(quick: bool = False) -> None:
    """Prints the seconds of each part."""
    clips = 700 if quick else CLIP_COUNT
    with tempfile.TemporaryDirectory() as folder, _store_in(Path(folder) / "store"):
        for part, times in opening(Path(folder) / "dfew", clips):
            print(f"{part} of {clips} clips: {times[0]:.2f} s, again {min(times[1:]):.2f} s")
