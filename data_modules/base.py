"""VideoDataModule: the only data loaders. Data set, sampler, crop size and augmentation are its arguments."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np
import pytorch_lightning as L
import torch
from pytorch_lightning.overrides.distributed import UnrepeatedDistributedSampler
from torch import Generator, Tensor
from torch.utils.data import DataLoader, Dataset
from torch.utils.data import Sampler as IndexSampler

from data_modules.batch import ClipBatch, ClipSample, collate
from data_modules.batching import Draw, TrainingOrder
from data_modules.datasets.dataset import VideoDataset
from data_modules.faces import prepare_faces, store_of
from data_modules.manifest import VideoRecord, check_records
from data_modules.sampling import Sampler
from data_modules.splits import mark_inner_split
from data_modules.store import ClipStore, ClipSummary, StoredClip
from data_modules.transforms import ClipAugmentation, normalise, resize_clip

Selection = Literal["inner", "last", "best_on_test"]
EVALUATED = ("inner", "test")
"""The splits that every run is evaluated on, in the order of the test loaders."""


@dataclass(frozen=True)
class Clip:
    """A clip of the manifest and what the store knows of it."""

    record: VideoRecord
    faces: ClipSummary
    label: int  # place in the class list

    @property
    def usable(self) -> bool:
        """Whether there is anything a model could see."""
        return self.faces.num_faces > 0


class ClipDataset(Dataset[ClipSample]):
    """Samples of clips: frames chosen by the sampler, augmented where an augmentation is given.

    Args:
        clips: with at least one face each.
        store: of their crops.
        sampler: chooses frames.
        inputs: names of the fields of `ClipBatch` to load.
        size: of the crops, pixels.
        augmentation: None for the evaluation.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        store: ClipStore,
        sampler: Sampler,
        inputs: frozenset[str] = frozenset({"face"}),
        size: int = 224,
        augmentation: ClipAugmentation | None = None,
    ) -> None:
        self.clips, self.store, self.sampler = clips, store, sampler
        self.inputs, self.size, self.augmentation = inputs, size, augmentation

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, item: int | Draw) -> ClipSample:
        """For training a `Draw`; for the evaluation the clip's number, which gives the sampler's number of draws."""
        if isinstance(item, Draw):
            generators: list[Generator | None] = [torch.Generator().manual_seed(item.seed)]
            clip = self.clips[item.clip]
        else:
            # One draw is the deterministic sample; several are random, yet the same in every evaluation.
            draws = self.sampler.draws
            generators = [None] if draws == 1 else [torch.Generator().manual_seed(seed) for seed in range(draws)]
            clip = self.clips[item]
        stored = self.store.open(clip.record.clip_id)
        return _stack([self._sample(clip, stored, generator) for generator in generators])

    def _sample(self, clip: Clip, stored: StoredClip, generator: Generator | None) -> ClipSample:
        """One draw, fields without the leading dimension."""
        places = self.sampler(len(stored), generator).numpy()
        intensity = stored.optional("intensity")
        change = self.augmentation.draw(self.size, generator) if self.augmentation and generator else None
        face = landmarks = None
        if "face" in self.inputs:
            crops = resize_clip(stored.crops(places, self.size), self.size)
            if change:
                crops = np.stack([change.image(crop) for crop in crops])
            face = torch.from_numpy(np.ascontiguousarray(crops)).permute(0, 3, 1, 2)
        if "landmarks" in self.inputs:
            points = stored.optional("landmarks")
            if points is None:
                raise ValueError(f"clip {clip.record.clip_id!r} has no landmarks, but the model asks for them")
            points = points[places] * (self.size / stored.crop_size)
            landmarks = torch.from_numpy(change.points(points) if change else points)
        return ClipSample(
            clip_id=clip.record.clip_id,
            label=clip.label,
            mask=torch.ones(len(places), dtype=torch.bool),
            frame_index=torch.from_numpy(stored.frame_index[places]),
            face=face,
            landmarks=landmarks,
            intensity=None if intensity is None else torch.from_numpy(intensity[places]),
        )


def _stack(draws: Sequence[ClipSample]) -> ClipSample:
    """Draws of one clip -> one sample whose fields have the leading dimension S."""

    def join(name: str) -> Tensor | None:
        values = [getattr(draw, name) for draw in draws]
        return None if values[0] is None else torch.stack(values)

    mask, frame_index = join("mask"), join("frame_index")
    assert mask is not None
    assert frame_index is not None
    first = draws[0]
    return ClipSample(first.clip_id, first.label, mask, frame_index, join("face"), join("landmarks"), join("intensity"))


class VideoDataModule(L.LightningDataModule):
    """Loads clips of a data set's faces for a model.

    The model's `inputs` name the fields to load. The validation set is the inner split of the training data, the test
    loaders are the inner and the reported split. Clips without any face are in no batch; `unanswered` lists them.

    Args:
        dataset: where the clips come from and how their faces are cropped.
        sampler: chooses the frames of a clip.
        batch_size: clips per process and step.
        size: of the crops, pixels.
        augmentation: of the training clips.
        balanced: spread every training batch over the classes.
        selection: `inner` sets an inner split aside, `last` trains on everything and chooses nothing, `best_on_test`
            chooses on the reported split as the papers do, and says so wherever its number stands.
        inner_share: share of the training clips in the inner split.
        num_workers: processes that load; 0 loads in the training process.
        seed: of order and augmentation.
    """

    def __init__(
        self,
        dataset: VideoDataset,
        sampler: Sampler,
        batch_size: int = 8,
        size: int = 224,
        augmentation: ClipAugmentation | None = None,
        balanced: bool = False,
        selection: Selection = "inner",
        inner_share: float = 0.15,
        num_workers: int = 2,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.dataset, self.sampler, self.batch_size, self.size = dataset, sampler, batch_size, size
        self.augmentation, self.balanced, self.selection = augmentation, balanced, selection
        self.inner_share, self.num_workers, self.seed = inner_share, num_workers, seed
        self.clips: list[Clip] = []
        self.store: ClipStore | None = None

    @property
    def class_names(self) -> tuple[str, ...]:
        """The data set's class list, linked to the model's."""
        return self.dataset.class_names

    @property
    def groups(self) -> int:
        """Sub-videos in a sample, linked to the `clips` of models that have them."""
        return self.sampler.groups

    def prepare_data(self) -> None:
        """Makes what is missing: the synthetic videos, the face crops. Runs in one process of each machine."""
        prepare_faces(self.dataset, workers=max(self.num_workers, 1))

    def setup(self, stage: str = "fit") -> None:
        """Reads the manifest and the store's index, and cuts the inner split.

        Raises:
            ValueError: a clip's emotion is not in the class list, or its faces are not prepared.
        """
        if self.clips:
            return
        records = self.dataset.records()
        check_records(records, self.dataset.name)
        if self.selection == "inner":
            records = mark_inner_split(records, self.dataset.name, self.inner_share)
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
        self.clips = [Clip(r, index[r.clip_id], labels[r.emotion]) for r in records]

    def split(self, name: str) -> list[Clip]:
        """All clips of `train`, `inner` or `test`, whether a model can see them or not.

        Without an inner split of its own, `inner` is the training data (`last`) or the reported split (`best_on_test`).
        """
        if name == "inner" and self.selection != "inner":
            name = {"last": "train", "best_on_test": "test"}[self.selection]
        return [clip for clip in self.clips if clip.record.split == name]

    def unanswered(self, split: str) -> list[Clip]:
        """The clips of a split that no model can see: errors in every accuracy."""
        return [clip for clip in self.split(split) if not clip.usable]

    def clip_dataset(self, split: str, train: bool = False) -> ClipDataset:
        """The samples of a split's clips with a face."""
        assert self.store is not None, "call setup() first"
        clips = [clip for clip in self.split(split) if clip.usable]
        inputs = getattr(self.trainer and self.trainer.lightning_module, "inputs", frozenset({"face"}))
        augmentation = (self.augmentation or ClipAugmentation(flip=False)) if train else None
        return ClipDataset(clips, self.store, self.sampler, inputs, self.size, augmentation)

    def train_dataloader(self) -> DataLoader[ClipSample]:
        """Whole batches of the training clips, balanced over the classes where asked for."""
        data = self.clip_dataset("train", train=True)
        replicas, rank = self._processes()
        labels = [clip.label for clip in data.clips]
        order = TrainingOrder(labels, self.batch_size, self.balanced, replicas, rank, self.seed)
        return self._loader(data, order)

    def val_dataloader(self) -> DataLoader[ClipSample] | list[DataLoader[ClipSample]]:
        """The split that the epoch is chosen on; none where nothing is chosen."""
        return [] if self.selection == "last" else self._evaluation_loader("inner")

    def test_dataloader(self) -> list[DataLoader[ClipSample]]:
        """The inner and the reported split."""
        return [self._evaluation_loader(split) for split in EVALUATED]

    def predict_dataloader(self) -> DataLoader[ClipSample]:
        """The reported split."""
        return self._evaluation_loader("test")

    def _evaluation_loader(self, split: str) -> DataLoader[ClipSample]:
        data = self.clip_dataset(split)
        replicas, rank = self._processes()
        if len(data) < replicas:
            raise ValueError(
                f"the {split} split of {self.dataset.name} has {len(data)} clips with a face for {replicas} processes; "
                "expected at least one each: use fewer devices or more clips"
            )
        order = UnrepeatedDistributedSampler(data, num_replicas=replicas, rank=rank, shuffle=False)
        return self._loader(data, order)

    def _loader(self, data: ClipDataset, order: IndexSampler[Draw] | IndexSampler[int]) -> DataLoader[ClipSample]:
        return DataLoader(
            data,
            batch_size=self.batch_size,
            sampler=order,
            collate_fn=collate,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
            worker_init_fn=_single_threaded,
        )

    def _processes(self) -> tuple[int, int]:
        """Number of processes, and which one this is."""
        return (self.trainer.world_size, self.trainer.global_rank) if self.trainer else (1, 0)

    def on_after_batch_transfer(self, batch: ClipBatch, dataloader_idx: int) -> ClipBatch:
        """Crops travel as bytes, a quarter of the size, and are normalised where the model is."""
        return batch if batch.face is None else replace(batch, face=normalise(batch.face))


def _single_threaded(worker: int) -> None:
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
