"""What is recognised in one video: its facts, the settings, and its expressions, faces and audio over time."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_modules.utils.text import printable_line
from fer_lightning.predict.settings import PredictionSettings
from fer_lightning.predict.timeline import Timeline, Window
from fer_lightning.report.model_label import ModelLabel


@dataclass(frozen=True)
class VideoFacts:
    """Properties of a video: its size, how many of its frames have a face, and how long its audio is."""

    path: str
    width: int  # 0, as the next three, for sound alone
    height: int
    fps: float
    frames: int
    duration: float  # seconds
    broken: int  # packets or images that cannot be decoded
    frames_with_face: int  # of anybody whose expressions are recognised
    audio: float  # seconds; 0 if there is no audio, or only silence
    audio_reason: str  # what is wrong with the audio track; empty if nothing is
    missing: float = 0.0  # seconds at its end that the file declares but does not have, as it was cut off
    picture_note: str = ""  # what is unusual about its pictures and left as it is, such as interlace

    @property
    def name(self) -> str:
        """The name of the file or folder, as it can be printed; `path` is exact."""
        return printable_line(Path(self.path).name)

    @property
    def is_sound_alone(self) -> bool:
        """Whether no picture was looked at."""
        return self.frames == 0

    @property
    def face_share(self) -> float:
        """The share of frames that have a face."""
        return self.frames_with_face / max(self.frames, 1)

    @property
    def face_text(self) -> str:
        """The same in words, such as `a face in 42 % of 1120 frames`."""
        if self.is_sound_alone:
            return "sound alone"
        if self.frames == 1:
            return f"{'a' if self.frames_with_face else 'no'} face in its only frame"
        if not self.frames_with_face:
            return f"no face in any of {self.frames} frames"
        return f"a face in {100 * self.face_share:.3g} % of {self.frames} frames"


@dataclass(frozen=True, eq=False)
class FaceTrack:
    """Where a face is in each of the M frames that show it."""

    time: NDArray[np.float64]  # (M,) seconds
    box: NDArray[np.float32]  # (M, 4) left, top, right and bottom in pixels of the video
    frame: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))  # (M,) numbers of the frames
    head_pose: NDArray[np.float32] | None = None  # (M, 3) yaw, pitch and roll in degrees; NaN if unknown


@dataclass(frozen=True, eq=False)
class Person:
    """Somebody in a video: their expressions over time, and where their face is."""

    timeline: Timeline
    track: FaceTrack

    @property
    def number(self) -> int:
        """The number of the person: 1 for that of the main face."""
        return self.timeline.person

    @property
    def expressions(self) -> tuple[Window, ...]:
        """The windows of the video one by one, each with this person's expression."""
        return self.timeline.windows


@dataclass(frozen=True, eq=False)
class VideoExpressions:
    """The expressions of one video, with what is needed to say where they come from and to draw them.

    Iterating over it gives its windows, those of each person after those of the one before.
    """

    video: VideoFacts
    settings: PredictionSettings
    label: ModelLabel
    people: tuple[Person, ...]  # that of the main face first, then the others if they are asked for
    sound: NDArray[np.float32]  # (N, 2) lowest and highest sample in N equal parts of the video; NaN without audio
    left_out: tuple[tuple[str, int], ...] = ()  # members of an ensemble, and the rows they did not contribute to
    times: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))  # (T,) of all frames, seconds
    others: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))  # frames with who has no rows
    cuts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))  # frames with which a shot begins

    @property
    def timeline(self) -> Timeline:
        """The expressions of the person of the main face."""
        return self.people[0].timeline

    @property
    def track(self) -> FaceTrack:
        """The main face."""
        return self.people[0].track

    def __len__(self) -> int:
        return len(self.timeline.start) * len(self.people)

    def __iter__(self) -> Iterator[Window]:
        return chain.from_iterable(person.expressions for person in self.people)

    @property
    def all_missing(self) -> str:
        """The label of rows without an expression; more explicit if no frame of the video has a face."""
        if (
            self.settings.model_facts.uses_faces
            and not self.settings.model_facts.uses_audio
            and not self.video.frames_with_face
        ):
            return self.video.face_text
        return self.timeline.missing_label
