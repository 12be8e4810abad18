"""Cached features stand for what is computed on the fly, and for nothing else."""

import json
from functools import partial
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace

import pytest
import pytorch_lightning as L
import torch
from torch import nn

from data_modules.faces.settings import FaceSettings
from data_modules.labels import SEVEN
from data_modules.loading import kept_samples
from data_modules.loading.batch import ClipBatch
from data_modules.loading.datamodule import VideoDataModule
from data_modules.loading.transforms import ClipAugmentation
from data_modules.sampling import RandomSampler, SegmentSampler
from data_modules.store.feature_cache import EVALUATION, TRAIN_VIEWS, CachedFeatures, FeatureCache
from data_modules.utils.files import atomic_write
from fer_lightning import (
    C3DLSTM,
    DFERCLIP,
    M3DFEL,
    VSHNN,
    ClipBackbone,
    CLIPTower,
    FrameBackbone,
    ImageClassifier,
    VideoMAE,
    VideoTransformer,
    random_batch,
)
from fer_lightning.cli.main import main
from fer_lightning.evaluation.outputs import ClassifierOutput, FrozenFeatures
from fer_lightning.experiments import fit
from fer_lightning.experiments.request import ExperimentRequest
from fer_lightning.layers.backbones import Pretrained
from fer_lightning.training.classifier import VideoClassifier
from fer_lightning.training.feature_caching import FeatureCaching, features_key
from tests.experiments.test_experiments import MADE
from tests.small_runs import MadeFaces, made_data


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

    def __init__(self, frozen: Frozen | None = None) -> None:
        super().__init__(SEVEN, lambda parameters: torch.optim.SGD(parameters, lr=0.1))
        self.frozen = frozen or Frozen()
        self.freeze(self.frozen)
        self.head = nn.Linear(10, 7)
        self.losses: list[float] = []

    def forward_frozen(self, batch: ClipBatch):
        frames = self.frozen(batch.face / 255)
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
    defaults = {"sampler": SegmentSampler(4), "augmentation": ClipAugmentation(rotation=10), "train_views": 3}
    data = made_data(cache=cache, **(defaults | options))
    trainer = quiet_trainer(max_epochs=epochs, enable_checkpointing=False)
    trainer.fit(model, data)
    return model, data, trainer


quiet_trainer = partial(
    L.Trainer, accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
    callbacks=FeatureCaching(),
)  # fmt: skip


class Begun(TwoSteps):
    """Begins with frozen weights from elsewhere, and with a statistic; keeps the order of what happened."""

    class Loaded(Frozen, Pretrained):
        def load_weights(self) -> None:
            nn.init.constant_(self.convolution.weight, 0.01)
            nn.init.constant_(self.convolution.bias, 0.5)

    def __init__(self) -> None:
        super().__init__(self.Loaded())
        self.events: list[str] = []

    def fit_statistics(self, data):
        assert float(self.frozen.convolution.bias[0]) == 0.5
        self.events.append("fitted")

    def forward_frozen(self, batch):
        if "computed" not in self.events:
            self.events.append("computed")
        return super().forward_frozen(batch)

    def on_train_start(self):
        self.events.append("started")


def test_features_of_crops_that_the_device_augments_are_those_of_a_training_without_a_cache():
    (fly, _, _), (cached, data, _) = (trained(cache, transform_on="device") for cache in (False, True))
    assert cached.losses == pytest.approx(fly.losses, rel=1e-5)
    key = features_key(cached, data)
    data.transform_on = "workers"
    assert features_key(cached, data) != key, "their pixels differ a little"


@pytest.mark.parametrize("fits", [True, False])
def test_features_are_read_once_in_a_training_if_they_fit_into_memory(monkeypatch, fits):
    """Both trainings learn the same; one sample is too large where none may be kept."""
    read, asked = FeatureCache.read, []
    monkeypatch.setattr(FeatureCache, "read", lambda self, *view: asked.append(view) or read(self, *view))
    monkeypatch.setattr(kept_samples, "KEPT_BYTES", 2**20 if fits else 100)
    model, data, _ = trained(True, epochs=4)
    training = [view for view in asked if view[1] == TRAIN_VIEWS]
    assert (len(training) == len(set(training))) == fits
    assert len(training) <= 3 * len(data.split("train")) if fits else len(training) == 4 * len(model.losses)
    fly, _, _ = trained(False, epochs=4)
    assert model.losses == pytest.approx(fly.losses, rel=1e-5)


@pytest.mark.parametrize("sampler", [SegmentSampler(4), RandomSampler(6, eval_views=2)])
def test_training_on_cached_features_equals_training_without(sampler):
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
    assert cached.frozen.seen == frames * (3 * clips + sampler.eval_views * others)


def test_mirror_images_of_the_evaluation_are_cached_too():
    augmentation = ClipAugmentation(flip=False, eval_flip=True)
    fly, fly_data, fly_trainer = trained(False, augmentation=augmentation)
    cached, data, trainer = trained(True, augmentation=augmentation)
    for one, model, module in ((trainer, cached, data), (fly_trainer, fly, fly_data)):
        one.test(model, module, verbose=False)
    tested = [float(t.callback_metrics["test/loss"]) for t in (trainer, fly_trainer)]
    assert tested[0] == pytest.approx(tested[1], rel=1e-5)


def test_the_cache_is_read_without_any_face(monkeypatch):
    monkeypatch.setattr("data_modules.store.stored_clip.StoredClip.crops", lambda *_: pytest.fail("decoded a crop"))
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
    refilled, _, _ = trained(True)
    assert 0 < refilled.frozen.seen <= 4 * 4
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


def seeded(make):
    """A network with the same weights each time."""
    torch.manual_seed(0)
    return make()


def scene(**options):
    return seeded(lambda: ClipBackbone("c3d", width=1 / 32, size=32, **options))


def frame(**options):
    return seeded(lambda: FrameBackbone("resnet10t", channels=[8] * 4, **options))


def transformer(**options):
    sizes = {"size": 32, "width": 24, "depth": 2, "heads": 2, "frames": 16}
    return VideoMAE(SEVEN, seeded(lambda: VideoTransformer(**(sizes | options))), frozen=True)


def tower(alpha):
    sizes = {"size": 32, "patch": 16, "width": 64, "depth": 1, "features": 8, "rank": 2}
    backbone = seeded(lambda: CLIPTower(alpha=alpha, **sizes))
    for name, parameter in backbone.named_parameters():
        if "low_rank_b" in name:  # they begin as 0
            nn.init.constant_(parameter, 0.1)
    return DFERCLIP(SEVEN, backbone, frozen_backbone=True)


def regional(region):
    return transformer(attention="local_global", region=region)


def lstm_of_clips(clip_frames):
    return C3DLSTM(SEVEN, scene(), 16, (8,), clip_frames=clip_frames)


def bag(instance_length):
    return M3DFEL(SEVEN, scene(), frames=16, instance_length=instance_length)


def image_classifier(crop="face", **options):
    return ImageClassifier(SEVEN, frame(), crop=crop, frozen_convolutions=True, **options)


def key_of(model):
    model._trainer = SimpleNamespace(precision="32-true")
    return features_key(model, UNCACHED)


UNCACHED = VideoDataModule(MadeFaces(), SegmentSampler(4))


@pytest.mark.parametrize(
    ("make", "settings"),
    [
        (image_classifier, ("face", "person")),
        (lstm_of_clips, (8, 16)),
        (bag, (8, 16)),
        (lambda heads: transformer(heads=heads), (2, 4)),
        (lambda moments: transformer(mira=moments), (0, 1, 2)),
        (regional, ((2, 1, 2), (2, 2, 1))),
        (tower, (1.0, 16.0)),
    ],
    ids=["crop", "clip_frames", "instance_length", "heads", "mira", "region", "alpha"],
)
def test_settings_without_weights_that_change_features_change_their_name(make, settings):
    models = [make(setting).eval() for setting in settings]
    batch = random_batch(("face", "person"), clips=2, frames=16, size=32)
    with torch.no_grad():
        features = [model.forward_frozen(batch) for model in models]
    values = [each.frames if each.clip is None else each.clip for each in features]
    for first, second in combinations(values, 2):
        assert first.shape != second.shape or not torch.allclose(first, second, atol=1e-6)
    assert len({key_of(model) for model in models}) == len(settings)
    assert [key_of(make(setting)) for setting in settings] == [key_of(model) for model in models]


def test_rates_losses_and_what_is_behind_the_frozen_parts_leave_the_name():
    other = image_classifier(
        dropout=0.5, optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1), label_smoothing=0.1, mixup=0.2,
        class_weights=True,
    )  # fmt: skip
    assert key_of(image_classifier()) == key_of(other)
    models = [VSHNN(SEVEN, frame(), scene(frozen=True), hidden=16, features=8)]
    models.append(VSHNN(SEVEN, frame(), scene(frozen=True), "lstm", "A", 2, 12, 6, 0.1, auxiliary=0.3))
    assert len({key_of(model) for model in models}) == 1
    assert key_of(transformer()) == key_of(VideoMAE(SEVEN, transformer().backbone, frozen=True, layer_decay=None))


def test_a_training_on_another_crop_reads_its_own_features(tmp_path):
    """The second finds the first one's cache; its features are those of a classifier that computes them itself."""
    faces = FaceSettings(detector="crop", size=48, person="insightface")

    def begun(crop):
        model = image_classifier(crop, optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.0))
        options = {"sampler": SegmentSampler(4), "train_views": 2, "augmentation": ClipAugmentation(flip=False)}
        data = made_data(MadeFaces(faces=faces), model.inputs, cache=True, **options)
        trainer = quiet_trainer(max_epochs=1, enable_checkpointing=False, limit_train_batches=1)
        trainer.fit(model, data)
        return data, model.eval()

    data, _ = begun("face")
    again, _ = begun("face")
    assert again.features.folder == data.features.folder
    data, model = begun("person")
    assert data.features.folder != again.features.folder
    batch = next(iter(data.loader(data.clip_dataset("test", cached=False))))
    expected = model.backbone.forward_features(batch.person)
    read = torch.stack([data.features.read(clip, EVALUATION, 0).frames for clip in batch.clip_id])
    torch.testing.assert_close(read, expected)


def test_variants_are_few_and_differ():
    data = made_data(train_views=3, augmentation=ClipAugmentation(rotation=20), sampler=SegmentSampler(4))
    dataset = data.clip_dataset("train")
    from data_modules.loading.batch_sampler import Draw

    seen = [dataset[Draw(0, seed)] for seed in range(6)]
    for number in range(3):
        assert torch.equal(seen[number].face, seen[number + 3].face)
    assert not torch.equal(seen[0].face, seen[1].face)


def test_a_cache_needs_a_number_of_variants():
    with pytest.raises(ValueError, match="expected 0 or more views, and 1 or more to cache"):
        made_data(cache=True)


def test_files_of_features(tmp_path):
    cache = FeatureCache(tmp_path)
    features = [CachedFeatures(torch.full((i + 2, 3), float(i)), torch.arange(4.0) + i) for i in (0, 0)]
    cache.write("a/b", TRAIN_VIEWS, features)
    assert cache.count("a/b", TRAIN_VIEWS) == 2
    assert cache.count("a/b", EVALUATION) == 0
    assert cache.count("c", TRAIN_VIEWS) == 0
    read = cache.read("a/b", TRAIN_VIEWS, 1)
    assert torch.equal(read.frames, features[1].frames)
    assert torch.equal(read.clip, features[1].clip)
    cache.write("only", EVALUATION, [CachedFeatures(clip=torch.ones(2))])
    assert cache.read("only", EVALUATION, 0).frames is None
    with pytest.raises(ValueError, match="outside"):
        cache.path("../x", TRAIN_VIEWS)


def test_features_are_computed_after_weights_and_before_loading():
    model, data = Begun(), made_data(cache=True, train_views=2, sampler=SegmentSampler(4))
    quiet_trainer(max_epochs=1, enable_checkpointing=False).fit(model, data)
    assert model.events == ["fitted", "computed", "started"]
    clip = next(clip for clip in data.split("test") if clip.usable)
    face = (
        data.on_after_batch_transfer(next(iter(data.loader(data.clip_dataset("test", cached=False)))), 0).face[0] / 255
    )
    patches = face.unfold(-2, 7, 4).unfold(-2, 7, 4)  # (T, 3, 7, 7 of places, 7, 7)
    expected = 0.01 * patches.sum((-2, -1)).sum(1).mean((-2, -1)) + 0.5
    read = data.features.read(clip.record.clip_id, EVALUATION, 0)
    torch.testing.assert_close(read.frames, expected[:, None].expand(-1, 5))


def test_a_resumed_training_caches_with_its_checkpoints_weights(tmp_path):
    options = {"train_views": 2, "sampler": SegmentSampler(4)}
    model, data = Begun(), made_data(cache=True, **options)
    first = quiet_trainer(max_epochs=1, enable_checkpointing=False)
    first.fit(model, data)
    with torch.no_grad():
        model.frozen.convolution.bias += 1  # so that neither a new model nor pretrained weights are like it
    first.save_checkpoint(tmp_path / "last.ckpt")
    again, data_again = Begun(), made_data(cache=True, **options)
    quiet_trainer(max_epochs=2, enable_checkpointing=False).fit(again, data_again, ckpt_path=tmp_path / "last.ckpt")
    assert again.events == ["computed", "started"]
    ids = [clip.record.clip_id for clip in data.split("test") if clip.usable]
    for clip in ids:
        frames, earlier = (each.features.read(clip, EVALUATION, 0).frames for each in (data_again, data))
        torch.testing.assert_close(frames, earlier + 1)


def test_nothing_is_cached_without_frozen_parts_or_a_cache():
    model, data = TwoSteps(), made_data(cache=True, train_views=2, sampler=SegmentSampler(4))
    model._frozen.clear()
    quiet_trainer(max_epochs=1, enable_checkpointing=False).fit(model, data)
    assert data.features is None
    _, data, _ = trained(False)
    assert data.features is None
    assert not (data.store.folder / "features").exists()


def test_features_of_other_weights_are_not_read():
    _, data, _ = trained(True)
    assert data.features is not None
    other = TwoSteps()
    L.Trainer(max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False).fit(other, data)
    assert data.features is None
    assert other.frozen.seen > 0


class InProcess(TwoSteps):
    """Writes down what each process computed and reads."""

    def on_train_start(self):
        found = {"seen": self.frozen.seen, "folder": str(self.trainer.datamodule.features.folder)}
        Path(self.trainer.default_root_dir, f"{self.global_rank}.json").write_text(json.dumps(found))


def test_two_processes_compute_a_share_each_and_read_the_whole(tmp_path):
    data = made_data(cache=True, train_views=3, sampler=SegmentSampler(4))
    trainer = quiet_trainer(
        max_epochs=1, enable_checkpointing=False, devices=2, strategy="ddp_fork", default_root_dir=tmp_path,
        use_distributed_sampler=False,
    )  # fmt: skip
    trainer.fit(InProcess(), data)
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    counts = {split: sum(clip.usable for clip in data.split(split)) for split in ("train", "inner", "test")}
    assert first["folder"] == second["folder"]
    for found, share in ((first, lambda n: (n + 1) // 2), (second, lambda n: n // 2)):
        assert found["seen"] == 4 * (3 * share(counts["train"]) + share(counts["inner"]) + share(counts["test"]))
    cache = FeatureCache(Path(first["folder"]))
    for split, group, number in (("train", TRAIN_VIEWS, 3), ("inner", EVALUATION, 1), ("test", EVALUATION, 1)):
        assert {cache.count(clip.record.clip_id, group) for clip in data.split(split) if clip.usable} == {number}


@pytest.mark.parametrize("command", ["fit", "train"])
def test_commands_train_on_cached_features(command, tmp_path, monkeypatch):
    monkeypatch.setenv("FER_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(fit, "write_report", lambda run: atomic_write(run.report, b"report"))
    small = {"name": "resnet10t", "channels": [8] * 4, "weights": "random"}
    backbone = {"class_path": "fer_lightning.FrameBackbone", "init_args": small}
    arguments = (
        *("--data.dataset", MADE),
        *("--data.cache", "true", "--data.train_views", "2", "--data.num_workers", "0", "--data.size", "32"),
        *("--model.init_args.backbone", json.dumps(backbone), "--trainer.precision", "32-true"),
        *("--trainer.accelerator", "cpu", "--trainer.devices", "1", "--trainer.max_epochs", "1"),
    )
    request = ExperimentRequest("cnn_gru_synthetic", size="small", arguments=arguments)
    rest = request.command_line() if command == "fit" else ["cnn_gru_synthetic", "--size", "small", *arguments]
    assert main([command, *rest]) == 0
    clips = {f"{record.clip_id}.safetensors" for record in MadeFaces(subjects=4, tested=1).records()}
    kept = {path.name for path in (tmp_path / "store").rglob("features/*/*/*.safetensors")}
    assert kept == clips - {"s0-anger.safetensors"}
