"""A trained model or ensemble, loaded once, that recognises expressions in videos, frames and images."""

import itertools
import tempfile
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from data_modules.faces.head_pose import head_pose_in_frame
from data_modules.faces.settings import FaceSettings
from data_modules.manifest import VideoRecord
from data_modules.prepare.clip_preparer import ClipPreparer
from data_modules.store.clip_file import ClipSummary
from data_modules.store.clip_store import ClipStore
from data_modules.utils.pool import run_to_end
from data_modules.video.frame_array import NAME, FrameArray
from data_modules.video.source import UnreadableVideoError
from fer_lightning.ensemble.trained import TrainedEnsemble, load_run
from fer_lightning.predict.confidence import confidence_of
from fer_lightning.predict.ensemble_classifier import make_classifier
from fer_lightning.predict.expressions import FaceTrack, Person, VideoFacts
from fer_lightning.predict.faces import (
    VideoFaces,
    across_cuts,
    face_shares,
    faces_of_everybody,
    head_poses,
    other_shares,
)
from fer_lightning.predict.preparer import make_preparer
from fer_lightning.predict.recognition import Recognition
from fer_lightning.predict.request import RecognitionOptions
from fer_lightning.predict.row_classifier import Advance, RowPredictions
from fer_lightning.predict.settings import NO_FACE, PredictionSettings
from fer_lightning.predict.shared_faces import FaceNeeds
from fer_lightning.predict.timeline import Timeline, TimelineRows, Window, plan_rows, video_duration
from fer_lightning.predict.waveform import envelope
from fer_lightning.predict.windows import MIN_FACE_SHARE
from fer_lightning.report.model_label import label_of
from fer_lightning.zoo.entries import own_model
from fer_lightning.zoo.lookup import find_model

PART = 32  # rows that are classified together

Extraction = Callable[[ClipPreparer, str], Generator[float, None, ClipSummary]]
"""Extracts the faces of a video into the store under a name."""


class Recogniser:
    """Recognises expressions over time with a trained model or ensemble, which is loaded once.

    Faces are found, aligned and cropped as in training. Nothing is written but a temporary folder for the faces of the
    video at hand, so memory does not grow with its length; no process is started, so no `__main__` guard is needed. A
    file on which a decoder hangs blocks the call: `fer predict` reads files of strangers in processes of their own.

    A recogniser may be shared by threads. Their calls wait for each other wherever a network runs; for work in parallel
    make one recogniser for each process.

    Args:
        run: a run's folder, its name below `runs/`, a checkpoint, a file of `fer export`, or a model's name that
            `fer pull --list` prints, see `find_model`; by default the suite's own model, `faces`.
        options: how faces are found and expressions are recognised.

    Raises:
        FileNotFoundError: there is no such run, or a member of an ensemble is missing.
        AudioLibraryNotFoundError: a package is missing that the model's audio needs.
        ValueError: the checkpoint cannot be used, the members of an ensemble do not fit together, or the device or the
            risk that the options ask for cannot be had.

    Examples:
        >>> recogniser = Recogniser("ceflnet_synthetic", RecognitionOptions(window=1.0))  # doctest: +SKIP
        >>> timeline = recogniser.video("talk.mp4")  # doctest: +SKIP
        >>> timeline.to_pandas().groupby("expression").confidence.mean()  # doctest: +SKIP
        >>> for window in recogniser.windows("talk.mp4"):  # doctest: +SKIP
        ...     print(window.start, window.expression, window.probabilities)
    """

    def __init__(
        self,
        run: str | Path | None = None,
        options: RecognitionOptions = RecognitionOptions(),  # noqa: B008
    ) -> None:
        trained = load_run(own_model() if run is None else find_model(run))
        self.options, self.device = options, select_device(options.device)
        self.face_needs = FaceNeeds.of(trained.models, options)
        self._classifier = make_classifier(trained, self.device)
        self.class_names = trained.class_names
        confidence = confidence_of(trained, options.calibrate, options.abstain)
        facts = self._classifier.facts
        self.sees_single_frame = not facts.uses_audio and all(each.sees_single_frame for each in trained.models)
        window = options.window_for(self.sees_single_frame)
        self.settings = PredictionSettings(facts, options.detector, options.every, window, options.hop, confidence)
        ensemble = (trained.run, trained.method) if isinstance(trained, TrainedEnsemble) else ()
        self.label = label_of(trained.models, *ensemble)
        self._numbers, self._lock = itertools.count(), threading.Lock()
        self._preparers: dict[FaceSettings, ClipPreparer] = {}

    @cached_property
    def _scratch(self) -> "tempfile.TemporaryDirectory[str]":
        """The folder of faces, which is deleted with the recogniser; `fer predict` has its own beside the results."""
        return tempfile.TemporaryDirectory(prefix="fer-faces-")

    @property
    def _store(self) -> ClipStore:
        return ClipStore(Path(self._scratch.name).absolute())

    def video(self, path: str | Path) -> Recognition:
        """Recognises the expressions of a video, a folder of frames, a still, or a file of sound.

        Raises:
            DetectorNotFoundError: the detector is not installed.
            UnreadableVideoError: the file cannot be read, or has nothing that the model uses.
        """
        with self._extracted(Path(path)) as people:
            return self.recognise(Path(path).resolve(), people)

    def frames(self, frames: NDArray[np.uint8], fps: float) -> Recognition:
        """Recognises the expressions of successive frames in memory, without audio.

        Args:
            frames: (T, H, W, 3) uint8 RGB.
            fps: frames per second.

        Raises:
            DetectorNotFoundError: the detector is not installed.
            ValueError: the array has another shape or type.
        """
        with self._extracted(FrameArray(frames, fps)) as people:
            return self.recognise(NAME, people)

    def images(self, paths: Iterable[str | Path]) -> Iterator[Recognition]:
        """Recognises the expression of each image by itself, and yields them in order, with one window each.

        Raises:
            DetectorNotFoundError: the detector is not installed.
            UnreadableVideoError: an image cannot be read.
        """
        return map(self.video, paths)

    def windows(self, path: str | Path) -> Iterator[Window]:
        """Yields the windows of a video as they are recognised, after the faces of the whole video have been found.

        If all people are asked for, the windows of each person follow those of the one before.

        Raises:
            DetectorNotFoundError: the detector is not installed.
            UnreadableVideoError: the file cannot be read, or has nothing that the model uses.
        """
        with self._extracted(Path(path)) as people:
            all_rows = self._rows(people[0], Path(path))
            for number, faces in enumerate(people, start=1):
                for rows, predictions in self._parts(faces, all_rows):
                    yield from self._timeline(people, number, rows, predictions).windows

    def recognise(self, path: Path, people: Sequence[VideoFaces], advance: Advance = lambda done: None) -> Recognition:
        """Recognises the expressions of a video whose faces have been extracted with `face_needs`.

        Args:
            path: of the video.
            people: the faces of each person, and its audio.
            advance: receives the share of the work that is done, 0 to 1.

        Raises:
            UnreadableVideoError: it has nothing that the model uses.
        """
        first = people[0]
        clip, times, rows = first.clip.summary, first.clip.times, self._rows(first, path)
        predictions = [
            RowPredictions.joined([part for _, part in self._parts(faces, rows, _share_of(advance, done, len(people)))])
            for done, faces in enumerate(people)
        ]
        found = tuple(
            Person(
                self._timeline(people, number, rows, predicted),
                FaceTrack(
                    times[faces.frame_index], faces.box.copy(), faces.frame_index, head_pose_in_frame(faces.clip)
                ),
            )
            for number, (faces, predicted) in enumerate(zip(people, predictions, strict=True), start=1)
        )
        duration = float(rows.end[-1])
        video = VideoFacts(
            path=str(path),
            width=clip.width,
            height=clip.height,
            fps=clip.fps,
            frames=len(times),
            duration=duration,
            broken=clip.broken,
            frames_with_face=len(np.unique(np.concatenate([faces.frame_index for faces in people]))),
            audio=clip.audio,
            audio_reason=clip.audio_reason,
            missing=clip.missing,
            picture_note=clip.picture_note,
        )
        return Recognition(
            video,
            self.settings,
            self.label,
            found,
            envelope(first, duration),
            RowPredictions.joined(predictions).left_out(),
            times,
            first.clip.other_frames,
            first.clip.cuts,
        )

    def classify(self, faces: VideoFaces, rows: TimelineRows, advance: Advance = lambda done: None) -> RowPredictions:
        """Returns the predictions of rows, before the temperature is applied.

        Args:
            faces: of one person.
            rows: of the timeline.
            advance: receives the number of rows that are done.
        """
        with self._lock:
            return self._classifier.predict(faces, rows, advance)

    @contextmanager
    def _extracted(self, source: Path | FrameArray) -> Iterator[list[VideoFaces]]:
        """Extracts the faces of each person of a video into temporary files, which are deleted when the block ends."""
        name = str(next(self._numbers))
        try:
            with self._lock:
                if isinstance(source, FrameArray):
                    work = self._preparer(self.face_needs.settings).frames(name, source)
                else:
                    record = VideoRecord(name, str(source.absolute()), "")
                    work = self._preparer(self.face_needs.settings_for([source]))(record)
                run_to_end(work)
            yield faces_of_everybody(self._store, name)
        finally:
            self._store.discard(self._store.everybody(name))

    def _preparer(self, settings: FaceSettings) -> ClipPreparer:
        """Returns what extracts faces with these settings; its networks are loaded in the first call."""
        if settings not in self._preparers:
            self._preparers[settings] = make_preparer(
                settings, self._store.folder, self.device, everybody=self.face_needs.everybody
            )
        return self._preparers[settings]

    def _rows(self, faces: VideoFaces, path: Path) -> TimelineRows:
        """Divides a video into rows.

        Raises:
            UnreadableVideoError: it has nothing that the model uses, or would have too many rows.
        """
        clip, times = faces.clip.summary, faces.clip.times
        if clip.is_sound_alone:
            self._check_sound(clip, path)
        duration = clip.audio if clip.is_sound_alone else video_duration(times, clip.fps)
        return plan_rows(times, duration, self.settings.window, self.settings.hop)

    def _check_sound(self, clip: ClipSummary, path: Path) -> None:
        if not self._classifier.facts.uses_audio:
            raise UnreadableVideoError(
                f"{path}: found sound alone; expected a video, as the model reads "
                f"{', '.join(self._classifier.facts.inputs)}. Use the file with the video, or a model of audio."
            )
        if not clip.audio:
            raise UnreadableVideoError(
                f"{path}: {clip.audio_reason or 'it has no audio'}; expected a file in which something is heard."
            )

    def _parts(
        self, faces: VideoFaces, rows: TimelineRows, advance: Advance = lambda done: None
    ) -> Iterator[tuple[TimelineRows, RowPredictions]]:
        """Yields some rows with their predictions at a time."""
        total, done = len(rows.start), 0
        for part in rows.parts(PART):
            predictions = self.classify(faces, part, _share_of(advance, done, total))
            done += len(part.start)
            yield part, predictions

    def _timeline(
        self, people: Sequence[VideoFaces], number: int, rows: TimelineRows, predictions: RowPredictions
    ) -> Timeline:
        """Returns the rows of the person of that number, counted from 1."""
        confidence, faces = self.settings.confidence, people[number - 1]
        shares = [other_shares(people[0], rows), *(face_shares(each, rows) for each in people if each is not faces)]
        return Timeline(
            self.class_names,
            rows.start,
            rows.end,
            face_shares(faces, rows),
            faces.has_audio(rows),
            confidence.apply(predictions.probabilities),
            NO_FACE if faces.several else self.settings.missing_label,
            head_poses(faces, rows),
            confidence.threshold,
            number,
            np.any([each >= MIN_FACE_SHARE for each in shares], axis=0),
            cut=across_cuts(people[0], rows),
        )


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


def _share_of(advance: Advance, done: int, total: int) -> Advance:
    """Converts rows of a part, before which `done` others came, to the share of all rows."""
    return lambda rows: advance((done + rows) / total)
