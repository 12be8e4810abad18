"""What was made of one video, in a paragraph."""

from dataclasses import dataclass
from pathlib import Path

from fer_lightning.predict.timeline import VideoExpressions
from fer_lightning.predict.timeline_figure import length
from fer_lightning.predict.video_files import VIDEO, shown


@dataclass(frozen=True)
class Predicted:
    """What was made of one video."""

    expressions: VideoExpressions
    folder: Path
    files: tuple[str, ...]
    recognised: float  # seconds of work on everything but the annotated video, start-up apart
    total: float  # seconds of work

    def paragraph(self) -> str:
        """What there is to say of it."""
        video, timeline = self.expressions.video, self.expressions.timeline
        said = f"{length(video.duration)}, {video.width} x {video.height}, {self._seen()}. {self._missing_audio()}"
        said += self._ensemble()
        if timeline.answered.any():
            said += ", ".join(f"{name} {100 * share:.0f} %" for name, share in timeline.shares()) + " of the time. "
        elif video.frames_with_face and self.expressions.settings.by.looks:
            said += f"No row has a face in half of its frames, so all of them say `{timeline.missing}`. "
        if video.broken:
            said += f"{video.broken} packets or images do not decode and were passed over. "
        said += f"Files in {shown(self.folder)}: {', '.join(self.files)}. "
        said += f"{self.total:.1f} s of work, {video.duration / self.total:.1f} x real time"
        if VIDEO in self.files:
            said += f" ({video.duration / self.recognised:.1f} x without {VIDEO})"
        return said + "."

    def _ensemble(self) -> str:
        """Of an ensemble, its members with their weights, and where they have no say; empty for one model."""
        by, timeline = self.expressions.settings.by, self.expressions.timeline
        if not by.members:
            return ""
        said = f"Ensemble {shown(by.checkpoint)}, {shown(by.model)}: {shown(by.shares)}. "
        answers = int(timeline.answered.sum())
        for name, count in self.expressions.left_out:
            said += f"{shown(name)} has no say in {count} of {answers} rows. "
        return said

    def _seen(self) -> str:
        """In how many frames there is a face, and what comes of it where there is none."""
        video, by = self.expressions.video, self.expressions.settings.by
        count = f"{video.frames} frame{'s' * (video.frames != 1)}"
        if video.frames_with_face:
            return f"a face in {100 * video.face_share:.3g} % of {count}"
        if not by.looks:
            return f"no face in any of {count}"
        answered = bool(self.expressions.timeline.answered.any())
        then = ": expressions are of its sound alone" if answered else ", so no expression" * (not by.hears)
        return f"no face in any of {count}{then}"

    def _missing_audio(self) -> str:
        """That a model which hears had nothing to hear, and why; empty where all is well."""
        video, timeline = self.expressions.video, self.expressions.timeline
        if not self.expressions.settings.by.hears:
            return ""
        reason = f" ({shown(video.audio_reason)})" if video.audio_reason else ""
        if timeline.audio.any():
            return f"Its sound is not whole{reason}. " if reason else ""
        then = "expressions are of its faces alone" if timeline.answered.any() else "no expression"
        return f"It has no sound{reason}: {then}. "
