"""Crops that the device transforms become the pixels that workers make of them with OpenCV."""

import pytest
import torch

from data_modules.faces.settings import FaceSettings
from data_modules.loading.batch import ClipBatch
from data_modules.loading.datamodule import VideoDataModule
from data_modules.loading.transforms import ClipAugmentation
from data_modules.sampling import AllFramesSampler, SegmentSampler
from fer_lightning import VideoClassifier
from fer_lightning.cli.main import main
from tests.small_runs import MadeFaces, experiment, made_data

TOLERANCE = 2  # of 255: OpenCV interpolates with integers
STRONG = {"rotation": 25.0, "scale": 0.2, "translation": 0.1, "brightness": 0.3, "contrast": 0.3}
AUGMENTATIONS = {
    "none": None,
    "strong": ClipAugmentation(**STRONG),
    "crop": ClipAugmentation(crop=0.8, **STRONG),
    "area": ClipAugmentation(area=0.3, brightness=0.2),
    "views": ClipAugmentation(eval_flip=True, eval_shift=0.1),
}


def both(**options) -> tuple[VideoDataModule, VideoDataModule]:
    """The same data, transformed by workers and by the device."""
    workers, device = (made_data(transform_on=place, **options) for place in ("workers", "device"))
    return workers, device


def assert_same(ours: ClipBatch, theirs: ClipBatch, field: str = "face") -> None:
    found, expected = getattr(ours, field), getattr(theirs, field)
    assert (found.dtype, found.shape) == (torch.uint8, expected.shape)
    difference = (found.int() - expected.int()).abs()
    assert difference.max() <= TOLERANCE
    assert difference.float().mean() < 0.2
    assert torch.equal(ours.frame_index, theirs.frame_index)
    assert ours.clip_id == theirs.clip_id


@pytest.mark.parametrize("size", [64, 48, 36, 24])
@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_the_device_makes_the_pixels_of_the_workers(name, size):
    """Stored at 48 pixels: enlarged, as they are, averaged, and decoded at half the size."""
    if (name, size) == ("area", 24):
        pytest.skip("the workers have the decoder halve some crops, the device averages their pixels")
    workers, device = both(size=size, augmentation=AUGMENTATIONS[name], batch_size=6)
    for loader in ("train_dataloader", "predict_dataloader"):
        expected, stored = (next(iter(getattr(data, loader)())) for data in (workers, device))
        assert stored.face is None
        assert stored.stored.crops["face"].shape[-1] in (48, 24), "as they are stored, or a half"
        moved = stored.to("cpu")
        assert moved.stored is None
        assert_same(moved, expected)


def test_frames_without_a_face_stay_black():
    """Clips of different length, and one without a face: brightness and contrast would make grey of black."""
    dataset = MadeFaces(faces=FaceSettings(detector="crop", size=48, audio=True))  # for which that one is loaded
    options = {"sampler": AllFramesSampler(), "augmentation": AUGMENTATIONS["strong"], "size": 40, "batch_size": 8}
    data = both(dataset=dataset, inputs=frozenset({"face", "log_mel"}), selection="last", **options)
    absent, padded = 0, 0
    for expected, stored in zip(*(each.predict_dataloader() for each in data), strict=True):
        moved = stored.to("cpu")
        assert_same(moved, expected)
        assert not moved.face[~moved.mask].any()
        absent += int((~moved.mask).all(dim=1).sum())
        padded += int((~moved.mask).any(dim=1).sum())
    assert absent == 1
    assert padded > 1
    for expected, stored in zip(*(each.train_dataloader() for each in data), strict=True):
        assert_same(moved := stored.to("cpu"), expected)
        assert not moved.face[~moved.mask].any()


def test_persons_are_transformed_like_the_faces():
    dataset = MadeFaces(faces=FaceSettings(detector="crop", size=48, person="frame"))
    data = both(dataset=dataset, inputs=frozenset({"face", "person"}), augmentation=AUGMENTATIONS["strong"])
    expected, stored = (next(iter(each.train_dataloader())) for each in data)
    for field in ("face", "person"):
        assert_same(stored.to("cpu"), expected, field)


def test_reduced_precision_around_it_leaves_the_pixels_as_they_are():
    """Feature caches are filled under autocast, whose bf16 cannot tell the places of pixels apart."""
    expected, stored = (next(iter(d.train_dataloader())) for d in both(size=64, augmentation=AUGMENTATIONS["strong"]))
    with torch.autocast("cpu", torch.bfloat16):
        assert_same(stored.to("cpu"), expected)


def test_workers_hand_the_crops_over_in_shared_memory():
    data = made_data(transform_on="device", num_workers=1, sampler=SegmentSampler(3), size=64)
    alone = made_data(transform_on="device", sampler=SegmentSampler(3), size=64)
    for ours, theirs in zip(data.train_dataloader(), alone.train_dataloader(), strict=True):
        assert all(tensor.is_shared() for tensor in ours.tensors())
        assert torch.equal(ours.to("cpu").face, theirs.to("cpu").face)


@pytest.mark.slow
def test_a_training_sees_the_pixels_that_the_device_makes(monkeypatch):
    """Through the command: every step's images are there, those of a training with workers."""
    step, seen = VideoClassifier.training_step, {}
    made = ("--data.dataset", "tests.small_runs.MadeFaces", "--data.dataset.init_args.faces.size", "48")
    for place in ("workers", "device"):
        batches = seen[place] = []
        monkeypatch.setattr(
            VideoClassifier,
            "training_step",
            lambda self, batch, i, kept=batches: kept.append(batch) or step(self, batch, i),
        )
        options = ("--data.transform_on", place, "--trainer.max_epochs", "1", "--name", place, *made)
        assert main(experiment(*options, "--data.augmentation.rotation", "20")) == 0
    assert len(seen["device"]) == len(seen["workers"]) > 1
    for ours, theirs in zip(seen["device"], seen["workers"], strict=True):
        assert ours.stored is None
        assert_same(ours, theirs)
        assert not torch.equal(ours.face, theirs.face), "the device did it"
