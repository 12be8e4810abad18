"""Samples of clips: what the store holds, as the frames that a sampler chooses and the sound that goes with them."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor
from torch.utils.data import Dataset

from data_modules.loading.batch import ClipSample
from data_modules.loading.batch_sampler import Draw
from data_modules.loading.transforms import Change, ClipAugmentation, resize_clip
from data_modules.manifest import VideoRecord
from data_modules.sampling import Sampler
from data_modules.store.audio_cache import FIELDS, SoundCache
from data_modules.store.clip_store import LANDMARKS, ClipSummary
from data_modules.store.face_sequence import FaceSequence, FaceSource
from data_modules.store.feature_cache import EVALUATION, VARIANTS, FeatureCache, Features


@dataclass(frozen=True)
class Clip:
    """A clip of the manifest and what the store knows of it."""

    record: VideoRecord
    faces: ClipSummary
    label: int  # place in the class list
    usable: bool = True  # whether there is anything that the model could see or hear
    reason: str = ""  # why it is not


NOTHING = frozenset[str]()
FACES_ONLY, PICTURES = frozenset({"face"}), frozenset({"face", "person"})
POINTS, SOUND = frozenset({"landmarks"}), frozenset(FIELDS)


def available(clip: ClipSummary) -> frozenset[str]:
    """The inputs of a model that the store has for a clip."""
    seen = PICTURES if clip.num_faces > 0 else NOTHING
    measured = POINTS if clip.num_landmarks > 0 else NOTHING
    heard = SOUND if clip.sound > 0 else NOTHING
    return seen | measured | heard


def usable(clip: ClipSummary, inputs: frozenset[str], unheard: Mapping[str, str]) -> tuple[bool, str]:
    """Whether a clip has anything that a model asks for, and if not, why.

    Args:
        clip: what the store knows of it.
        inputs: the fields that the model asks for.
        unheard: clip id -> why its sound could not be made into one of them.
    """
    there = available(clip) - (SOUND if clip.clip_id in unheard else NOTHING)
    if inputs & there:
        return True, ""
    silent = unheard.get(clip.clip_id) or clip.sound_reason or "no sound track"
    unseen = clip.reason or "no face found"
    return False, "; ".join([*([unseen] if inputs - SOUND else []), *([silent] if inputs & SOUND else [])])


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
        variants: train on so many draws and augmentations of each clip; 0 for ever new ones.
        cache: of features that stand for the crops.
        sounds: what is made of the clips' sound; by default it is made when it is asked for.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        store: FaceSource,
        sampler: Sampler,
        inputs: frozenset[str] = FACES_ONLY,
        size: int = 224,
        augmentation: ClipAugmentation | None = None,
        variants: int = 0,
        cache: FeatureCache | None = None,
        sounds: SoundCache | None = None,
    ) -> None:
        self.clips, self.store, self.sampler = clips, store, sampler
        self.inputs, self.size, self.augmentation = inputs, size, augmentation
        self.variants, self.cache, self.sounds = variants, cache, sounds or SoundCache()

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, item: int | Draw) -> ClipSample:
        """For training a `Draw`; for the evaluation the clip's number, which gives the sampler's number of draws."""
        clip = self.clips[item.clip if isinstance(item, Draw) else item]
        stored = self.store.open(clip.record.clip_id)
        return self._with_sound(_stack(self._draws(clip, stored, item)), stored)

    def _draws(self, clip: Clip, stored: FaceSequence, item: int | Draw) -> list[ClipSample]:
        if isinstance(item, Draw) and self.variants:
            number = item.seed % self.variants
            seed = zlib.crc32(f"{clip.record.clip_id}/{number}".encode())
            return [self._sample(clip, stored, torch.Generator().manual_seed(seed), VARIANTS, number)]
        if isinstance(item, Draw):
            return [self._sample(clip, stored, torch.Generator().manual_seed(item.seed))]
        draws = self.sampler.draws  # one is the deterministic sample; several are random, yet the same in every one
        generators = [None] if draws == 1 else [torch.Generator().manual_seed(seed) for seed in range(draws)]
        return [self._sample(clip, stored, g, EVALUATION, number) for number, g in enumerate(generators)]

    def _sample(
        self, clip: Clip, stored: FaceSequence, generator: Generator | None, group: str = "", number: int = 0
    ) -> ClipSample:
        """One draw, fields without the leading dimension; `group` and `number` say which in the cache it is."""
        cached = self.cache.read(clip.record.clip_id, group, number) if self.cache else Features()
        if not len(stored):
            return self._without_face(clip, cached)
        places = self.sampler(len(stored), generator).numpy()
        intensity = stored.optional("intensity")
        change = self._change(None if group == EVALUATION else generator)
        pictures = {name: self._pictures(stored, places, name, change) for name in self._crops}
        return ClipSample(
            clip_id=clip.record.clip_id,
            label=clip.label,
            mask=torch.ones(len(places), dtype=torch.bool),
            frame_index=torch.from_numpy(stored.frame_index[places]),
            landmarks=self._landmarks(clip, stored, places, change) if "landmarks" in self.inputs else None,
            intensity=None if intensity is None else torch.from_numpy(intensity[places]),
            features=cached.frames,
            clip_features=cached.clip,
            **pictures,
        )

    def _change(self, generator: Generator | None) -> Change | None:
        """A draw of the augmentation; without a generator, what the evaluation sees."""
        if self.augmentation is None:
            return None
        return self.augmentation.draw(self.size, generator) if generator else self.augmentation.middle(self.size)

    @property
    def _crops(self) -> frozenset[str]:
        """The kinds of crops to load."""
        return NOTHING if self.cache else self.inputs & PICTURES

    def _without_face(self, clip: Clip, cached: Features) -> ClipSample:
        """A draw of as many frames as the sampler takes, zeros that the mask leaves out: there is none to choose."""
        frames = len(self.sampler(1, None))  # one where the number varies
        crops = torch.zeros(frames, 3, self.size, self.size, dtype=torch.uint8)
        return ClipSample(
            clip_id=clip.record.clip_id,
            label=clip.label,
            mask=torch.zeros(frames, dtype=torch.bool),
            frame_index=torch.full((frames,), -1),
            landmarks=torch.zeros(frames, *LANDMARKS) if "landmarks" in self.inputs else None,
            intensity=torch.full((frames,), torch.nan) if clip.record.truth else None,  # as the clips with a face
            features=cached.frames,
            clip_features=cached.clip,
            **dict.fromkeys(self._crops, crops),
        )

    def _with_sound(self, sample: ClipSample, stored: FaceSequence) -> ClipSample:
        """The sample with the sound that the model asks for, the same in all S draws."""
        wanted = [field for field in FIELDS if field in self.inputs]
        if not wanted:
            return sample
        draws = len(sample.mask)
        values = {field: self.sounds.read(stored, field) for field in wanted}
        heard = all(value is not None for value in values.values())
        found = {f: torch.from_numpy(self.sounds.files[f].nothing if v is None else v) for f, v in values.items()}
        grey, descriptor = found.get("spectrogram"), found.get("descriptor")
        return replace(
            sample,
            spectrogram=None if grey is None else grey.expand(draws, 3, *grey.shape),
            descriptor=None if descriptor is None else descriptor.expand(draws, -1),
            present=torch.tensor([len(stored) > 0, heard]).expand(draws, -1),
        )

    def _pictures(self, stored: FaceSequence, places: NDArray[np.int64], name: str, change: Change | None) -> Tensor:
        """(T, 3, H, W) uint8 crops of the face or the person."""
        crops = resize_clip(stored.crops(places, self.size, name), self.size)
        if change:
            crops = np.stack([change.image(crop) for crop in crops])
        return torch.from_numpy(np.ascontiguousarray(crops)).permute(0, 3, 1, 2)

    def _landmarks(self, clip: Clip, stored: FaceSequence, places: NDArray[np.int64], change: Change | None) -> Tensor:
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
