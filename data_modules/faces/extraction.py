"""From a clip to its faces: where they are, how they are cut, and what else is known of each frame.

A detector needs to see the whole clip before the main face is known, so the clip is read twice: once for the detector,
with each `every`-th frame alone converted, once for the crops. Frames are never kept: memory does not grow with a clip.
"""

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from data_modules.faces.alignment import Aligned, align, box_matrix, resize, transform_points, warp
from data_modules.faces.detection import AnnotatedFaces, Detection, FaceLocator, WholeFrame
from data_modules.faces.face_table import FaceTable
from data_modules.faces.ground_truth import FrameTruth
from data_modules.faces.lengthening import lengthened
from data_modules.faces.main_face import MainFace
from data_modules.faces.models import FaceModels
from data_modules.faces.settings import FaceSettings
from data_modules.faces.tracking import FaceTracker, person_of
from data_modules.store.clip_file import LANDMARKS, FaceFrame, Origin
from data_modules.utils.pool import run_to_end
from data_modules.video.source import Frame, VideoSource

BATCH = 16  # frames a detector sees at once
Item = TypeVar("Item")


@dataclass(frozen=True)
class ClipAnnotations:
    """What is known of a clip before anybody looks at it."""

    clip_id: str = ""
    truth: FrameTruth | None = None
    table: FaceTable | None = None

    def check_length(self, source: VideoSource) -> None:
        """Compares the ground truth, where there is any, with the clip.

        Raises:
            ValueError: it is that of another number of frames.
        """
        if self.truth is not None and len(self.truth.visible) != source.num_frames:
            raise ValueError(
                f"{source.path}: {source.num_frames} frames, but ground truth of {len(self.truth.visible)}; make the "
                "data again"
            )

    def require_truth(self, setting: str) -> FrameTruth:
        """The ground truth that a setting, such as `detector`, asks for.

        Raises:
            ValueError: there is none.
        """
        return _required(self.truth, f"clip {self.clip_id!r} has no ground truth", f"{setting}: annotation")

    def require_table(self, setting: str) -> FaceTable:
        """The table of faces that a setting, such as `detector`, asks for.

        Raises:
            ValueError: there is none.
        """
        return _required(self.table, f"clip {self.clip_id!r} has no table of faces", f"{setting}: table")


def _required(item: Item | None, missing: str, setting: str) -> Item:
    if item is None:
        raise ValueError(
            f"{missing}, so `{setting}` has nothing to read; use mtcnn, insightface or crop as detector, mesh or none "
            "as landmarks"
        )
    return item


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
class FaceLocations:
    """Where the face, and the person around it, are in each frame of a clip."""

    faces: FaceLocator
    persons: PersonBoxes | None = None


class FaceExtractor:
    """Finds, cuts and describes the main face of clips; its networks are loaded once for all of them.

    `extract` is all of it. What has to show how far it is calls its two parts, `locate` and `crop`.

    Args:
        settings: how faces are made.
        device: where the networks run; the fastest device that there is by default.
        threads: frames that a detector looks at at a time, on a processor.
        models: in the place of the networks that the settings ask for.

    Raises:
        DetectorNotFoundError: a package or weights are missing.
    """

    def __init__(
        self,
        settings: FaceSettings,
        device: str | None = None,
        threads: int = 1,
        models: FaceModels | None = None,
    ) -> None:
        self.settings = settings
        self.models = models or FaceModels.from_settings(settings, device, threads)

    def extract(self, source: VideoSource, annotations: ClipAnnotations | None = None) -> Iterator[FaceFrame]:
        """Both passes over a clip: yields the main face of each frame that shows it.

        Raises:
            UnreadableVideoError: nothing decodes.
            ValueError: the settings ask for annotations that the clip does not have, or that do not fit it.
        """
        annotations = annotations or ClipAnnotations()
        yield from self.crop(source, run_to_end(self.locate(source, annotations)), annotations)

    def locate(self, source: VideoSource, annotations: ClipAnnotations) -> Generator[float, None, FaceLocations]:
        """Finds the face in each frame; yields how far it is, half of all the work being 0.5.

        Raises:
            UnreadableVideoError: nothing decodes.
            ValueError: the settings ask for annotations that the clip does not have, or that do not fit it.
        """
        annotations.check_length(source)
        settings, models = self.settings, self.models
        persons = PersonBoxes(settings.max_gap) if models.persons else None
        faces = None if models.faces else self._annotated(source, annotations)
        if faces is not None and persons is None:
            return FaceLocations(faces)
        tracker = FaceTracker(max_gap=max(settings.max_gap, 3 * settings.every))
        for batch in _batches(source.frames(every=settings.every), BATCH):
            frames = [frame for _, frame in batch]
            if models.persons and persons is not None:
                for (index, _), found in zip(batch, models.persons.detect(frames), strict=True):
                    persons.add(index, found)
            if models.faces:
                for (index, frame), found in zip(batch, models.faces.detect(frames), strict=True):
                    tracker.update(index, found, frame)
            yield _share(batch[-1][0], source)
        if faces is None:
            faces = MainFace(tracker, (source.width, source.height), settings.every, settings.max_gap)
        return FaceLocations(faces, persons)

    def _annotated(self, source: VideoSource, annotations: ClipAnnotations) -> FaceLocator:
        """Faces that nobody needs to look for."""
        if self.settings.detector == "crop":
            return WholeFrame(source.width, source.height)
        if self.settings.detector == "table":
            return annotations.require_table("detector")
        return AnnotatedFaces(annotations.require_truth("detector"), self.settings.jitter, annotations.clip_id)

    def crop(self, source: VideoSource, locations: FaceLocations, annotations: ClipAnnotations) -> Iterator[FaceFrame]:
        """Yields the main face of each frame that shows it; a short clip is lengthened if the settings say so.

        Raises:
            UnreadableVideoError: nothing decodes.
            ValueError: the settings ask for annotations that the clip does not have.
        """
        return lengthened(self._crop(source, locations, annotations), self.settings.lengthen)

    def _crop(self, source: VideoSource, locations: FaceLocations, annotations: ClipAnnotations) -> Iterator[FaceFrame]:
        faces = locations.faces
        wanted = [index for index in range(source.num_frames) if faces.at(index) is not None]
        for index, frame in source.frames(None if len(wanted) == source.num_frames else wanted):
            face = faces.at(index)
            assert face is not None
            cut = self._align(frame, face)
            points = self._landmarks(index, frame, face, annotations)
            yield FaceFrame(
                index,
                cut.crop,
                face.box,
                face.score,
                None if points is None else transform_points(points, cut.matrix),
                None if annotations.truth is None else float(annotations.truth.intensity[index]),
                self._person(index, frame, face, locations.persons, annotations),
                Origin.FOUND if not isinstance(faces, MainFace) or faces.is_detected(index) else Origin.BETWEEN,
                cut.matrix,
            )

    def _align(self, frame: Frame, face: Detection) -> Aligned:
        settings = self.settings
        if settings.detector == "crop":
            return resize(frame, settings.size)
        return align(frame, face.box, face.points, settings.size, settings.margin, settings.align)

    def _landmarks(
        self, index: int, frame: Frame, face: Detection, annotations: ClipAnnotations
    ) -> NDArray[np.float32] | None:
        """(68, 3) in pixels of the frame, NaN where none are found, or None where nobody asked for them."""
        if self.settings.landmarks == "none":
            return None
        found: NDArray[np.float32] | None
        if self.models.landmarks:
            found = self.models.landmarks.find(frame, face)
        elif self.settings.landmarks == "table":
            found = annotations.require_table("landmarks").landmarks(index)
        else:
            found = annotations.require_truth("landmarks").landmarks[index]
        return np.full(LANDMARKS, np.nan, np.float32) if found is None else found

    def _person(
        self, index: int, frame: Frame, face: Detection, persons: PersonBoxes | None, annotations: ClipAnnotations
    ) -> NDArray[np.uint8] | None:
        """(S, S, 3): the square around the person, the whole frame where nobody is found, or None if not asked for."""
        size = self.settings.size
        if self.settings.person == "none":
            return None
        box = None
        if self.settings.person == "annotation":
            box = annotations.require_truth("person").person_box[index]
        elif persons is not None:
            box = persons.at(index, face.box)
        if box is None:
            return resize(frame, size).crop
        return warp(frame, box_matrix(box, size, 0.0), size)


def _batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def _share(index: int, source: VideoSource) -> float:
    """How much is done when one of the two passes over a clip is at a frame; 0 where its length is not known yet."""
    return min(0.5, 0.5 * (index + 1) / source.expected_frames) if source.expected_frames else 0.0
