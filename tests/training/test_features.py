"""Cached features stand for what is computed on the fly, and for nothing else."""

import pytest
import pytorch_lightning as L
import torch
from torch import nn

from data_modules.labels import SEVEN
from data_modules.loading.batch import ClipBatch
from data_modules.loading.transforms import ClipAugmentation
from data_modules.sampling import RandomSampler, SegmentSampler
from data_modules.store.feature_cache import EVALUATION, VARIANTS, FeatureCache, Features
from fer_lightning.evaluation.outputs import ClassifierOutput, FrozenFeatures
from fer_lightning.training.classifier import VideoClassifier
from fer_lightning.training.feature_caching import features_key
from tests.small_runs import made_data


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("FER_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("FER_DATA", str(tmp_path / "data"))


class Frozen(nn.Module):
    """A frozen convolution that counts the frames it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 5, 7, stride=4)
        self.seen = 0

    def forward(self, frames):
        self.seen += frames.flatten(0, -4).shape[0]
        return self.convolution(frames.flatten(0, -4)).mean((-2, -1)).unflatten(0, frames.shape[:-3])


class TwoSteps(VideoClassifier):
    """A linear layer on frozen features of frames and clip."""

    def __init__(self) -> None:
        super().__init__(SEVEN, lambda parameters: torch.optim.SGD(parameters, lr=0.1))
        self.frozen = Frozen()
        self.freeze(self.frozen)
        self.head = nn.Linear(10, 7)
        self.losses: list[float] = []

    def forward_frozen(self, batch: ClipBatch):
        frames = self.frozen(batch.face)
        return FrozenFeatures(frames, frames.flatten(1).amax(dim=1, keepdim=True).expand(-1, 5))

    def forward(self, batch: ClipBatch):
        features = self.frozen_features(batch)
        mean = (features.frames * batch.mask[..., None]).sum(1) / batch.mask.sum(1, keepdim=True)
        feature = torch.cat([mean, features.clip], dim=1)
        return ClassifierOutput(self.head(feature), feature)

    def on_train_batch_end(self, outputs, batch, batch_idx):
        self.losses.append(float(outputs["loss"]))


def trained(cache: bool, epochs: int = 2, change: float = 0.0, **options):
    """A short training; `change` is added to the frozen weights before."""
    torch.manual_seed(0)
    model = TwoSteps()
    with torch.no_grad():
        model.frozen.convolution.weight += change
    defaults = {"sampler": SegmentSampler(4), "augmentation": ClipAugmentation(rotation=10), "variants": 3}
    data = made_data(cache=cache, **(defaults | options))
    trainer = L.Trainer(
        max_epochs=epochs, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False
    )
    trainer.fit(model, data)
    return model, data, trainer


@pytest.mark.parametrize("sampler", [SegmentSampler(4), RandomSampler(6, draws=2)])
def test_a_training_on_cached_features_is_the_training_on_the_fly(sampler):
    fly, fly_data, fly_trainer = trained(False, sampler=sampler)
    cached, data, trainer = trained(True, sampler=sampler)
    assert cached.losses == pytest.approx(fly.losses, rel=1e-5)
    assert torch.allclose(cached.head.weight, fly.head.weight, atol=1e-6)
    inner = [float(t.callback_metrics["inner/loss"]) for t in (trainer, fly_trainer)]
    assert inner[0] == pytest.approx(inner[1], rel=1e-5)
    for one, model, module in ((trainer, cached, data), (fly_trainer, fly, fly_data)):
        one.test(model, module, verbose=False)
    tested = [float(t.callback_metrics["test/loss"]) for t in (trainer, fly_trainer)]
    assert tested[0] == pytest.approx(tested[1], rel=1e-5)
    clips = sum(clip.usable for clip in data.split("train"))
    others = sum(clip.usable for split in ("inner", "test") for clip in data.split(split))
    frames = len(sampler(5, None))
    assert cached.frozen.seen == frames * (3 * clips + sampler.draws * others)


def test_the_cache_is_read_without_any_face(monkeypatch):
    monkeypatch.setattr("data_modules.store.clip_store.StoredClip.crops", lambda *_: pytest.fail("decoded a crop"))
    with pytest.raises(pytest.fail.Exception):
        trained(True, epochs=1)
    monkeypatch.undo()


def test_features_are_made_once_and_again_for_other_weights():
    first, data, _ = trained(True)
    files = sorted(data.features.folder.rglob("*.safetensors"))
    again, data_again, _ = trained(True)
    assert data_again.features.folder == data.features.folder
    assert again.frozen.seen == 0
    assert again.losses == pytest.approx(first.losses)
    files[0].unlink()
    files[-1].unlink()
    mended, _, _ = trained(True)
    assert 0 < mended.frozen.seen <= 4 * 4
    changed, data_changed, _ = trained(True, change=1e-3)
    assert data_changed.features.folder != data.features.folder
    assert changed.frozen.seen == first.frozen.seen


def test_everything_that_features_depend_on_is_in_their_name():
    model, data, _ = trained(True, epochs=1)
    names = {features_key(model, data)}
    data.size = 24
    names.add(features_key(model, data))
    data.augmentation = ClipAugmentation()
    names.add(features_key(model, data))
    data.sampler = SegmentSampler(5)
    names.add(features_key(model, data))
    with torch.no_grad():
        model.frozen.convolution.bias[0] += 1e-6
    names.add(features_key(model, data))
    assert len(names) == 5
    with torch.no_grad():
        model.head.weight += 1
    assert features_key(model, data) in names


def test_variants_are_few_and_differ():
    data = made_data(variants=3, augmentation=ClipAugmentation(rotation=20), sampler=SegmentSampler(4))
    dataset = data.clip_dataset("train")
    from data_modules.loading.batch_sampler import Draw

    seen = [dataset[Draw(0, seed)] for seed in range(6)]
    for number in range(3):
        assert torch.equal(seen[number].face, seen[number + 3].face)
    assert not torch.equal(seen[0].face, seen[1].face)


def test_a_cache_needs_a_number_of_variants():
    with pytest.raises(ValueError, match="only a number of variants can be cached"):
        made_data(cache=True)


def test_files_of_features(tmp_path):
    cache = FeatureCache(tmp_path)
    features = [Features(torch.full((i + 2, 3), float(i)), torch.arange(4.0) + i) for i in (0, 0)]
    cache.write("a/b", VARIANTS, features)
    assert cache.count("a/b", VARIANTS) == 2
    assert cache.count("a/b", EVALUATION) == 0
    assert cache.count("c", VARIANTS) == 0
    read = cache.read("a/b", VARIANTS, 1)
    assert torch.equal(read.frames, features[1].frames)
    assert torch.equal(read.clip, features[1].clip)
    cache.write("only", EVALUATION, [Features(clip=torch.ones(2))])
    assert cache.read("only", EVALUATION, 0).frames is None
    with pytest.raises(ValueError, match="outside"):
        cache.path("../x", VARIANTS)
