"""The modalities of image crops: the face, and the person around it."""

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from data_modules.loading.memory import empty_bytes
from data_modules.loading.modalities.modality import FaceModality, FrameSelection
from data_modules.loading.transforms import resized
from data_modules.store.clip_file import ClipSummary


class Pictures(FaceModality):
    """The (B, T, 3, S, S) uint8 RGB crops of a batch; they are not loaded if features are cached in their place.

    Args:
        field: `face` or `person`.
    """

    def __init__(self, field: Literal["face", "person"]) -> None:
        self.field = field
        if field == "person":
            self.setting = "person"
            self.choices = (
                "insightface",
                "insightface_tracked",
                "frame",
                "annotation if the data set has person boxes",
            )

    def missing_reason(self, clip: ClipSummary) -> str:
        """Return why a clip has no crops; empty if it has."""
        return "" if clip.num_faces > 0 else clip.reason or "no face found"

    def read(self, views: Sequence[FrameSelection | None], frames: int, size: int) -> Tensor:
        """Read the (B, T, 3, S, S) crops, resized and transformed, into one tensor whose channels lie side by side.

        Args:
            views: of the B samples; None for one without a face. Its frames, and those that a view lacks, are black.
            frames: T.
            size: side of the crops, pixels.
        """
        images = empty_bytes(len(views), frames, size, size, 3)
        for view, rows in _with_face(views, images):
            transform = view.transform
            side = transform.source_side(size) if transform else size
            for row, crop in zip(rows, view.clip.crops(view.positions, side, self.field), strict=True):
                image = resized(crop, side)
                row[:] = transform.image(image, size) if transform else image
        return images.permute(0, 1, 4, 2, 3)

    def read_stored(self, views: Sequence[FrameSelection | None], frames: int, side: int) -> Tensor:
        """Read the (B, T, 3, S', S') crops as they are stored, or at a half, a quarter or an eighth of that size.

        Args:
            views: of the B samples; see `read`.
            frames: T.
            side: the smallest S', pixels.
        """
        first = next((view for view in views if view is not None), None)
        if first is not None:
            side = first.clip.crops(first.positions[:1], side, self.field).shape[1]
        crops = empty_bytes(len(views), frames, side, side, 3)
        for view, rows in _with_face(views, crops):
            view.clip.crops(view.positions, side, self.field, out=rows)
        return crops.permute(0, 1, 4, 2, 3)


def _with_face(
    views: Sequence[FrameSelection | None], images: Tensor
) -> Iterator[tuple[FrameSelection, NDArray[np.uint8]]]:
    """Yield each view with a face and the rows of its frames in (B, T, ...) images; make all other rows black."""
    for view, rows in zip(views, images.numpy(), strict=True):
        count = 0 if view is None else len(view.positions)
        rows[count:] = 0
        if view is not None:
            yield view, rows[:count]
