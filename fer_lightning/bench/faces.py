"""Speed of face extraction: the default pipeline against the same detector on every single frame."""

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
    """Locates faces as the pipeline does: in every n-th frame, several frames at a time, with tracking."""
    return run_to_end(FaceExtractor(settings, models=models).locate(source, ClipAnnotations()))[0].faces


def locate_one_by_one(source: VideoSource, settings: FaceSettings, models: FaceModels) -> FaceLocator:
    """Runs the detector on every frame, one at a time."""
    assert models.faces is not None
    tracker = FaceTracker()
    for index, frame in source.frames():
        tracker.update(index, models.faces.detect([frame])[0], frame)
    return MainFace(tracker, (source.width, source.height), 1, settings.max_gap)


def run(quick: bool = False) -> None:
    """Prints the speed of both methods, how well their boxes agree, and the speed of extraction with crops."""
    torch.set_num_threads(1)
    settings = FaceSettings()
    models = FaceModels(make_detector("mtcnn"))
    with tempfile.TemporaryDirectory() as name:
        path = example_video(Path(name), quick)
        methods = {"default": locate_by_default, "every frame, one by one": locate_one_by_one}
        locations, seconds = {}, {}
        for title, method in methods.items():
            open_and_warm(path, models)
            locations[title], seconds[title] = timed(partial(method, open_video(path), settings, models))
        count = open_video(path).num_frames
        print(f"{path.name}: {count} frames, MTCNN on {models.faces.device if models.faces else ''}")
        for title, elapsed in seconds.items():
            print(f"  locating faces, {title}: {count / elapsed:.1f} frames/s")
        default, full = locations.values()
        pairs = [(default.at(i), full.at(i)) for i in range(count)]
        ious = [overlaps(a.box, [b.box])[0] if a is not None else 0.0 for a, b in pairs if b is not None]
        missed = sum(a is None for a, b in pairs if b is not None)
        ratio = seconds["every frame, one by one"] / seconds["default"]
        print(f"  {ratio:.2f} x as fast; mean IoU {np.mean(ious):.3f} over {len(ious)} faces, {missed} missed")
        for landmarks in LANDMARKS:
            with_landmarks = replace(settings, landmarks=landmarks)
            all_models = replace(FaceModels.from_settings(with_landmarks), faces=models.faces)
            faces = FaceExtractor(with_landmarks, models=all_models).extract(open_video(path))
            start = time.perf_counter()
            crops = len(list(faces))
            elapsed = time.perf_counter() - start
            print(f"  aligned crops, landmarks {landmarks}: {crops} in {elapsed:.1f} s, {count / elapsed:.1f} frames/s")


def open_and_warm(path: Path, models: FaceModels) -> None:
    """Runs the detector once before time is measured."""
    assert models.faces is not None
    models.faces.detect([next(open_video(path).frames())[1]])


def timed(work: Callable[[], Result]) -> tuple[Result, float]:
    """Returns the result of a function and how many seconds it took."""
    start = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start


def example_video(folder: Path, quick: bool) -> Path:
    """Returns `single_face.mp4` of the folder FER_TEST_CLIPS if it exists, else a rendered video."""
    clips = os.environ.get("FER_TEST_CLIPS")
    if clips and not quick and (Path(clips) / "single_face.mp4").exists():
        return Path(clips) / "single_face.mp4"
    path = folder / "rendered.mp4"
    write_long_video(path, 1 if quick else 8)
    return path
