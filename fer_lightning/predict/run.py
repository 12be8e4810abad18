"""Predicts the expressions of videos over time and writes their tables, figures and annotated videos."""

import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import av
import torch

from data_modules.manifest import VideoRecord
from data_modules.prepare.clip_preparer import ClipPreparer
from data_modules.prepare.pending import TIME_LIMIT
from data_modules.store.clip_file import ClipSummary
from data_modules.store.clip_store import ClipStore
from data_modules.utils.files import atomic_file, atomic_write
from data_modules.utils.pool import Failure, run_in_processes
from data_modules.video.audio_track import is_audio_file
from data_modules.video.reader import open_video
from data_modules.video.source import UnreadableVideoError
from fer_lightning.ensemble.trained import load_run
from fer_lightning.predict.annotated_video import MAX_SIDE, write_annotated
from fer_lightning.predict.confidence import confidence_of
from fer_lightning.predict.ensemble_classifier import make_classifier
from fer_lightning.predict.expressions import VideoExpressions, VideoFacts
from fer_lightning.predict.faces import VideoFaces, face_shares, head_poses
from fer_lightning.predict.request import PredictionRequest
from fer_lightning.predict.row_classifier import RowClassifier
from fer_lightning.predict.settings import Confidence, PredictionSettings
from fer_lightning.predict.shared_faces import shared_face_settings
from fer_lightning.predict.stages import Stages
from fer_lightning.predict.timeline import Timeline, plan_rows, video_duration
from fer_lightning.predict.timeline_figure import timeline_png
from fer_lightning.predict.video_files import CONTENT, PICTURE, TABLE, VIDEO, output_folder
from fer_lightning.predict.video_result import VideoResult

RENDERED_ONLY = (
    "note: this model has seen rendered faces only. What it says about real people shows that the program works, and "
    "nothing about them."
)
MAX_THREADS = 4  # frames that the detector processes at once on a CPU


def select_device(name: str) -> torch.device:
    """Returns the device with that name; `auto` is the fastest one that is available.

    Raises:
        ValueError: the device is unknown or not available.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"--device {name}: not available on this machine; try auto, or cpu") from error
    return device


def predict(request: PredictionRequest) -> "Iterator[tuple[Path, VideoResult | Failure]]":
    """Writes the files of all videos; yields the result of each, or why it has none.

    Faces are extracted in separate processes, those of the next video while the current one is classified. A file on
    which a decoder hangs or crashes yields a failure and does not stop the others.

    Raises:
        DetectorNotFoundError: the detector is not installed.
        FileNotFoundError: there is no checkpoint, or a member of an ensemble is missing.
        AudioLibraryNotFoundError: a package is missing that the model's audio needs.
        ValueError: the checkpoint cannot be used, the members of an ensemble do not fit together, or the risk that is
            asked for cannot be met.
    """
    trained, device = load_run(request.checkpoint), select_device(request.device)
    if all(model.is_rendered for model in trained.models):
        print(RENDERED_ONLY, flush=True)
    settings = shared_face_settings(trained.models, request.detector, request.every, request.head_pose)
    if all(map(is_audio_file, request.videos)):
        settings = replace(settings, detector="none", landmarks="none", person="none")  # no network is loaded
    confidence = confidence_of(trained, request.calibrate, request.abstain)
    classifier = make_classifier(trained, device)
    request.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=request.out, prefix=".faces-") as scratch:
        store = ClipStore(Path(scratch).absolute())
        threads = max(1, min(os.cpu_count() or 1, MAX_THREADS) // max(request.workers, 1))
        kind = "cuda" if device.type == "cuda" else "cpu"
        make = partial(ClipPreparer, Path.cwd(), settings, store.folder, kind, threads)
        records = [VideoRecord(str(number), str(path.absolute()), "") for number, path in enumerate(request.videos)]
        predictor, stages = Predictor(request, classifier, confidence, store), Stages()
        for record, result in run_in_processes(make, records, request.workers, TIME_LIMIT, stages.update_faces):
            path = request.videos[int(record.clip_id)]
            if isinstance(result, Failure):
                yield path, Failure(result.reason.removeprefix("UnreadableVideoError: "))
                continue
            try:
                yield path, predictor(path, result, stages)
            except (UnreadableVideoError, av.error.FFmpegError) as error:
                yield path, Failure(str(error))


class Predictor:
    """Applies a model or an ensemble to the faces of one video after another, and writes the results.

    Args:
        request: the arguments of the call.
        classifier: the model or the ensemble.
        confidence: what its probabilities mean.
        store: holds the faces of the videos.
    """

    def __init__(
        self, request: PredictionRequest, classifier: RowClassifier, confidence: Confidence, store: ClipStore
    ) -> None:
        self._request, self._classifier, self._store = request, classifier, store
        self._settings = PredictionSettings(
            classifier.facts, request.detector, request.every, request.window, request.hop, confidence
        )
        self._taken: set[Path] = set()

    def __call__(self, path: Path, summary: ClipSummary, stages: Stages) -> VideoResult:
        """Writes all files of a video whose faces have been extracted.

        Raises:
            UnreadableVideoError: its frames cannot be read again to draw on them, or it is sound alone, and silent or
                of no use to the model.
        """
        begin = stages.finish_faces(path, summary.clip_id)
        if summary.is_sound_alone:
            self._check_sound(path, summary)
        folder = output_folder(path, self._request.out, self._taken)
        faces = VideoFaces(self._store.open(summary.clip_id))
        expressions = self._recognise(path, faces, stages)
        (folder / VIDEO).unlink(missing_ok=True)  # an earlier one would not agree with the new tables
        atomic_write(folder / TABLE, expressions.csv())
        atomic_write(folder / CONTENT, expressions.json())
        atomic_write(folder / PICTURE, timeline_png(expressions, faces, faces.clip.times))
        recognised = time.perf_counter() - begin
        has_video = self._request.video and not summary.is_sound_alone
        if has_video:
            small = open_video(path, max_side=MAX_SIDE)
            with atomic_file(folder / VIDEO) as temporary:
                scale = small.width / summary.width
                with stages.track(summary.num_frames, "writing video") as advance:
                    for index in write_annotated(small, expressions.timeline, faces, scale, temporary):
                        advance(index + 1)
        self._store.path(summary.clip_id).unlink()
        files = (TABLE, CONTENT, PICTURE, *((VIDEO,) if has_video else ()))
        return VideoResult(expressions, folder, files, recognised, time.perf_counter() - begin)

    def _check_sound(self, path: Path, summary: ClipSummary) -> None:
        """Checks that a file of sound has something that the model uses.

        Raises:
            UnreadableVideoError: it has not.
        """
        if not self._classifier.facts.uses_audio:
            raise UnreadableVideoError(
                f"{path}: found sound alone; expected a video, as the model reads "
                f"{', '.join(self._classifier.facts.inputs)}. Use the file with the video, or a model of audio."
            )
        if not summary.audio:
            raise UnreadableVideoError(
                f"{path}: {summary.audio_reason or 'it has no audio'}; expected a file in which something is heard."
            )

    def _recognise(self, path: Path, faces: VideoFaces, stages: Stages) -> VideoExpressions:
        clip, times = faces.clip.summary, faces.clip.times
        duration = clip.audio if clip.is_sound_alone else video_duration(times, clip.fps)
        rows = plan_rows(times, duration, self._request.window, self._request.hop)
        with stages.track(len(rows.start), "recognising expressions") as advance:
            predictions = self._classifier.predict(faces, rows, advance)
        confidence = self._settings.confidence
        timeline = Timeline(
            self._classifier.class_names,
            rows.start,
            rows.end,
            face_shares(faces, rows),
            faces.has_audio(rows),
            confidence.apply(predictions.probabilities),
            self._settings.missing_label,
            head_poses(faces, rows),
            confidence.threshold,
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
        return VideoExpressions(video, self._settings, timeline, predictions.left_out())
