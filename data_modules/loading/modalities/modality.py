"""The base classes of modalities: how a field of `ClipBatch` that a model can request is prepared, read and padded.

`loading.batch.INPUTS` is the table of all modalities.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from data_modules.faces.settings import FaceSettings
from data_modules.loading.transforms import ClipTransform
from data_modules.store.audio_cache import AudioCache
from data_modules.store.clip_file import ClipSummary
from data_modules.store.face_sequence import FaceSequence


@dataclass(frozen=True)
class FrameSelection:
    """One view of a clip: the frames that the sampler chose, and the transform that is applied to them."""

    clip: FaceSequence
    positions: NDArray[np.int64]  # (T,) positions within the clip's faces
    size: int  # side of the crops that the model receives, pixels
    transform: ClipTransform | None = None  # in pixels of those crops


class Modality(ABC):
    """A field of `ClipBatch` that a model can request by name.

    Attributes:
        field: name of the field.
        column: the column of `ClipBatch.present` that the modality belongs to.
        setting: the field of `FaceSettings` that has the store keep the modality; empty if every store has it.
        choices: values of that setting, the usual one first, that `check_prepared` suggests. If empty, `check_prepared`
            checks nothing, and a missing modality is an error when a clip is read.
    """

    field: str
    column: Literal["face", "audio"]
    setting: str = ""
    choices: tuple[str, ...] = ()

    @abstractmethod
    def missing_reason(self, clip: ClipSummary) -> str:
        """Return why the store does not have the modality for a clip; empty if it does."""

    def check_prepared(self, faces: FaceSettings, dataset: str) -> None:
        """Check, before a data set is prepared, that its settings have the store keep the modality.

        Raises:
            ValueError: the settings leave it out.
        """
        value = getattr(faces, self.setting) if self.choices else None
        if value in (False, "none"):
            first, *others = self.choices
            raise ValueError(
                f"the model needs {self.field}, but {dataset} is prepared with `faces.{self.setting}: "
                f"{str(value).lower()}`; set `data.dataset.init_args.faces.{self.setting}: {first}`"
                + (f", or {', or '.join(others)}" if others else "")
            )


class FaceModality(Modality):
    """A modality that needs a face in the frame."""

    column = "face"

    def check_prepared(self, faces: FaceSettings, dataset: str) -> None:
        """Check also that faces are looked for.

        Raises:
            ValueError: the settings leave the modality out.
        """
        if faces.detector == "none":
            raise ValueError(
                f"the model needs {self.field}, but {dataset} is prepared without pictures (`faces.detector: none`); "
                "use a model of audio, or a data set with videos and a detector such as mtcnn"
            )
        super().check_prepared(faces, dataset)


class FrameModality(FaceModality):
    """A modality with a value for each frame with a face; samples are padded along T, its first dimension."""

    @abstractmethod
    def read(self, frames: FrameSelection) -> Tensor:
        """Return the (T, ...) values of one view.

        Raises:
            ValueError: the file of the clip does not contain the modality.
        """

    @abstractmethod
    def placeholder(self, frames: int, size: int) -> Tensor:
        """Return the (T, ...) values of a clip without a face, whose mask is false.

        Args:
            frames: T.
            size: side of the crops, pixels.
        """


class ClipModality(Modality):
    """A modality of a whole clip, which is the same in all of its views."""

    column = "audio"

    @abstractmethod
    def read(self, clip: FaceSequence, audio_cache: AudioCache) -> Tensor | None:
        """Return the value of a clip; None if it has none."""

    @abstractmethod
    def placeholder(self, audio_cache: AudioCache) -> Tensor:
        """Return the value of a clip that has none, whose entry in `ClipBatch.present` is false."""
