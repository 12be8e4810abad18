"""A dataset of clips: the frames that the sampler chooses from the store, augmented, and the audio of the clip."""

import itertools
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor
from torch.utils.data import Dataset

from data_modules.datasets.apex_frames import ApexFrames, apex_intensity
from data_modules.labels import vote_shares
from data_modules.loading.batch import AUDIO_INPUTS, ClipBatch, ClipSample, collate, modalities_for
from data_modules.loading.batch_sampler import Draw
from data_modules.loading.kept_samples import KeptSamples
from data_modules.loading.modalities.modality import ClipModality, FrameModality, FrameSelection
from data_modules.loading.modalities.pictures import Pictures
from data_modules.loading.stored_pictures import StoredPictures
from data_modules.loading.transforms import ClipAugmentation, ClipTransform, Shift
from data_modules.manifest import VideoRecord
from data_modules.sampling import FrameSampler
from data_modules.store.audio_cache import AudioCache
from data_modules.store.clip_file import ClipSummary
from data_modules.store.clip_store import ClipStore
from data_modules.store.face_sequence import FaceSequence, FaceSource
from data_modules.store.feature_cache import EVALUATION, TRAIN_VIEWS, CachedFeatures, FeatureCache

FACES_ONLY = frozenset({"face"})


@dataclass(frozen=True)
class Clip:
    """A clip of the manifest, with what the store contains of it."""

    record: VideoRecord
    faces: ClipSummary
    label: int  # index into the class list
    usable: bool = True  # whether it has at least one input of the model
    reason: str = ""  # why it is not usable
    votes: tuple[float, ...] | None = None  # (C,) shares of the annotators' votes; None in a data set without votes
    apexes: ApexFrames | None = None  # as somebody has marked them; None in a data set without such a table

    @property
    def has_intensity(self) -> bool:
        """Whether the expression's intensity is a field of its batches, perhaps unknown in this clip."""
        return bool(self.record.truth) or self.apexes is not None


def check_usable(clip: ClipSummary, inputs: frozenset[str], missing_audio: Mapping[str, str]) -> tuple[bool, str]:
    """Check whether a clip has at least one input of a model.

    Args:
        clip: what the store contains of the clip.
        inputs: the fields that the model requests.
        missing_audio: reasons why an input could not be made from the audio of a clip, by clip id.

    Returns:
        Whether the clip is usable, and if not, why.
    """
    reasons = []
    for modality in modalities_for(inputs):
        failure = missing_audio.get(clip.clip_id, "") if modality.column == "audio" else ""
        reason = failure or modality.missing_reason(clip)
        if not reason:
            return True, ""
        reasons.append(reason)
    return False, "; ".join(dict.fromkeys(reasons))


def find_clips(
    records: Sequence[VideoRecord],
    store: ClipStore,
    class_names: Sequence[str],
    inputs: frozenset[str],
    audio_cache: AudioCache,
    dataset: str,
    apexes: Mapping[str, ApexFrames] | None = None,
) -> list[Clip]:
    """Match the records of a data set with the contents of its store.

    Args:
        records: the clips of the manifest.
        store: their prepared faces.
        class_names: the class list, in the order of the labels.
        inputs: the fields that the model requests.
        audio_cache: the inputs that are made from audio.
        dataset: name of the data set, for error messages.
        apexes: clip id -> the apexes that somebody has marked; None if the data set has no table of them.

    Raises:
        ValueError: a clip is not prepared, or its emotion is not in the class list.
    """
    index, labels = store.read_index(), {name: label for label, name in enumerate(class_names)}
    unprepared = [record.clip_id for record in records if record.clip_id not in index]
    if unprepared:
        raise ValueError(
            f"{dataset}: {len(unprepared)} of {len(records)} clips are not prepared in {store.folder}, such as "
            f"{unprepared[0]!r}; run `fer data prepare`"
        )
    unlabelled = [record for record in records if record.emotion not in labels]
    if unlabelled:
        raise ValueError(
            f"{dataset}: {len(unlabelled)} of {len(records)} clips have an emotion outside the class list: clip "
            f"{unlabelled[0].clip_id!r} has emotion {unlabelled[0].emotion!r}; expected one of {', '.join(labels)}"
        )
    missing_audio = audio_cache.failures(inputs & AUDIO_INPUTS)
    has_votes = any(record.votes for record in records)
    return [
        Clip(
            record,
            index[record.clip_id],
            labels[record.emotion],
            *check_usable(index[record.clip_id], inputs, missing_audio),
            votes=_vote_shares(record, class_names) if has_votes else None,
            apexes=None if apexes is None else apexes.get(record.clip_id, ()),
        )
        for record in records
    ]


def _vote_shares(record: VideoRecord, class_names: Sequence[str]) -> tuple[float, ...]:
    """Return the (C,) shares of the votes for the classes; a clip without such votes has one vote, for its label."""
    shares = vote_shares(record.votes, class_names)
    return tuple(shares or [float(name == record.emotion) for name in class_names])


@dataclass(frozen=True)
class _View:
    """The randomness of one view of a clip, and its place in the feature cache."""

    generator: Generator | None  # None in evaluation
    group: str = ""
    number: int = 0
    mirrored: bool = False
    shift: Shift = (0.0, 0.0)


class ClipDataset(Dataset[ClipSample]):
    """Samples of clips: frames chosen by the sampler and transformed by the augmentation.

    Args:
        clips: usable clips. A clip without a face becomes frames of zeros that the mask excludes; a clip without audio
            has zeros, and `present` is false.
        store: the faces of the clips.
        sampler: chooses the frames.
        inputs: names of the fields of `ClipBatch` to load.
        size: side of the crops, pixels.
        augmentation: transforms each training view at random; evaluation uses its centre crop.
        train_views: number of different training views of each clip; 0 draws a new one each time.
        cache: cached features to load instead of the crops.
        audio_cache: inputs made from audio; by default they are computed on demand.
        on_device: leave the pictures of a batch as they are stored; `ClipBatch.to` resizes and transforms them.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        store: FaceSource,
        sampler: FrameSampler,
        inputs: frozenset[str] = FACES_ONLY,
        size: int = 224,
        augmentation: ClipAugmentation | None = None,
        train_views: int = 0,
        cache: FeatureCache | None = None,
        audio_cache: AudioCache | None = None,
        on_device: bool = False,
    ) -> None:
        self.clips, self.store, self.sampler = clips, store, sampler
        self.inputs, self.size, self.augmentation = inputs, size, augmentation
        self.train_views, self.cache, self.audio_cache = train_views, cache, audio_cache or AudioCache()
        self.on_device, self._kept = on_device, KeptSamples()

    def __len__(self) -> int:
        return len(self.clips)

    @property
    def eval_views(self) -> int:
        """Number of views of a clip in evaluation: those of the sampler, mirrored and moved too where that is set."""
        return self.sampler.eval_views * len(self._poses)

    @property
    def _poses(self) -> tuple[tuple[Shift, bool], ...]:
        return self.augmentation.eval_poses if self.augmentation else (((0.0, 0.0), False),)

    def __getitem__(self, item: int | Draw) -> ClipSample:
        """Load one view for a `Draw`, in training; all evaluation views of the sampler for the index of a clip."""
        return self.load([item])

    def load(self, items: Iterable[int | Draw]) -> ClipBatch:
        """Load several samples as one batch; shorter ones are padded, see `collate`.

        The pictures, nearly all of a batch, are written once, where the batch has them.
        """
        if self.cache:
            return collate([self._kept_sample(item) for item in items])
        samples = [self._load(item) for item in items]
        batch = collate([sample for sample, _ in samples])
        views = list(itertools.chain.from_iterable(views for _, views in samples))
        pictures = [each for each in modalities_for(self.inputs) if isinstance(each, Pictures)]
        frames = batch.mask.shape[1]
        if self.on_device and pictures:
            side = self.augmentation.largest_source_side(self.size) if self.augmentation else self.size
            crops = {each.field: each.read_stored(views, frames, side) for each in pictures}
            transforms = [view.transform if view else None for view in views]
            return replace(batch, stored=StoredPictures.prepare(crops, transforms, self.size))
        images: dict[str, Any] = {each.field: each.read(views, frames, self.size) for each in pictures}
        return replace(batch, **images)

    __getitems__ = load  # the name by which torch's loader asks for a whole batch

    def _kept_sample(self, item: int | Draw) -> ClipSample:
        """Load a sample on features, which depends on the clip and the number of its training view alone."""
        key = (item.clip, item.seed % self.train_views) if isinstance(item, Draw) else (item, None)
        return self._kept.get(key, lambda: self._load(item)[0])

    def _load(self, item: int | Draw) -> tuple[ClipSample, Sequence[FrameSelection | None]]:
        """Load a sample without its pictures, and say of which frames these are; None for each view without a face."""
        clip = self.clips[item.clip if isinstance(item, Draw) else item]
        faces, views = self.store.open(clip.record.clip_id), self._views(clip, item)
        cached = [self._features(clip, view) for view in views]
        num_views, modalities = len(views), modalities_for(self.inputs)
        of_frames = [each for each in modalities if isinstance(each, FrameModality)]
        of_clip = [each for each in modalities if isinstance(each, ClipModality)]
        selections = [self._select(faces, view) for view in views] if len(faces) else []
        if selections:
            frames = self._frame_fields(clip, faces, selections, of_frames)
        else:
            frames = self._faceless_fields(clip, num_views, of_frames)
        sample = ClipSample(
            clip_id=(clip.record.clip_id,) * num_views,
            label=torch.full((num_views,), clip.label),
            votes=None if clip.votes is None else _repeat(torch.tensor(clip.votes), num_views),
            features=_stack([features.frames for features in cached]),
            clip_features=_stack([features.clip for features in cached]),
            **frames,
            **self._clip_fields(faces, num_views, of_clip),
        )
        return sample, selections or [None] * num_views

    def _views(self, clip: Clip, item: int | Draw) -> list[_View]:
        """Return the views of a clip that make up one sample."""
        if isinstance(item, Draw) and self.train_views:
            number = item.seed % self.train_views
            seed = zlib.crc32(f"{clip.record.clip_id}/{number}".encode())
            return [_View(torch.Generator().manual_seed(seed), TRAIN_VIEWS, number)]
        if isinstance(item, Draw):
            return [_View(torch.Generator().manual_seed(item.seed))]
        views = itertools.product(self._poses, range(self.sampler.eval_views))
        return [_View(None, EVALUATION, number, mirrored, shift) for number, ((shift, mirrored), _) in enumerate(views)]

    def _features(self, clip: Clip, view: _View) -> CachedFeatures:
        return self.cache.read(clip.record.clip_id, view.group, view.number) if self.cache else CachedFeatures()

    def _frame_fields(
        self, clip: Clip, faces: FaceSequence, selections: Sequence[FrameSelection], modalities: Sequence[FrameModality]
    ) -> dict[str, Any]:
        """Load the (S, T, ...) fields of a clip with faces."""
        positions, intensity = np.stack([each.positions for each in selections]), faces.optional("intensity")
        if clip.apexes is not None:
            intensity = apex_intensity(clip.apexes, faces.frame_index)
        return {
            "mask": torch.ones(positions.shape, dtype=torch.bool),
            "frame_index": torch.from_numpy(faces.frame_index[positions]),
            "intensity": None if intensity is None else torch.from_numpy(intensity[positions]),
            **{each.field: torch.stack([each.read(selection) for selection in selections]) for each in modalities},
        }

    def _select(self, faces: FaceSequence, view: _View) -> FrameSelection:
        if view.generator is None:
            positions = self.sampler.evaluation_view(len(faces), view.number % self.sampler.eval_views)
        else:
            positions = self.sampler(len(faces), view.generator)
        return FrameSelection(faces, positions.numpy(), self.size, self._transform(faces.summary.clip_id, view))

    def _transform(self, clip_id: str, view: _View) -> ClipTransform | None:
        """Draw a transform from the augmentation; for a view of the evaluation, return the one that it always has."""
        if self.augmentation is None:
            return None
        if view.generator is not None:
            return self.augmentation.draw(self.size, view.generator)
        noise_seed = zlib.crc32(f"{clip_id}/{view.number}".encode())
        return self.augmentation.evaluation(self.size, view.mirrored, noise_seed, view.shift)

    def _faceless_fields(self, clip: Clip, num_views: int, modalities: Sequence[FrameModality]) -> dict[str, Any]:
        """Return the (S, T, ...) fields of a clip without a face; the mask excludes all of its frames."""
        frames = len(self.sampler(1, None))  # one if the number of frames varies
        # not None if the clips with a face have an intensity, because the batch has it only if all samples do
        intensity = torch.full((num_views, frames), torch.nan) if clip.has_intensity else None
        return {
            "mask": torch.zeros(num_views, frames, dtype=torch.bool),
            "frame_index": torch.full((num_views, frames), -1),
            "intensity": intensity,
            **{each.field: _repeat(each.placeholder(frames, self.size), num_views) for each in modalities},
        }

    def _clip_fields(self, faces: FaceSequence, num_views: int, modalities: Sequence[ClipModality]) -> dict[str, Any]:
        """Load the (S, ...) fields that all views share, and `present`; nothing if no such field is requested."""
        if not modalities:
            return {}
        values = [each.read(faces, self.audio_cache) for each in modalities]
        present = torch.tensor([len(faces) > 0, all(value is not None for value in values)])
        fields = {
            each.field: _repeat(each.placeholder(self.audio_cache) if value is None else value, num_views)
            for each, value in zip(modalities, values, strict=True)
        }
        return {"present": _repeat(present, num_views), **fields}


def _repeat(tensor: Tensor, num_views: int) -> Tensor:
    """Expand (...) to (S, ...) without a copy."""
    return tensor.expand(num_views, *tensor.shape)


def _stack(features: Sequence[Tensor | None]) -> Tensor | None:
    """Stack the cached features of all views, (S, ...); None if there are none."""
    cached = [each for each in features if each is not None]
    return torch.stack(cached) if cached else None
