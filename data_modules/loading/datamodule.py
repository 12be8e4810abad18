"""VideoDataModule, which prepares any data set and loads its clips in batches."""

from collections.abc import Iterable
from itertools import islice
from typing import Literal

import pytorch_lightning as L
import torch
from pytorch_lightning.overrides.distributed import UnrepeatedDistributedSampler
from torch.utils.data import DataLoader, Sampler, SequentialSampler

from data_modules.audio.settings import AudioSettings
from data_modules.datasets.apex_frames import apex_frames
from data_modules.datasets.dataset import VideoDataset
from data_modules.datasets.splits import join_inner, mark_inner_split
from data_modules.loading.batch import AUDIO_INPUTS, ClipSample, modalities_for
from data_modules.loading.batch_sampler import Draw, TrainingOrder
from data_modules.loading.batch_size import divide_batch
from data_modules.loading.clip_dataset import FACES_ONLY, Clip, ClipDataset, find_clips
from data_modules.loading.clip_loader import (
    PREFETCH_FACTOR,
    ClipLoader,
    check_shared_memory,
    init_worker,
    share_batch,
)
from data_modules.loading.split_faults import split_faults
from data_modules.loading.transforms import ClipAugmentation
from data_modules.manifest import check_records
from data_modules.prepare.audio import prepare_audio
from data_modules.prepare.faces import prepare_faces, preparing, store_for
from data_modules.sampling import FrameSampler
from data_modules.store.audio_cache import AudioCache
from data_modules.store.clip_store import ClipStore
from data_modules.store.feature_cache import FeatureCache
from data_modules.utils.processors import default_workers

Selection = Literal["inner", "last", "best_on_test"]
Place = Literal["device", "workers"]
EVALUATED = ("inner", "test")
"""The splits on which every run is evaluated, in the order of the test loaders."""


class VideoDataModule(L.LightningDataModule):
    """Prepare a data set and load its clips for a model.

    Set `inputs` to those of the model: the fields of `ClipBatch` to load. The validation loader reads the inner split
    of the training data; the test loaders read the inner and the reported split. Clips with none of the inputs are in
    no batch; `without_input` lists them.

    Args:
        dataset: the clips, and the settings with which faces are cropped.
        sampler: chooses the frames of a clip.
        batch_size: clips in an optimisation step, on all devices together: the number of processes and of accumulated
            batches divides it, and changes no result.
        size: side of the crops, pixels.
        augmentation: augmentation of the training clips; evaluation uses its centre crop.
        balanced: distribute every training batch evenly over the classes.
        selection: how the checkpoint is selected. `inner` selects it on an inner split of the training data. `last`
            trains on all training data and keeps the last checkpoint. `best_on_test` selects it on the reported split,
            as some papers do; all reports of the result say so.
        inner_share: fraction of the training clips in the inner split.
        train_views: number of different training views (frames and augmentation) of each clip; 0 draws a new one each
            time.
        cache: compute the features of the model's frozen parts once for each view, and train on them. Needs
            `train_views`, and the callback `FeatureCaching`, which every training command of `fer` adds.
        num_workers: number of worker processes; 0 loads in the training process. None for `default_workers`.
        seed: seed of the order of the clips and of the augmentation.
        audio: how spectrograms, log-mel energies and descriptors are computed; None for the defaults.
        worker_timeout: seconds without a batch after which the workers are ended.
        watch_test: evaluate the reported split after each epoch too; every `fer` command that trains does, unless this
            is false. The predictions go into files that are read when the training is over, and choose nothing: they
            tell what the last epoch and the best one on the reported split, as papers report it, would have given. It
            costs a forward pass over the reported split in each epoch, about a third of a training step for each clip.
        per_device_batch_size: clips that a process loads at once, in the place of `batch_size`. A step then sees as
            many times that as there are processes and accumulated batches, so that results depend on their number.
        transform_on: where crops are resized and augmented: in the `workers`, or on the model's `device`, which does so
            for a whole batch at once and is handed the crops as they are stored. None for the device if it is a GPU.

    Raises:
        ValueError: a batch size is below 1, `train_views` is negative, `cache` is set without `train_views`, or
            `worker_timeout` is not above 0.
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
        num_workers: int | None = None,
        seed: int = 0,
        audio: AudioSettings | None = None,
        worker_timeout: float = 300.0,
        watch_test: bool = False,
        per_device_batch_size: int | None = None,
        transform_on: Place | None = None,
    ) -> None:
        super().__init__()
        if batch_size < 1 or (per_device_batch_size is not None and per_device_batch_size < 1):
            raise ValueError(
                f"batch_size = {batch_size}, per_device_batch_size = {per_device_batch_size}: expected 1 or more clips"
            )
        if train_views < 0 or (cache and not train_views):
            raise ValueError(
                f"train_views = {train_views}, cache = {cache}: expected 0 or more views, and 1 or more to cache their "
                "features; set train_views to 1 or more, or cache to false"
            )
        if worker_timeout <= 0:
            raise ValueError(f"worker_timeout = {worker_timeout}: expected a number of seconds above 0, such as 300")
        self.dataset, self.sampler, self.batch_size, self.size = dataset, sampler, batch_size, size
        self.augmentation, self.balanced, self.selection = augmentation, balanced, selection
        self.inner_share, self.seed = inner_share, seed
        self.num_workers = default_workers() if num_workers is None else num_workers
        self.train_views, self.cache, self.audio, self.worker_timeout = train_views, cache, audio, worker_timeout
        self.watch_test, self.per_device_batch_size = watch_test, per_device_batch_size
        self.transform_on = transform_on
        self.features: FeatureCache | None = None
        self.clips: list[Clip] = []
        self._inputs = FACES_ONLY
        self.store: ClipStore | None = None
        self.audio_cache: AudioCache | None = None

    @property
    def class_names(self) -> tuple[str, ...]:
        """The class list of the data set; the command line passes it to the model."""
        return self.dataset.class_names

    @property
    def inputs(self) -> frozenset[str]:
        """The fields of `ClipBatch` to load; by default only faces.

        Raises:
            ValueError: the inputs are changed after `setup`, which determines the usable clips from them.
        """
        return self._inputs

    @inputs.setter
    def inputs(self, inputs: frozenset[str]) -> None:
        if self.clips and inputs != self._inputs:
            raise ValueError(
                f"the data module was set up to load {', '.join(sorted(self._inputs))}, and can no longer load "
                f"{', '.join(sorted(inputs))}: set `inputs` before `setup`, or create another data module"
            )
        self._inputs = inputs

    @property
    def num_clips(self) -> int:
        """Sub-videos in a sample; the command line passes the number to models with an argument `clips`."""
        return self.sampler.num_clips

    def prepare_data(self) -> None:
        """Create what is missing: synthetic videos, face crops, and the inputs that are made from audio.

        Lightning calls this in one process on each machine. If several call it, one prepares and the others wait.

        Raises:
            AudioLibraryNotFoundError: a package that the audio inputs need is not installed.
            ValueError: the settings of the data set leave out an input of the model.
        """
        for modality in modalities_for(self.inputs):
            modality.check_prepared(self.dataset.faces, self.dataset.name)
        workers = max(self.num_workers, 1)
        with preparing(self.dataset):
            store = prepare_faces(self.dataset, workers)
            cache = AudioCache.from_store(store, self.audio)
            prepare_audio(store, cache, self.inputs & AUDIO_INPUTS, workers, self.dataset.name)

    def setup(self, stage: str = "fit") -> None:
        """Read the manifest and the index of the store, and split off the inner split.

        Raises:
            ValueError: the emotion of a clip is not in the class list, its faces are not prepared, or the table of
                apexes is damaged.
        """
        if stage == "fit":
            self.features = None  # those of an earlier training belong to other weights
        if self.clips:
            return
        records = self.dataset.records()
        check_records(records, self.dataset.name)
        if self.selection == "inner":
            records = mark_inner_split(records, self.dataset.split_name, self.inner_share)
        else:
            records = join_inner(records)
        self.store = store_for(self.dataset)
        self.audio_cache = AudioCache.from_store(self.store, self.audio)
        self.clips = find_clips(
            *(records, self.store, self.class_names, self.inputs, self.audio_cache, self.dataset.name),
            apexes=apex_frames(self.dataset),
        )

    def use_features(self, features: FeatureCache) -> None:
        """Have the loaders that are created from now on read these features instead of crops, until the next fit."""
        self.features = features

    def split(self, name: str) -> list[Clip]:
        """Return all clips of `train`, `inner` or `test`, whether usable or not.

        If no inner split is held out, `inner` is the training split (`selection: last`) or the reported split
        (`selection: best_on_test`).
        """
        if name == "inner" and self.selection != "inner":
            name = {"last": "train", "best_on_test": "test"}[self.selection]
        return [clip for clip in self.clips if clip.record.split == name]

    @property
    def split_faults(self) -> tuple[str, ...]:
        """What makes a result on these splits misleading, a sentence each; see `loading.split_faults`."""
        return split_faults(self.clips, self.class_names, self.dataset.name)

    def without_input(self, split: str) -> list[Clip]:
        """Return the clips of a split with none of the inputs; every metric counts them as errors."""
        return [clip for clip in self.split(split) if not clip.usable]

    def clip_dataset(self, split: str, cached: bool = True) -> ClipDataset:
        """Return the samples of the usable clips of a split; `cached` allows cached features instead of crops."""
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
            self.place == "device",
        )

    def train_dataloader(self) -> DataLoader[ClipSample]:
        """Return the loader of complete training batches, balanced over the classes if `balanced` is set.

        The batches of all processes, accumulated ones together, are the same clips on any number of devices.

        Raises:
            ValueError: processes and accumulated batches do not divide the batch evenly.
        """
        data = self.clip_dataset("train")
        replicas, rank = self._processes()
        size = divide_batch(self.step_batch_size, replicas, self._accumulated)
        labels = [clip.label for clip in data.clips]
        order = TrainingOrder(labels, size, self.balanced, replicas, rank, self.seed, self._accumulated)
        order.set_epoch(self._epoch)  # workers load ahead, before the trainer sets the epoch
        return self.loader(data, order)

    @property
    def step_batch_size(self) -> int:
        """The clips in an optimisation step, on all devices together."""
        if self.per_device_batch_size is None:
            return self.batch_size
        return self.per_device_batch_size * self._processes()[0] * self._accumulated

    @property
    def device_batch_size(self) -> int:
        """The clips that a process loads at once; in training, a remainder is refused."""
        return max(1, self.step_batch_size // (self._processes()[0] * self._accumulated))

    @property
    def place(self) -> Place:
        """Where crops are resized and augmented: `transform_on`, or if that is None, the device if it is a GPU."""
        if self.transform_on is not None:
            return self.transform_on
        is_gpu = torch.cuda.is_available() and self.trainer and self.trainer.strategy.root_device.type == "cuda"
        return "device" if is_gpu else "workers"

    @property
    def validated(self) -> tuple[str, ...]:
        """The splits that are evaluated after each epoch: the one that selects the epoch, and the reported one."""
        inner = () if self.selection == "last" else ("inner",)
        return (*inner, "test") if self.watch_test and self.selection != "best_on_test" else inner

    def val_dataloader(self) -> DataLoader[ClipSample] | list[DataLoader[ClipSample]]:
        """Return the loader of the split that is evaluated after each epoch, or a list if there are none or several.

        Its views are not moved by `ClipAugmentation.eval_shift`: nine times as many would take longer than the epoch.
        """
        loaders = [self._evaluation_loader(split, shifted=False) for split in self.validated]
        return loaders[0] if len(loaders) == 1 else loaders

    def test_dataloader(self) -> list[DataLoader[ClipSample]]:
        """Return the loaders of the inner and the reported split."""
        return [self._evaluation_loader(split) for split in EVALUATED]

    def fitting_dataloader(self, inputs: frozenset[str] | None = None) -> DataLoader[ClipSample]:
        """Return a loader of all training clips, in order and without augmentation, the same on every process.

        Args:
            inputs: the fields to load; None for all inputs of the model.
        """
        data = self.clip_dataset("train", cached=False)
        data.inputs = data.inputs if inputs is None else inputs
        return self.loader(data, SequentialSampler(data))

    def predict_dataloader(self) -> DataLoader[ClipSample]:
        """Return the loader of the reported split."""
        return self._evaluation_loader("test")

    def _evaluation_loader(self, split: str, shifted: bool = True) -> DataLoader[ClipSample]:
        data = self.clip_dataset(split)
        if data.augmentation and not shifted:
            data.augmentation = data.augmentation.without_shifts()
        replicas, rank = self._processes()
        if len(data) < replicas:
            raise ValueError(
                f"the {split} split of {self.dataset.name} has {len(data)} usable clips for {replicas} processes; "
                "expected at least one for each: use fewer devices or more clips"
            )
        order = UnrepeatedDistributedSampler(data, num_replicas=replicas, rank=rank, shuffle=False)
        return self.loader(data, order)

    def loader(
        self,
        data: ClipDataset,
        order: Sampler[Draw] | Sampler[int] | None = None,
        batches: Sampler[list[Draw | int]] | None = None,
    ) -> DataLoader[ClipSample]:
        """Return a loader of batches of `device_batch_size` samples.

        Args:
            data: the samples.
            order: the order of the samples; None for that of `data`.
            batches: the items of each batch, instead of `order` and `device_batch_size`.

        Raises:
            WorkerError: the batches of the workers would not fit into shared memory.
        """
        workers = self.num_workers
        items: Iterable[Draw | int] = next(iter(batches), []) if batches is not None else order or range(len(data))
        for first in islice(items, 1 if workers else 0):
            processes = self.trainer.num_devices if self.trainer else 1
            check_shared_memory(data, first, self.device_batch_size, workers * processes)
        return ClipLoader(
            data,
            batch_size=self.device_batch_size if batches is None else 1,
            sampler=order,
            batch_sampler=batches,
            collate_fn=share_batch,  # type: ignore[arg-type]  # see `ClipDataset.load`
            num_workers=workers,
            prefetch_factor=PREFETCH_FACTOR if workers else None,
            timeout=self.worker_timeout if workers else 0,
            persistent_workers=workers > 0,
            pin_memory=torch.cuda.is_available(),
            worker_init_fn=init_worker,
            generator=torch.Generator().manual_seed(self.seed),  # not torch's own, which dropout draws from
        )

    def _processes(self) -> tuple[int, int]:
        """Return the number of processes and the index of this one."""
        return (self.trainer.world_size, self.trainer.global_rank) if self.trainer else (1, 0)

    @property
    def _accumulated(self) -> int:
        """The number of batches whose gradients are added up before each step."""
        return self.trainer.accumulate_grad_batches if self.trainer else 1

    @property
    def _epoch(self) -> int:
        """The next epoch to train, which is not the first if a run is resumed."""
        if not self.trainer:
            return 0
        return int(self.trainer.fit_loop.epoch_progress.current.processed)  # type: ignore[attr-defined]
