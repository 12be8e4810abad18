"""`fer predict`: any video in, expressions over time out."""

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Literal

import av
import numpy as np
import torch

from data_modules.datasets.dataset import FaceSettings
from data_modules.detection import Detection, DetectorNotFoundError, FaceDetector, make_detector
from data_modules.faces import extract
from data_modules.files import whole_file, write_whole
from data_modules.source import Frame, UnreadableVideoError, VideoSource
from data_modules.store import ClipStore
from data_modules.video import open_video
from fer_lightning.loading import load_trained
from fer_lightning.predict.annotated_video import MAX_SIDE, write_annotated
from fer_lightning.predict.stages import Stages, WatchedSource
from fer_lightning.predict.timeline import (
    NO_FACE,
    PredictionSettings,
    Timeline,
    VideoExpressions,
    VideoFacts,
    lay_rows,
    video_duration,
)
from fer_lightning.predict.timeline_figure import length, timeline_png
from fer_lightning.predict.video_files import CONTENT, PICTURE, TABLE, VIDEO, folder_for, shown, videos_of
from fer_lightning.predict.windows import VideoFaces, WindowClassifier, face_shares

MAX_WORKERS = 4  # frames that the detector sees at once on processors

DetectorName = Literal["mtcnn", "insightface"]


@dataclass(frozen=True)
class Request:
    """What one call of `fer predict` was asked for."""

    videos: tuple[Path, ...]
    checkpoint: Path
    out: Path
    detector: DetectorName
    window: float
    hop: float
    every: int
    device: str
    video: bool  # write the annotated one


def main(arguments: list[str]) -> int:
    """`fer predict VIDEO... --checkpoint RUN`: 0, or 1 if a video could not be read.

    Raises:
        FileNotFoundError: no checkpoint, or a folder without any video.
        ValueError: an option makes no sense, the checkpoint cannot be used, or the detector is not installed.
    """
    request = parse(arguments[1:])
    videos = videos_of(request.videos)
    if request.out.exists() and not request.out.is_dir():
        raise ValueError(f"--out {request.out} is a file; expected a folder, or a name that is free")
    try:
        predictor = Predictor(request)
    except DetectorNotFoundError as error:
        raise ValueError(str(error)) from error
    unreadable = 0
    for number, path in enumerate(videos):
        if len(videos) > 1:
            print(f"[{number + 1} of {len(videos)}] ", end="")
        try:
            print(predictor(path), flush=True)
        except (UnreadableVideoError, av.error.FFmpegError) as error:
            unreadable += 1
            print(f"{shown(path)}: not predicted. {shown(error)}", flush=True)
    if unreadable and len(videos) > 1:
        print(f"{unreadable} of {len(videos)} videos could not be read; the reasons stand above")
    return 1 if unreadable else 0


def parse(arguments: Sequence[str]) -> Request:
    """The options of the command line.

    Raises:
        ValueError: a value makes no sense.
    """
    parser = argparse.ArgumentParser("fer predict", description="Expressions over time of any videos.")
    parser.add_argument("videos", nargs="+", type=Path, metavar="VIDEO", help="file, or folder with videos")
    parser.add_argument("--checkpoint", type=Path, required=True, metavar="RUN", help="folder of a run, or checkpoint")
    parser.add_argument("--out", type=Path, default=Path("predictions"), help="folder for the results (predictions/)")
    parser.add_argument("--detector", choices=("mtcnn", "insightface"), default="mtcnn", help="finds the faces (mtcnn)")
    parser.add_argument("--window", type=float, default=2.0, help="seconds of video for one expression (2)")
    parser.add_argument("--hop", type=float, default=0.5, help="seconds from one row to the next (0.5)")
    parser.add_argument("--every", type=int, default=3, help="look for faces in each n-th frame (3)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 or mps")
    parser.add_argument("--no-video", action="store_true", help="no annotated.mp4; one from before is deleted")
    options = parser.parse_args(arguments)
    if not 0 < options.hop <= options.window < float("inf"):
        raise ValueError(
            f"--hop {options.hop:g} --window {options.window:g}: expected 0 < hop <= window, in seconds; with a longer "
            "hop, parts of the video would be in no window"
        )
    if options.every < 1:
        raise ValueError(f"--every {options.every}: expected 1 (each frame) or more")
    return Request(
        tuple(options.videos),
        options.checkpoint,
        options.out,
        options.detector,
        options.window,
        options.hop,
        options.every,
        options.device,
        not options.no_video,
    )


def device_of(name: str) -> torch.device:
    """The device of that name, or the fastest there is for `auto`.

    Raises:
        ValueError: there is no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"--device {name}: not to be had on this machine; try auto, or cpu") from error
    return device


class ParallelDetector:
    """A detector on several frames at a time, each on one core: its networks are too small to share among cores.

    Args:
        detector: can be called from several threads.
        workers: how many.
    """

    def __init__(self, detector: FaceDetector, workers: int) -> None:
        self.name, self._detector, self._workers = detector.name, detector, workers
        self._pool = ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,))

    def detect(self, frames: Sequence[Frame]) -> list[list[Detection]]:
        """See `FaceDetector.detect`."""
        share = max(1, -(-len(frames) // self._workers))
        parts = [frames[i : i + share] for i in range(0, len(frames), share)]
        return list(chain.from_iterable(self._pool.map(self._detector.detect, parts)))


class Predictor:
    """Model and detector, loaded once, and what they make of one video after the other."""

    def __init__(self, request: Request) -> None:
        trained, device = load_trained(request.checkpoint), device_of(request.device)
        self._request, self._classifier = request, WindowClassifier(trained, device)
        detector = make_detector(request.detector, "cuda" if device.type == "cuda" else "cpu")
        workers = min(os.cpu_count() or 1, MAX_WORKERS)
        # onnxruntime shares its work among the cores by itself
        parallel = request.detector == "mtcnn" and device.type != "cuda"
        self._detector = ParallelDetector(detector, workers) if parallel else detector
        self._faces: FaceSettings = replace(trained.faces, detector=request.detector, every=request.every, jitter=0.0)
        self._settings = PredictionSettings(
            checkpoint=str(trained.checkpoint),
            model=type(trained.model).__name__,
            sampler=repr(trained.sampler),
            detector=request.detector,
            every=request.every,
            window=request.window,
            hop=request.hop,
        )
        self._taken: set[Path] = set()

    def __call__(self, path: Path) -> str:
        """Writes all files of a video; returns a paragraph about it.

        Raises:
            UnreadableVideoError: its frames cannot be had.
        """
        begin = time.perf_counter()
        source, stages = open_video(path), Stages(shown(path.name))
        folder = folder_for(path, self._request.out, self._taken)
        self._request.out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._request.out, prefix=".faces-") as scratch:
            watched = WatchedSource(source, stages, ("looking for faces", "cutting out faces"))
            faces = VideoFaces(extract(watched, self._detector, self._faces), ClipStore(Path(scratch)))
            expressions = self._recognise(source, faces, stages)
            (folder / VIDEO).unlink(missing_ok=True)  # it would show what is no longer in the tables
            write_whole(folder / TABLE, expressions.csv())
            write_whole(folder / CONTENT, expressions.json())
            write_whole(folder / PICTURE, timeline_png(expressions, faces, source.timestamps))
            recognised = time.perf_counter() - begin
            if self._request.video:
                small = open_video(path, max_side=MAX_SIDE)
                with whole_file(folder / VIDEO) as temporary:
                    scale = small.width / source.width
                    written = write_annotated(small, expressions.timeline, faces, scale, temporary)
                    for _ in stages.watch(((index, None) for index in written), source.num_frames, "writing video"):
                        pass
        files = [TABLE, CONTENT, PICTURE, *([VIDEO] if self._request.video else [])]
        return _paragraph(expressions, folder, files, recognised, time.perf_counter() - begin)

    def _recognise(self, source: VideoSource, faces: VideoFaces, stages: Stages) -> VideoExpressions:
        times = source.timestamps
        duration = video_duration(times, source.fps)
        rows = lay_rows(times, duration, self._request.window, self._request.hop)
        names = self._classifier.trained.class_names
        probabilities = np.full((len(rows.start), len(names)), np.nan)
        found = self._classifier.rows(faces, rows)
        for row, values in stages.watch(found, len(rows.start), "recognising expressions"):
            probabilities[row] = values
        timeline = Timeline(names, rows.start, rows.end, face_shares(faces, rows), probabilities)
        path = str(source.path.resolve())
        video = VideoFacts(
            path, source.width, source.height, source.fps, len(times), duration, source.broken, len(faces)
        )
        return VideoExpressions(video, self._settings, timeline)


def _paragraph(
    expressions: VideoExpressions, folder: Path, files: Sequence[str], recognised: float, total: float
) -> str:
    """What there is to say of one video."""
    video, timeline = expressions.video, expressions.timeline
    count = f"{video.frames} frame{'s' * (video.frames != 1)}"
    said = f"{shown(Path(video.path).name)}: {length(video.duration)}, {video.width} x {video.height}, "
    if not video.frames_with_face:
        said += f"no face in any of {count}, so no expression. "
    else:
        said += f"a face in {100 * video.face_share:.3g} % of {count}. "
        said += ", ".join(f"{name} {100 * share:.0f} %" for name, share in timeline.shares()) + " of the time. "
        if not timeline.answered.any():
            said += f"No row has a face in half of its frames, so all of them say `{NO_FACE}`. "
    if video.broken:
        said += f"{video.broken} packets or images do not decode and were passed over. "
    said += f"Files in {shown(folder)}: {', '.join(files)}. "
    said += f"{total:.1f} s of work, {video.duration / total:.1f} x real time"
    if VIDEO in files:
        said += f" ({video.duration / recognised:.1f} x without {VIDEO})"
    return said + "."
