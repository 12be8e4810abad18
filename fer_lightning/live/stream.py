"""Recognises expressions in frames that come one after another, each from what was seen until then.

A video is looked at twice and from both sides of each moment (`predict`); a stream cannot be. So the main face is that
which has had the most votes among the faces of the last second, and a model of several frames judges the last ones.
"""

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_modules.faces.detection import Detection
from data_modules.faces.extraction import FaceExtractor
from data_modules.faces.main_face import candidates
from data_modules.faces.tracking import FaceTracker
from data_modules.store.clip_file import FaceFrame
from data_modules.video.source import Frame
from fer_lightning.live.recent_faces import RecentFaces
from fer_lightning.predict.faces import VideoFaces
from fer_lightning.predict.recogniser import Recogniser
from fer_lightning.predict.settings import NO_FACE
from fer_lightning.predict.timeline import Timeline, TimelineRows
from fer_lightning.predict.windows import MIN_FACE_SHARE

RATE = 25  # the tracker's limits are of frames of such videos
NOBODY = -1  # track of the main face before anybody was seen
FURTHEST = 8  # frames that successive pictures are apart at most, so that a slow machine loses nobody
THREADS = 2  # with which a detector works, each on its own

Box = NDArray[np.float32]
"""(4,): left, top, right, bottom in pixels of the frame."""


@dataclass(frozen=True, eq=False)
class SeenFace:
    """What is recognised of one person in one frame of a stream."""

    box: Box | None = None  # None if the face is not seen
    person: int = 0  # number of the person in the order in which they came, counted from 1; 0 if nobody is known
    label: int | None = None  # index of the class, or a negative label of `predict.timeline`; None if nobody judged it
    probabilities: tuple[float, ...] | None = None  # of each class; None without an expression


@dataclass(frozen=True, eq=False)
class Moment:
    """What is recognised in one frame of a stream."""

    seconds: float
    size: tuple[int, int]  # (width, height) of the frame
    main: SeenFace
    others: tuple[SeenFace, ...]  # other faces


def make_extractor(recogniser: Recogniser) -> FaceExtractor:
    """Loads the networks that find faces for a model, once for all streams.

    Raises:
        DetectorNotFoundError: the detector is not installed.
        ValueError: the model needs what a stream of pictures does not have.
    """
    facts, settings = recogniser.settings.model_facts, recogniser.face_needs.settings
    if not facts.uses_faces:
        raise ValueError(f"{facts.checkpoint}: a model of sound; expected one of faces, as nothing is listened to")
    if settings.person_rule is not None:
        raise ValueError(
            f"{facts.checkpoint}: {facts.model} sees the whole person, who is found in a video as a whole only; use "
            "`fer predict`, or a model of faces"
        )
    device = "cuda" if recogniser.device.type == "cuda" else "cpu"
    return FaceExtractor(settings, device, THREADS)


class ExpressionStream:
    """Recognises the expressions of the main face, or of everybody, in frame after frame; memory does not grow.

    A model of single images judges each frame, one of several frames the last `window` seconds, each `hop` seconds. The
    probabilities of a moment are the mean of the judgements of the last `hop` seconds, if at least half of these have a
    face; so a blink of the detector does not show, and neither does a single odd frame. Who is not seen for a second is
    somebody new afterwards.

    Args:
        recogniser: the model; its options say whose expressions are recognised.
        extractor: of `make_extractor`.
    """

    def __init__(self, recogniser: Recogniser, extractor: FaceExtractor) -> None:
        self._recogniser, self._extractor = recogniser, extractor
        self._tracker = FaceTracker(extractor.settings.tracking, extractor.models.embedder, max_gap=RATE, record=False)
        self._seen = 0.0  # time of the last picture
        self._people: dict[int, _Person] = {}  # whose expressions are recognised, by the number of their track
        self._known = 0  # people until now

    def see(self, frame: Frame, seconds: float) -> Moment:
        """Returns what is recognised in the next frame.

        Args:
            frame: (H, W, 3) RGB.
            seconds: its time, which is later than that of the frame before.
        """
        passed = round((seconds - self._seen) * RATE)
        index, self._seen = self._tracker.last_look + min(max(passed, 1), FURTHEST), seconds
        assert self._extractor.models.faces is not None  # the options name a detector
        (found,) = self._extractor.models.faces.detect([frame])
        faces = dict(zip(self._tracker.update(index, found, frame), found, strict=True))
        size = (frame.shape[1], frame.shape[0])
        # a single detection may be an error, but is better than nobody
        best = candidates(self._tracker, size) or sorted(self._tracker.tracks, key=lambda each: -each.mean_area)
        tracks = [each.number for each in best] or [NOBODY]
        main = tracks[0]
        self._watch(tracks if self._recogniser.options.people == "all" else [main])
        for track, person in self._people.items():
            person.remember(frame, seconds, faces.get(track))
        alone = not (faces.keys() - {main})
        others = tuple(self._seen_face(track, seconds, face) for track, face in faces.items() if track != main)
        return Moment(seconds, size, self._people[main].at(seconds, faces.get(main), alone), others)

    def _watch(self, tracks: list[int]) -> None:
        """Keeps the people of these tracks, and takes up who is new among them; all others are forgotten."""
        for track in tracks:
            if track not in self._people:
                self._known += track != NOBODY
                number = 0 if track == NOBODY else self._known
                self._people[track] = _Person(number, self._recogniser, self._extractor)
        self._people = {track: self._people[track] for track in tracks}

    def _seen_face(self, track: int, seconds: float, face: Detection) -> SeenFace:
        return self._people[track].at(seconds, face) if track in self._people else SeenFace(face.box)


class _Person:
    """The last seconds of somebody in a stream, and how they were judged.

    Args:
        number: of the person.
        recogniser: the model.
        extractor: cuts the faces.
    """

    def __init__(self, number: int, recogniser: Recogniser, extractor: FaceExtractor) -> None:
        self._number, self._recogniser, self._extractor = number, recogniser, extractor
        self._recent = deque[tuple[float, FaceFrame | None]]()
        self._judged = deque[tuple[float, NDArray[np.float64]]]()
        settings = recogniser.settings
        self._reach = 0.0 if recogniser.sees_single_frame else settings.window
        self._step = 0.0 if recogniser.sees_single_frame else settings.hop

    def remember(self, frame: Frame, seconds: float, found: Detection | None) -> None:
        """Adds a frame to those of the last seconds, and has these judged if it is time."""
        face = None if found is None else self._extractor.cut(len(self._recent), frame, found)
        self._recent.append((seconds, face))
        while self._recent[0][0] < seconds - self._reach:
            self._recent.popleft()
        if not self._judged or seconds - self._judged[-1][0] >= self._step:
            self._judged.append((seconds, self._judgement()))
        while self._judged[0][0] < seconds - self._recogniser.settings.hop:
            self._judged.popleft()

    def _judgement(self) -> NDArray[np.float64]:
        """Returns, (C,), the probabilities of the last frames; NaN if fewer than half of them have the face."""
        faces = RecentFaces(self._recent)
        frames, seconds = np.array([[0, len(faces.times)]]), faces.times[[0, -1]]
        rows = TimelineRows(seconds[:1], seconds[1:], frames, frames, seconds[None])
        probabilities = self._recogniser.classify(VideoFaces(faces), rows).probabilities
        return np.asarray(self._recogniser.settings.confidence.apply(probabilities)[0])

    def at(self, seconds: float, found: Detection | None, alone: bool = True) -> SeenFace:
        """Returns what is recognised now.

        Args:
            seconds: the time.
            found: the face, if it is seen.
            alone: whether no other face is seen.
        """
        recogniser, judged = self._recogniser, np.stack([each for _, each in self._judged])  # (N, C)
        known = np.isfinite(judged).all(axis=1)
        enough = known.mean() >= MIN_FACE_SHARE
        mean = judged[known].mean(axis=0) if enough else np.full(len(recogniser.class_names), np.nan)
        now = np.array([seconds])
        row = Timeline(
            recogniser.class_names,
            now,
            now,
            np.array([found is not None], np.float64),
            np.zeros(1, np.bool_),
            mean[None],
            NO_FACE,
            threshold=recogniser.settings.confidence.threshold,
            others=np.array([found is None and not alone]),
        )
        probabilities = tuple(mean.tolist()) if enough else None
        return SeenFace(None if found is None else found.box, self._number, int(row.label[0]), probabilities)
