"""A trained model over a long video: windows of its faces and its sound, each as if it were a clip of its own.

Frames are chosen and cut, and sound is made a spectrogram or descriptors, by the very code that evaluates clips
(`data_modules.loading.clip_dataset.ClipDataset`).
"""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from data_modules.audio.settings import AUDIO_RATE
from data_modules.audio.speech import check_libraries
from data_modules.loading.batch import AUDIO_INPUTS, INPUTS, ClipBatch, collate
from data_modules.loading.clip_dataset import Clip, ClipDataset
from data_modules.manifest import VideoRecord
from data_modules.store.audio_cache import AudioCache
from data_modules.store.clip_file import ClipSummary
from fer_lightning.predict.faces import VideoFaces, face_shares, has_audio
from fer_lightning.predict.row_classifier import Advance, Answers, RowClassifier
from fer_lightning.predict.settings import ModelFacts
from fer_lightning.predict.timeline import Rows
from fer_lightning.training.loading import TrainedModel
from fer_lightning.training.precision import fastest_precision

PIXELS_CPU, PIXELS_GPU = 2_000_000, 32_000_000  # of the crops and spectrograms in one batch
ENOUGH = 0.5  # of a row's frames need a face


class FaceWindow:
    """Some successive faces of a video and the sound of that time: a `FaceSequence`.

    Args:
        name: of the window.
        faces: of the video.
        places: [first, stop) of the faces.
        seconds: when the window begins and ends.
    """

    def __init__(self, name: str, faces: VideoFaces, places: tuple[int, int], seconds: tuple[float, float]) -> None:
        self._faces, self._span = faces, slice(*places)
        self._audio = faces.audio(*seconds)
        self.frame_index = faces.frame_index[self._span]
        has_audio = len(self._audio) / AUDIO_RATE if self._audio.any() else 0.0
        self.summary = ClipSummary(name, len(self.frame_index), len(self.frame_index), audio=has_audio)

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
        self, positions: Sequence[int] | NDArray[np.int64], size: int | None = None, what: str = "face"
    ) -> NDArray[np.uint8]:
        """See `FaceSequence.crops`."""
        return self._faces.crops(np.asarray(positions, dtype=np.int64) + self._span.start, size, what)

    def audio(self, start: float = 0.0, stop: float | None = None) -> NDArray[np.float32] | None:
        """See `FaceSequence.audio`; seconds count from the beginning of the window."""
        last = None if stop is None else round(stop * AUDIO_RATE)
        return self._audio[round(start * AUDIO_RATE) : last] if len(self._audio) else None


class _Windows:
    """Windows of a video by their number: a `FaceSource`.

    Args:
        faces: of the video.
        places: (K, 2) the faces [first, stop) of each window.
        seconds: (K, 2) when each window begins and ends.
    """

    def __init__(self, faces: VideoFaces, places: NDArray[np.int64], seconds: NDArray[np.float64]) -> None:
        self._faces, self._places, self._seconds = faces, places, seconds

    def open(self, clip_id: str) -> FaceWindow:
        """The window of that number."""
        (first, stop), (start, end) = self._places[int(clip_id)].tolist(), self._seconds[int(clip_id)].tolist()
        return FaceWindow(clip_id, self._faces, (first, stop), (start, end))


class WindowClassifier(RowClassifier):
    """A trained model on a device, for windows of any video.

    Args:
        trained: the model and how its input was made.
        device: where it runs.

    Raises:
        AudioLibraryNotFoundError: a package is missing that the model's sound needs.
        ValueError: the model needs what is not made from videos here.
    """

    def __init__(self, trained: TrainedModel, device: torch.device) -> None:
        further = sorted(trained.model.inputs - set(INPUTS))
        if further:
            raise ValueError(
                f"{trained.checkpoint}: {type(trained.model).__name__} needs {', '.join(further)}, which is not made "
                f"from videos here; use the checkpoint of a model of {', '.join(INPUTS)}"
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
        if self.facts.hears:  # a package that is missing is named before the work on a long video begins
            check_libraries(trained.audio)
            for field in AUDIO_INPUTS & trained.model.inputs:
                _ = self._audio_cache.files[field].make

    def answer(self, faces: VideoFaces, rows: Rows, advance: Advance) -> Answers:
        """See `RowClassifier.answer`."""
        probabilities = np.full((len(rows.start), len(self.class_names)), np.nan)
        for row, values in self.rows(faces, rows):
            probabilities[row] = values
            advance(row + 1)
        return Answers(probabilities)

    def rows(self, faces: VideoFaces, rows: Rows) -> Iterator[tuple[int, NDArray[np.float64]]]:
        """Yields (row, its (C,) probabilities) for each row in which there is what the model looks at or hears.

        That is a face in at least a half of the row's frames, or sound in its window; where there is too little of the
        one, the model gets the other alone and is told so (`ClipBatch.present`).
        """
        nowhere = np.zeros(len(rows.start), dtype=np.bool_)
        seen = face_shares(faces, rows) >= ENOUGH if self.facts.looks else nowhere
        wanted = np.flatnonzero(seen | (has_audio(faces, rows) if self.facts.hears else nowhere)).tolist()
        if not wanted:
            return
        trained, places = self.trained, faces.between(rows.seen)
        store = _Windows(faces, np.where(seen[:, None], places, places[:, :1]), rows.window)
        clips = [Clip(VideoRecord(str(row), "", ""), ClipSummary(str(row), 0, 0), -1) for row in wanted]
        data = ClipDataset(
            clips,
            store,
            trained.sampler,
            trained.model.inputs,
            trained.size,
            trained.augmentation,
            audio_cache=self._audio_cache,
        )
        for batch in DataLoader(data, batch_size=self._batch_size(), collate_fn=collate):
            names, probabilities = self._classify(batch)
            there = {name for name, has in zip(batch.clip_id, _present(batch), strict=True) if has}
            yield from ((int(name), p) for name, p in zip(names, probabilities, strict=True) if name in there)

    def _batch_size(self) -> int:
        """Windows whose pixels fit."""
        trained, sampler = self.trained, self.trained.sampler
        pixels = sampler.num_clips * sampler.frames * sampler.eval_views * trained.size**2 if self.facts.looks else 0
        pixels += sampler.eval_views * trained.audio.size**2 if self.facts.hears else 0
        return max(1, (PIXELS_GPU if self.device.type == "cuda" else PIXELS_CPU) // max(pixels, 1))

    def _classify(self, batch: ClipBatch) -> tuple[tuple[str, ...], NDArray[np.float64]]:
        batch = batch.to(self.device)
        with torch.inference_mode(), _autocast(self.device):
            predicted, _ = self._model.predict_clips(batch)
        return predicted.clip_id, predicted.probabilities.cpu().double().numpy()


def _present(batch: ClipBatch) -> list[bool]:
    """Which samples hold anything: of sound that is too short, there may be no descriptors."""
    return [True] * len(batch) if batch.present is None else batch.present.any(dim=1).tolist()


def _autocast(device: torch.device) -> torch.autocast | nullcontext[None]:
    """The precision that training takes on this processor."""
    kinds = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
    kind = kinds.get(fastest_precision())
    if kind is None or device.type not in ("cpu", "cuda") or (device.type == "cpu" and torch.cuda.is_available()):
        return nullcontext()
    return torch.autocast(device.type, kind)
