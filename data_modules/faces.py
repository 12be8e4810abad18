"""From a clip to its aligned face crops, and from a data set to its store."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path

from data_modules.alignment import align, resize, transform_points
from data_modules.datasets.dataset import FaceSettings, VideoDataset, store_root
from data_modules.detection import AnnotatedFaces, FaceDetector, FacePlaces, WholeFrame, make_detector
from data_modules.manifest import VideoRecord, check_records
from data_modules.pool import Failure, run_in_processes
from data_modules.progress import progress
from data_modules.store import ClipStore, ClipSummary, FaceFrame, StoredClip
from data_modules.tracking import FaceTracker, MainFace
from data_modules.truth import FrameTruth
from data_modules.video import VideoSource, open_video

BATCH = 16  # frames a detector sees at once
SHOWN = 10  # clips without faces that are named in the terminal


def extract(
    source: VideoSource, detector: FaceDetector | FacePlaces, settings: FaceSettings, truth: FrameTruth | None = None
) -> Iterator[FaceFrame]:
    """Yields the main face of each frame that shows it.

    A detector needs to see the whole clip before the main face is known, so the clip is read twice: once for the
    detector, with each `settings.every`-th frame alone converted, once for the crops. Frames are never kept.

    Args:
        source: the clip.
        detector: finds the faces, or knows already where they are.
        settings: the crops' size and margin, and how often to look.
        truth: intensity and landmarks go along with the faces where they are known.

    Raises:
        UnreadableVideoError: nothing decodes.
        ValueError: clip and ground truth differ in length.
    """
    places = find_main_face(source, detector, settings.every) if isinstance(detector, FaceDetector) else detector
    if truth is not None and len(truth.visible) != source.num_frames:
        raise ValueError(
            f"{source.path}: {source.num_frames} frames, but ground truth of {len(truth.visible)}; make the data again"
        )
    wanted = [index for index in range(source.num_frames) if places.at(index) is not None]
    for index, frame in source.frames(None if len(wanted) == source.num_frames else wanted):
        face = places.at(index)
        assert face is not None
        if settings.detector == "crop":
            cut = resize(frame, settings.size)
        else:
            cut = align(frame, face.box, face.points, settings.size, settings.margin)
        yield FaceFrame(
            index,
            cut.crop,
            face.box,
            face.score,
            None if truth is None else transform_points(truth.landmarks[index], cut.matrix),
            None if truth is None else float(truth.intensity[index]),
        )


def find_main_face(source: VideoSource, detector: FaceDetector, every: int = 1) -> MainFace:
    """Looks for faces in each `every`-th frame and follows them; says where the main one is in all frames."""
    tracker = FaceTracker(max_gap=max(15, 3 * every))
    frames = source.frames(every=every)
    while batch := list(islice(frames, BATCH)):
        found = detector.detect([frame for _, frame in batch])
        for (index, _), faces in zip(batch, found, strict=True):
            tracker.update(index, faces)
    return MainFace(tracker, (source.width, source.height), every, max_gap=max(15, 3 * every))


def store_of(dataset: VideoDataset) -> ClipStore:
    """Where the data set's faces are: named after the set, its folder's name, and the settings.

    Two synthetic sets lie in folders of different names and share nothing; a set that moves keeps its faces.
    """
    folder = dataset.folder.resolve().name
    name = folder if folder.startswith(dataset.name) else f"{dataset.name}-{folder}"
    return ClipStore.of(store_root(), name, dataset.faces)


@dataclass(frozen=True)
class Outcome:
    """What became of one clip."""

    summary: ClipSummary
    broken: int = 0  # packets or images that do not decode


class ClipPreparer:
    """Makes one clip's file in the store; its detector is made once."""

    def __init__(self, folder: Path, settings: FaceSettings, store: Path) -> None:
        self._folder, self._settings, self._store = folder, settings, ClipStore(store)
        self._detector: FaceDetector | None = None
        if settings.detector in ("mtcnn", "insightface"):
            self._detector = make_detector(settings.detector)

    def __call__(self, record: VideoRecord) -> Outcome:
        """Reads the clip, writes its faces.

        Raises:
            UnreadableVideoError: its frames cannot be had.
            ValueError: its ground truth is missing or does not fit.
        """
        source = open_video(self._folder / record.path)
        truth = FrameTruth.load(self._folder / record.truth) if record.truth else None
        faces = extract(source, self._places(record, source, truth), self._settings, truth)
        first = next(faces, None)
        count = source.num_frames
        summary = ClipSummary(record.clip_id, count, 0, source.fps)
        if first is None:
            summary = replace(summary, reason=f"no face found in {count} frame{'s' * (count != 1)}")
        return Outcome(self._store.write(summary, chain([first] if first else [], faces)), source.broken)

    def _places(self, record: VideoRecord, source: VideoSource, truth: FrameTruth | None) -> FaceDetector | FacePlaces:
        if self._detector is not None:
            return self._detector
        if self._settings.detector == "crop":
            return WholeFrame(source.width, source.height)
        if truth is None:
            raise ValueError(
                f"clip {record.clip_id!r} has no ground truth, so `detector: annotation` has no boxes; use mtcnn, "
                "insightface, or crop"
            )
        return AnnotatedFaces(truth, self._settings.jitter, record.clip_id)


def prepare_faces(
    dataset: VideoDataset, workers: int, limit: int | None = None, time_limit: float = 600.0
) -> ClipStore:
    """Makes the faces of all clips of a data set; what is there already stays, so a killed run goes on where it was.

    A clip without a face and one that cannot be read stay in the index, with the reason. The latter is tried again when
    its file has changed since.

    Args:
        dataset: whose clips.
        workers: number of processes; 0 for none besides this one.
        limit: only the first so many clips.
        time_limit: seconds for one clip, after which it counts as unreadable.

    Raises:
        DetectorNotFoundError: the detector is not installed.
        DatasetNotFoundError: the data set is not there.
    """
    dataset.prepare()
    records, store = dataset.records()[:limit], store_of(dataset)
    check_records(records, dataset.name)
    done, index_time = store.read_index(), store.index_time()
    stored = store.clip_ids()
    todo: list[VideoRecord] = []
    for record in records:
        known = done.get(record.clip_id)
        if known is not None and known.reason.startswith("unreadable"):
            path = dataset.folder / record.path
            if path.exists() and path.stat().st_mtime > index_time:
                todo.append(record)
        elif record.clip_id not in stored:
            todo.append(record)
        elif known is None:  # a run was killed before it wrote the index
            done[record.clip_id] = StoredClip(store.path(record.clip_id)).summary
    if dataset.faces.detector == "annotation" and records and not any(record.truth for record in records):
        raise ValueError(
            f"{dataset.name} has no ground truth, so `detector: annotation` has no boxes; use another detector"
        )
    if todo or not done.keys() >= {record.clip_id for record in records} or not index_time:
        make = partial(ClipPreparer, dataset.folder.absolute(), dataset.faces, store.folder.absolute())
        broken = _work_through(make, todo, done, min(workers, len(todo)), time_limit, dataset.name)
        store.write_index(done[clip_id] for clip_id in sorted(done))
        for clip_id, count in broken.items():
            print(f"{dataset.name}: clip {clip_id!r} has {count} packets or images that do not decode")
        print(coverage([done[record.clip_id] for record in records], dataset.name))
    return store


def _work_through(
    make: partial[ClipPreparer],
    todo: Sequence[VideoRecord],
    done: dict[str, ClipSummary],
    workers: int,
    time_limit: float,
    name: str,
) -> dict[str, int]:
    """Prepares the clips, adds their summaries to `done`; returns how much of which clips is broken."""
    broken: dict[str, int] = {}
    with progress(f"{name}: faces", len(todo)) as reach:
        for number, (record, result) in enumerate(run_in_processes(make, todo, workers, time_limit), start=1):
            if isinstance(result, Failure):
                reason = " ".join(f"unreadable: {result.reason}".split())
                done[record.clip_id] = ClipSummary(record.clip_id, 0, 0, 0.0, reason)
            else:
                done[record.clip_id] = result.summary
                if result.broken:
                    broken[record.clip_id] = result.broken
            reach(number)
    return broken


def coverage(summaries: Sequence[ClipSummary], name: str) -> str:
    """How many clips have faces, in which share of their frames, and why the others have none."""
    there = [summary for summary in summaries if summary.num_faces]
    share = 100 * sum(summary.coverage for summary in there) / max(len(there), 1)
    lines = [f"{name}: {len(there)} of {len(summaries)} clips have faces, in {share:.1f} % of their frames on average"]
    without = [summary for summary in summaries if not summary.num_faces]
    lines += [f"  {summary.clip_id}: {summary.reason}" for summary in without[:SHOWN]]
    if len(without) > SHOWN:
        lines.append(f"  and {len(without) - SHOWN} more; all reasons stand in the store's index.csv")
    return "\n".join(lines)
