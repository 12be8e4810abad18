"""Samples of clips: what the store holds, as the frames that a sampler chooses and the sound that goes with them."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor
from torch.utils.data import Dataset

from data_modules.loading.batch import ClipSample, modalities_of
from data_modules.loading.batch_sampler import Draw
from data_modules.loading.modalities.modality import ClipModality, FrameModality, FrameSelection
from data_modules.loading.transforms import Change, ClipAugmentation
from data_modules.manifest import VideoRecord
from data_modules.sampling import FrameSampler
from data_modules.store.audio_cache import AudioCache
from data_modules.store.clip_file import ClipSummary
from data_modules.store.face_sequence import FaceSequence, FaceSource
from data_modules.store.feature_cache import EVALUATION, TRAIN_VIEWS, FeatureCache, Features

FACES_ONLY = frozenset({"face"})


@dataclass(frozen=True)
class Clip:
    """A clip of the manifest and what the store knows of it."""

    record: VideoRecord
    faces: ClipSummary
    label: int  # place in the class list
    usable: bool = True  # whether there is anything that the model could see or hear
    reason: str = ""  # why it is not


def usable(clip: ClipSummary, inputs: frozenset[str], missing_audio: Mapping[str, str]) -> tuple[bool, str]:
    """Whether a clip has anything that a model asks for, and if not, why.

    Args:
        clip: what the store knows of it.
        inputs: the fields that the model asks for.
        missing_audio: clip id -> why its sound could not be made into one of them.
    """
    reasons = []
    for modality in modalities_of(inputs):
        failed = missing_audio.get(clip.clip_id, "") if modality.column == "audio" else ""
        reason = failed or modality.missing(clip)
        if not reason:
            return True, ""
        reasons.append(reason)
    return False, "; ".join(dict.fromkeys(reasons))


@dataclass(frozen=True)
class _Variant:
    """What is random about one draw of a clip, and which of the cached draws it is."""

    generator: Generator | None  # None: the deterministic draw of the evaluation
    group: str = ""
    number: int = 0


class ClipDataset(Dataset[ClipSample]):
    """Samples of clips: frames chosen by the sampler, changed as the augmentation says.

    Args:
        clips: with a face or a sound each, whatever the model asks for. Those without a face come as frames of zeros
            that the mask leaves out, those without sound with zeros and `present` false.
        store: of their faces.
        sampler: chooses frames.
        inputs: names of the fields of `ClipBatch` to load.
        size: of the crops, pixels.
        augmentation: drawn anew for every `Draw`; the evaluation sees its middle.
        train_views: train on so many draws and augmentations of each clip; 0 for ever new ones.
        cache: of features that stand for the crops.
        audio_cache: what is made of the clips' sound; by default it is made when it is asked for.
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
    ) -> None:
        self.clips, self.store, self.sampler = clips, store, sampler
        self.inputs, self.size, self.augmentation = inputs, size, augmentation
        self.train_views, self.cache, self.audio_cache = train_views, cache, audio_cache or AudioCache()

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, item: int | Draw) -> ClipSample:
        """For training a `Draw`; for the evaluation the clip's number, which gives the sampler's number of draws."""
        clip = self.clips[item.clip if isinstance(item, Draw) else item]
        faces, views = self.store.open(clip.record.clip_id), self._variants(clip, item)
        cached = [self._features(clip, variant) for variant in views]
        draws, modalities = len(views), modalities_of(self.inputs)
        asked = [each for each in modalities if isinstance(each, FrameModality)]
        if self.cache:
            asked = [each for each in asked if not each.frozen_parts_see_it]
        frames = self._frames(faces, views, asked) if len(faces) else self._no_frames(clip, draws, asked)
        heard = [each for each in modalities if isinstance(each, ClipModality)]
        return ClipSample(
            clip_id=(clip.record.clip_id,) * draws,
            label=torch.full((draws,), clip.label),
            features=_stack([features.frames for features in cached]),
            clip_features=_stack([features.clip for features in cached]),
            **frames,
            **self._whole_clip(faces, draws, heard),
        )

    def _variants(self, clip: Clip, item: int | Draw) -> list[_Variant]:
        """The draws of a clip that are one item."""
        if isinstance(item, Draw) and self.train_views:
            number = item.seed % self.train_views
            seed = zlib.crc32(f"{clip.record.clip_id}/{number}".encode())
            return [_Variant(torch.Generator().manual_seed(seed), TRAIN_VIEWS, number)]
        if isinstance(item, Draw):
            return [_Variant(torch.Generator().manual_seed(item.seed))]
        draws = self.sampler.eval_views  # one: the deterministic sample; several: random, yet the same every time
        generators = [None] if draws == 1 else [torch.Generator().manual_seed(seed) for seed in range(draws)]
        return [_Variant(generator, EVALUATION, number) for number, generator in enumerate(generators)]

    def _features(self, clip: Clip, variant: _Variant) -> Features:
        return self.cache.read(clip.record.clip_id, variant.group, variant.number) if self.cache else Features()

    def _frames(self, faces: FaceSequence, views: Sequence[_Variant], asked: Sequence[FrameModality]) -> dict[str, Any]:
        """The fields of a clip with faces that have a dimension of frames, (S, T, ...)."""
        selections = [self._select(faces, variant) for variant in views]
        positions, intensity = np.stack([chosen.positions for chosen in selections]), faces.optional("intensity")
        return {
            "mask": torch.ones(positions.shape, dtype=torch.bool),
            "frame_index": torch.from_numpy(faces.frame_index[positions]),
            "intensity": None if intensity is None else torch.from_numpy(intensity[positions]),
            **{each.field: torch.stack([each.read(chosen) for chosen in selections]) for each in asked},
        }

    def _select(self, faces: FaceSequence, variant: _Variant) -> FrameSelection:
        positions = self.sampler(len(faces), variant.generator).numpy()
        change = self._change(None if variant.group == EVALUATION else variant.generator)
        return FrameSelection(faces, positions, self.size, change)

    def _change(self, generator: Generator | None) -> Change | None:
        """A draw of the augmentation; without a generator, what the evaluation sees."""
        if self.augmentation is None:
            return None
        return self.augmentation.draw(self.size, generator) if generator else self.augmentation.middle(self.size)

    def _no_frames(self, clip: Clip, draws: int, asked: Sequence[FrameModality]) -> dict[str, Any]:
        """As many frames as the sampler takes, which the mask leaves out, of a clip without a face."""
        frames = len(self.sampler(1, None))  # one where the number varies
        truth = torch.full((draws, frames), torch.nan) if clip.record.truth else None  # as the clips with a face
        return {
            "mask": torch.zeros(draws, frames, dtype=torch.bool),
            "frame_index": torch.full((draws, frames), -1),
            "intensity": truth,
            **{each.field: _repeat(each.nothing(frames, self.size), draws) for each in asked},
        }

    def _whole_clip(self, faces: FaceSequence, draws: int, asked: Sequence[ClipModality]) -> dict[str, Tensor]:
        """The fields of what is the same in all draws, (S, ...), and whether they are there; none if none are asked."""
        if not asked:
            return {}
        found = [each.read(faces, self.audio_cache) for each in asked]
        present = torch.tensor([len(faces) > 0, all(value is not None for value in found)])
        values = {
            each.field: _repeat(each.nothing(self.audio_cache) if value is None else value, draws)
            for each, value in zip(asked, found, strict=True)
        }
        return {"present": _repeat(present, draws), **values}


def _repeat(tensor: Tensor, draws: int) -> Tensor:
    """(...) -> (S, ...), without a copy."""
    return tensor.expand(draws, *tensor.shape)


def _stack(parts: Sequence[Tensor | None]) -> Tensor | None:
    """The draws' cached features -> (S, ...); None where there are none."""
    there = [part for part in parts if part is not None]
    return torch.stack(there) if there else None
