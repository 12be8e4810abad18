"""Extracts the main face of each frame of a clip, or everybody's, with landmarks, persons and annotations.

Whose face is the main one is known only after the detector has seen the whole clip, so the clip is read twice: once for
the detector, which sees every n-th frame, and once for the crops. Frames are not kept, so memory does not grow with the
length of a clip.
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
from data_modules.faces.lengthening import lengthen_faces
from data_modules.faces.main_face import MainFace, TrackedBox
from data_modules.faces.models import FaceModels
from data_modules.faces.other_faces import frames_of_others
from data_modules.faces.people import inner_colours, locate_main, locate_people
from data_modules.faces.persons import PersonFinder, PersonLocator
from data_modules.faces.settings import FaceSettings
from data_modules.faces.tracking import FaceTracker
from data_modules.store.clip_file import LANDMARKS, FaceFrame, Origin
from data_modules.utils.pool import run_to_end
from data_modules.video.shots import with_cuts
from data_modules.video.source import Frame, VideoSource

BATCH = 16  # frames in a batch of the detector
BATCH_PIXELS = 1 << 25  # of all frames in a batch, 100 MB; a larger frame is a batch alone
Item = TypeVar("Item")


@dataclass(frozen=True)
class ClipAnnotations:
    """Annotations of a clip: ground truth and a table of faces, if available."""

    clip_id: str = ""
    truth: FrameTruth | None = None
    table: FaceTable | None = None

    def check_length(self, source: VideoSource) -> None:
        """Checks that the ground truth, if there is any, has as many frames as the clip.

        Raises:
            ValueError: the numbers of frames differ.
        """
        if self.truth is not None and len(self.truth.visible) != source.num_frames:
            raise ValueError(
                f"{source.path}: {source.num_frames} frames, but ground truth of {len(self.truth.visible)}; create "
                "the data set again"
            )

    def require_truth(self, setting: str) -> FrameTruth:
        """Returns the ground truth, which a setting such as `detector` requires.

        Raises:
            ValueError: the clip has no ground truth.
        """
        return _required(self.truth, f"clip {self.clip_id!r} has no ground truth", f"{setting}: annotation")

    def require_table(self, setting: str) -> FaceTable:
        """Returns the table of faces, which a setting such as `detector` requires.

        Raises:
            ValueError: the clip has no table of faces.
        """
        return _required(self.table, f"clip {self.clip_id!r} has no table of faces", f"{setting}: table")


def _required(item: Item | None, missing: str, setting: str) -> Item:
    if item is None:
        raise ValueError(
            f"{missing}, so `{setting}` has nothing to read; use mtcnn, insightface or crop as detector, mesh or none "
            "as landmarks"
        )
    return item


@dataclass(frozen=True)
class FaceLocations:
    """Positions of one person's face, and of the person around it, in each frame of a clip."""

    faces: FaceLocator
    persons: PersonLocator | None = None
    others: NDArray[np.int64] | None = None  # (K,) frames with somebody who is not located; None if not known
    cuts: NDArray[np.int64] | None = None  # (S,) frames with which a shot begins; likewise


class FaceExtractor:
    """Extracts the main face of clips, or everybody's; its networks are loaded once for all clips.

    `extract` does all the work for the main face. To show progress, or for everybody, call its two parts, `locate` and
    `crop`.

    Args:
        settings: how faces are extracted.
        device: device that the networks run on; by default the fastest one available.
        threads: number of frames that a detector processes in parallel on a CPU.
        models: networks to use instead of those that the settings name.

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
        """Reads a clip twice and yields the main face of each frame that shows it.

        Raises:
            UnreadableVideoError: no frame can be decoded.
            ValueError: the settings require annotations that the clip does not have, or that do not match it.
        """
        annotations = annotations or ClipAnnotations()
        locations = run_to_end(self.locate(source, annotations))
        yield from (face for _, face in self.crop(source, locations, annotations))

    def locate(
        self, source: VideoSource, annotations: ClipAnnotations, everybody: bool = False, shots: bool = False
    ) -> Generator[float, None, list[FaceLocations]]:
        """Locates faces in each frame; yields the progress, from 0 to 0.5, and returns the locations of each person.

        Args:
            source: the clip.
            annotations: of the clip.
            everybody: locate everybody whom the detector finds, the person of the main face first, and find shot
                changes. Otherwise, or without a detector, there is one person.
            shots: find shot changes, at which tracking begins anew: who is seen after one is the person of the main
                face only where it is sure, see `people`. The clips of data sets are of one shot.

        Raises:
            UnreadableVideoError: no frame can be decoded.
            ValueError: the settings require annotations that the clip does not have, or that do not match it; or they
                lengthen clips, which is for those of one person.
        """
        annotations.check_length(source)
        settings, models = self.settings, self.models
        if everybody and settings.lengthen:
            raise ValueError(f"found lengthen: {settings.lengthen} with everybody's faces; expected 0")
        rule = settings.person_rule
        persons = (
            PersonFinder(rule, settings.every, settings.max_gap, settings.tracking) if models.persons and rule else None
        )
        known = None if models.faces else self._annotated(source, annotations)
        if known is not None and persons is None:
            return [FaceLocations(known)]
        shots |= everybody
        describe = inner_colours if shots and models.embedder is None else None
        max_gap = max(settings.max_gap, 3 * settings.every)
        tracker = FaceTracker(settings.tracking, models.embedder, describe, max_gap=max_gap)
        marked = (
            with_cuts(source.frames(), settings.every)
            if shots
            else ((*look, False) for look in source.frames(every=settings.every))
        )
        length = max(1, min(BATCH, BATCH_PIXELS // (source.width * source.height)))
        for batch in _batches(marked, length):
            frames = [frame for _, frame, _ in batch]
            if models.persons and persons is not None:
                for (index, frame, is_cut), detections in zip(batch, models.persons.detect(frames), strict=True):
                    if is_cut:
                        persons.begin_shot(index)
                    persons.add(index, detections, frame)
            if models.faces:
                for (index, frame, is_cut), detections in zip(batch, models.faces.detect(frames), strict=True):
                    if is_cut:
                        tracker.begin_shot(index)
                    tracker.update(index, detections, frame)
            yield _progress(batch[-1][0], source)
        size, found, others = (source.width, source.height), list[FaceLocator](), None
        if known is not None:
            found = [known]
        elif everybody:
            found += locate_people(tracker, size, settings.every, source.fps, settings.max_gap)
        else:
            locate_one = locate_main if shots else MainFace
            main = locate_one(tracker, size, settings.every, settings.max_gap)
            found = [main]
            others = frames_of_others(tracker, main, size, settings.every, source.fps, settings.max_gap)
        cuts = np.array(tracker.cuts, np.int64) if shots else None
        return [FaceLocations(faces, persons.located(faces) if persons else None, others, cuts) for faces in found]

    def _annotated(self, source: VideoSource, annotations: ClipAnnotations) -> FaceLocator:
        """Returns faces that are known without a detector."""
        if self.settings.detector == "crop":
            return WholeFrame(source.width, source.height)
        if self.settings.detector == "table":
            return annotations.require_table("detector")
        return AnnotatedFaces(annotations.require_truth("detector"), self.settings.jitter, annotations.clip_id)

    def crop(
        self, source: VideoSource, locations: Sequence[FaceLocations], annotations: ClipAnnotations
    ) -> Iterator[tuple[int, FaceFrame]]:
        """Yields the faces in each frame, each with the index of its person in `locations`; the clip is read once.

        Short clips of one person are lengthened as in the settings.

        Raises:
            UnreadableVideoError: no frame can be decoded.
            ValueError: the settings require annotations that the clip does not have.
        """
        faces = self._crop(source, locations, annotations)
        if len(locations) > 1:
            return faces
        return ((0, face) for face in lengthen_faces((face for _, face in faces), self.settings.lengthen))

    def _crop(
        self, source: VideoSource, locations: Sequence[FaceLocations], annotations: ClipAnnotations
    ) -> Iterator[tuple[int, FaceFrame]]:
        count = source.num_frames
        wanted = [i for i in range(count) if any(person.faces.at(i) is not None for person in locations)]
        for index, frame in source.frames(None if len(wanted) == count else wanted):
            for number, person in enumerate(locations):
                face = person.faces.at(index)
                if face is not None:
                    yield number, self._face(index, frame, face, person, annotations)

    def cut(self, index: int, frame: Frame, face: Detection) -> FaceFrame:
        """Cuts a face that was detected in one frame of a stream, which has no annotations; no person is looked for.

        Args:
            index: number of the frame.
            frame: (H, W, 3) RGB.
            face: in the frame.
        """
        return self._face(index, frame, face, None, ClipAnnotations())

    def _face(
        self, index: int, frame: Frame, face: Detection, person: FaceLocations | None, annotations: ClipAnnotations
    ) -> FaceFrame:
        faces, cut = person.faces if person else None, self._align(frame, face)
        points = self._landmarks(index, frame, face, annotations)
        return FaceFrame(
            index,
            cut.crop,
            face.box,
            face.score,
            None if points is None else transform_points(points, cut.matrix),
            None if annotations.truth is None else float(annotations.truth.intensity[index]),
            self._person(index, frame, face, person.persons if person else None, annotations),
            Origin.DETECTED if not isinstance(faces, TrackedBox) or faces.is_detected(index) else Origin.TRACKED,
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
        """Returns (68, 3) landmarks in pixels of the frame, NaN if not found, or None if the settings need none."""
        if self.settings.landmarks == "none":
            return None
        points: NDArray[np.float32] | None
        if self.models.landmarks:
            points = self.models.landmarks.find(frame, face)
        elif self.settings.landmarks == "table":
            points = annotations.require_table("landmarks").landmarks(index)
        else:
            points = annotations.require_truth("landmarks").landmarks[index]
        return np.full(LANDMARKS, np.nan, np.float32) if points is None else points

    def _person(
        self, index: int, frame: Frame, face: Detection, persons: PersonLocator | None, annotations: ClipAnnotations
    ) -> NDArray[np.uint8] | None:
        """Returns (S, S, 3): the square around the person, or the whole frame without one; None if not needed."""
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


def _progress(index: int, source: VideoSource) -> float:
    """Returns the progress of the first of two passes at a frame, up to 0.5; 0 while the length is unknown."""
    return min(0.5, 0.5 * (index + 1) / source.expected_frames) if source.expected_frames else 0.0
