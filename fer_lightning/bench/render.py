"""Frames of the synthetic data set rendered per second, encoding, sound and ground truth included."""

import os
import tempfile
import time
from pathlib import Path

import av

from data_modules.labels import SEVEN
from data_modules.synthetic.clip import ClipSettings
from data_modules.synthetic.staging import Difficulty
from data_modules.synthetic.writer import write_all

DIFFICULTIES: tuple[Difficulty, ...] = ("lab", "wild")


def run(quick: bool = False) -> None:
    """Prints the speed of both difficulties, the start of the processes included."""
    workers = os.cpu_count() or 1
    for difficulty in DIFFICULTIES:
        wanted = [ClipSettings(difficulty, s, emotion) for s in range(1 if quick else 12) for emotion in SEVEN]
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            write_all(wanted, Path(folder), workers, f"rendering {difficulty}")
            seconds = time.perf_counter() - start
            frames = sum(map(frames_of, Path(folder).glob("*.mp4")))
        speed = frames / seconds
        print(f"{difficulty}: {frames} frames of 256² in {seconds:.1f} s on {workers} cores, {speed:.0f} per second")


def frames_of(path: Path) -> int:
    """How many frames a video file says it has."""
    with av.open(str(path)) as container:
        return int(container.streams.video[0].frames)
