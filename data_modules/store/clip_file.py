"""What a clip's file in the store holds: a face for each frame, and a summary of them.

It is a safetensors file (read lazily, never unpickled): the crops as JPEGs one after another, and beside them which
frame each came from, its box, how it was cut, landmarks, the crop of the person, the clip's sound and, where the data
set knows it, the expression's intensity. `fer bench store` compares this form with image files, uint8 arrays and
re-encoded video.
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

FORMAT = "fer_lightning faces 2"
SILENT = "its sound track is silent"
LANDMARKS = (68, 3)


class Origin(IntEnum):
    """How a face came to be in the store."""

    DETECTED = 0  # a detector or an annotation located it in this frame
    TRACKED = 1  # its position was interpolated between two detections; the image is that of its own frame
    INTERPOLATED = 2  # the image, too, was interpolated between two frames


@dataclass(frozen=True)
class FaceFrame:
    """The face of one frame: its aligned crop and where it was found."""

    index: int  # frame number in the source; of an interpolated image, of the nearest frame
    crop: NDArray[np.uint8]  # (S, S, 3) RGB
    box: NDArray[np.float32]  # (4,): left, top, right, bottom in pixels of the frame
    score: float  # the detector's probability
    landmarks: NDArray[np.float32] | None = None  # (68, 3) in pixels of the crop; NaN where none were found
    intensity: float | None = None
    person: NDArray[np.uint8] | None = None  # (P, P, 3) RGB, the person or the whole frame
    origin: Origin = Origin.DETECTED
    matrix: NDArray[np.float32] | None = None  # (2, 3) how it was cut: frame pixels -> crop pixels


@dataclass(frozen=True)
class ClipSummary:
    """One row of the store's index: what can be known of a clip without opening its file."""

    clip_id: str
    num_frames: int  # of the source
    num_faces: int  # of the crops in the store
    fps: float = 0.0
    reason: str = ""  # why there are no faces, where there are none
    num_made: int = 0  # of the crops, those that are interpolated pictures
    audio: float = 0.0  # seconds; 0 where the clip has no sound track, or a silent one, or it was not asked for
    broken: int = 0  # packets or images that do not decode
    num_landmarks: int = 0  # of the crops, those with landmarks
    width: int = 0  # of the source's frames, pixels
    height: int = 0
    audio_reason: str = ""  # what is wrong with the sound track, where there is one
    source: str = ""  # sizes and times of the files it was made of (`clip_files`); empty from earlier versions
    content: str = ""  # their checksum, where they could be read

    @property
    def coverage(self) -> float:
        """The share of the source's frames with a face."""
        return (self.num_faces - self.num_made) / max(self.num_frames, 1)
