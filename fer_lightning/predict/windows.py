"""A trained model applied to a long video: each window of faces and audio is classified as a clip.

The inputs are made by the code that evaluates clips (`data_modules.loading.clip_dataset.ClipDataset`).
"""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from data_modules.audio.settings import AUDIO_RATE
from data_modules.audio.speech import check_libraries
from data_modules.loading.batch import AUDIO_INPUTS, INPUTS, ClipBatch
from data_modules.loading.clip_dataset import Clip, ClipDataset
from data_modules.loading.clip_loader import share_batch
from data_modules.manifest import VideoRecord
from data_modules.store.audio_cache import AudioCache
from data_modules.store.clip_file import ClipSummary
from fer_lightning.predict.faces import VideoFaces, face_shares
from fer_lightning.predict.row_classifier import Advance, RowClassifier, RowPredictions
from fer_lightning.predict.settings import ModelFacts
from fer_lightning.predict.timeline import TimelineRows
from fer_lightning.training.loading import TrainedModel
from fer_lightning.training.precision import fastest_precision

PIXELS_CPU, PIXELS_GPU = 2_000_000, 32_000_000  # crops and spectrograms of one batch
MIN_FACE_SHARE = 0.5  # of a row's own frames


class FaceWindow:
    """Successive faces of a video and the audio of the same time, as a `FaceSequence`.

    Args:
        name: of the window.
        faces: of the video.
        positions: range [first, stop) of the faces.
        seconds: start and end of the window.
    """

    def __init__(self, name: str, faces: VideoFaces, positions: tuple[int, int], seconds: tuple[float, float]) -> None:
        self._faces, self._span = faces, slice(*positions)
        self._audio = faces.audio(*seconds)
        self.frame_index = faces.frame_index[self._span]
        audio_seconds = len(self._audio) / AUDIO_RATE if self._audio.any() else 0.0
        self.summary = ClipSummary(name, len(self.frame_index), len(self.frame_index), audio=audio_seconds)

    def __len__(self) -> int:
        return len(self.frame_index)

    @property
    def crop_size(self) -> int:
        """See `FaceSequence.crop_size`."""
        return self._faces.clip.crop_size

    def has(self, name: str) -> bool:
        """See `FaceSequence.has`."""
        return bool(len(self._audio)) if name == "audio" else self._faces.clip.has(name)

    def optional(self, name: str) -> NDArray[np.float32] | None:
        """See `FaceSequence.optional`."""
        rows = self._faces.optional(name)
        return None if rows is None else rows[self._span]

    def crops(
        self,
        positions: Sequence[int] | NDArray[np.int64],
        size: int | None = None,
        what: str = "face",
        out: NDArray[np.uint8] | None = None,
    ) -> NDArray[np.uint8]:
        """See `FaceSequence.crops`."""
        return self._faces.crops(np.asarray(positions, dtype=np.int64) + self._span.start, size, what, out)

    def audio(self, start: float = 0.0, stop: float | None = None) -> NDArray[np.float32] | None:
        """See `FaceSequence.audio`; seconds are counted from the start of the window."""
        last = None if stop is None else round(stop * AUDIO_RATE)
        return self._audio[round(start * AUDIO_RATE) : last] if len(self._audio) else None


class _WindowSource:
    """Windows of a video by their number, as a `FaceSource`.

    Args:
        faces: of the video.
        positions: (K, 2) range [first, stop) of the faces of each window.
        seconds: (K, 2) start and end of each window.
    """

    def __init__(self, faces: VideoFaces, positions: NDArray[np.int64], seconds: NDArray[np.float64]) -> None:
        self._faces, self._positions, self._seconds = faces, positions, seconds

    def open(self, clip_id: str) -> FaceWindow:
        """Returns the window of that number."""
        (first, stop), (start, end) = self._positions[int(clip_id)].tolist(), self._seconds[int(clip_id)].tolist()
        return FaceWindow(clip_id, self._faces, (first, stop), (start, end))


def check_audio_packages(trained: TrainedModel) -> None:
    """Looks for the packages that make a model's audio inputs, before the work on a long video begins.

    Raises:
        AudioLibraryNotFoundError: a package is missing.
    """
    if fields := AUDIO_INPUTS & trained.model.inputs:
        check_libraries(trained.audio)
        files = AudioCache(trained.audio).files
        for field in fields:
            _ = files[field].make


class WindowClassifier(RowClassifier):
    """Classifies the windows of videos with one trained model.

    Args:
        trained: the model and the settings of its input.
        device: where it runs.

    Raises:
        AudioLibraryNotFoundError: a package is missing that the model's audio needs.
        ValueError: the model needs an input that is not made from videos here.
    """

    def __init__(self, trained: TrainedModel, device: torch.device) -> None:
        unavailable = sorted(trained.model.inputs - set(INPUTS))
        if unavailable:
            raise ValueError(
                f"{trained.checkpoint}: {type(trained.model).__name__} needs {', '.join(unavailable)}, which is not "
                f"made from videos here; use the checkpoint of a model whose inputs are among {', '.join(INPUTS)}"
            )
        self.trained, self.device, self.class_names = trained, device, trained.class_names
        self.facts = ModelFacts(
            str(trained.checkpoint),
            type(trained.model).__name__,
            tuple(sorted(trained.model.inputs)),
            repr(trained.sampler),
        )
        self._model = trained.model.to(device).eval()
        self._audio_cache = AudioCache(trained.audio)
        check_audio_packages(trained)

    def predict(self, faces: VideoFaces, rows: TimelineRows, advance: Advance) -> RowPredictions:
        """See `RowClassifier.predict`."""
        probabilities = np.full((len(rows.start), len(self.class_names)), np.nan)
        for row, values in self.predict_rows(faces, rows):
            probabilities[row] = values
            advance(row + 1)
        return RowPredictions(probabilities)

    def predict_rows(self, faces: VideoFaces, rows: TimelineRows) -> Iterator[tuple[int, NDArray[np.float64]]]:
        """Yields the index and the (C,) probabilities of each row that has an input of the model.

        A row has an input if at least half of its own frames have a face, or if there is audio in its window. If only
        one of a model's two modalities is present, `ClipBatch.present` says so. Of one of several people, only rows
        with the face are predicted.
        """
        none = np.zeros(len(rows.start), dtype=np.bool_)
        seen = face_shares(faces, rows) >= MIN_FACE_SHARE
        with_face = seen if self.facts.uses_faces else none
        with_audio = faces.has_audio(rows) if self.facts.uses_audio else none
        selected = np.flatnonzero((with_face | with_audio) & (seen | (not faces.several))).tolist()
        if not selected:
            return
        trained, positions = self.trained, faces.position_ranges(rows.window_frames)
        store = _WindowSource(faces, np.where(with_face[:, None], positions, positions[:, :1]), rows.window)
        clips = [Clip(VideoRecord(str(row), "", ""), ClipSummary(str(row), 0, 0), -1) for row in selected]
        data = ClipDataset(
            clips,
            store,
            trained.sampler,
            trained.model.inputs,
            trained.size,
            trained.augmentation,
            audio_cache=self._audio_cache,
            on_device=self.device.type == "cuda",
        )
        batch_size = self._batch_size(data.eval_views)
        for batch in DataLoader(data, batch_size, collate_fn=share_batch):  # type: ignore[arg-type]
            names, probabilities = self._classify(batch)
            valid = {name for name, has_input in zip(batch.clip_id, _has_input(batch), strict=True) if has_input}
            yield from ((int(name), p) for name, p in zip(names, probabilities, strict=True) if name in valid)

    def _batch_size(self, views: int) -> int:
        """Returns the number of windows whose pixels fit in memory."""
        trained, sampler = self.trained, self.trained.sampler
        pixels = sampler.num_clips * sampler.frames * trained.size**2 if self.facts.uses_faces else 0
        pixels += trained.audio.size**2 if self.facts.uses_audio else 0
        pixels *= views
        return max(1, (PIXELS_GPU if self.device.type == "cuda" else PIXELS_CPU) // max(pixels, 1))

    def _classify(self, batch: ClipBatch) -> tuple[tuple[str, ...], NDArray[np.float64]]:
        batch = batch.to(self.device)
        with torch.inference_mode(), _autocast(self.device):
            predicted, _ = self._model.predict_clips(batch)
        return predicted.clip_id, predicted.probabilities.cpu().double().numpy()


def _has_input(batch: ClipBatch) -> list[bool]:
    """Whether each sample has any input: audio that is too short may have no descriptors."""
    return [True] * len(batch) if batch.present is None else batch.present.any(dim=1).tolist()


def _autocast(device: torch.device) -> torch.autocast | nullcontext[None]:
    """Returns the precision that training uses on this device."""
    dtypes = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
    dtype = dtypes.get(fastest_precision())
    if dtype is None or device.type not in ("cpu", "cuda") or (device.type == "cpu" and torch.cuda.is_available()):
        return nullcontext()
    return torch.autocast(device.type, dtype)
