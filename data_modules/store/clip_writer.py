"""A clip's file in the store, written while its faces arrive."""

import json
from dataclasses import asdict, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from data_modules.audio.settings import AUDIO_RATE
from data_modules.store.clip_file import FORMAT, SILENT, ClipSummary, FaceFrame, Origin
from data_modules.store.tensor_file import TensorFile


class ClipWriter:
    """A clip's file while it is being written."""

    def __init__(self, tensors: TensorFile) -> None:
        self._tensors, self._made, self._landmarks = tensors, 0, 0
        self._loud = False  # whether there is any sound in the sound

    def add(self, face: FaceFrame, quality: int = 95) -> None:
        """Appends the next face; `quality` is that of its JPEGs."""
        tensors = self._tensors
        self._made += face.origin is Origin.INTERPOLATED
        self._landmarks += face.landmarks is not None and bool(np.isfinite(face.landmarks).all())
        tensors["frame_index"].extend(np.array([face.index], dtype=np.int64))
        tensors["origin"].extend(np.array([face.origin], dtype=np.uint8))
        numbers = {
            "box": face.box,
            "score": face.score,
            "landmarks": face.landmarks,
            "intensity": face.intensity,
            "matrix": face.matrix,
        }
        for name, value in numbers.items():
            if value is not None:
                tensors[name].extend(np.asarray(value, dtype=np.float32)[None])
        for name, picture in (("face", face.crop), ("person", face.person)):
            if picture is not None:
                jpeg = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
                tensors[name].extend(np.asarray(jpeg, dtype=np.uint8))
                tensors[f"{name}_end"].extend(np.array([tensors[name].count], dtype=np.int64))

    def add_audio(self, samples: NDArray[np.int16]) -> None:
        """Appends (n,) samples at `AUDIO_RATE`."""
        self._tensors["audio"].extend(samples)
        self._loud = self._loud or bool(samples.any())

    def discard_audio(self) -> None:
        """Takes all sound back: it turned out to be damaged."""
        self._tensors.discard("audio")
        self._loud = False

    def finish(self, summary: ClipSummary, times: NDArray[np.float64] | None = None) -> ClipSummary:
        """States what the clip is.

        Args:
            summary: of which the numbers of faces and the seconds of sound are counted here; a sound of zeros is none.
            times: (T,) seconds of all frames of the source.

        Returns:
            The summary with what was counted.

        Raises:
            ValueError: some of the faces had landmarks, an intensity, a matrix or a person, and others had not.
        """
        faces = self._tensors["frame_index"].count
        for name in ("box", "score", "landmarks", "intensity", "matrix", "person_end"):
            if self._tensors[name].count not in (0, faces):
                raise ValueError(
                    f"clip {summary.clip_id!r}: {self._tensors[name].count} of {faces} faces have {name}; expected all "
                    "or none"
                )
        if times is not None:
            self._tensors["time"].extend(times)
        audio = self._tensors["audio"].count / AUDIO_RATE
        if audio and not self._loud:
            self.discard_audio()
            summary, audio = replace(summary, audio_reason=summary.audio_reason or SILENT), 0.0
        summary = replace(summary, num_faces=faces, num_made=self._made, num_landmarks=self._landmarks, audio=audio)
        self._tensors.metadata = {"format": FORMAT, "summary": json.dumps(asdict(summary))}
        return summary
