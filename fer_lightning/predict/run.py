"""Predicts the expressions of videos over time and writes their tables, figures and annotated videos."""

import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import av
import torch

from data_modules.manifest import VideoRecord
from data_modules.prepare.pending import TIME_LIMIT, describe_once
from data_modules.store.clip_file import ClipSummary
from data_modules.store.clip_store import ClipStore
from data_modules.utils.background import Background
from data_modules.utils.files import atomic_file, atomic_write, writing_to
from data_modules.utils.messages import first_line
from data_modules.utils.pool import Failure, run_in_processes
from data_modules.utils.time_limit import call_with_time_limit, with_time_limit
from data_modules.video.reader import open_video
from data_modules.video.source import UnreadableVideoError
from fer_lightning.ensemble.trained import load_run
from fer_lightning.predict.annotated_video import MAX_SIDE, write_annotated
from fer_lightning.predict.faces import VideoFaces, faces_of_everybody
from fer_lightning.predict.overview import write_overview
from fer_lightning.predict.page import write_page
from fer_lightning.predict.preparer import make_preparer
from fer_lightning.predict.recogniser import Recogniser, select_device
from fer_lightning.predict.recognition import Recognition
from fer_lightning.predict.request import PredictionRequest
from fer_lightning.predict.shared_faces import FaceNeeds
from fer_lightning.predict.stages import Stages
from fer_lightning.predict.timeline_figure import timeline_png
from fer_lightning.predict.video_files import (
    CONTENT,
    ELAN,
    FRAMES,
    OVERVIEW,
    PAGE,
    PICTURE,
    SUBTITLES,
    TABLE,
    VIDEO,
    output_folder,
)
from fer_lightning.predict.video_result import VideoResult
from fer_lightning.predict.windows import check_audio_packages
from fer_lightning.zoo.entries import own_model
from fer_lightning.zoo.lookup import find_model


def predict(request: PredictionRequest) -> "Iterator[tuple[Path, VideoResult | Failure]]":
    """Writes the files of all videos; yields the result of each, or why it has none.

    Faces are extracted in separate processes: of the first video while the model is loaded, of the next one while the
    current one is classified. A file on which a decoder hangs or crashes yields a failure and does not stop the others.

    Raises:
        DetectorNotFoundError: the detector is not installed.
        ReaderNotFoundError: the reader of videos is not installed.
        FileNotFoundError: there is no checkpoint, or a member of an ensemble is missing.
        AudioLibraryNotFoundError: a package is missing that the model's audio needs.
        ValueError: the checkpoint cannot be used, the members of an ensemble do not fit together, or the risk that is
            asked for cannot be met.
    """
    run, options = own_model() if request.checkpoint is None else find_model(request.checkpoint), request.options
    device = select_device(options.device)
    models = load_run(run, weights=False).models
    for model in models:
        check_audio_packages(model)
    needs = FaceNeeds.of(models, options)

    def load() -> Recogniser:
        recogniser = Recogniser(run, options)
        print(recogniser.label.summary, flush=True)
        return recogniser

    yield from _predicted(request, needs, device, Background(load))


def predict_with(recogniser: Recogniser, request: PredictionRequest) -> "Iterator[tuple[Path, VideoResult | Failure]]":
    """Does the work of `predict` with a model that is loaded.

    Raises:
        DetectorNotFoundError: the detector is not installed.
        ReaderNotFoundError: the reader of videos is not installed.
    """
    return _predicted(request, recogniser.face_needs, recogniser.device, Background(lambda: recogniser))


def _predicted(
    request: PredictionRequest, needs: FaceNeeds, device: torch.device, loading: Background[Recogniser]
) -> "Iterator[tuple[Path, VideoResult | Failure]]":
    request.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=request.out, prefix=".faces-") as scratch:
        store = ClipStore(Path(scratch).absolute())
        settings = needs.settings_for(request.videos)
        make = partial(make_preparer, settings, store.folder, device, request.workers, needs.everybody, request.reader)
        records = [VideoRecord(str(number), str(path.absolute()), "") for number, path in enumerate(request.videos)]
        stages, ready = Stages(), describe_once()

        def watch(record: VideoRecord, share: float) -> None:
            loading.check()
            stages.update_faces(record, share)

        write: ResultWriter | None = None
        for record, result in run_in_processes(make, records, request.workers, TIME_LIMIT, watch, ready):
            path = request.videos[int(record.clip_id)]
            write = write or ResultWriter(request, loading.result(), store)
            if isinstance(result, Failure):
                yield path, Failure(result.reason.removeprefix("UnreadableVideoError: "))
                continue
            try:
                yield path, write(path, result, stages)
            except (UnreadableVideoError, TimeoutError) as error:
                yield path, Failure(str(error))
    if write and write.found:
        write_overview(request.out)


class ResultWriter:
    """Recognises the expressions of one video after another, whose faces are in a store, and writes the results.

    Args:
        request: the arguments of the call.
        recogniser: the model or the ensemble.
        store: holds the faces of the videos.
    """

    def __init__(self, request: PredictionRequest, recogniser: Recogniser, store: ClipStore) -> None:
        self._request, self._recogniser, self._store = request, recogniser, store
        self._taken: set[Path] = set()
        self.found = 0  # videos whose results were written

    def __call__(self, path: Path, summary: ClipSummary, stages: Stages) -> VideoResult:
        """Writes all files of a video whose faces have been extracted.

        An annotated video that cannot be written, as the disk of the video does not answer, or its sound does not go
        into that format, is left out with the reason.

        Raises:
            UnreadableVideoError: it is sound alone, and silent or of no use to the model.
            TimeoutError: the disk of the video does not answer.
        """
        begin = stages.finish_faces(path, summary.clip_id)
        people = faces_of_everybody(self._store, summary.clip_id)
        with stages.track(100, "recognising expressions, per cent") as advance:
            found = self._recogniser.recognise(path.resolve(), people, lambda share: advance(round(100 * share)))
        folder = output_folder(path, self._request.out, self._taken)
        (folder / VIDEO).unlink(missing_ok=True)  # an earlier one would not agree with the new tables
        (folder / FRAMES).unlink(missing_ok=True)
        found.save_csv(folder / TABLE)
        has_frames = self._request.frames and not summary.is_sound_alone
        if has_frames:
            found.save_csv(folder / FRAMES, "frames")
        found.save_json(folder / CONTENT)
        found.save_elan(folder / ELAN)
        found.save_webvtt(folder / SUBTITLES)
        atomic_write(folder / PICTURE, timeline_png(found, people[0], people[0].clip.times))
        recognised = time.perf_counter() - begin
        wanted, no_video = self._request.video and not summary.is_sound_alone, ""
        if wanted:
            try:
                self._annotate(path, folder / VIDEO, found, people, stages)
            except (UnreadableVideoError, av.error.FFmpegError, TimeoutError) as error:
                no_video = first_line(error)
        has_video = wanted and not no_video
        self._store.discard(self._store.everybody(summary.clip_id))
        tables = (TABLE, FRAMES) if has_frames else (TABLE,)
        files = (*tables, CONTENT, ELAN, SUBTITLES, PICTURE, *((VIDEO,) if has_video else ()))
        page = partial(write_page, found, folder / PAGE, files, VIDEO * has_video, f"../{OVERVIEW}")
        call_with_time_limit(page, TIME_LIMIT)  # it looks into the video
        self.found += 1
        files = (PAGE, *files)
        return VideoResult(found, folder, files, recognised, time.perf_counter() - begin, no_video)

    def _annotate(
        self, path: Path, target: Path, found: Recognition, people: Sequence[VideoFaces], stages: Stages
    ) -> None:
        """Writes the annotated video.

        Raises:
            UnreadableVideoError: the frames of the video cannot be read again.
            av.error.FFmpegError: it cannot be encoded.
            TimeoutError: its disk does not answer.
            NotWritableError: the disk of the results is full or read-only.
        """

        def frames(temporary: Path) -> Iterator[int]:
            small = open_video(path, max_side=MAX_SIDE)
            scale = small.width / found.video.width
            timelines = [(person.timeline, faces) for person, faces in zip(found.people, people, strict=True)]
            return write_annotated(small, timelines, scale, temporary, found.label)

        tracked = stages.track(found.video.frames, "writing video")
        with atomic_file(target) as temporary, writing_to(target.parent), tracked as advance:
            for index in with_time_limit(partial(frames, temporary), TIME_LIMIT):
                advance(index + 1)
