"""FeatureCaching: runs the frozen parts of a model once over all variants of all clips, and lets training read that."""

import hashlib
from collections.abc import Iterator, Sequence

import pytorch_lightning as L
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor
from torch.utils.data import Sampler

from data_modules.loading.batch import ClipBatch
from data_modules.loading.batch_sampler import Draw
from data_modules.loading.clip_dataset import ClipDataset
from data_modules.loading.datamodule import EVALUATED, VideoDataModule
from data_modules.store.feature_cache import EVALUATION, TRAIN_VIEWS, FeatureCache, Features
from data_modules.utils.progress import progress
from fer_lightning.training.classifier import VideoClassifier


class FeatureCaching(Callback):
    """Computes what a model's frozen parts make of the clips before a training, and has the data module read it.

    It does so if the data module's `cache` is set and the model has frozen parts. Every `fer` command that trains has
    this callback; give it to a `Trainer` of your own.
    """

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Fills the cache with what is missing.

        No later hook would do: Lightning makes the first loaders before it calls the callbacks' `on_train_start`. It
        calls this one before the module's, so the model is told to load its weights; one that goes on has them from
        its checkpoint by now.
        """
        data = trainer.datamodule  # type: ignore[attr-defined]
        if not (isinstance(data, VideoDataModule) and isinstance(pl_module, VideoClassifier)):
            return
        if data.cache and pl_module.frozen_parts():
            pl_module.begin_training()
            data.use_features(cached_features(pl_module, data))


def cached_features(model: VideoClassifier, data: VideoDataModule) -> FeatureCache:
    """The cache of all clips' features, complete on every process.

    Each process computes its share of the clips; what is there already, whole, stays.
    """
    assert data.store is not None
    cache = FeatureCache(data.store.folder / "features" / features_key(model, data))
    training = data.clip_dataset("train", cached=False)
    evaluated = [data.clip_dataset(split, cached=False) for split in EVALUATED if data.split(split)]
    _fill(model, data, cache, training, TRAIN_VIEWS, data.train_views)
    for dataset in evaluated:
        _fill(model, data, cache, dataset, EVALUATION, data.sampler.eval_views)
    model.trainer.strategy.barrier()
    return cache


def features_key(model: VideoClassifier, data: VideoDataModule) -> str:
    """A name for everything that the features depend on: weights, frames, crops' size, augmentation, precision."""
    digest = hashlib.sha256()
    precision = model.trainer.precision
    for setting in (model.frozen_parts(), data.sampler, data.size, data.augmentation, data.train_views, precision):
        digest.update(repr(setting).encode())
    for part in model.frozen_parts():
        for name, tensor in sorted(part.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


class _Share(Sampler[list[Draw | int]]):
    """One process's clips, each with all of its variants, or in the evaluation as it is, in batches of whole clips."""

    def __init__(self, clips: Sequence[int], train_views: int, batch_size: int) -> None:
        self._clips, self._variants = clips, train_views
        self._together = max(1, batch_size // max(train_views, 1))

    def __len__(self) -> int:
        return -(-len(self._clips) // self._together)

    def __iter__(self) -> Iterator[list[Draw | int]]:
        for start in range(0, len(self._clips), self._together):
            clips = self._clips[start : start + self._together]
            yield [Draw(clip, number) for clip in clips for number in range(self._variants)] or list(clips)


def _fill(
    model: VideoClassifier, data: VideoDataModule, cache: FeatureCache, dataset: ClipDataset, group: str, count: int
) -> None:
    """Writes the features of all clips of a data set that are not there yet."""
    rank, world = model.trainer.global_rank, model.trainer.world_size
    mine = [i for i in range(len(dataset)) if i % world == rank]
    todo = [i for i in mine if cache.count(dataset.clips[i].record.clip_id, group) != count]
    order = _Share(todo, count if group == TRAIN_VIEWS else 0, data.batch_size)
    with progress(f"features of {group}", len(todo)) as advance:
        done = 0
        for batch in data.loader(dataset, batches=order):
            frames, clips = _frozen(model, batch)
            for clip_id in dict.fromkeys(batch.clip_id):
                rows = [row for row, name in enumerate(batch.clip_id) if name == clip_id]
                features = [_of_row(frames, clips, batch.mask, row) for row in rows]
                cache.write(clip_id, group, features)
                done += 1
            advance(done)


def _frozen(model: VideoClassifier, batch: ClipBatch) -> tuple[Tensor | None, Tensor | None]:
    """What the frozen parts make of a batch, on the processor."""
    with torch.no_grad(), model.trainer.precision_plugin.forward_context():
        made = model.forward_frozen(batch.to(model.device))
    return (None if made.frames is None else made.frames.cpu(), None if made.clip is None else made.clip.cpu())


def _of_row(frames: Tensor | None, clips: Tensor | None, mask: Tensor, row: int) -> Features:
    """One sample's features, without what was padded."""
    return Features(
        None if frames is None else frames[row, : int(mask[row].sum())], None if clips is None else clips[row]
    )
