"""What `fer predict` finds in one video: its facts, the settings, its expressions, and the tables that are written."""

import json
import math
from dataclasses import asdict, dataclass

import numpy as np

from data_modules.faces.head_pose import ANGLES
from data_modules.utils.csv_tables import csv_bytes
from fer_lightning.evaluation.predictions import PREFIX
from fer_lightning.predict.settings import PredictionSettings
from fer_lightning.predict.timeline import MISSING, Timeline
from fer_lightning.predict.video_files import FORMAT


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
