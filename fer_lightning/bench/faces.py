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

from data_modules.faces.detection import FaceLocator
from data_modules.faces.extraction import ClipAnnotations, FaceExtractor
from data_modules.faces.factory import make_detector
from data_modules.faces.main_face import MainFace
from data_modules.faces.models import FaceModels
from data_modules.faces.settings import FaceSettings
from data_modules.faces.tracking import FaceTracker, overlaps
from data_modules.utils.pool import run_to_end
from data_modules.video.reader import open_video
from data_modules.video.source import VideoSource
from fer_lightning.bench.predict import write_long_video

Result = TypeVar("Result")
LANDMARKS: tuple[Literal["none", "mesh"], ...] = ("none", "mesh")


def locate_by_default(source: VideoSource, settings: FaceSettings, models: FaceModels) -> FaceLocator:
    """What the pipeline does: each n-th frame, several at a time, tracked."""
    return run_to_end(FaceExtractor(settings, models=models).locate(source, ClipAnnotations())).faces


def locate_one_by_one(source: VideoSource, settings: FaceSettings, models: FaceModels) -> FaceLocator:
    """Each frame looked at for itself."""
    assert models.faces is not None
    tracker = FaceTracker()
    for index, frame in source.frames():
        tracker.update(index, models.faces.detect([frame])[0], frame)
    return MainFace(tracker, (source.width, source.height), 1, settings.max_gap)


def run(quick: bool = False) -> None:
    """Prints frames per second of both ways, how well they agree, and the speed of everything with crops."""
    torch.set_num_threads(1)
    settings = FaceSettings()
    models = FaceModels(make_detector("mtcnn"))
    with tempfile.TemporaryDirectory() as name:
        path = example_video(Path(name), quick)
        ways = {"default": locate_by_default, "every frame, one by one": locate_one_by_one}
        locations, seconds = {}, {}
        for title, way in ways.items():
            open_and_warm(path, models)
            locations[title], seconds[title] = timed(partial(way, open_video(path), settings, models))
        count = open_video(path).num_frames
        print(f"{path.name}: {count} frames, MTCNN on {models.faces.device if models.faces else ''}")
        for title, took in seconds.items():
            print(f"  locations, {title}: {count / took:.1f} frames/s")
        default, full = locations.values()
        pairs = [(default.at(i), full.at(i)) for i in range(count)]
        shares = [overlaps(a.box, [b.box])[0] if a is not None else 0.0 for a, b in pairs if b is not None]
        missed = sum(a is None for a, b in pairs if b is not None)
        ratio = seconds["every frame, one by one"] / seconds["default"]
        print(f"  {ratio:.2f} x as fast; mean IoU {np.mean(shares):.3f} over {len(shares)} faces, {missed} missed")
        for landmarks in LANDMARKS:
            wanted = replace(settings, landmarks=landmarks)
            extractor = FaceExtractor(wanted, models=replace(FaceModels.from_settings(wanted), faces=models.faces))
            start = time.perf_counter()
            made = len(list(extractor.extract(open_video(path))))
            took = time.perf_counter() - start
            print(f"  aligned crops, landmarks {landmarks}: {made} in {took:.1f} s, {count / took:.1f} frames/s")


def open_and_warm(path: Path, models: FaceModels) -> None:
    """One look before the clock runs."""
    assert models.faces is not None
    models.faces.detect([next(open_video(path).frames())[1]])


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
