"""The expressions of one video over time: the frames of each row, its prediction, and the tables that are written."""

import json
import math
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from data_modules.faces.head_pose import ANGLES
from data_modules.utils.csv_tables import csv_bytes
from data_modules.video.source import UnreadableVideoError
from fer_lightning.evaluation.predictions import PREFIX
from fer_lightning.predict.settings import NO_FACE, UNSURE, PredictionSettings
from fer_lightning.predict.video_files import FORMAT

MAX_ROWS = 500_000  # three days at two rows a second
MISSING, BELOW_THRESHOLD = -1, -2  # labels of rows without an expression: no input, or not enough confidence
TOLERANCE = 1e-6  # seconds, for rounding errors in the times of frames


@dataclass(frozen=True, eq=False)
class TimelineRows:
    """K rows that follow each other without gaps, and the frames [first, stop) of each."""

    start: NDArray[np.float64]  # (K,) seconds
    end: NDArray[np.float64]  # (K,) seconds
    own_frames: NDArray[np.int64]  # (K, 2) frames between the row's start and end
    window_frames: NDArray[np.int64]  # (K, 2) frames of the window around the row, its own included
    window: NDArray[np.float64]  # (K, 2) start and end of that window in seconds


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


@dataclass(frozen=True, eq=False)
class Timeline:
    """The K rows of one video with their predictions."""

    class_names: tuple[str, ...]
    start: NDArray[np.float64]  # (K,) seconds
    end: NDArray[np.float64]  # (K,) seconds
    faces: NDArray[np.float64]  # (K,) share of the row's own frames that have a face, 0 to 1; NaN without frames
    audio: NDArray[np.bool_]  # (K,) whether there is audio in the row's window
    probabilities: NDArray[np.float64]  # (K, C); NaN in rows without an expression
    missing_label: str = NO_FACE  # of rows without an expression
    head_pose: NDArray[np.float64] | None = None  # (K, 3) mean over the row's window, degrees; NaN if unknown
    threshold: float = 0.0  # of confidence, below which a row is unsure

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
        """The index, (K,), of each row's expression in the class list; `MISSING` or `BELOW_THRESHOLD` for none."""
        best = np.nan_to_num(self.probabilities, nan=-1.0).argmax(axis=1)
        sure = np.nan_to_num(self.confidence) >= self.threshold
        return np.where(self.has_prediction, np.where(sure, best, BELOW_THRESHOLD), MISSING)

    @property
    def confidence(self) -> NDArray[np.float64]:
        """The highest probability, (K,), of each row; NaN for none."""
        return np.where(self.has_prediction, np.nan_to_num(self.probabilities, nan=-1.0).max(axis=1), np.nan)

    def name(self, label: int) -> str:
        """Returns the name of a class, or the label of rows without an expression."""
        return {MISSING: self.missing_label, BELOW_THRESHOLD: UNSURE}.get(label) or self.class_names[label]

    @property
    def reasons(self) -> list[str]:
        """Why each row has no expression; empty where it has one."""
        return [
            f"confidence {confidence:.5f} is below {self.threshold:.5f}"
            if label == BELOW_THRESHOLD
            else self.missing_label * (label == MISSING)
            for label, confidence in zip(self.label.tolist(), self.confidence.tolist(), strict=True)
        ]

    def row_at(self, seconds: float) -> int:
        """Returns the row that contains a moment."""
        return max(0, int(np.searchsorted(self.start, seconds + TOLERANCE, side="right")) - 1)

    def shares(self) -> list[tuple[str, float]]:
        """Returns the share of time of each expression that occurs, the largest first, time without expression last."""
        length, label = self.end - self.start, self.label
        shares = [(float(length[label == i].sum() / length.sum()), i) for i in set(label.tolist())]
        return [(self.name(i), share) for share, i in sorted(shares, key=lambda entry: (entry[1] < 0, -entry[0]))]


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
    frames_with_face: int
    audio: float  # seconds; 0 if there is no audio, or only silence
    audio_reason: str  # what is wrong with the audio track; empty if nothing is

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
class VideoExpressions:
    """The expressions of one video with everything that the tables record about them."""

    video: VideoFacts
    settings: PredictionSettings
    timeline: Timeline
    left_out: tuple[tuple[str, int], ...] = ()  # members of an ensemble, and the rows they did not contribute to

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

    def csv(self) -> bytes:
        """Returns the table with a line per row.

        `time`, `start` and `end` are seconds. `faces` is the share, from 0 to 1, of the row's frames that have a face,
        empty for sound alone; `audio` is 1 if there is audio in the row's window. `confidence` and probabilities are
        empty without a prediction, angles (degrees) if unknown. `reason` says why a row has no expression.
        """
        timeline, rows = self.timeline, list[list[object]]()
        probabilities = [f"{PREFIX}{name}" for name in timeline.class_names]
        names = [
            "time",
            "start",
            "end",
            "expression",
            "confidence",
            *probabilities,
            "faces",
            "audio",
            *ANGLES,
            "reason",
        ]
        columns = (timeline.time, timeline.start, timeline.end, timeline.label, timeline.confidence, timeline.faces)
        has_audio, angles, reasons = timeline.audio.astype(np.int64).tolist(), timeline.angles, timeline.reasons
        for row, values in enumerate(zip(*(column.tolist() for column in columns), strict=True)):
            time, start, end, label, confidence, faces = values
            numbers = [_digits(value) for value in (confidence, *timeline.probabilities[row].tolist(), faces)]
            times = (f"{second:.3f}" for second in (time, start, end))
            rows.append([*times, timeline.name(label), *numbers, has_audio[row], *angles[row], reasons[row]])
        return csv_bytes(names, rows)

    def json(self) -> bytes:
        """Returns the rows of the table with the video, the settings and a summary; missing values are null."""
        timeline = self.timeline
        rows = [
            {
                "time": round(time, 3),
                "start": round(start, 3),
                "end": round(end, 3),
                "expression": timeline.name(label),
                "confidence": None if label == MISSING else round(confidence, 5),
                "probabilities": None if label == MISSING else [round(value, 5) for value in probabilities],
                "faces": None if math.isnan(faces) else round(faces, 4),
                "audio": audio,
                **dict(zip(ANGLES, angles, strict=True)),
                "reason": reason or None,
            }
            for time, start, end, label, confidence, probabilities, faces, audio, angles, reason in zip(
                timeline.time.tolist(),
                timeline.start.tolist(),
                timeline.end.tolist(),
                timeline.label.tolist(),
                timeline.confidence.tolist(),
                timeline.probabilities.tolist(),
                timeline.faces.tolist(),
                timeline.audio.tolist(),
                timeline.angles,
                timeline.reasons,
                strict=True,
            )
        ]
        content = {
            "format": FORMAT,
            "video": asdict(self.video) | {"face_share": round(self.video.face_share, 4)},
            "settings": self.settings.to_dict(),
            "class_names": list(timeline.class_names),
            "summary": [{"expression": name, "share": round(share, 4)} for name, share in timeline.shares()],
            "left_out": [{"member": name, "rows": count} for name, count in self.left_out],
            "rows": rows,
        }
        return json.dumps(content, indent=1, allow_nan=False).encode()


def _digits(value: float) -> str:
    """Formats a share with five digits; NaN is empty."""
    return "" if math.isnan(value) else f"{value:.5f}"
