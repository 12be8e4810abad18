"""VideoDataModule: the only data loaders. Data set, sampler, crop size and augmentation are its arguments."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np
import pytorch_lightning as L
import torch
from numpy.typing import NDArray
from pytorch_lightning.overrides.distributed import UnrepeatedDistributedSampler
from torch import Generator, Tensor
from torch.utils.data import DataLoader, Dataset, SequentialSampler
from torch.utils.data import Sampler as IndexSampler

from data_modules.batch import ClipBatch, ClipSample, collate
from data_modules.batching import Draw, TrainingOrder
from data_modules.datasets.dataset import VideoDataset
from data_modules.feature_cache import EVALUATION, VARIANTS, FeatureCache, Features
from data_modules.manifest import VideoRecord, check_records
from data_modules.prepare import prepare_faces, store_of
from data_modules.sampling import Sampler
from data_modules.splits import join_inner, mark_inner_split
from data_modules.store import ClipStore, ClipSummary, StoredClip
from data_modules.transforms import Change, ClipAugmentation, normalise, resize_clip

Selection = Literal["inner", "last", "best_on_test"]
EVALUATED = ("inner", "test")
"""The splits that every run is evaluated on, in the order of the test loaders."""


@dataclass(frozen=True)
class Clip:
    """A clip of the manifest and what the store knows of it."""

    record: VideoRecord
    faces: ClipSummary
    label: int  # place in the class list
    usable: bool = True  # whether there is anything that the model could see or hear


NOTHING = frozenset[str]()
FACES_ONLY, PICTURES = frozenset({"face"}), frozenset({"face", "person"})
POINTS, SOUND = frozenset({"landmarks"}), frozenset({"spectrogram", "descriptor"})


def available(clip: ClipSummary) -> frozenset[str]:
    """The inputs of a model that the store has for a clip."""
    seen = PICTURES if clip.num_faces > 0 else NOTHING
    measured = POINTS if clip.num_landmarks > 0 else NOTHING
    heard = SOUND if clip.sound > 0 else NOTHING
    return seen | measured | heard


class ClipDataset(Dataset[ClipSample]):
    """Samples of clips: frames chosen by the sampler, augmented where an augmentation is given.

    Args:
        clips: with at least one face each, or whatever the model looks at.
        store: of their crops.
        sampler: chooses frames.
        inputs: names of the fields of `ClipBatch` to load.
        size: of the crops, pixels.
        augmentation: None for the evaluation.
        variants: train on so many draws and augmentations of each clip; 0 for ever new ones.
        cache: of features that stand for the crops.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        store: ClipStore,
        sampler: Sampler,
        inputs: frozenset[str] = FACES_ONLY,
        size: int = 224,
        augmentation: ClipAugmentation | None = None,
        variants: int = 0,
        cache: FeatureCache | None = None,
    ) -> None:
        self.clips, self.store, self.sampler = clips, store, sampler
        self.inputs, self.size, self.augmentation = inputs, size, augmentation
        self.variants, self.cache = variants, cache

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, item: int | Draw) -> ClipSample:
        """For training a `Draw`; for the evaluation the clip's number, which gives the sampler's number of draws."""
        clip = self.clips[item.clip if isinstance(item, Draw) else item]
        stored = self.store.open(clip.record.clip_id)
        if isinstance(item, Draw) and self.variants:
            number = item.seed % self.variants
            seed = zlib.crc32(f"{clip.record.clip_id}/{number}".encode())
            return _stack([self._sample(clip, stored, torch.Generator().manual_seed(seed), VARIANTS, number)])
        if isinstance(item, Draw):
            return _stack([self._sample(clip, stored, torch.Generator().manual_seed(item.seed))])
        draws = self.sampler.draws  # one is the deterministic sample; several are random, yet the same in every one
        generators = [None] if draws == 1 else [torch.Generator().manual_seed(seed) for seed in range(draws)]
        return _stack([self._sample(clip, stored, g, EVALUATION, number) for number, g in enumerate(generators)])

    def _sample(
        self, clip: Clip, stored: StoredClip, generator: Generator | None, group: str = "", number: int = 0
    ) -> ClipSample:
        """One draw, fields without the leading dimension; `group` and `number` say which in the cache it is."""
        places = self.sampler(len(stored), generator).numpy()
        intensity = stored.optional("intensity")
        change = self.augmentation.draw(self.size, generator) if self.augmentation and generator else None
        cached = self.cache.read(clip.record.clip_id, group, number) if self.cache else Features()
        pictures = {
            name: self._pictures(stored, places, name, change) if name in self.inputs and not self.cache else None
            for name in ("face", "person")
        }
        return ClipSample(
            clip_id=clip.record.clip_id,
            label=clip.label,
            mask=torch.ones(len(places), dtype=torch.bool),
            frame_index=torch.from_numpy(stored.frame_index[places]),
            face=pictures["face"],
            person=pictures["person"],
            landmarks=self._landmarks(clip, stored, places, change) if "landmarks" in self.inputs else None,
            intensity=None if intensity is None else torch.from_numpy(intensity[places]),
            features=cached.frames,
            clip_features=cached.clip,
        )

    def _pictures(self, stored: StoredClip, places: NDArray[np.int64], name: str, change: Change | None) -> Tensor:
        """(T, 3, H, W) uint8 crops of the face or the person."""
        crops = resize_clip(stored.crops(places, self.size, name), self.size)
        if change:
            crops = np.stack([change.image(crop) for crop in crops])
        return torch.from_numpy(np.ascontiguousarray(crops)).permute(0, 3, 1, 2)

    def _landmarks(self, clip: Clip, stored: StoredClip, places: NDArray[np.int64], change: Change | None) -> Tensor:
        """(T, 68, 3) in pixels of the crop; NaN in frames where none were found."""
        points = stored.optional("landmarks")
        if points is None:
            raise ValueError(
                f"clip {clip.record.clip_id!r} has no landmarks, but the model asks for them; prepare the data set "
                "with `faces.landmarks: mesh` or another that finds them"
            )
        centre = np.array([0.5, 0.5, 0.0], dtype=np.float32)  # of a pixel
        points = (points[places] + centre) * np.float32(self.size / stored.crop_size) - centre
        return torch.from_numpy(change.points(points) if change else points)


def _stack(draws: Sequence[ClipSample]) -> ClipSample:
    """Draws of one clip -> one sample whose fields have the leading dimension S."""

    def join(name: str) -> Tensor | None:
        values = [getattr(draw, name) for draw in draws]
        return None if values[0] is None else torch.stack(values)

    mask, frame_index = join("mask"), join("frame_index")
    assert mask is not None
    assert frame_index is not None
    first = draws[0]
    return ClipSample(
        first.clip_id,
        first.label,
        mask,
        frame_index,
        face=join("face"),
        person=join("person"),
        landmarks=join("landmarks"),
        intensity=join("intensity"),
        features=join("features"),
        clip_features=join("clip_features"),
    )


class VideoDataModule(L.LightningDataModule):
    """Loads clips of a data set's faces for a model.

    The model's `inputs` name the fields to load. The validation set is the inner split of the training data, the test
    loaders are the inner and the reported split. Clips that have nothing of what the model looks at are in no batch;
    `unanswered` lists them.

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
        variants: train on so many draws and augmentations of each clip; 0 for ever new ones.
        cache: compute what the model's frozen parts make of each variant once, and train on that; needs `variants`.
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
        variants: int = 0,
        cache: bool = False,
        num_workers: int = 2,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if variants < 0 or (cache and not variants):
            raise ValueError(
                f"variants = {variants}, cache = {cache}: only a number of variants can be cached; set variants to "
                "1 or more, or cache to false"
            )
        self.dataset, self.sampler, self.batch_size, self.size = dataset, sampler, batch_size, size
        self.augmentation, self.balanced, self.selection = augmentation, balanced, selection
        self.inner_share, self.num_workers, self.seed = inner_share, num_workers, seed
        self.variants, self.cache = variants, cache
        self.features: FeatureCache | None = None  # filled when a training begins
        self.clips: list[Clip] = []
        self.store: ClipStore | None = None

    @property
    def class_names(self) -> tuple[str, ...]:
        """The data set's class list, linked to the model's."""
        return self.dataset.class_names

    @property
    def inputs(self) -> frozenset[str]:
        """What the model looks at; faces where there is no model yet."""
        model = self.trainer.lightning_module if self.trainer else None
        inputs: frozenset[str] = getattr(model, "inputs", FACES_ONLY)
        return inputs

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
        inputs = self.inputs
        self.clips = [
            Clip(r, index[r.clip_id], labels[r.emotion], bool(inputs & available(index[r.clip_id]))) for r in records
        ]

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

    def clip_dataset(self, split: str, train: bool = False, cached: bool = True) -> ClipDataset:
        """The samples of a split's clips, with cached features where there are some."""
        assert self.store is not None, "call setup() first"
        clips = [clip for clip in self.split(split) if clip.usable]
        cache = self.features if cached else None
        augmentation = (self.augmentation or ClipAugmentation(flip=False)) if train else None
        return ClipDataset(clips, self.store, self.sampler, self.inputs, self.size, augmentation, self.variants, cache)

    def train_dataloader(self) -> DataLoader[ClipSample]:
        """Whole batches of the training clips, balanced over the classes where asked for."""
        data = self.clip_dataset("train", train=True)
        replicas, rank = self._processes()
        labels = [clip.label for clip in data.clips]
        order = TrainingOrder(labels, self.batch_size, self.balanced, replicas, rank, self.seed)
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
                f"the {split} split of {self.dataset.name} has {len(data)} clips with a face for {replicas} processes; "
                "expected at least one each: use fewer devices or more clips"
            )
        order = UnrepeatedDistributedSampler(data, num_replicas=replicas, rank=rank, shuffle=False)
        return self.loader(data, order)

    def loader(
        self,
        data: ClipDataset,
        order: IndexSampler[Draw] | IndexSampler[int] | None = None,
        batches: IndexSampler[list[Draw | int]] | None = None,
    ) -> DataLoader[ClipSample]:
        """Batches of `batch_size` samples in this order, or these batches."""
        return DataLoader(
            data,
            batch_size=self.batch_size if batches is None else 1,
            sampler=order,
            batch_sampler=batches,
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
        return normalised(batch)


def normalised(batch: ClipBatch) -> ClipBatch:
    """The batch with its crops as floats of mean 0 and deviation 1, as backbones want them."""
    face, person = (None if crops is None else normalise(crops) for crops in (batch.face, batch.person))
    return replace(batch, face=face, person=person)


def _single_threaded(worker: int) -> None:
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
