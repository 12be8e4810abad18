"""How clips become faces, persons, landmarks and sound: the settings that name a store."""

from dataclasses import dataclass
from typing import Literal

from data_modules.faces.alignment import Alignment


@dataclass(frozen=True)
class FaceSettings:
    """How clips become faces, persons, landmarks and sound; any change leads to another store.

    Args:
        detector: who finds the faces: `mtcnn` and `insightface` look for them, `annotation` takes boxes and points from
            the data set's ground truth, `table` from a file that somebody else's tool wrote (`face_table`), and `crop`
            takes each frame as a face that somebody else cropped.
        size: side of the crops in pixels.
        margin: how much larger than the face the crop is, as a share.
        align: what is brought to its place in the crop.
        jitter: noise on annotated boxes and points: standard deviation as a share of the face's size.
        every: look for faces in each n-th frame, and follow them between.
        max_gap: so many frames without a detection are bridged by interpolating the face's place; longer gaps stay.
        landmarks: who finds 68 points: the face mesh, insightface, the ground truth, a table as above, or nobody.
        person: who finds the person around the face: insightface, the ground truth, `frame` takes the whole frame, or
            nobody.
        lengthen: clips with fewer faces are brought to so many by optical flow; 0 leaves them as they are.
        audio: keep the sound too, 16 kHz mono.
    """

    detector: Literal["annotation", "crop", "table", "mtcnn", "insightface"] = "mtcnn"
    size: int = 256
    margin: float = 0.25
    align: Alignment = "points"
    jitter: float = 0.0
    every: int = 4
    max_gap: int = 15
    landmarks: Literal["none", "annotation", "table", "mesh", "insightface"] = "none"
    person: Literal["none", "annotation", "frame", "insightface"] = "none"
    lengthen: int = 0
    audio: bool = True
