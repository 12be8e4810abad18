"""The settings of preparing clips: faces, persons, landmarks and audio."""

from dataclasses import dataclass
from typing import Literal

from data_modules.faces.tracker_settings import DEFAULT_TRACKING, TrackerSettings

Alignment = Literal["points", "eyes", "box"]
"""What is aligned: all five points, the centres of the eyes, or the box, which is not rotated."""


@dataclass(frozen=True)
class FaceSettings:
    """Settings of the faces, persons, landmarks and audio of clips; each combination has its own store.

    Args:
        detector: how faces are found. `mtcnn` and `insightface` detect them; `annotation` uses the boxes and points of
            the data set's ground truth, `table` those in a file of another tool (see `face_table`); `crop` takes each
            frame as a face, for data sets that are already cropped; `none` reads no pictures, for data sets of sound
            alone.
        size: side of the crops in pixels.
        margin: how much larger than the face the crop is, as a share.
        align: what is aligned in the crop: all five points, the eyes, or the box.
        jitter: noise on annotated boxes and points: standard deviation as a share of the face's size.
        every: faces are detected in every n-th frame and tracked in between. Where shot changes are looked for, they
            are also detected in the frames beside these.
        max_gap: gaps of up to this many frames without a detection are filled by interpolation; longer ones stay.
        landmarks: source of the 68 landmarks: the face mesh, insightface, the ground truth, a table as above, or none.
        person: source of the person's box: the ground truth, the whole frame (`frame`), none, or insightface's
            detector. Which of its boxes belongs to the face is part of the name (see `persons`): that of the largest
            overlap (`insightface`), of the smallest one, as the context paper prints it (`insightface_smallest`), or
            that of persons tracked like faces (`insightface_tracked`).
        lengthen: clips with fewer faces are interpolated to this number by optical flow; 0 turns this off.
        audio: whether the audio is stored too, as 16 kHz mono.
        tracking: how detections are linked from frame to frame, and how the clip's main face is chosen.
    """

    detector: Literal["annotation", "crop", "table", "mtcnn", "insightface", "none"] = "mtcnn"
    size: int = 256
    margin: float = 0.25
    align: Alignment = "points"
    jitter: float = 0.0
    every: int = 4
    max_gap: int = 15
    landmarks: Literal["none", "annotation", "table", "mesh", "insightface"] = "none"
    person: Literal["none", "annotation", "frame", "insightface", "insightface_smallest", "insightface_tracked"] = (
        "none"
    )
    lengthen: int = 0
    audio: bool = True
    tracking: TrackerSettings = DEFAULT_TRACKING

    @property
    def embeds_faces(self) -> bool:
        """Whether detected faces are embedded by identity, for tracking."""
        return self.tracking.embedder != "none" and self.detector in ("mtcnn", "insightface")

    @property
    def person_rule(self) -> Literal["largest", "smallest", "tracked"] | None:
        """How a detected person is chosen; None if persons are not detected."""
        rules: dict[str, Literal["largest", "smallest", "tracked"]] = {
            "insightface": "largest",
            "insightface_smallest": "smallest",
            "insightface_tracked": "tracked",
        }
        return rules.get(self.person)
