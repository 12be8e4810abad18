"""Faces of a real video: the default way against the same detector on every frame, one by one."""

import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import torch

from data_modules.faces.detection import FacePlaces
from data_modules.faces.extraction import Known, Tools, extract, find_places
from data_modules.faces.factory import make_detector
from data_modules.faces.main_face import MainFace
from data_modules.faces.settings import FaceSettings
from data_modules.faces.tracking import FaceTracker, overlaps
from data_modules.utils.pool import run_to_end
from data_modules.video.reader import open_video
from data_modules.video.source import VideoSource
from fer_lightning.bench.predict import write_long_video

Result = TypeVar("Result")
LANDMARKS: tuple[Literal["none", "mesh"], ...] = ("none", "mesh")


def places_by_default(source: VideoSource, settings: FaceSettings, tools: Tools) -> FacePlaces:
    """What the pipeline does: each n-th frame, several at a time, tracked."""
    return run_to_end(find_places(source, settings, tools, Known())).faces


def places_one_by_one(source: VideoSource, settings: FaceSettings, tools: Tools) -> FacePlaces:
    """Each frame looked at for itself."""
    assert tools.faces is not None
    tracker = FaceTracker()
    for index, frame in source.frames():
        tracker.update(index, tools.faces.detect([frame])[0], frame)
    return MainFace(tracker, (source.width, source.height), 1, settings.max_gap)


def run(quick: bool = False) -> None:
    """Prints frames per second of both ways, how well they agree, and the speed of everything with crops."""
    torch.set_num_threads(1)
    settings = FaceSettings()
    tools = Tools(make_detector("mtcnn"))
    with tempfile.TemporaryDirectory() as name:
        path = example_video(Path(name), quick)
        ways = {"default": places_by_default, "every frame, one by one": places_one_by_one}
        places, seconds = {}, {}
        for title, way in ways.items():
            open_and_warm(path, tools)
            places[title], seconds[title] = timed(partial(way, open_video(path), settings, tools))
        count = open_video(path).num_frames
        print(f"{path.name}: {count} frames, MTCNN on {tools.faces.device if tools.faces else ''}")
        for title, took in seconds.items():
            print(f"  places, {title}: {count / took:.1f} frames/s")
        default, full = places.values()
        pairs = [(default.at(i), full.at(i)) for i in range(count)]
        shares = [overlaps(a.box, [b.box])[0] if a is not None else 0.0 for a, b in pairs if b is not None]
        missed = sum(a is None for a, b in pairs if b is not None)
        ratio = seconds["every frame, one by one"] / seconds["default"]
        print(f"  {ratio:.2f} x as fast; mean IoU {np.mean(shares):.3f} over {len(shares)} faces, {missed} missed")
        for landmarks in LANDMARKS:
            wanted = replace(settings, landmarks=landmarks)
            faces = extract(open_video(path), wanted, replace(Tools.of(wanted), faces=tools.faces))
            start = time.perf_counter()
            made = len(list(faces))
            took = time.perf_counter() - start
            print(f"  aligned crops, landmarks {landmarks}: {made} in {took:.1f} s, {count / took:.1f} frames/s")


def open_and_warm(path: Path, tools: Tools) -> None:
    """One look before the clock runs."""
    assert tools.faces is not None
    tools.faces.detect([next(open_video(path).frames())[1]])


def timed(work: Callable[[], Result]) -> tuple[Result, float]:
    """What the work returns, and its seconds."""
    start = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start


def example_video(folder: Path, quick: bool) -> Path:
    """A real video where there is one, else a rendered one."""
    clips = os.environ.get("FER_TEST_CLIPS")
    if clips and not quick and (Path(clips) / "single_face.mp4").exists():
        return Path(clips) / "single_face.mp4"
    path = folder / "rendered.mp4"
    write_long_video(path, 1 if quick else 8)
    return path
