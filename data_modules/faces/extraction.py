"""From a clip to its faces: where they are, how they are cut, and what else is known of each frame.

A detector needs to see the whole clip before the main face is known, so the clip is read twice: once for the detector,
with each `every`-th frame alone converted, once for the crops. Frames are never kept: memory does not grow with a clip.
"""

from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from data_modules.faces.alignment import align, box_matrix, resize, transform_points, warp
from data_modules.faces.detection import AnnotatedFaces, Detection, FaceDetector, FacePlaces, WholeFrame
from data_modules.faces.face_table import FaceTable
from data_modules.faces.factory import make_detector, make_person_detector
from data_modules.faces.ground_truth import FrameTruth
from data_modules.faces.landmarks import LandmarkModel, make_landmarks
from data_modules.faces.main_face import MainFace
from data_modules.faces.settings import FaceSettings
from data_modules.faces.tracking import FaceTracker, person_of
from data_modules.store.clip_store import LANDMARKS, FaceFrame, Origin
from data_modules.utils.pool import run_to_end
from data_modules.video.interpolation import between, lengthen
from data_modules.video.source import Frame, VideoSource

BATCH = 16  # frames a detector sees at once
Item = TypeVar("Item")


@dataclass(frozen=True)
class Tools:
    """The networks that look at frames, made once a process; None for what the settings do not ask for."""

    faces: FaceDetector | None = None
    persons: FaceDetector | None = None
    landmarks: LandmarkModel | None = None

    @property
    def description(self) -> str:
        """Which networks run where."""
        parts = {"faces": self.faces, "persons": self.persons, "landmarks": self.landmarks}
        return ", ".join(f"{what}: {part.name} on {part.device}" for what, part in parts.items() if part)

    @classmethod
    def of(cls, settings: FaceSettings, device: str | None = None, threads: int = 1) -> "Tools":
        """What the settings ask for, on `device` or on the fastest that there is.

        Raises:
            DetectorNotFoundError: a package or weights are missing.
        """
        detector: FaceDetector | None = None
        if settings.detector in ("mtcnn", "insightface"):
            detector = make_detector(settings.detector, device)
            # onnxruntime shares its work among the cores by itself
            if threads > 1 and settings.detector == "mtcnn" and detector.device == "cpu":
                detector = ParallelDetector(detector, threads)
        return cls(
            detector,
            make_person_detector("insightface", device) if settings.person == "insightface" else None,
            make_landmarks(settings.landmarks, device) if settings.landmarks in ("mesh", "insightface") else None,
        )


class ParallelDetector:
    """A detector on several frames at a time, each on one core: its networks are too small to share among cores.

    Args:
        detector: can be called from several threads.
        threads: how many.
    """

    def __init__(self, detector: FaceDetector, threads: int) -> None:
        self.name, self.device = detector.name, detector.device
        self._detector, self._threads = detector, threads
        self._pool = ThreadPoolExecutor(threads, initializer=_single_threaded)

    def detect(self, frames: Sequence[Frame]) -> list[list[Detection]]:
        """See `FaceDetector.detect`."""
        share = max(1, -(-len(frames) // self._threads))
        parts = [frames[i : i + share] for i in range(0, len(frames), share)]
        return list(chain.from_iterable(self._pool.map(self._detector.detect, parts)))


def _single_threaded() -> None:
    import torch

    torch.set_num_threads(1)


@dataclass(frozen=True)
class Known:
    """What is known of a clip before anybody looks at it."""

    clip_id: str = ""
    truth: FrameTruth | None = None
    table: FaceTable | None = None


class PersonBoxes:
    """The persons of each look, and where the one around a face is."""

    def __init__(self, max_gap: int) -> None:
        self._looks: list[int] = []
        self._boxes: list[NDArray[np.float32]] = []  # (P, 4) of each look
        self._max_gap = max_gap

    def add(self, index: int, persons: Sequence[Detection]) -> None:
        """Adds what a look at frame `index` found."""
        self._looks.append(index)
        self._boxes.append(np.array([person.box for person in persons], dtype=np.float32).reshape(-1, 4))

    def at(self, index: int, face: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """(4,) the box of the person around a face in frame `index`, from the nearest look; None where nobody is."""
        nearest = min(
            range(max(0, (place := int(np.searchsorted(self._looks, index))) - 1), min(place + 1, len(self._looks))),
            key=lambda look: abs(self._looks[look] - index),
            default=None,
        )
        if nearest is None or abs(self._looks[nearest] - index) > self._max_gap:
            return None
        return person_of(face, list(self._boxes[nearest]))


@dataclass(frozen=True)
class Places:
    """Where the face, and the person around it, are in each frame of a clip."""

    faces: FacePlaces
    persons: PersonBoxes | None = None


def find_places(
    source: VideoSource, settings: FaceSettings, tools: Tools, known: Known
) -> Generator[float, None, Places]:
    """Finds the face in each frame; yields how far it is, half of all the work being 0.5.

    Raises:
        UnreadableVideoError: nothing decodes.
        ValueError: the settings ask for annotations that the clip does not have, or that do not fit it.
    """
    truth = known.truth
    if truth is not None and len(truth.visible) != source.num_frames:
        raise ValueError(
            f"{source.path}: {source.num_frames} frames, but ground truth of {len(truth.visible)}; make the data again"
        )
    persons = PersonBoxes(settings.max_gap) if tools.persons else None
    faces = None if tools.faces else _known_places(source, settings, known)
    if faces is not None and persons is None:
        return Places(faces)
    tracker = FaceTracker(max_gap=max(settings.max_gap, 3 * settings.every))
    for batch in _batches(source.frames(every=settings.every), BATCH):
        frames = [frame for _, frame in batch]
        if tools.persons and persons is not None:
            for (index, _), found in zip(batch, tools.persons.detect(frames), strict=True):
                persons.add(index, found)
        if tools.faces:
            for (index, frame), found in zip(batch, tools.faces.detect(frames), strict=True):
                tracker.update(index, found, frame)
        yield _share(batch[-1][0], source)
    if faces is None:
        faces = MainFace(tracker, (source.width, source.height), settings.every, settings.max_gap)
    return Places(faces, persons)


def _known_places(source: VideoSource, settings: FaceSettings, known: Known) -> FacePlaces:
    """Faces that nobody needs to look for."""
    if settings.detector == "crop":
        return WholeFrame(source.width, source.height)
    if settings.detector == "table":
        return _given(known.table, known.clip_id, "detector: table")
    return AnnotatedFaces(_given(known.truth, known.clip_id, "detector: annotation"), settings.jitter, known.clip_id)


def _given(item: Item | None, clip_id: str, setting: str) -> Item:
    if item is None:
        kind = setting.split()[-1]
        raise ValueError(
            f"clip {clip_id!r} has no {'ground truth' if kind == 'annotation' else 'table of faces'}, so `{setting}` "
            "has nothing to read; use mtcnn, insightface or crop as detector, mesh or none as landmarks"
        )
    return item


def cut_faces(
    source: VideoSource, places: Places, settings: FaceSettings, tools: Tools, known: Known
) -> Iterator[FaceFrame]:
    """Yields the main face of each frame that shows it.

    Raises:
        UnreadableVideoError: nothing decodes.
        ValueError: the settings ask for annotations that the clip does not have.
    """
    faces = places.faces
    wanted = [index for index in range(source.num_frames) if faces.at(index) is not None]
    for index, frame in source.frames(None if len(wanted) == source.num_frames else wanted):
        face = faces.at(index)
        assert face is not None
        cut = (
            resize(frame, settings.size)
            if settings.detector == "crop"
            else align(frame, face.box, face.points, settings.size, settings.margin, settings.align)
        )
        points = _landmarks(index, frame, face, settings, tools, known)
        yield FaceFrame(
            index,
            cut.crop,
            face.box,
            face.score,
            None if points is None else transform_points(points, cut.matrix),
            None if known.truth is None else float(known.truth.intensity[index]),
            _person(index, frame, face, places, settings, known),
            Origin.FOUND if not isinstance(faces, MainFace) or faces.is_detected(index) else Origin.BETWEEN,
            cut.matrix,
        )


def _landmarks(
    index: int, frame: Frame, face: Detection, settings: FaceSettings, tools: Tools, known: Known
) -> NDArray[np.float32] | None:
    """(68, 3) in pixels of the frame, NaN where none are found, or None where nobody asked for them."""
    if settings.landmarks == "none":
        return None
    found: NDArray[np.float32] | None
    if tools.landmarks:
        found = tools.landmarks.find(frame, face)
    elif settings.landmarks == "table":
        found = _given(known.table, known.clip_id, "landmarks: table").landmarks(index)
    else:
        found = _given(known.truth, known.clip_id, "landmarks: annotation").landmarks[index]
    return np.full(LANDMARKS, np.nan, np.float32) if found is None else found


def _person(
    index: int, frame: Frame, face: Detection, places: Places, settings: FaceSettings, known: Known
) -> NDArray[np.uint8] | None:
    """(S, S, 3): the square around the person, the whole frame where nobody is found, or None if not asked for."""
    if settings.person == "none":
        return None
    box = None
    if settings.person == "annotation":
        box = _given(known.truth, known.clip_id, "person: annotation").person_box[index]
    elif places.persons is not None:
        box = places.persons.at(index, face.box)
    if box is None:
        return resize(frame, settings.size).crop
    return warp(frame, box_matrix(box, settings.size, 0.0), settings.size)


def extract(
    source: VideoSource, settings: FaceSettings, tools: Tools | None = None, known: Known | None = None
) -> Iterator[FaceFrame]:
    """Both passes over a clip: yields the main face of each frame that shows it.

    Raises:
        DetectorNotFoundError: a package or weights are missing.
        UnreadableVideoError: nothing decodes.
        ValueError: the settings ask for annotations that the clip does not have, or that do not fit it.
    """
    tools, known = tools or Tools.of(settings), known or Known()
    places = run_to_end(find_places(source, settings, tools, known))
    yield from lengthened(cut_faces(source, places, settings, tools, known), settings.lengthen)


def lengthened(faces: Iterator[FaceFrame], length: int) -> Iterator[FaceFrame]:
    """Faces of a clip with fewer than `length` of them brought to so many by optical flow; other clips as they are."""
    first = list(islice(faces, length))
    if not 0 < len(first) < length:
        yield from chain(first, faces)
        return
    longer = lengthen([face.crop for face in first], length)
    persons = None if first[0].person is None else lengthen([f.person for f in first if f.person is not None], length)
    made = longer.made | (np.diff(longer.position, prepend=-1.0) == 0)  # a single frame is repeated
    for i, position in enumerate(longer.position):
        nearest = first[round(float(position))]
        if not made[i]:
            yield nearest
            continue
        low, high, share = first[int(position)], first[min(int(position) + 1, len(first) - 1)], position % 1
        yield replace(
            nearest,
            crop=longer.crops[i],
            box=between(low.box, high.box, share),
            score=float(between(low.score, high.score, share)),
            landmarks=between(low.landmarks, high.landmarks, share),
            intensity=between(low.intensity, high.intensity, share),
            person=None if persons is None else persons.crops[i],
            origin=Origin.MADE,
            matrix=between(low.matrix, high.matrix, share),
        )


def _batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def _share(index: int, source: VideoSource) -> float:
    """How much is done when one of the two passes over a clip is at a frame; 0 where its length is not known yet."""
    return min(0.5, 0.5 * (index + 1) / source.expected_frames) if source.expected_frames else 0.0
