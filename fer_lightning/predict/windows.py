"""A trained model over a long video: windows of its faces, each as if it were a clip of its own.

Frames are chosen, cut and normalised by the very code that evaluates clips (`data_modules.base.ClipDataset`).
"""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from data_modules.base import Clip, ClipDataset, normalised
from data_modules.batch import ClipBatch, collate
from data_modules.manifest import VideoRecord
from data_modules.store import ClipStore, ClipSummary, StoredClip
from fer_lightning.lightning_cli import fastest_precision
from fer_lightning.loading import TrainedModel
from fer_lightning.predict.timeline import Rows

KEPT = 256  # decoded crops that are kept for the next window
PIXELS_CPU, PIXELS_GPU = 2_000_000, 32_000_000  # of the crops in one batch
FROM_VIDEO = frozenset({"face", "person", "landmarks"})
ENOUGH = 0.5  # of a row's frames need a face


class VideoFaces:
    """All M faces of a video in order of time; their file is read where it is needed.

    Args:
        clip: the video's file in a store.
    """

    def __init__(self, clip: StoredClip) -> None:
        self.clip, self.frame_index = clip, clip.frame_index  # (M,)
        boxes = clip.optional("box")
        self.box = np.zeros((0, 4), np.float32) if boxes is None else boxes  # (M, 4)
        self._crop = lru_cache(maxsize=KEPT)(self._decode)  # windows overlap

    def __len__(self) -> int:
        return len(self.frame_index)

    def _decode(self, position: int, size: int | None, what: str) -> NDArray[np.uint8]:
        return np.asarray(self.clip.crops([position], size, what)[0], dtype=np.uint8)

    def crops(self, positions: NDArray[np.int64], size: int | None = None, what: str = "face") -> NDArray[np.uint8]:
        """(K, S, S, 3) RGB crops at positions in [0, M); the arguments are those of `StoredClip.crops`."""
        return np.stack([self._crop(position, size, what) for position in positions.tolist()])

    def between(self, frames: NDArray[np.int64]) -> NDArray[np.int64]:
        """(K, 2) frames [first, stop) -> (K, 2) the positions [first, stop) of their faces."""
        return np.asarray(np.searchsorted(self.frame_index, frames), dtype=np.int64)


def face_shares(faces: VideoFaces, rows: Rows) -> NDArray[np.float64]:
    """(K,) the share of each row's own frames that have a face."""
    with_face = np.diff(faces.between(rows.own), axis=1)[:, 0]
    return np.asarray(with_face / np.diff(rows.own, axis=1)[:, 0], dtype=np.float64)


class _StoredWindow(StoredClip):
    """Some successive faces of a video."""

    def __init__(self, faces: VideoFaces, first: int, stop: int) -> None:  # there is no file of its own to open
        self._faces, self._span = faces, slice(first, stop)
        self.summary = ClipSummary("window", stop - first, stop - first)
        self.frame_index = faces.frame_index[self._span]
        self.crop_size = faces.clip.crop_size

    def optional(self, name: str) -> NDArray[np.float32] | None:
        """See `StoredClip.optional`."""
        rows = self._faces.clip.optional(name)
        return None if rows is None else rows[self._span]

    def crops(
        self, positions: Sequence[int] | NDArray[np.int64], size: int | None = None, what: str = "face"
    ) -> NDArray[np.uint8]:
        """See `StoredClip.crops`."""
        return self._faces.crops(np.asarray(positions, dtype=np.int64) + self._span.start, size, what)


class _WindowStore(ClipStore):
    """Windows by their number, as if each were a stored clip."""

    def __init__(self, faces: VideoFaces, spans: NDArray[np.int64]) -> None:
        super().__init__(Path())
        self._faces, self._spans = faces, spans

    def open(self, clip_id: str) -> StoredClip:
        """The window of that number."""
        first, stop = self._spans[int(clip_id)].tolist()
        return _StoredWindow(self._faces, first, stop)


class WindowClassifier:
    """A trained model on a device, for windows of any video.

    Args:
        trained: the model and how its input was made.
        device: where it runs.

    Raises:
        ValueError: the model needs what is not made from videos here.
    """

    def __init__(self, trained: TrainedModel, device: torch.device) -> None:
        further = sorted(trained.model.inputs - FROM_VIDEO)
        if further:
            raise ValueError(
                f"{trained.checkpoint}: {type(trained.model).__name__} needs {', '.join(further)}, which is not made "
                f"from videos here; use the checkpoint of a model of {', '.join(sorted(FROM_VIDEO))}"
            )
        self.trained, self.device = trained, device
        self._model = trained.model.to(device).eval()

    def rows(self, faces: VideoFaces, rows: Rows) -> Iterator[tuple[int, NDArray[np.float64]]]:
        """Yields (row, its (C,) probabilities) for each row of whose frames at least a half has a face."""
        wanted = np.flatnonzero(face_shares(faces, rows) >= ENOUGH).tolist()
        if not wanted:
            return
        trained, sampler, spans = self.trained, self.trained.sampler, faces.between(rows.seen)
        clips = [Clip(VideoRecord(str(row), "", ""), ClipSummary(str(row), 0, 0), -1) for row in wanted]
        data = ClipDataset(clips, _WindowStore(faces, spans), sampler, trained.model.inputs, trained.size)
        pixels = sampler.groups * sampler.frames * sampler.draws * trained.size**2
        batch_size = max(1, (PIXELS_GPU if self.device.type == "cuda" else PIXELS_CPU) // pixels)
        for batch in DataLoader(data, batch_size=batch_size, collate_fn=collate):
            names, probabilities = self._classify(batch)
            yield from zip(map(int, names), probabilities, strict=True)

    def _classify(self, batch: ClipBatch) -> tuple[tuple[str, ...], NDArray[np.float64]]:
        batch = batch.to(self.device)
        with torch.inference_mode(), _autocast(self.device):
            predicted, _ = self._model.predict_clips(normalised(batch))
        return predicted.clip_id, predicted.probabilities.cpu().double().numpy()


def _autocast(device: torch.device) -> torch.autocast | nullcontext[None]:
    """The precision that training takes on this processor."""
    kinds = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
    kind = kinds.get(fastest_precision())
    if kind is None or device.type not in ("cpu", "cuda") or (device.type == "cpu" and torch.cuda.is_available()):
        return nullcontext()
    return torch.autocast(device.type, kind)
