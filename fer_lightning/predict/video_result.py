"""What `fer predict` reports about one video, in a paragraph."""

from dataclasses import dataclass
from pathlib import Path

from data_modules.utils.text import damage, printable_line
from fer_lightning.predict.expressions import VideoExpressions
from fer_lightning.predict.settings import NO_FACE
from fer_lightning.predict.timeline import Timeline
from fer_lightning.predict.timeline_figure import format_duration
from fer_lightning.predict.video_files import VIDEO


@dataclass(frozen=True)
class VideoResult:
    """The expressions of one video, the files that were written, and how long it took."""

    expressions: VideoExpressions
    folder: Path
    files: tuple[str, ...]
    recognised: float  # seconds of work without the annotated video, start-up excluded
    total: float  # seconds of work
    no_video: str = ""  # why the annotated video could not be written

    def paragraph(self) -> str:
        """Describes the result for the terminal."""
        video = self.expressions.video
        size = "" if video.is_sound_alone else f", {video.width} x {video.height}"
        text = f"{format_duration(video.duration)}{size}, {self._faces()}. {self._missing_audio()}"
        text += f"{self._ensemble()}{self._expressions()}"
        if any(person.timeline.has_prediction.any() for person in self.expressions.people):
            text += self.expressions.settings.confidence.describe()
        if damaged := damage(video.broken, video.missing):
            text += f"Not all of it could be read: {damaged}. "
        if video.picture_note:
            text += f"Read as it is: {video.picture_note}. "
        if self.no_video:
            text += f"{VIDEO} could not be written: {printable_line(self.no_video)}. "
        text += f"Files in {printable_line(self.folder)}: {', '.join(self.files)}. "
        text += f"{self.total:.1f} s of work, {video.duration / self.total:.1f} x real time"
        if VIDEO in self.files:
            text += f" ({video.duration / self.recognised:.1f} x without {VIDEO})"
        return text + "."

    def _expressions(self) -> str:
        """Lists the share of time of each expression."""
        video, timeline, people = self.expressions.video, self.expressions.timeline, self.expressions.people
        if len(people) > 1:
            each = (f"Person {person.number}: {_shares(person.timeline)} of the time. " for person in people)
            return f"{len(people)} people. {''.join(each)}"
        if timeline.has_prediction.any():
            return f"{_shares(timeline)} of the time{self._no_face_rule()}. "
        if video.frames_with_face and self.expressions.settings.model_facts.uses_faces:
            return f"No row has a face in half of its frames, so all rows are labelled `{timeline.missing_label}`. "
        return ""

    def _no_face_rule(self) -> str:
        """Explains why the share of time without a face differs from the share of frames without one."""
        timeline = self.expressions.timeline
        if timeline.missing_label == NO_FACE and not timeline.has_prediction.all():
            return f" (`{NO_FACE}` labels rows with a face in fewer than half of their frames)"
        return ""

    def _ensemble(self) -> str:
        """Lists the members of an ensemble with their weights and omitted rows; empty for a single model."""
        facts = self.expressions.settings.model_facts
        if not facts.members:
            return ""
        members = f"{printable_line(facts.model)}: {printable_line(facts.shares)}"
        text = f"Ensemble {printable_line(facts.checkpoint)}, {members}. "
        total = sum(int(person.timeline.has_prediction.sum()) for person in self.expressions.people)
        for name, count in self.expressions.left_out:
            text += f"{printable_line(name)} has no say in {count} of {total} rows. "
        return text

    def _faces(self) -> str:
        """States how many frames have a face, and what follows if none has."""
        video, facts = self.expressions.video, self.expressions.settings.model_facts
        if video.frames_with_face or video.is_sound_alone or not facts.uses_faces:
            return video.face_text
        if self.expressions.timeline.has_prediction.any():
            return f"{video.face_text}: expressions are of its audio alone"
        return video.face_text + ", so no expression" * (not facts.uses_audio)

    def _missing_audio(self) -> str:
        """States that audio which the model uses is missing or damaged, and why; empty otherwise."""
        video, timeline = self.expressions.video, self.expressions.timeline
        if not self.expressions.settings.model_facts.uses_audio:
            return ""
        reason = f" ({printable_line(video.audio_reason)})" if video.audio_reason else ""
        if timeline.audio.any():
            return f"Its audio is not complete{reason}. " if reason else ""
        consequence = "expressions are of its faces alone" if timeline.has_prediction.any() else "no expression"
        return f"It has no audio{reason}: {consequence}. "


def _shares(timeline: Timeline) -> str:
    return ", ".join(f"{name} {100 * share:.0f} %" for name, share in timeline.shares())
