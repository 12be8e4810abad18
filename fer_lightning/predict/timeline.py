"""The rows of one video over time: the frames of each, and its prediction."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from data_modules.faces.head_pose import ANGLES
from data_modules.video.source import UnreadableVideoError
from fer_lightning.predict.settings import ANOTHER_PERSON, NO_FACE, TOO_FEW, UNSURE

MAX_ROWS = 500_000  # three days at two rows a second
MISSING, BELOW_THRESHOLD = -1, -2  # labels of rows without an expression: no input, or not enough confidence,
ANOTHER, ALONE = -3, -4  # or no input: somebody else is seen, but not this person; a face is, in too few frames
TOLERANCE = 1e-6  # seconds, for rounding errors in the times of frames


@dataclass(frozen=True, eq=False)
class TimelineRows:
    """K rows that follow each other without gaps, and the frames [first, stop) of each."""

    start: NDArray[np.float64]  # (K,) seconds
    end: NDArray[np.float64]  # (K,) seconds
    own_frames: NDArray[np.int64]  # (K, 2) frames between the row's start and end
    window_frames: NDArray[np.int64]  # (K, 2) frames of the window around the row, its own included
    window: NDArray[np.float64]  # (K, 2) start and end of that window in seconds

    def parts(self, size: int) -> "Iterator[TimelineRows]":
        """Yields the rows in parts of at most `size`."""
        for first in range(0, len(self.start), size):
            yield TimelineRows(*(getattr(self, each.name)[first : first + size] for each in fields(self)))


def video_duration(timestamps: NDArray[np.float64], fps: float) -> float:
    """Returns the seconds from the first frame to the end of the last one, which is shown for the median interval."""
    gaps = np.diff(timestamps)
    gaps = gaps[gaps > 0]
    return float(timestamps.max()) + (float(np.median(gaps)) if len(gaps) else 1 / fps)


def plan_rows(timestamps: NDArray[np.float64], duration: float, window: float, hop: float) -> TimelineRows:
    """Divides a video into rows of `hop` seconds; the last one lasts between 0.5 and 1.5 times as long.

    Args:
        timestamps: (T,) time at which each frame appears, in seconds after the first one.
        duration: of the video in seconds.
        window: seconds around a row's middle from which its expression is predicted, within the video.
        hop: seconds from row to row, at most `window`.

    Raises:
        UnreadableVideoError: the video would have more than `MAX_ROWS` rows.
    """
    if not duration / hop < MAX_ROWS:
        raise UnreadableVideoError(
            f"{len(timestamps)} frames over {duration:.0f} s, which makes more than {MAX_ROWS} rows; expected a video "
            "with plausible times: cut it, encode it again, or use a longer --hop"
        )
    times = np.maximum.accumulate(timestamps)  # times in damaged files may decrease
    start = np.arange(max(1, math.floor(duration / hop + 0.5)), dtype=np.float64) * np.float64(hop)
    end = np.append(start[1:], duration)
    middle = (start + end) / 2
    own = _frames_between(times, start, end)
    around = _frames_between(times, middle - window / 2, middle + window / 2)
    frames = np.stack([np.minimum(own[:, 0], around[:, 0]), np.maximum(own[:, 1], around[:, 1])], axis=1)
    first, last = np.maximum(middle - window / 2, 0), np.minimum(middle + window / 2, duration)
    seconds = np.stack([np.minimum(start, first), np.maximum(end, last)], axis=1)
    return TimelineRows(start, end, own, frames, seconds)


def _frames_between(
    times: NDArray[np.float64], start: NDArray[np.float64], end: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Returns, (K, 2), the frames [first, stop) that appear in [start, end), or the one still shown if none appears."""
    first = np.searchsorted(times, start - TOLERANCE)
    stop = np.searchsorted(times, end - TOLERANCE)
    stop = np.maximum(stop, 1)
    return np.stack([np.minimum(first, stop - 1), stop], axis=1)


@dataclass(frozen=True)
class Window:
    """A row of a timeline: what is seen and heard around it."""

    start: float  # seconds
    end: float  # seconds
    expression: str  # the most probable class, or why there is none, such as `no face`
    confidence: float | None  # the highest probability; None without a prediction
    probabilities: Mapping[str, float] | None  # of each class; None without a prediction
    face_share: float | None  # share of the row's own frames that have a face, 0 to 1; None for sound alone
    audio: bool  # whether there is audio in the window around the row
    head_pose: tuple[float | None, float | None, float | None]  # mean yaw, pitch and roll, degrees; None if unknown
    reason: str  # why there is no expression; empty where there is one
    person: int = 1  # number of the person, 1 for that of the main face
    cut: bool = False  # whether the window around the row has frames of two shots

    @property
    def time(self) -> float:
        """The middle of the row in seconds."""
        return (self.start + self.end) / 2


@dataclass(frozen=True)
class Stretch:
    """A time in which the expression stays the same."""

    start: float  # seconds
    end: float  # seconds
    expression: str  # or why there is none
    confidence: float | None  # mean over its rows; None without a prediction


@dataclass(frozen=True, eq=False)
class Timeline:
    """The K rows of one person of a video with their predictions."""

    class_names: tuple[str, ...]
    start: NDArray[np.float64]  # (K,) seconds
    end: NDArray[np.float64]  # (K,) seconds
    faces: NDArray[np.float64]  # (K,) share of the row's own frames that have a face, 0 to 1; NaN without frames
    audio: NDArray[np.bool_]  # (K,) whether there is audio in the row's window
    probabilities: NDArray[np.float64]  # (K, C); NaN in rows without an expression
    missing_label: str = NO_FACE  # of rows without an expression
    head_pose: NDArray[np.float64] | None = None  # (K, 3) mean over the row's window, degrees; NaN if unknown
    threshold: float = 0.0  # of confidence, below which a row is unsure
    person: int = 1  # number of the person, 1 for that of the main face
    others: NDArray[np.bool_] | None = None  # (K,) whether somebody else is seen; None if nobody else is known
    alone: NDArray[np.bool_] | None = None  # (K,) of frames: whether the face is seen, if too few around it have it
    cut: NDArray[np.bool_] | None = None  # (K,) whether the row's window has frames of two shots; None if not known

    @property
    def angles(self) -> list[list[float | None]]:
        """Yaw, pitch and roll of each row, rounded to two digits; None if unknown."""
        if self.head_pose is None:
            return [[None] * len(ANGLES) for _ in self.start]
        return [[None if math.isnan(angle) else round(angle, 2) for angle in row] for row in self.head_pose.tolist()]

    @property
    def time(self) -> NDArray[np.float64]:
        """The middle of each row, (K,), in seconds."""
        return (self.start + self.end) / 2

    @property
    def has_prediction(self) -> NDArray[np.bool_]:
        """Whether each row, (K,), has probabilities: an expression, or none that the model is sure of."""
        return np.asarray(np.isfinite(self.probabilities).all(axis=1), dtype=np.bool_)

    @property
    def label(self) -> NDArray[np.int64]:
        """The index, (K,), of each row's expression in the class list; a negative label for none."""
        best = np.nan_to_num(self.probabilities, nan=-1.0).argmax(axis=1)
        sure = np.nan_to_num(self.confidence) >= self.threshold
        missing = np.where(False if self.others is None else self.others, ANOTHER, MISSING)
        missing = np.where(False if self.alone is None else self.alone, ALONE, missing)
        return np.where(self.has_prediction, np.where(sure, best, BELOW_THRESHOLD), missing)

    @property
    def confidence(self) -> NDArray[np.float64]:
        """The highest probability, (K,), of each row; NaN for none."""
        return np.where(self.has_prediction, np.nan_to_num(self.probabilities, nan=-1.0).max(axis=1), np.nan)

    def name(self, label: int) -> str:
        """Returns the name of a class, or the label of rows without an expression."""
        none = {MISSING: self.missing_label, BELOW_THRESHOLD: UNSURE, ANOTHER: ANOTHER_PERSON, ALONE: TOO_FEW}
        return none.get(label) or self.class_names[label]

    @property
    def reasons(self) -> list[str]:
        """Why each row has no expression; empty where it has one."""
        return [
            f"confidence {confidence:.5f} is below {self.threshold:.5f}"
            if label == BELOW_THRESHOLD
            else self.name(label) * (label < 0)
            for label, confidence in zip(self.label.tolist(), self.confidence.tolist(), strict=True)
        ]

    @property
    def windows(self) -> tuple[Window, ...]:
        """The rows one by one."""
        cut = np.zeros(len(self.start), np.bool_) if self.cut is None else self.cut
        columns = (cut, self.start, self.end, self.label, self.confidence, self.probabilities, self.faces, self.audio)
        return tuple(
            Window(
                start,
                end,
                self.name(label),
                None if math.isnan(confidence) else confidence,
                None if math.isnan(confidence) else dict(zip(self.class_names, probabilities, strict=True)),
                None if math.isnan(faces) else faces,
                audio,
                (angles[0], angles[1], angles[2]),
                reason,
                self.person,
                is_cut,
            )
            for is_cut, start, end, label, confidence, probabilities, faces, audio, angles, reason in zip(
                *(column.tolist() for column in columns), self.angles, self.reasons, strict=True
            )
        )

    @property
    def stretches(self) -> tuple[Stretch, ...]:
        """Successive rows with the same label, joined."""
        label, confidence = self.label, self.confidence
        return tuple(
            Stretch(
                float(self.start[first]),
                float(self.end[stop - 1]),
                self.name(int(label[first])),
                None if math.isnan(confidence[first]) else float(confidence[first:stop].mean()),
            )
            for first, stop in stretches_of(label)
        )

    def row_at(self, seconds: float) -> int:
        """Returns the row that contains a moment."""
        return max(0, int(np.searchsorted(self.start, seconds + TOLERANCE, side="right")) - 1)

    def shares(self) -> list[tuple[str, float]]:
        """Returns the share of time of each expression that occurs, the largest first, time without expression last."""
        length, label = self.end - self.start, self.label
        shares = [(float(length[label == i].sum() / length.sum()), i) for i in set(label.tolist())]
        return [(self.name(i), share) for share, i in sorted(shares, key=lambda entry: (entry[1] < 0, -entry[0]))]


def stretches_of(values: NDArray[np.int64] | NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Returns [first, stop) of each stretch of equal values."""
    edges = np.flatnonzero(np.diff(values)) + 1
    return list(zip([0, *edges.tolist()], [*edges.tolist(), len(values)], strict=True))
