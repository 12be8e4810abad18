"""Writes a clip's file in the store face by face."""

import json
from dataclasses import asdict, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from data_modules.audio.settings import AUDIO_RATE
from data_modules.store.clip_file import FORMAT, SILENT, ClipSummary, FaceFrame, Origin
from data_modules.store.tensor_file import TensorFile


class ClipWriter:
    """Writes the file of one clip; `ClipStore.writing` creates it."""

    def __init__(self, tensors: TensorFile) -> None:
        self._tensors, self._num_made, self._num_landmarks = tensors, 0, 0
        self._is_audible = False  # whether any sample is not zero

    def add(self, face: FaceFrame, quality: int = 95) -> None:
        """Appends the next face; `quality` is the JPEG quality (0 to 100)."""
        tensors = self._tensors
        self._num_made += face.origin is Origin.INTERPOLATED
        self._num_landmarks += face.landmarks is not None and bool(np.isfinite(face.landmarks).all())
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
        for name, image in (("face", face.crop), ("person", face.person)):
            if image is not None:
                jpeg = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
                tensors[name].extend(np.asarray(jpeg, dtype=np.uint8))
                tensors[f"{name}_end"].extend(np.array([tensors[name].count], dtype=np.int64))

    def add_audio(self, samples: NDArray[np.int16]) -> None:
        """Appends (n,) samples at `AUDIO_RATE`."""
        self._tensors["audio"].extend(samples)
        self._is_audible = self._is_audible or bool(samples.any())

    def discard_audio(self) -> None:
        """Drops all audio, for example because it is damaged."""
        self._tensors.discard("audio")
        self._is_audible = False

    def finish(
        self,
        summary: ClipSummary,
        times: NDArray[np.float64] | None = None,
        others: NDArray[np.int64] | None = None,
        cuts: NDArray[np.int64] | None = None,
    ) -> ClipSummary:
        """Completes the file with the clip's summary.

        Args:
            summary: the summary; the numbers of faces and the seconds of audio are added. Audio of zeros is dropped.
            times: (T,) times of all frames of the source in seconds.
            others: (K,) numbers of the frames in which somebody else is seen.
            cuts: (S,) numbers of the frames with which a shot begins.

        Returns:
            The completed summary.

        Raises:
            ValueError: some faces have landmarks, an intensity, a matrix or a person, and others do not.
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
        for name, numbers in (("other_frames", others), ("cuts", cuts)):
            if numbers is not None and len(numbers):
                self._tensors[name].extend(numbers)
        audio = self._tensors["audio"].count / AUDIO_RATE
        if audio and not self._is_audible:
            self.discard_audio()
            summary, audio = replace(summary, audio_reason=summary.audio_reason or SILENT), 0.0
        summary = replace(
            summary, num_faces=faces, num_made=self._num_made, num_landmarks=self._num_landmarks, audio=audio
        )
        self._tensors.metadata = {"format": FORMAT, "summary": json.dumps(asdict(summary))}
        return summary
