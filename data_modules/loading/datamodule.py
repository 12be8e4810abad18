"""VideoDataModule: the only data loaders. Data set, sampler, crop size and augmentation are its arguments."""

from collections.abc import Iterable
from itertools import islice
from typing import Literal

import pytorch_lightning as L
import torch
from pytorch_lightning.overrides.distributed import UnrepeatedDistributedSampler
from torch.utils.data import DataLoader, Sampler, SequentialSampler

from data_modules.audio.settings import AudioSettings
from data_modules.datasets.dataset import VideoDataset
from data_modules.datasets.splits import join_inner, mark_inner_split
from data_modules.loading.batch import AUDIO_INPUTS, ClipSample, modalities_of
from data_modules.loading.batch_sampler import Draw, TrainingOrder
from data_modules.loading.clip_dataset import FACES_ONLY, Clip, ClipDataset, usable
from data_modules.loading.clip_loader import (
    PREFETCHED,
    ClipLoader,
    begin_worker,
    hand_over,
    refuse_little_shared_memory,
)
from data_modules.loading.transforms import ClipAugmentation
from data_modules.manifest import check_records
from data_modules.prepare.audio import prepare_audio
from data_modules.prepare.faces import prepare_faces, store_of
from data_modules.sampling import FrameSampler
from data_modules.store.audio_cache import AudioCache
from data_modules.store.clip_store import ClipStore
from data_modules.store.feature_cache import FeatureCache

Selection = Literal["inner", "last", "best_on_test"]
EVALUATED = ("inner", "test")
"""The splits that every run is evaluated on, in the order of the test loaders."""


class VideoDataModule(L.LightningDataModule):
    """Loads clips of a data set's faces for a model.

    `inputs` names the fields of `ClipBatch` to load; set it to those of the model. The validation set is the inner
    split of the training data, the test loaders are the inner and the reported split. Clips that have nothing of what
    the model looks at are in no batch; `without_input` lists them.

    Args:
        dataset: where the clips come from and how their faces are cropped.
        sampler: chooses the frames of a clip.
        batch_size: clips per process and step.
        size: of the crops, pixels.
        augmentation: of the training clips; the evaluation sees its middle.
        balanced: spread every training batch over the classes.
        selection: `inner` sets an inner split aside, `last` trains on everything and chooses nothing, `best_on_test`
            chooses on the reported split as the papers do, and says so wherever its number stands.
        inner_share: share of the training clips in the inner split.
        train_views: train on so many draws and augmentations of each clip; 0 for ever new ones.
        cache: compute what the model's frozen parts make of each variant once, and train on that; needs `train_views`
            the callback `FeatureCaching`, which every `fer` command that trains has.
        num_workers: processes that load; 0 loads in the training process.
        seed: of order and augmentation.
        audio: how sound becomes spectrograms and descriptors, for models that ask for them; None for the defaults.
        worker_timeout: seconds after which workers that send no batch are given up.
    """

    def __init__(
        self,
        dataset: VideoDataset,
        sampler: FrameSampler,
        batch_size: int = 8,
        size: int = 224,
        augmentation: ClipAugmentation | None = None,
        balanced: bool = False,
        selection: Selection = "inner",
        inner_share: float = 0.15,
        train_views: int = 0,
        cache: bool = False,
        num_workers: int = 2,
        seed: int = 0,
        audio: AudioSettings | None = None,
        worker_timeout: float = 300.0,
    ) -> None:
        super().__init__()
        if train_views < 0 or (cache and not train_views):
            raise ValueError(
                f"variants = {train_views}, cache = {cache}: only a number of variants can be cached; set variants to "
                "1 or more, or cache to false"
            )
        if worker_timeout <= 0:
            raise ValueError(f"worker_timeout = {worker_timeout}: expected a number of seconds above 0, such as 300")
        self.dataset, self.sampler, self.batch_size, self.size = dataset, sampler, batch_size, size
        self.augmentation, self.balanced, self.selection = augmentation, balanced, selection
        self.inner_share, self.num_workers, self.seed = inner_share, num_workers, seed
        self.train_views, self.cache, self.audio, self.worker_timeout = train_views, cache, audio, worker_timeout
        self.features: FeatureCache | None = None
        self.clips: list[Clip] = []
        self._inputs = FACES_ONLY
        self.store: ClipStore | None = None
        self.audio_cache: AudioCache | None = None

    @property
    def class_names(self) -> tuple[str, ...]:
        """The data set's class list, linked to the model's."""
        return self.dataset.class_names

    @property
    def inputs(self) -> frozenset[str]:
        """The fields of `ClipBatch` that the model reads; faces alone unless others are given.

        Raises:
            ValueError: others are given after `setup`, which has decided for these which clips can be used.
        """
        return self._inputs

    @inputs.setter
    def inputs(self, inputs: frozenset[str]) -> None:
        if self.clips and inputs != self._inputs:
            raise ValueError(
                f"the data module was set up to load {', '.join(sorted(self._inputs))}; it cannot load "
                f"{', '.join(sorted(inputs))} any more: set `inputs` before `setup`, or make another one"
            )
        self._inputs = inputs

    @property
    def num_clips(self) -> int:
        """Sub-videos in a sample, linked to the `clips` of models that have them."""
        return self.sampler.num_clips

    def prepare_data(self) -> None:
        """Makes what is missing: the synthetic videos, the face crops, what the model hears.

        Runs in one process of each machine.

        Raises:
            SoundLibraryNotFoundError: a package is missing that the model's sound needs.
            ValueError: the model asks for sound or persons, and the data set's settings leave these out.
        """
        for modality in modalities_of(self.inputs):
            modality.refuse_left_out(self.dataset.faces, self.dataset.name)
        workers = max(self.num_workers, 1)
        store = prepare_faces(self.dataset, workers)
        prepare_audio(store, AudioCache.of(store, self.audio), self.inputs & AUDIO_INPUTS, workers, self.dataset.name)

    def setup(self, stage: str = "fit") -> None:
        """Reads the manifest and the store's index, and cuts the inner split.

        Raises:
            ValueError: a clip's emotion is not in the class list, or its faces are not prepared.
        """
        if stage == "fit":
            self.features = None  # those of an earlier training were of other weights
        if self.clips:
            return
        records = self.dataset.records()
        check_records(records, self.dataset.name)
        if self.selection == "inner":
            records = mark_inner_split(records, self.dataset.name, self.inner_share)
        else:
            records = join_inner(records)
        self.store = store_of(self.dataset)
        index = self.store.read_index()
        missing = [record.clip_id for record in records if record.clip_id not in index]
        if missing:
            raise ValueError(
                f"{self.dataset.name}: {len(missing)} of {len(records)} clips are not prepared in {self.store.folder}, "
                f"such as {missing[0]!r}; run `fer data prepare`"
            )
        labels = {name: place for place, name in enumerate(self.class_names)}
        strange = [record for record in records if record.emotion not in labels]
        if strange:
            raise ValueError(
                f"{self.dataset.name}: clip {strange[0].clip_id!r} has emotion {strange[0].emotion!r}; {len(strange)} "
                f"such clips; expected one of {', '.join(labels)}"
            )
        self.audio_cache = AudioCache.of(self.store, self.audio)
        inputs, missing_audio = self.inputs, self.audio_cache.failures(self.inputs & AUDIO_INPUTS)
        self.clips = [
            Clip(r, index[r.clip_id], labels[r.emotion], *usable(index[r.clip_id], inputs, missing_audio))
            for r in records
        ]

    def use_features(self, features: FeatureCache) -> None:
        """Has the loaders that are made from now on read these features in the place of crops, until the next fit."""
        self.features = features

    def split(self, name: str) -> list[Clip]:
        """All clips of `train`, `inner` or `test`, whether a model can see them or not.

        Without an inner split of its own, `inner` is the training data (`last`) or the reported split (`best_on_test`).
        """
        if name == "inner" and self.selection != "inner":
            name = {"last": "train", "best_on_test": "test"}[self.selection]
        return [clip for clip in self.clips if clip.record.split == name]

    def without_input(self, split: str) -> list[Clip]:
        """The clips of a split that have nothing of what the model reads: errors in every accuracy."""
        return [clip for clip in self.split(split) if not clip.usable]

    def clip_dataset(self, split: str, cached: bool = True) -> ClipDataset:
        """The samples of a split's clips, with cached features where there are some."""
        assert self.store is not None, "call setup() first"
        clips = [clip for clip in self.split(split) if clip.usable]
        cache = self.features if cached else None
        return ClipDataset(
            clips,
            self.store,
            self.sampler,
            self.inputs,
            self.size,
            self.augmentation,
            self.train_views,
            cache,
            self.audio_cache,
        )

    def train_dataloader(self) -> DataLoader[ClipSample]:
        """Whole batches of the training clips, balanced over the classes where asked for."""
        data = self.clip_dataset("train")
        replicas, rank = self._processes()
        labels = [clip.label for clip in data.clips]
        order = TrainingOrder(labels, self.batch_size, self.balanced, replicas, rank, self.seed)
        order.set_epoch(self._epoch)  # workers fetch ahead, before the trainer tells it
        return self.loader(data, order)

    def val_dataloader(self) -> DataLoader[ClipSample] | list[DataLoader[ClipSample]]:
        """The split that the epoch is chosen on; none where nothing is chosen."""
        return [] if self.selection == "last" else self._evaluation_loader("inner")

    def test_dataloader(self) -> list[DataLoader[ClipSample]]:
        """The inner and the reported split."""
        return [self._evaluation_loader(split) for split in EVALUATED]

    def fitting_dataloader(self, inputs: frozenset[str] | None = None) -> DataLoader[ClipSample]:
        """All training clips once, in their order and without augmentation, the same on every process.

        Args:
            inputs: the fields to load; None for all that the model asks for.
        """
        data = self.clip_dataset("train", cached=False)
        data.inputs = data.inputs if inputs is None else inputs
        return self.loader(data, SequentialSampler(data))

    def predict_dataloader(self) -> DataLoader[ClipSample]:
        """The reported split."""
        return self._evaluation_loader("test")

    def _evaluation_loader(self, split: str) -> DataLoader[ClipSample]:
        data = self.clip_dataset(split)
        replicas, rank = self._processes()
        if len(data) < replicas:
            raise ValueError(
                f"the {split} split of {self.dataset.name} has {len(data)} clips that the model can see or hear for "
                f"{replicas} processes; expected at least one each: use fewer devices or more clips"
            )
        order = UnrepeatedDistributedSampler(data, num_replicas=replicas, rank=rank, shuffle=False)
        return self.loader(data, order)

    def loader(
        self,
        data: ClipDataset,
        order: Sampler[Draw] | Sampler[int] | None = None,
        batches: Sampler[list[Draw | int]] | None = None,
    ) -> DataLoader[ClipSample]:
        """Batches of `batch_size` samples in this order, or these batches.

        Raises:
            WorkerError: the batches of the workers would not fit into shared memory.
        """
        workers = self.num_workers
        items: Iterable[Draw | int] = next(iter(batches), []) if batches is not None else order or range(len(data))
        for first in islice(items, 1 if workers else 0):
            processes = self.trainer.num_devices if self.trainer else 1
            refuse_little_shared_memory(data, first, self.batch_size, workers * processes)
        return ClipLoader(
            data,
            batch_size=self.batch_size if batches is None else 1,
            sampler=order,
            batch_sampler=batches,
            collate_fn=hand_over,
            num_workers=workers,
            prefetch_factor=PREFETCHED if workers else None,
            timeout=self.worker_timeout if workers else 0,
            persistent_workers=workers > 0,
            pin_memory=torch.cuda.is_available(),
            worker_init_fn=begin_worker,
        )

    def _processes(self) -> tuple[int, int]:
        """Number of processes, and which one this is."""
        return (self.trainer.world_size, self.trainer.global_rank) if self.trainer else (1, 0)

    @property
    def _epoch(self) -> int:
        """The epoch that is trained next: not the first one where a run goes on."""
        if not self.trainer:
            return 0
        return int(self.trainer.fit_loop.epoch_progress.current.processed)  # type: ignore[attr-defined]
