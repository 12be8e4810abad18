"""`fer predict`: any video in, expressions over time out."""

import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import av
import torch

from data_modules.faces.settings import FaceSettings
from data_modules.manifest import VideoRecord
from data_modules.prepare.clip_preparer import ClipPreparer
from data_modules.prepare.pending import TIME_LIMIT
from data_modules.store.clip_file import ClipSummary
from data_modules.store.clip_store import ClipStore
from data_modules.utils.files import atomic_file, atomic_write
from data_modules.utils.pool import Failure, run_in_processes
from data_modules.video.reader import open_video
from data_modules.video.source import UnreadableVideoError
from fer_lightning.ensemble.trained import load_run
from fer_lightning.predict.annotated_video import MAX_SIDE, write_annotated
from fer_lightning.predict.faces import VideoFaces, face_shares, has_audio, head_poses
from fer_lightning.predict.predicted import Predicted
from fer_lightning.predict.row_classifier import RowClassifier
from fer_lightning.predict.settings import PredictionSettings
from fer_lightning.predict.several import classifier_of
from fer_lightning.predict.shared_faces import Detector, face_settings
from fer_lightning.predict.stages import Stages
from fer_lightning.predict.timeline import Timeline, VideoExpressions, VideoFacts, lay_rows, video_duration
from fer_lightning.predict.timeline_figure import timeline_png
from fer_lightning.predict.video_files import CONTENT, PICTURE, TABLE, VIDEO, folder_for

MAX_THREADS = 4  # frames that the detector sees at once on processors


@dataclass(frozen=True)
class PredictionRequest:
    """What one call of `fer predict` was asked for."""

    videos: tuple[Path, ...]
    checkpoint: Path
    out: Path = Path("predictions")
    detector: Detector = "mtcnn"
    window: float = 2.0  # seconds of video for one expression
    hop: float = 0.5  # seconds from one expression to the next
    every: int = FaceSettings.every
    device: str = "auto"
    video: bool = True  # write the annotated one
    workers: int = 1
    head_pose: bool = False  # find landmarks for it, whatever the model looks at


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


def predict(request: PredictionRequest, videos: Sequence[Path]) -> "Iterator[tuple[Path, Predicted | Failure]]":
    """Writes the files of all videos; yields what was done for each, or why nothing could be.

    Faces are made in processes of their own, the next video's while this one's are looked at: a file on which a decoder
    hangs or crashes is named, and the others go on.

    Raises:
        DetectorNotFoundError: the detector is not installed.
        FileNotFoundError: there is no checkpoint, or an ensemble lacks a member.
        AudioLibraryNotFoundError: a package is missing that the model's sound needs.
        ValueError: the checkpoint cannot be used, or an ensemble's members do not fit together.
    """
    trained, device = load_run(request.checkpoint), device_of(request.device)
    settings = face_settings(trained.models, request.detector, request.every, request.head_pose)
    classifier = classifier_of(trained, device)
    request.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=request.out, prefix=".faces-") as scratch:
        store = ClipStore(Path(scratch).absolute())
        threads = max(1, min(os.cpu_count() or 1, MAX_THREADS) // max(request.workers, 1))
        kind = "cuda" if device.type == "cuda" else "cpu"
        make = partial(ClipPreparer, Path.cwd(), settings, store.folder, kind, threads)
        records = [VideoRecord(str(number), str(path.absolute()), "") for number, path in enumerate(videos)]
        predictor, stages = Predictor(request, classifier, store), Stages()
        for record, result in run_in_processes(make, records, request.workers, TIME_LIMIT, stages.faces):
            path = videos[int(record.clip_id)]
            if isinstance(result, Failure):
                yield path, Failure(result.reason.removeprefix("UnreadableVideoError: "))
                continue
            try:
                yield path, predictor(path, result, stages)
            except (UnreadableVideoError, av.error.FFmpegError) as error:
                yield path, Failure(str(error))


class Predictor:
    """A model or an ensemble, and what it makes of the faces of one video after the other."""

    def __init__(self, request: PredictionRequest, classifier: RowClassifier, store: ClipStore) -> None:
        self._request, self._classifier, self._store = request, classifier, store
        self._settings = PredictionSettings(
            classifier.facts, request.detector, request.every, request.window, request.hop
        )
        self._taken: set[Path] = set()

    def __call__(self, path: Path, summary: ClipSummary, stages: Stages) -> Predicted:
        """Writes all files of a video whose faces are made.

        Raises:
            UnreadableVideoError: its frames, which are read once more to draw on them, cannot be had.
        """
        begin = stages.begin(path, summary.clip_id)
        folder = folder_for(path, self._request.out, self._taken)
        faces = VideoFaces(self._store.open(summary.clip_id))
        expressions = self._recognise(path, faces, stages)
        (folder / VIDEO).unlink(missing_ok=True)  # it would show what is no longer in the tables
        atomic_write(folder / TABLE, expressions.csv())
        atomic_write(folder / CONTENT, expressions.json())
        atomic_write(folder / PICTURE, timeline_png(expressions, faces, faces.clip.times))
        recognised = time.perf_counter() - begin
        if self._request.video:
            small = open_video(path, max_side=MAX_SIDE)
            with atomic_file(folder / VIDEO) as temporary:
                scale = small.width / summary.width
                with stages.watch(summary.num_frames, "writing video") as advance:
                    for index in write_annotated(small, expressions.timeline, faces, scale, temporary):
                        advance(index + 1)
        self._store.path(summary.clip_id).unlink()
        files = (TABLE, CONTENT, PICTURE, *((VIDEO,) if self._request.video else ()))
        return Predicted(expressions, folder, files, recognised, time.perf_counter() - begin)

    def _recognise(self, path: Path, faces: VideoFaces, stages: Stages) -> VideoExpressions:
        clip, times = faces.clip.summary, faces.clip.times
        duration = video_duration(times, clip.fps)
        rows = lay_rows(times, duration, self._request.window, self._request.hop)
        with stages.watch(len(rows.start), "recognising expressions") as advance:
            found = self._classifier.answer(faces, rows, advance)
        timeline = Timeline(
            self._classifier.class_names,
            rows.start,
            rows.end,
            face_shares(faces, rows),
            has_audio(faces, rows),
            found.probabilities,
            self._settings.missing,
            head_poses(faces, rows),
        )
        video = VideoFacts(
            path=str(path.resolve()),
            width=clip.width,
            height=clip.height,
            fps=clip.fps,
            frames=len(times),
            duration=duration,
            broken=clip.broken,
            frames_with_face=len(faces),
            audio=clip.audio,
            audio_reason=clip.audio_reason,
        )
        return VideoExpressions(video, self._settings, timeline, found.left_out())
