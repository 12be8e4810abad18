"""Ground truth for each frame of a clip of the synthetic data sets, in one file beside the video."""

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from data_modules.utils.files import atomic_file


@dataclass(frozen=True)
class FrameTruth:
    """Ground truth of T frames, in pixels of the video's frames.

    `intensity` is 0 for no expression and 1 for its apex. The landmarks are the 68 points of the iBUG scheme; their
    third coordinate points away from the camera and is in pixels too. If `visible` is False, the face is hidden, and
    the box and the landmarks are those that it would have.
    """

    intensity: NDArray[np.float32]  # (T,)
    visible: NDArray[np.bool_]  # (T,)
    box: NDArray[np.float32]  # (T, 4): left, top, right, bottom of the face
    landmarks: NDArray[np.float32]  # (T, 68, 3)
    person_box: NDArray[np.float32]  # (T, 4)
    action_units: NDArray[np.float32]  # (T, A), 0 to 1, in the order of `synthetic.action_units.NAMES`

    def save(self, path: Path) -> None:
        """Writes one safetensors file atomically."""
        with atomic_file(path) as temporary:
            save_file({f.name: np.ascontiguousarray(getattr(self, f.name)) for f in fields(self)}, temporary)

    @classmethod
    def load(cls, path: Path) -> "FrameTruth":
        """Reads a file that `save` wrote."""
        return cls(**load_file(path))
