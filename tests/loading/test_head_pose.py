"""The data module loads the head pose, checked on rendered people whose pose is known."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch

from data_modules.datasets.synthetic import RenderedDataset
from data_modules.faces.settings import FaceSettings
from data_modules.loading.datamodule import VideoDataModule
from data_modules.loading.transforms import ClipAugmentation
from data_modules.prepare.faces import store_for
from data_modules.sampling import SegmentSampler
from data_modules.synthetic.clip import ClipSettings, plan_clip
from tests.small_runs import MadeFaces, made_data


@cache
def leaning_clips() -> list[ClipSettings]:
    """The shortest wild clips in which the head leans by more than 5 degrees and is seen throughout."""
    candidates = []
    for subject in range(30):
        settings = ClipSettings("wild", subject, "fear", seed=3, size=96)
        pose = plan_clip(settings).performance.pose
        inside = ((pose.centre > 20) & (pose.centre < 76)).all() and np.abs(pose.yaw).max() < 1
        if inside and np.degrees(np.abs(pose.roll)).mean() > 5:
            candidates.append((len(pose.yaw), settings))
    return [settings for _, settings in sorted(candidates, key=lambda each: each[0])[:4]]


@dataclass
class Leaning(RenderedDataset):
    """Four short clips; the crops' eyes are level, so that no crop shows the roll."""

    workers: int = 1
    name: ClassVar[str] = "leaning"
    files: ClassVar[str] = "clips"
    suffix: ClassVar[str] = ".mp4"
    variant: ClassVar[str] = "one"  # type: ignore[assignment]

    def wanted(self):
        return [(settings, f"s{number}") for number, settings in enumerate(leaning_clips())]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The clips are rendered once; each test makes their faces."""
    return tmp_path_factory.mktemp("rendered")


def data_of(root: Path, landmarks: str = "annotation", **options) -> VideoDataModule:
    faces = FaceSettings("annotation", size=48, landmarks=landmarks, audio=False)
    data = VideoDataModule(
        Leaning(root, faces=faces), SegmentSampler(frames=6), 2, 32, num_workers=0, selection="last", **options
    )
    data.inputs = frozenset({"face", "head_pose"})
    data.prepare_data()
    data.setup()
    return data


@cache
def true_poses(clip_id: str) -> np.ndarray:
    (settings,) = (each for each in leaning_clips() if each.clip_id == clip_id)
    pose = plan_clip(settings).performance.pose
    return np.degrees(np.stack([pose.yaw, pose.pitch, pose.roll], axis=1))


def true_pose(clip_id: str, frames: np.ndarray) -> np.ndarray:
    return true_poses(clip_id)[frames]


def test_the_augmentation_turns_and_mirrors_head_poses_too(root):
    """A mirrored head looks and leans to the other side; a turned picture leans by as much more, up to 20 degrees."""
    data = data_of(root)
    (batch,) = data.test_dataloader()[1]
    assert batch.face.shape == (1, 6, 3, 32, 32)
    assert (batch.head_pose.shape, batch.head_pose.dtype) == ((1, 6, 3), torch.float32)
    assert batch.landmarks is None  # not requested
    for clip_id, frames, pose in zip(batch.clip_id, batch.frame_index, batch.head_pose, strict=True):
        assert np.abs(pose.numpy() - true_pose(clip_id, frames.numpy())).max() < 4

    augmented = data_of(root, augmentation=ClipAugmentation(flip=True, rotation=20))
    loader, mirrored, rotations = augmented.train_dataloader(), 0, []
    for epoch in range(4):
        loader.sampler.set_epoch(epoch)
        for batch in loader:
            for clip_id, frames, pose in zip(batch.clip_id, batch.frame_index, batch.head_pose, strict=True):
                yaw, pitch, roll = true_pose(clip_id, frames.numpy()).T
                loaded = pose.numpy().T
                sign = 1 if np.abs(loaded[0] - yaw).max() < np.abs(loaded[0] + yaw).max() else -1
                mirrored += sign < 0
                assert np.abs(loaded[0] - sign * yaw).max() < 4
                assert np.abs(loaded[1] - pitch).max() < 4
                rotation = loaded[2] - sign * roll
                assert np.ptp(rotation) < 3  # the same in all frames of a clip
                rotations.append(rotation.mean())
    assert 0 < mirrored < len(rotations)
    assert 5 < np.abs(rotations).max() < 23


def test_a_set_that_is_prepared_without_landmarks_is_named(root):
    data = data_of(root, landmarks="none")
    with pytest.raises(ValueError, match=r"has no landmarks.*faces\.landmarks: mesh"):
        next(iter(data.clip_dataset("test")))


def test_a_store_that_does_not_say_how_faces_were_cut_is_named():
    """The fake faces have no crop matrix, like those of the first version."""
    data = made_data(MadeFaces(), frozenset({"head_pose"}))
    with pytest.raises(
        ValueError, match=r"prepared before the store kept the crop matrix.*delete the folder of the store"
    ):
        next(iter(data.test_dataloader()[1]))


def test_frames_without_landmarks_are_nan(root):
    """Half of a clip's landmarks are taken out of its file, and another clip's faces."""
    data = data_of(root)
    store = store_for(data.dataset)
    pose = [row for batch in data.test_dataloader()[1] for row in batch.head_pose]
    assert all(torch.isfinite(row).all() for row in pose)
    clip = data.clip_dataset("test").clips[0]
    stored = store.open(clip.record.clip_id)
    whole = stored.optional("landmarks")

    class Halved:
        """The stored clip, with landmarks in its second half alone."""

        def __init__(self, faces: int) -> None:
            self.summary, self.crop_size = stored.summary, stored.crop_size
            self.frame_index = stored.frame_index[:faces]
            self.has, self.crops, self.audio = stored.has, stored.crops, stored.audio

        def __len__(self) -> int:
            return len(self.frame_index)

        def optional(self, name):
            values = stored.optional(name)
            if name == "landmarks":
                values = np.where(np.arange(len(whole))[:, None, None] < len(whole) // 2, np.nan, whole)
            return values

        def open(self, clip_id: str) -> "Halved":
            return self

    dataset = data.clip_dataset("test")
    dataset.store = Halved(len(stored))
    sample = dataset[0]
    assert torch.isnan(sample.head_pose[0]).all(dim=1).tolist() == [True] * 3 + [False] * 3
    dataset.store = Halved(0)
    sample = dataset[0]
    assert not sample.mask.any()
    assert (sample.head_pose == 0).all()
