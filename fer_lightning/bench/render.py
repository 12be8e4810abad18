"""Frames of the synthetic data set rendered per second, including encoding, audio and ground truth."""

import tempfile
import time
from pathlib import Path

import av

from data_modules.labels import SEVEN
from data_modules.synthetic.clip import ClipSettings
from data_modules.synthetic.staging import Difficulty
from data_modules.synthetic.writer import write_all
from data_modules.utils.processors import usable_processors

DIFFICULTIES: tuple[Difficulty, ...] = ("lab", "wild")


def run(quick: bool = False) -> None:
    """Prints the speed for both difficulties, including the start of the processes."""
    workers = usable_processors()
    for difficulty in DIFFICULTIES:
        clips = [ClipSettings(difficulty, s, emotion) for s in range(1 if quick else 12) for emotion in SEVEN]
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            write_all(clips, Path(folder), workers, f"rendering {difficulty}")
            seconds = time.perf_counter() - start
            frames = sum(map(count_frames, Path(folder).glob("*.mp4")))
        speed = frames / seconds
        print(f"{difficulty}: {frames} frames of 256² in {seconds:.1f} s on {workers} cores, {speed:.0f} per second")


def count_frames(path: Path) -> int:
    """Returns the number of frames that a video file declares."""
    with av.open(str(path)) as container:
        return int(container.streams.video[0].frames)
