"""The data module: which clips are in which split, and that a batch contains what the store holds."""

from collections import Counter
from dataclasses import dataclass, fields
from itertools import chain
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from data_modules.datasets.dfew import DFEW
from data_modules.labels import SEVEN
from data_modules.loading.batch import ClipBatch
from data_modules.loading.batch_sampler import TrainingOrder
from data_modules.loading.datamodule import VideoDataModule
from data_modules.loading.transforms import ClipAugmentation
from data_modules.manifest import VideoRecord
from data_modules.prepare.faces import store_for
from data_modules.sampling import ContiguousSampler, RandomSampler, SegmentSampler, SubvideoSampler, subvideo_indices
from tests.fakes import write_dfew
from tests.small_runs import MadeFaces, made_data


def in_process(
    data: VideoDataModule, processes: int, rank: int = 0, epoch: int = 0, accumulated: int = 1
) -> VideoDataModule:
    """The data module as one of several processes has it once the given number of epochs is trained."""
    trained = SimpleNamespace(epoch_progress=SimpleNamespace(current=SimpleNamespace(processed=epoch)))
    devices = {"num_devices": processes, "world_size": processes, "global_rank": rank}
    data.trainer = SimpleNamespace(fit_loop=trained, accumulate_grad_batches=accumulated, **devices)
    return data


def ids(clips):
    return {clip.record.clip_id for clip in clips}


def same(first: ClipBatch, second: ClipBatch) -> bool:
    pairs = [(getattr(first, field.name), getattr(second, field.name)) for field in fields(ClipBatch)]
    return all(torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b for a, b in pairs)


@pytest.fixture
def dfew(tmp_path):
    write_dfew(tmp_path / "data", train=28, test=9)
    data = VideoDataModule(DFEW(), SubvideoSampler(2, 2), batch_size=5, size=32, num_workers=0)
    data.prepare_data()
    data.setup()
    return data


def test_dfew_is_cut_into_three_splits_that_hold_every_clip(dfew):
    splits = {name: ids(dfew.split(name)) for name in ("train", "inner", "test")}
    assert splits["test"] == {f"{n:05d}" for n in range(29, 38)}
    assert splits["train"] | splits["inner"] == {f"{n:05d}" for n in range(1, 29)}
    assert not splits["train"] & splits["inner"]
    assert 4 <= len(splits["inner"]) <= 7
    assert all(clip.label == SEVEN.index(clip.record.emotion) for clip in dfew.clips)


def test_a_clip_without_a_readable_frame_is_in_no_batch(dfew):
    (split,) = (name for name in ("train", "inner") if "00028" in ids(dfew.split(name)))
    (broken,) = dfew.without_input(split)
    assert broken.record.clip_id == "00028"
    assert "none of which can be read" in broken.faces.reason
    loaded = Counter(clip for batch in dfew._evaluation_loader(split) for clip in batch.clip_id)
    assert loaded == Counter(ids(dfew.split(split)) - {"00028"})
    assert dfew.without_input("test") == []


@pytest.mark.parametrize("size", [48, 32])
def test_a_batch_holds_what_numpy_makes_of_the_stored_crops(size):
    data = made_data(size=size, batch_size=4)
    loader = data.test_dataloader()[1]
    seen = list(loader)
    tested = [clip for clip in data.split("test") if clip.usable]
    assert [clip for batch in seen for clip in batch.clip_id] == [clip.record.clip_id for clip in tested]
    batch = seen[1]
    assert batch.face.shape == (4, 4, 3, size, size)
    assert batch.face.dtype == torch.uint8
    assert (batch.mask.dtype, batch.label.dtype, batch.frame_index.dtype) == (torch.bool, torch.int64, torch.int64)
    assert batch.mask.shape == (4, 4)
    assert batch.mask.all()
    for row, clip in enumerate(tested[4:8]):
        stored = store_for(data.dataset).open(clip.record.clip_id)
        positions = subvideo_indices(len(stored), 2, 2).flatten().numpy()
        crops = stored.crops(range(len(stored)))[positions]
        if size != 48:
            crops = np.stack([cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA) for crop in crops])
        np.testing.assert_array_equal(batch.face[row].numpy(), crops.transpose(0, 3, 1, 2))
        assert batch.frame_index[row].tolist() == (3 * positions).tolist()  # faces are in every third frame
        assert batch.label[row] == SEVEN.index(clip.record.emotion)
        np.testing.assert_array_equal(batch.intensity[row], stored.optional("intensity")[positions])
    assert batch.landmarks is None  # not requested


def test_a_model_gets_the_inputs_that_it_asks_for():
    data = made_data(size=32, inputs=frozenset({"landmarks"}))
    batch = next(iter(data.test_dataloader()[1]))
    assert batch.face is None
    stored = store_for(data.dataset).open(batch.clip_id[0])
    positions = subvideo_indices(len(stored), 2, 2).flatten().numpy()
    points = stored.optional("landmarks")[positions]
    points[..., :2] += 0.5  # a pixel's centre
    points *= 32 / 48
    points[..., :2] -= 0.5
    np.testing.assert_allclose(batch.landmarks[0], points, rtol=1e-5, atol=1e-5)


def test_landmarks_and_pixels_are_augmented_alike():
    """A mirrored clip's landmarks are those of the mirrored crop: x -> size - 1 - x, left and right change names."""
    inputs = frozenset({"face", "landmarks"})
    data = made_data(size=48, augmentation=ClipAugmentation(flip=True), inputs=inputs)
    plain = made_data(size=48, inputs=inputs)
    mirrored = 0
    for batch, other in zip(data.train_dataloader(), plain.train_dataloader(), strict=True):
        for row in range(len(batch)):
            if torch.equal(batch.face[row], other.face[row].flip(-1)) and not torch.equal(
                batch.face[row], other.face[row]
            ):
                mirrored += 1
                x, before = batch.landmarks[row, ..., 0], other.landmarks[row, ..., 0]
                torch.testing.assert_close(x.sort(dim=-1).values, (47 - before).sort(dim=-1).values)
                torch.testing.assert_close(x[:, 0], 47 - before[:, 16])  # the jaw's ends
    assert mirrored > 5


def test_missing_landmarks_are_named(dfew):
    data = VideoDataModule(dfew.dataset, dfew.sampler, size=32, num_workers=0)
    data.inputs = frozenset({"face", "landmarks"})
    data.setup()
    with pytest.raises(ValueError, match="has no landmarks"):
        next(iter(data.test_dataloader()[1]))


def test_evaluation_views_are_consecutive_and_repeatable():
    data = made_data(sampler=RandomSampler(frames=3, eval_views=4), batch_size=2)
    first, again = (list(data.test_dataloader()[1]) for _ in range(2))
    assert all(same(a, b) for a, b in zip(first, again, strict=True))
    batch = first[0]
    names = [clip.record.clip_id for clip in data.split("test") if clip.usable][:2]
    assert batch.clip_id == (names[0],) * 4 + (names[1],) * 4
    assert batch.label.tolist() == [SEVEN.index(name.split("-")[1]) for name in batch.clip_id]
    assert batch.face.shape[:2] == (8, 3)
    assert len({tuple(index) for index in batch.frame_index[4:].tolist()}) > 1  # views differ


@pytest.mark.parametrize("views", [1, 2])
def test_evaluation_also_sees_mirror_images_if_asked_to(views):
    sampler = RandomSampler(frames=3, eval_views=views)
    data = made_data(sampler=sampler, augmentation=ClipAugmentation(eval_flip=True), batch_size=2)
    batch = next(iter(data.test_dataloader()[1]))
    assert len(batch) == 2 * 2 * views
    for first in (0, 2 * views):
        assert len(set(batch.clip_id[first : first + 2 * views])) == 1
        for view in range(first, first + views):
            assert torch.equal(batch.frame_index[view + views], batch.frame_index[view])
            assert (batch.face[view + views].flip(-1).int() - batch.face[view].int()).abs().max() <= 1
    assert len(next(iter(data.train_dataloader()))) == 2


@pytest.mark.parametrize("flip", [False, True])
def test_evaluation_after_the_training_also_sees_moved_images_if_asked_to(flip):
    """A sixteenth of 32 pixels are two: the pixels of the views are those of the first one, two further."""
    augmentation = ClipAugmentation(eval_flip=flip, eval_shift=1 / 16)
    data = made_data(sampler=SegmentSampler(3), augmentation=augmentation, batch_size=2)
    reported = next(iter(data.test_dataloader()[1]))
    views = 9 * (1 + flip)
    assert len(reported) == 2 * views
    assert reported.clip_id[:views] == reported.clip_id[:1] * views
    inside = reported.face[:views, ..., 2:-2, 2:-2].int()
    plain = reported.face[0].int()
    moves = [(down, right) for right in (0, -2, 2) for down in (0, -2, 2)]
    for number, (down, right) in enumerate(moves):
        expected = plain[..., 2 - down : 30 - down, 2 - right : 30 - right]
        assert (inside[number * (1 + flip)] - expected).abs().max() <= 1
        if flip:
            assert (inside[2 * number + 1].flip(-1) - expected).abs().max() <= 1
    watched = next(iter(data.val_dataloader()))
    assert len(watched) == 2 * (1 + flip), "each epoch sees them where they are"


def test_windows_of_successive_faces_are_loaded_alike_on_one_and_on_three_processes():
    """Clips have 4 to 9 faces, in every third frame: two windows of five lie at the quarters of all possible ones."""
    options = {"sampler": ContiguousSampler(frames=5, eval_views=2), "batch_size": 4}
    alone = made_data(**options)
    frames: dict[str, list[list[int]]] = {}
    for batch in alone.test_dataloader()[1]:
        for clip, index in zip(batch.clip_id, batch.frame_index.tolist(), strict=True):
            frames.setdefault(clip, []).append(index)
    for clip in alone.split("test"):
        if clip.usable:
            faces = clip.faces.num_faces
            first = [int(share * max(faces - 4, 1)) for share in (0.25, 0.75)]
            windows = [[3 * (start + i) for i in range(5)] for start in first]
            repeated = [0, 3, 6, 6, 9]  # four faces: the middles of five segments lie at 0.4, 1.2, 2, 2.8 and 3.6
            assert frames.pop(clip.record.clip_id) == ([repeated] * 2 if faces == 4 else windows)
    assert not frames
    parts = [list(in_process(made_data(**options), 3, rank).test_dataloader()[1]) for rank in range(3)]
    views = Counter(clip for part in parts for batch in part for clip in batch.clip_id)
    assert views == dict.fromkeys(ids(alone.split("test")) - {"s0-anger"}, 2)


def test_training_draws_windows_of_successive_faces():
    batches = [batch for epoch in training(sampler=ContiguousSampler(frames=3)) for batch in epoch]
    indices = torch.cat([batch.frame_index for batch in batches])
    assert (indices.diff(dim=1) == 3).all()
    assert len(set(indices[:, 0].tolist())) > 3


def training(workers: int = 0, epochs: tuple[int, ...] = (0, 1), **options) -> list[list[ClipBatch]]:
    data = made_data(num_workers=workers, augmentation=ClipAugmentation(rotation=10, brightness=0.2), **options)
    loader = data.train_dataloader()
    batches = []
    for epoch in epochs:
        loader.sampler.set_epoch(epoch)
        batches.append(list(loader))
    return batches


def test_training_batches_depend_on_seed_and_epoch_alone():
    alone = training()
    with_workers, resumed, other_seed = training(workers=2), training(epochs=(1,)), training(seed=1)
    assert all(same(a, b) for epoch in (0, 1) for a, b in zip(alone[epoch], with_workers[epoch], strict=True))
    assert all(same(a, b) for a, b in zip(alone[1], resumed[0], strict=True))
    assert not any(same(a, b) for a, b in zip(alone[0], alone[1], strict=True))
    assert not any(same(a, b) for a, b in zip(alone[0], other_seed[0], strict=True))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_starts_with_the_epoch_of_the_trainer(workers):
    """Lightning creates the iterator, and workers load ahead, before it sets the epoch of the sampler."""
    loader = in_process(made_data(num_workers=workers), 1, epoch=3).train_dataloader()
    iterator = iter(loader)
    loader.sampler.set_epoch(3)
    order = TrainingOrder([0] * len(loader.dataset), batch_size=4)
    order.set_epoch(3)
    clips = [loader.dataset.clips[draw.clip].record.clip_id for draw in order]
    assert [clip for batch in iterator for clip in batch.clip_id] == clips


def test_balanced_batches_hold_every_class_alike():
    for batch in training(balanced=True, batch_size=7, epochs=(0,))[0]:
        assert sorted(batch.label.tolist()) == list(range(7))


def test_last_trains_on_everything_and_selects_nothing():
    data = made_data(selection="last")
    assert len(data.split("train")) == 49
    assert data.val_dataloader() == []
    assert ids(data.split("inner")) == ids(data.split("train"))
    seen = {clip for batch in data.train_dataloader() for clip in batch.clip_id}
    assert len(seen) == 48  # of 48 with a face, in batches of 4


def test_best_on_test_validates_on_the_reported_split():
    data = made_data(selection="best_on_test")
    assert len(data.split("train")) == 49
    seen = {clip for batch in data.val_dataloader() for clip in batch.clip_id}
    assert seen == ids(data.split("test")) - {"s0-anger"}


def test_processes_share_the_evaluation_without_repetition():
    parts = []
    for rank in range(3):
        loader = in_process(made_data(), 3, rank).test_dataloader()[1]
        parts.append([clip for batch in loader for clip in batch.clip_id])
    assert Counter(clip for part in parts for clip in part) == Counter(ids(made_data().split("test")) - {"s0-anger"})
    assert {len(part) for part in parts} == {6, 7}


def test_balance_holds_over_the_batches_of_all_processes():
    loaders = [in_process(made_data(balanced=True, batch_size=14), 2, rank).train_dataloader() for rank in range(2)]
    for pair in zip(*loaders, strict=True):
        assert Counter(label for batch in pair for label in batch.label.tolist()) == dict.fromkeys(range(7), 2)


def steps_of(processes: int, accumulated: int, **options) -> list[list[tuple[str, list[int]]]]:
    """The clips and frames of each optimisation step, over all processes."""
    loaders = [
        in_process(made_data(**options), processes, rank, accumulated=accumulated).train_dataloader()
        for rank in range(processes)
    ]
    batches = [[list(zip(b.clip_id, b.frame_index.tolist(), strict=True)) for b in loader] for loader in loaders]
    assert {len(batch) for part in batches for batch in part} == {12 // processes // accumulated}
    assert {len(part) for part in batches} == {3 * accumulated}  # of 41 clips, the epoch leaves 5 out
    merged = [[*chain(*parts)] for parts in zip(*batches, strict=True)]
    return [sorted(chain(*merged[i : i + accumulated])) for i in range(0, len(merged), accumulated)]


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize(("processes", "accumulated"), [(2, 1), (3, 1), (1, 4), (2, 3)])
def test_every_step_sees_the_same_clips_and_frames_on_any_number_of_devices(processes, accumulated, balanced):
    options = {"batch_size": 12, "balanced": balanced}
    assert steps_of(processes, accumulated, **options) == steps_of(1, 1, **options)


def test_a_batch_of_each_device_makes_the_step_grow_with_them():
    data = in_process(made_data(per_device_batch_size=3), 2, accumulated=2)
    assert (data.device_batch_size, data.step_batch_size) == (3, 12)
    assert {len(batch) for batch in data.train_dataloader()} == {3}


def test_a_remainder_is_refused_in_training_alone():
    data = in_process(made_data(batch_size=10), 2, accumulated=2)
    with pytest.raises(
        ValueError, match=r"batch_size = 10 .* 2 processes and 2 accumulated .* multiple of 4. .*8 or 12"
    ):
        data.train_dataloader()
    assert {len(batch) for batch in data.predict_dataloader()} == {2}
    with pytest.raises(ValueError, match=r"batch_size to 5, use other"):
        in_process(made_data(batch_size=4), 5).train_dataloader()
    with pytest.raises(ValueError, match="per_device_batch_size = 0: expected 1 or more"):
        made_data(per_device_batch_size=0)


def test_fewer_clips_than_processes_is_an_error_that_says_so():
    data = in_process(made_data(), processes=21)
    with pytest.raises(ValueError, match="inner split of made has 7 usable clips for 21"):
        data.test_dataloader()


def test_faces_that_are_not_prepared_are_an_error():
    data = VideoDataModule(MadeFaces(), SubvideoSampler())
    with pytest.raises(ValueError, match=r"70 of 70 clips are not prepared.*fer data prepare"):
        data.setup()


@dataclass
class Misspelt(MadeFaces):
    def records(self) -> list[VideoRecord]:
        return [*super().records(), VideoRecord("new", "new", "feer")]


def test_an_emotion_that_is_not_in_the_class_list_is_an_error():
    with pytest.raises(ValueError, match=r"'new' has emotion 'feer'.*expected one of anger"):
        made_data(Misspelt())


def test_a_model_that_looks_at_persons_needs_them_prepared():
    data = VideoDataModule(MadeFaces(), SegmentSampler(frames=2), num_workers=0)
    data.inputs = frozenset({"face", "person"})
    with pytest.raises(ValueError, match=r"made is prepared with `faces\.person: none`; set .*insightface"):
        data.prepare_data()


def test_inputs_cannot_change_after_setup():
    data = VideoDataModule(MadeFaces(), SubvideoSampler(2, 2), size=32, num_workers=0)
    assert data.inputs == {"face"}
    data.inputs = frozenset({"landmarks"})
    data.prepare_data()
    data.setup()
    data.inputs = frozenset({"landmarks"})  # the same again
    with pytest.raises(ValueError, match=r"set up to load landmarks, and can no longer load face, person"):
        data.inputs = frozenset({"person", "face"})
