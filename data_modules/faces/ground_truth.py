"""What is known of each frame of a clip: the synthetic set's ground truth, in one file beside the video."""

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from data_modules.utils.files import atomic_file


@dataclass(frozen=True)
class FrameTruth:
    """Ground truth of T frames, in pixels of the video's frames.

    `intensity` is 0 for no expression and 1 for its apex. The third landmark coordinate points away from the camera,
    in pixels too. The landmarks are the 68 points of the iBUG scheme. Where `visible` is False no face can be seen, and
    its box and landmarks say where it would be.
    """

    intensity: NDArray[np.float32]  # (T,)
    visible: NDArray[np.bool_]  # (T,)
    box: NDArray[np.float32]  # (T, 4): left, top, right, bottom of the face
    landmarks: NDArray[np.float32]  # (T, 68, 3)
    person_box: NDArray[np.float32]  # (T, 4)
    action_units: NDArray[np.float32]  # (T, A), 0 to 1, in the order of `synthetic.action_units.NAMES`

    def save(self, path: Path) -> None:
        """Writes one safetensors file, whole or not at all."""
        with atomic_file(path) as temporary:
            save_file({f.name: np.ascontiguousarray(getattr(self, f.name)) for f in fields(self)}, temporary)

    @classmethod
    def load(cls, path: Path) -> "FrameTruth":
        """Reads what `save` wrote."""
        return cls(**load_file(path))
