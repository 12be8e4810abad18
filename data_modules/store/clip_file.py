"""The content of a clip's file in the store: a face for each frame, and a summary.

The format is safetensors, which is read lazily and never unpickled. The crops are stored as consecutive JPEGs, with the
frame number, box, crop matrix, landmarks and person of each, the audio of the clip and, if the data set has it, the
intensity of the expression. `fer bench store` compares this format with image files, uint8 arrays and re-encoded video.
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

FORMAT = "fer_lightning faces 2"
SILENT = "its audio track is silent"
EARLIER_SILENT = "its sound track is silent"  # in indices and files of stores that were prepared before
LANDMARKS = (68, 3)


class Origin(IntEnum):
    """How a face in the store was obtained."""

    DETECTED = 0  # a detector or an annotation located it in this frame
    TRACKED = 1  # its position was interpolated between two detections; the image is that of its own frame
    INTERPOLATED = 2  # the image, too, was interpolated between two frames


@dataclass(frozen=True)
class FaceFrame:
    """The face of one frame: its aligned crop and its position."""

    index: int  # frame number in the source; of an interpolated image, of the nearest frame
    crop: NDArray[np.uint8]  # (S, S, 3) RGB
    box: NDArray[np.float32]  # (4,): left, top, right, bottom in pixels of the frame
    score: float  # the detector's probability
    landmarks: NDArray[np.float32] | None = None  # (68, 3) in pixels of the crop; NaN if none were found
    intensity: float | None = None
    person: NDArray[np.uint8] | None = None  # (P, P, 3) RGB, the person or the whole frame
    origin: Origin = Origin.DETECTED
    matrix: NDArray[np.float32] | None = None  # (2, 3) affine map from frame pixels to crop pixels


@dataclass(frozen=True)
class ClipSummary:
    """A row of the store's index, which describes a clip without opening its file."""

    clip_id: str
    num_frames: int  # of the source; 0 if no picture was read
    num_faces: int  # of the crops in the store
    fps: float = 0.0
    reason: str = ""  # why there are no faces
    num_made: int = 0  # of the crops, those that are interpolated images
    audio: float = 0.0  # seconds; 0 without an audio track, with a silent one, or if audio was not requested
    broken: int = 0  # packets or images that cannot be decoded
    num_landmarks: int = 0  # of the crops, those with landmarks
    width: int = 0  # of the source's frames, pixels
    height: int = 0
    audio_reason: str = ""  # what is wrong with the audio track
    source: str = ""  # sizes and times of the source files (`ClipFiles.thorough_stamp`); empty in earlier versions
    content: str = ""  # checksum of the source files, if they could be read
    missing: float = 0.0  # seconds at its end that the source declares but does not have, as it was cut off
    picture_note: str = ""  # what is unusual about its pictures and left as it is, such as interlace

    @property
    def coverage(self) -> float:
        """The share of the source's frames that have a face."""
        return (self.num_faces - self.num_made) / max(self.num_frames, 1)

    @property
    def is_sound_alone(self) -> bool:
        """Whether no picture was read: the source is a file of sound, or its pictures were not asked for."""
        return self.num_frames == 0 and not self.reason

    @property
    def has_silent_audio(self) -> bool:
        """Whether there is an audio track that is nothing but silence."""
        return self.audio_reason in (SILENT, EARLIER_SILENT)

    @property
    def has_damaged_audio(self) -> bool:
        """Whether the audio track cannot be decoded, or not completely."""
        return bool(self.audio_reason) and not self.has_silent_audio
