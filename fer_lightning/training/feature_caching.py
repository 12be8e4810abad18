"""Caches the features of a model's frozen parts: computed once for all views of all clips, then read in training."""

import hashlib
import re
from collections.abc import Iterator, Sequence

import pytorch_lightning as L
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor, nn
from torch.utils.data import Sampler

from data_modules.loading.batch import ClipBatch
from data_modules.loading.batch_sampler import Draw
from data_modules.loading.clip_dataset import ClipDataset
from data_modules.loading.datamodule import EVALUATED, VideoDataModule
from data_modules.store.clip_store import FEATURES
from data_modules.store.feature_cache import EVALUATION, TRAIN_VIEWS, CachedFeatures, FeatureCache
from data_modules.utils.progress import progress
from fer_lightning.training.classifier import VideoClassifier

METHOD = b"2"
"""The computation of pictures and features that a name stands for; another one where the same settings give others."""


class FeatureCaching(Callback):
    """Computes the features of a model's frozen parts before a training; the data module then reads them.

    It does nothing unless the data module's `cache` is set and the model has frozen parts. Every `fer` command that
    trains uses this callback; pass it to a `Trainer` of your own.
    """

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Computes the features that are missing in the cache.

        A later hook would be too late: Lightning creates the first loaders before `on_train_start`. It calls this hook
        before the model's own, so the model has to load its weights here. A resumed model already has them.
        """
        data = trainer.datamodule  # type: ignore[attr-defined]
        if not (isinstance(data, VideoDataModule) and isinstance(pl_module, VideoClassifier)):
            return
        if data.cache and pl_module.frozen_parts():
            pl_module.begin_training()
            data.use_features(cached_features(pl_module, data))


def cached_features(model: VideoClassifier, data: VideoDataModule) -> FeatureCache:
    """Fills the cache with the features of all clips and returns it, complete on every process.

    Each process computes its share of the clips. Clips whose features are complete are skipped.
    """
    assert data.store is not None
    cache = FeatureCache(data.store.folder / FEATURES / features_key(model, data))
    training = data.clip_dataset("train", cached=False)
    evaluated = [data.clip_dataset(split, cached=False) for split in EVALUATED if data.split(split)]
    _fill(model, data, cache, training, TRAIN_VIEWS, data.train_views)
    for dataset in evaluated:
        _fill(model, data, cache, dataset, EVALUATION, dataset.eval_views)
    model.trainer.strategy.barrier()
    return cache


def features_key(model: VideoClassifier, data: VideoDataModule) -> str:
    """Hashes all that the features depend on: weights, settings, frames, crop size, augmentation, and the computation.

    The settings of a model are the attributes that `forward_frozen` can read: its own, without those of
    `VideoClassifier` and those that it names in `behind_frozen`, and those of modules that are frozen or have frozen
    parts. So trainings of other rates, losses and heads share features.
    """
    digest = hashlib.sha256(METHOD)
    settings = (data.sampler, data.size, data.augmentation, data.train_views, model.trainer.precision, data.place)
    for setting in (model.frozen_parts(), *settings, data.audio, sorted(model.inputs)):
        digest.update(repr(setting).encode())
    digest.update(repr(_settings(model)).encode())
    for part in model.frozen_parts():
        for name, tensor in sorted(part.state_dict().items()):
            digest.update(name.encode())
            digest.update(_bytes(tensor))
    return digest.hexdigest()[:16]


def _settings(model: VideoClassifier) -> list[tuple[str, str, object]]:
    """Lists name, class and attributes of a model and of its modules that are frozen or have frozen parts."""
    frozen = {module for part in model.frozen_parts() for module in part.modules()}
    of_training = vars(VideoClassifier(model.class_names)).keys() | model.behind_frozen
    settings = []
    for name, module in model.named_modules():
        if module is model or not frozen.isdisjoint(module.modules()):
            left_out = of_training if module is model else vars(nn.Module()).keys()
            own = {key: value for key, value in vars(module).items() if key not in left_out}
            settings.append((name, repr(type(module)), _plain(own)))
    return settings


def _plain(value: object) -> object:
    """Returns a value whose representation is the same in all processes: in order, without addresses and devices."""
    match value:
        case Tensor():
            return hashlib.sha256(_bytes(value)).hexdigest()
        case dict():
            return sorted((repr(key), repr(_plain(each))) for key, each in value.items())
        case set() | frozenset():
            return sorted(repr(_plain(each)) for each in value)
        case list() | tuple():
            return [_plain(each) for each in value]
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))


def _bytes(tensor: Tensor) -> bytes:
    return tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes()


class _WholeClips(Sampler[list[Draw | int]]):
    """Batches of whole clips: each clip with all of its training views, or as it is evaluated if `train_views` is 0."""

    def __init__(self, clips: Sequence[int], train_views: int, batch_size: int) -> None:
        self._clips, self._train_views = clips, train_views
        self._clips_per_batch = max(1, batch_size // max(train_views, 1))

    def __len__(self) -> int:
        return -(-len(self._clips) // self._clips_per_batch)

    def __iter__(self) -> Iterator[list[Draw | int]]:
        for start in range(0, len(self._clips), self._clips_per_batch):
            clips = self._clips[start : start + self._clips_per_batch]
            yield [Draw(clip, number) for clip in clips for number in range(self._train_views)] or list(clips)


def _fill(
    model: VideoClassifier, data: VideoDataModule, cache: FeatureCache, dataset: ClipDataset, group: str, count: int
) -> None:
    """Computes and writes the features of this process's clips that the cache does not hold yet."""
    rank, world = model.trainer.global_rank, model.trainer.world_size
    mine = [i for i in range(len(dataset)) if i % world == rank]
    todo = [i for i in mine if cache.count(dataset.clips[i].record.clip_id, group) != count]
    batches = _WholeClips(todo, count if group == TRAIN_VIEWS else 0, data.device_batch_size)
    with progress(f"features of {group}", len(todo)) as advance:
        done = 0
        for batch in data.loader(dataset, batches=batches):
            frames, clips = _compute(model, batch)
            for clip_id in dict.fromkeys(batch.clip_id):
                rows = [row for row, name in enumerate(batch.clip_id) if name == clip_id]
                features = [_sample_features(frames, clips, batch.mask, row) for row in rows]
                cache.write(clip_id, group, features)
                done += 1
            advance(done)


def _compute(model: VideoClassifier, batch: ClipBatch) -> tuple[Tensor | None, Tensor | None]:
    """Runs the frozen parts on a batch; returns features of frames (B, T, D) and of samples (B, D) on the CPU."""
    with torch.no_grad(), model.trainer.precision_plugin.forward_context():
        output = model.forward_frozen(batch.to(model.device))
    return (None if output.frames is None else output.frames.cpu(), None if output.clip is None else output.clip.cpu())


def _sample_features(frames: Tensor | None, clips: Tensor | None, mask: Tensor, row: int) -> CachedFeatures:
    """Returns the features of one sample without padded frames."""
    return CachedFeatures(
        None if frames is None else frames[row, : int(mask[row].sum())], None if clips is None else clips[row]
    )
