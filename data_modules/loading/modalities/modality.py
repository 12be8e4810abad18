"""What a modality is: all that the suite needs to know of a field of `ClipBatch` that a model can ask for.

`loading.batch.INPUTS` is the table of them.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from data_modules.faces.settings import FaceSettings
from data_modules.loading.transforms import Change
from data_modules.store.audio_cache import AudioCache
from data_modules.store.clip_file import ClipSummary
from data_modules.store.face_sequence import FaceSequence


@dataclass(frozen=True)
class FrameSelection:
    """One draw of a clip: the frames that the sampler chose, and how the augmentation changes them."""

    clip: FaceSequence
    positions: NDArray[np.int64]  # (T,) of the clip's faces
    size: int  # of the crops that the model sees, pixels
    change: Change | None = None  # in pixels of those crops


class Modality(ABC):
    """A field of `ClipBatch` that a model can ask for by its name.

    Attributes:
        field: its name.
        column: what of a clip it needs, one of the columns of `ClipBatch.present`.
        setting: the field of `FaceSettings` that has it kept in the store, in prediction as in training; empty where
            every store has it.
        choices: its values, the usual one first, that `refuse_left_out` names; without any it refuses nothing, and what
            is missing is named when a clip is read.
    """

    field: str
    column: Literal["face", "audio"]
    setting: str = ""
    choices: tuple[str, ...] = ()

    @abstractmethod
    def missing(self, clip: ClipSummary) -> str:
        """Why the store has nothing of it for a clip; empty where it has."""

    def refuse_left_out(self, faces: FaceSettings, dataset: str) -> None:
        """Checks, before a data set is prepared, that its settings have the modality kept.

        Raises:
            ValueError: they leave it out.
        """
        value = getattr(faces, self.setting) if self.choices else None
        if value in (False, "none"):
            first, *others = self.choices
            raise ValueError(
                f"the model asks for {self.field}, but {dataset} is prepared with `faces.{self.setting}: "
                f"{str(value).lower()}`; set `data.dataset.init_args.faces.{self.setting}: {first}`"
                + (f", or {', or '.join(others)}" if others else "")
            )


class FrameModality(Modality):
    """A modality of each frame with a face: T is its first dimension, along which samples are padded.

    Attributes:
        frozen_parts_see_it: cached features of a model's frozen parts stand in its place.
    """

    column = "face"
    frozen_parts_see_it: bool = False

    @abstractmethod
    def read(self, frames: FrameSelection) -> Tensor:
        """(T, ...) of one draw.

        Raises:
            ValueError: the clip's file lacks it.
        """

    @abstractmethod
    def nothing(self, frames: int, size: int) -> Tensor:
        """(T, ...) what stands, under a mask that is false, for a clip without a face.

        Args:
            frames: T.
            size: of the crops, pixels.
        """


class ClipModality(Modality):
    """A modality of a whole clip, the same in all of its draws."""

    column = "audio"

    @abstractmethod
    def read(self, clip: FaceSequence, audio_cache: AudioCache) -> Tensor | None:
        """What the clip has of it; None where that is nothing."""

    @abstractmethod
    def nothing(self, audio_cache: AudioCache) -> Tensor:
        """What stands, with `ClipBatch.present` false, for a clip that has none."""
