"""Expressions over time of one video: which frames each row speaks for, what the model made of them, and the tables."""

import json
import math
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from data_modules.faces.head_pose import ANGLES
from data_modules.utils.csv_tables import csv_bytes
from data_modules.video.source import UnreadableVideoError
from fer_lightning.evaluation.predictions import PREFIX
from fer_lightning.predict.settings import NO_FACE, PredictionSettings

FORMAT = "fer_lightning expressions 1"
MAX_ROWS = 500_000  # three days at two rows a second
TOLERANCE = 1e-6  # seconds; times of frames are sums of fractions


@dataclass(frozen=True, eq=False)
class Rows:
    """K rows that follow each other without gaps, and the frames [first, stop) that belong to each."""

    start: NDArray[np.float64]  # (K,) seconds
    end: NDArray[np.float64]  # (K,) seconds
    own: NDArray[np.int64]  # (K, 2) frames that the row speaks for
    seen: NDArray[np.int64]  # (K, 2) frames of the window around it, its own among them
    window: NDArray[np.float64]  # (K, 2) seconds, where that window begins and ends

    @property
    def time(self) -> NDArray[np.float64]:
        """(K,) the middle of each row in seconds."""
        return (self.start + self.end) / 2


def video_duration(timestamps: NDArray[np.float64], fps: float) -> float:
    """Seconds from the first frame to the end of the last one, which stays for as long as frames usually do."""
    gaps = np.diff(timestamps)
    gaps = gaps[gaps > 0]
    return float(timestamps.max()) + (float(np.median(gaps)) if len(gaps) else 1 / fps)


def lay_rows(timestamps: NDArray[np.float64], duration: float, window: float, hop: float) -> Rows:
    """A row every `hop` seconds over the whole video; the last one is between a half and one and a half of that.

    Args:
        timestamps: (T,) when each frame appears, in seconds from the first one on.
        duration: of the video in seconds.
        window: seconds around a row's middle that its expression is taken from, as far as there is video.
        hop: seconds from row to row, at most `window`.

    Raises:
        UnreadableVideoError: so long that there would be more than `MAX_ROWS` rows.
    """
    if not duration / hop < MAX_ROWS:
        raise UnreadableVideoError(
            f"{len(timestamps)} frames over {duration:.0f} s, which makes more than {MAX_ROWS} rows; expected a video "
            "with sensible times: cut it, encode it again, or use a longer --hop"
        )
    times = np.maximum.accumulate(timestamps)  # damaged files go back in time
    start = np.arange(max(1, math.floor(duration / hop + 0.5)), dtype=np.float64) * np.float64(hop)
    end = np.append(start[1:], duration)
    middle = (start + end) / 2
    own = _frames_between(times, start, end)
    around = _frames_between(times, middle - window / 2, middle + window / 2)
    seen = np.stack([np.minimum(own[:, 0], around[:, 0]), np.maximum(own[:, 1], around[:, 1])], axis=1)
    first, last = np.maximum(middle - window / 2, 0), np.minimum(middle + window / 2, duration)
    seconds = np.stack([np.minimum(start, first), np.maximum(end, last)], axis=1)
    return Rows(start, end, own, seen, seconds)


def _frames_between(
    times: NDArray[np.float64], start: NDArray[np.float64], end: NDArray[np.float64]
) -> NDArray[np.int64]:
    """(K, 2): the frames [first, stop) that appear in [start, end), or the one still on show where none does."""
    first = np.searchsorted(times, start - TOLERANCE)
    stop = np.searchsorted(times, end - TOLERANCE)
    stop = np.maximum(stop, 1)
    return np.stack([np.minimum(first, stop - 1), stop], axis=1)


@dataclass(frozen=True, eq=False)
class Timeline:
    """K rows of one video."""

    class_names: tuple[str, ...]
    start: NDArray[np.float64]  # (K,) seconds
    end: NDArray[np.float64]  # (K,) seconds
    faces: NDArray[np.float64]  # (K,) share of the row's frames with a face
    audio: NDArray[np.bool_]  # (K,) whether there is any in the row's window
    probabilities: NDArray[np.float64]  # (K, C); rows of NaN without an expression
    missing: str = NO_FACE  # what is said of rows without an expression
    head_pose: NDArray[np.float64] | None = None  # (K, 3) mean over the row's window, degrees; NaN where not known

    @property
    def angles(self) -> list[list[float | None]]:
        """Yaw, pitch and roll of each row, as tables have them: with two digits, None where not known."""
        if self.head_pose is None:
            return [[None] * len(ANGLES) for _ in self.start]
        return [[None if math.isnan(angle) else round(angle, 2) for angle in row] for row in self.head_pose.tolist()]

    @property
    def time(self) -> NDArray[np.float64]:
        """(K,) the middle of each row in seconds."""
        return (self.start + self.end) / 2

    @property
    def answered(self) -> NDArray[np.bool_]:
        """(K,) whether the row has an expression."""
        return np.asarray(np.isfinite(self.probabilities).all(axis=1), dtype=np.bool_)

    @property
    def label(self) -> NDArray[np.int64]:
        """(K,) place of each row's expression in the class list, -1 for none."""
        best = np.nan_to_num(self.probabilities, nan=-1.0).argmax(axis=1)
        return np.where(self.answered, best, -1)

    @property
    def confidence(self) -> NDArray[np.float64]:
        """(K,) the expression's probability, NaN for none."""
        return np.where(self.answered, np.nan_to_num(self.probabilities, nan=-1.0).max(axis=1), np.nan)

    def name(self, label: int) -> str:
        """The class of that label, or what is missing."""
        return self.class_names[label] if label >= 0 else self.missing

    def row_at(self, seconds: float) -> int:
        """The row that speaks for a moment."""
        return max(0, int(np.searchsorted(self.start, seconds + TOLERANCE, side="right")) - 1)

    def shares(self) -> list[tuple[str, float]]:
        """Each expression that occurs with its share of the video's time, the largest first, what is missing last."""
        length, label = self.end - self.start, self.label
        shares = [(float(length[label == i].sum() / length.sum()), i) for i in set(label.tolist())]
        return [(self.name(i), share) for share, i in sorted(shares, key=lambda entry: (entry[1] < 0, -entry[0]))]


@dataclass(frozen=True)
class VideoFacts:
    """What a video is, in how much of it a face was found, and how long its sound is."""

    path: str
    width: int
    height: int
    fps: float
    frames: int
    duration: float  # seconds
    broken: int  # packets that do not decode
    frames_with_face: int
    audio: float  # seconds; 0 where there is no sound, or nothing but silence
    audio_reason: str  # what is wrong with the sound track, where there is one

    @property
    def face_share(self) -> float:
        """The share of the frames with a face."""
        return self.frames_with_face / max(self.frames, 1)


@dataclass(frozen=True, eq=False)
class VideoExpressions:
    """The expressions of one video, and all there is to say of them."""

    video: VideoFacts
    settings: PredictionSettings
    timeline: Timeline
    left_out: tuple[tuple[str, int], ...] = ()  # members of an ensemble, and in how many expressions they have no say

    @property
    def all_missing(self) -> str:
        """What is said of rows without an expression, with more to it where nothing of the kind is in the video."""
        if self.settings.by.looks and not self.settings.by.hears and not self.video.frames_with_face:
            return f"{NO_FACE} in any of {self.video.frames} frames"
        return self.timeline.missing

    def csv(self) -> bytes:
        """A row per `hop`; confidence and probabilities are empty without an expression, angles where not known."""
        timeline, rows = self.timeline, list[list[object]]()
        probabilities = [f"{PREFIX}{name}" for name in timeline.class_names]
        names = ["time", "start", "end", "expression", "confidence", *probabilities, "faces", "audio", *ANGLES]
        columns = (timeline.time, timeline.start, timeline.end, timeline.label, timeline.confidence, timeline.faces)
        has_audio, angles = timeline.audio.astype(np.int64).tolist(), timeline.angles
        for row, values in enumerate(zip(*(column.tolist() for column in columns), strict=True)):
            time, start, end, label, confidence, faces = values
            shown = [_digits(value) for value in (confidence, *timeline.probabilities[row].tolist(), faces)]
            times = (f"{second:.3f}" for second in (time, start, end))
            rows.append([*times, timeline.name(label), *shown, has_audio[row], *angles[row]])
        return csv_bytes(names, rows)

    def json(self) -> bytes:
        """The same and what it was made from; null without an expression."""
        timeline = self.timeline
        rows = [
            {
                "time": round(time, 3),
                "start": round(start, 3),
                "end": round(end, 3),
                "expression": timeline.name(label),
                "confidence": None if label < 0 else round(confidence, 5),
                "probabilities": None if label < 0 else [round(value, 5) for value in probabilities],
                "faces": round(faces, 4),
                "audio": audio,
                **dict(zip(ANGLES, angles, strict=True)),
            }
            for time, start, end, label, confidence, probabilities, faces, audio, angles in zip(
                timeline.time.tolist(),
                timeline.start.tolist(),
                timeline.end.tolist(),
                timeline.label.tolist(),
                timeline.confidence.tolist(),
                timeline.probabilities.tolist(),
                timeline.faces.tolist(),
                timeline.audio.tolist(),
                timeline.angles,
                strict=True,
            )
        ]
        content = {
            "format": FORMAT,
            "video": asdict(self.video) | {"face_share": round(self.video.face_share, 4)},
            "settings": self.settings.plain(),
            "class_names": list(timeline.class_names),
            "summary": [{"expression": name, "share": round(share, 4)} for name, share in timeline.shares()],
            "left_out": [{"member": name, "rows": count} for name, count in self.left_out],
            "rows": rows,
        }
        return json.dumps(content, indent=1, allow_nan=False).encode()


def _digits(value: float) -> str:
    """A share with five digits, empty where there is none."""
    return "" if math.isnan(value) else f"{value:.5f}"
