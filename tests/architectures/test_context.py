"""The context models: sizes and counts by hand, the papers' chains in plain steps, masks, gradients, weights."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import pytorch_lightning as L
import torch
from torch import nn

from data_modules.datasets.synthetic import SyntheticStills
from data_modules.labels import SEVEN
from data_modules.loading.batch import ClipBatch
from data_modules.sampling import AllFramesSampler, RandomSampler
from data_modules.store.feature_cache import TRAIN_VIEWS
from data_modules.synthetic.clip import get_person, plan_still
from fer_lightning import (
    ContextSpatiotemporal,
    ContextTemporalPyramid,
    FrameBackbone,
    ImageClassifier,
    PooledBackbone,
    PooledVGG,
)
from fer_lightning.architectures.context import frames as context_frames
from fer_lightning.architectures.context.spatiotemporal import BLOCKS, VolumeCNN, evenly_spaced_index
from fer_lightning.layers import temporal_pyramid
from fer_lightning.training.cost import count_parameters
from fer_lightning.training.feature_caching import FeatureCaching
from tests.models import SMALL, random_batch, random_images, small_backbone
from tests.small_runs import MadeFaces, made_data

RESNET50 = 23_508_032  # torchvision's resnet50() without its last layer
VGG_CONVOLUTIONS = 14_714_688  # torchvision's vgg16().features
FACE = RESNET50 + 2048 * 7 + 7


def around(**options) -> PooledVGG:
    return PooledVGG(**({"width": 1 / 32} | options))


def pyramid(context=True, levels=(0, 1, 2, 3), **options):
    return ContextTemporalPyramid(SEVEN, small_backbone(), around(), context, levels, hidden=8, dropout=0.0, **options)


def volume(context=True, tuned=True, **options):
    options = {"frames": 6, "lstm": 8, "side": 4, "width": 1 / 16, "hidden": 8, "dropout": 0.0} | options
    return ContextSpatiotemporal(SEVEN, small_backbone(), around(), context, tuned, **options)


def batch_of(clips=3, frames=6, mask=None, size=32) -> ClipBatch:
    batch = random_batch(clips, frames, size, mask)
    return replace(batch, person=random_batch(clips, frames, size, mask, seed=1).face)


def settled(model):
    """The model with the statistics of BatchNorm that a batch has: at the first ones, clips look the same behind it."""
    for module in model.convolutions:
        if isinstance(module, nn.BatchNorm3d):
            module.momentum = 1.0
    with torch.no_grad():
        model.train()(batch_of(8))
    for module in model.convolutions:
        if isinstance(module, nn.BatchNorm3d):
            module.momentum = 0.1
    return model


def small_models():
    torch.manual_seed(0)
    yield "1", settled(volume(context=False, tuned=False))
    yield "2", settled(volume(context=False))
    yield "3", settled(volume())
    for number, levels in zip("456", [(3,), (4,), (0, 1, 2, 3)], strict=True):
        yield number, pyramid(context=False, levels=levels)
    for number, levels in zip("789", [(3,), (4,), (0, 1, 2, 3)], strict=True):
        yield number, pyramid(levels=levels)


MODELS = dict(small_models())
TABLE_3, TABLE_4 = "123", "456789"
NOISE = {number: 3e-4 if number in TABLE_3 else 1e-5 for number in MODELS}  # BatchNorm magnifies what is rounded


def model_of(number):
    return copy.deepcopy(MODELS[number])


def meta(make):
    with torch.device("meta"):
        return make()


def trainable(model):
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


# Sizes


@pytest.mark.parametrize(
    ("levels", "without", "with_"),
    [((3,), 8 * 2069, 8 * 4117), ((4,), 16 * 2069, 16 * 4117), ((0, 1, 2, 3), 31_035, 61_755)],
)
def test_the_pyramids_have_the_papers_lengths_and_parameters(levels, without, with_):
    for context, size in ((False, without), (True, with_)):
        model = meta(lambda context=context: ContextTemporalPyramid(SEVEN, context=context, levels=levels))
        classifier = (size + 1) * 512 + (512 + 1) * 512 + (512 + 1) * 7
        assert model.num_features == size
        assert trainable(model) == classifier
        assert count_parameters(model) == classifier + FACE + context * VGG_CONVOLUTIONS


@pytest.mark.parametrize(("context", "tuned", "size"), [(False, False, 2055), (False, True, 2055), (True, True, 4103)])
def test_the_spatiotemporal_models_have_the_parameters_by_hand(context, tuned, size):
    model = meta(lambda: ContextSpatiotemporal(SEVEN, context=context, tuned=tuned))
    assert model.frame_size == size
    lstm = 4 * 512 * (size + 512 + 2) + 4 * 512 * (512 + 512 + 2)
    dense = (512 + 1) * 256
    convolutions, before = 0, 1
    for count, channels in ((2, 64), (2, 128), (3, 256), (4, 512)):
        for _ in range(count):
            convolutions += 27 * before * channels + 2 * channels  # and BatchNorm
            before = channels
    classifier = 2 * (512 + 1) * 512 + (512 + 1) * 7
    learnt = lstm + dense + convolutions + classifier
    assert count_parameters(model) == learnt + FACE + context * VGG_CONVOLUTIONS
    last_block = 14_964_736  # torchvision's resnet50().layer4
    assert trainable(model) == learnt + tuned * (last_block + 2048 * 7 + 7)


def test_the_volume_is_k_by_s_by_s_and_the_blocks_halve_it():
    model = meta(lambda: ContextSpatiotemporal(SEVEN))
    with torch.device("meta"):
        x = model.volume(torch.empty(2, 32, 4103))
        assert x.shape == (2, 32, 16, 16)
        x, sizes = x[:, None], []
        for layer in model.convolutions:
            x = layer(x)
            if isinstance(layer, nn.MaxPool3d):
                sizes.append(tuple(x.shape[1:]))
        assert x.shape == (2, 512)
    assert sizes == [(64, 16, 8, 8), (128, 8, 4, 4), (256, 4, 2, 2), (512, 2, 1, 1)]
    kinds = [type(layer).__name__ for layer in model.convolutions]
    assert [kinds.count(kind) for kind in ("Conv3d", "BatchNorm3d", "ReLU", "MaxPool3d")] == [11, 11, 11, 4]
    convolutions = [layer for layer in model.convolutions if isinstance(layer, nn.Conv3d)]
    assert [layer.out_channels for layer in convolutions] == [
        channels for count, channels in BLOCKS for _ in range(count)
    ]
    assert {(layer.kernel_size, layer.padding) for layer in convolutions} == {((3, 3, 3), (1, 1, 1))}


@pytest.mark.parametrize(("frames", "side"), [(32, 16), (5, 7), (1, 1)])
def test_volumes_of_any_size_are_numbers(frames, side):
    found = VolumeCNN(1 / 16)(torch.randn(2, frames, side, side))
    assert found.shape == (2, 32)
    assert found.isfinite().all()


@pytest.mark.parametrize("size", [224, 75, 32])
def test_context_features_are_2048_for_any_size(size):
    network = meta(PooledVGG)
    with torch.device("meta"):
        assert network(torch.empty(2, 3, 3, size, size, dtype=torch.uint8)).shape == (2, 3, 2048)
    assert count_parameters(network) == VGG_CONVOLUTIONS
    small = PooledBackbone("resnet10t", channels=SMALL)
    assert small(random_images(1, 2, 3, size, size)).shape == (1, 2, 4 * 16)


def test_context_features_are_means_over_quarters_of_the_map():
    network, x = around().eval(), random_images(1, 3, 64, 64)
    with torch.no_grad():
        last, found = network.network(network.normalise(x)), network(x)  # (1, 16, 2, 2)
    torch.testing.assert_close(found, last.flatten(1))
    with torch.no_grad():
        x = random_images(1, 3, 128, 128)
        last, found = network.network(network.normalise(x)), network(x)
    np.testing.assert_allclose(found.view(16, 2, 2)[:, 0, 1], last[0, :, :2, 2:].mean(dim=(1, 2)), rtol=1e-5)


# What the models are made of


@pytest.mark.parametrize("number", MODELS)
def test_persons_are_loaded_only_where_they_are_looked_at(number):
    model = model_of(number)
    assert ("person" in model.inputs) == (number in "3789")
    batch = batch_of()
    if number not in "3789":
        batch = replace(batch, person=None)
    assert model.eval()(batch).logits.shape == (3, 7)


@pytest.mark.parametrize("number", TABLE_4)
def test_the_pyramid_model_is_the_papers_chain(number):
    model, batch = model_of(number).eval(), batch_of(frames=11)
    with torch.no_grad():
        face = model.face.backbone(batch.face)
        probabilities = model.face.score(face).softmax(dim=2)
        context = model.scene(batch.person) if model.scene else None
        expected = temporal_pyramid(face, probabilities, context, model.levels)
        x = model.classifier.embed(expected)
        output = model(batch)
    torch.testing.assert_close(output.feature, x)
    torch.testing.assert_close(output.logits, x @ model.classifier.score.weight.T + model.classifier.score.bias)


@pytest.mark.parametrize("number", TABLE_3)
def test_the_spatiotemporal_model_is_the_papers_chain(number):
    """Also that the tuned face model, cut into two, is the whole one."""
    model, batch = model_of(number).eval(), batch_of()
    with torch.no_grad():
        face = model.face.backbone(batch.face)
        parts = [model.face.score(face).softmax(dim=2), face, *([model.scene(batch.person)] if model.scene else [])]
        states, _ = model.volume.lstm(torch.cat(parts, dim=2))
        images = [[model.volume.dense(state).reshape(4, 4) for state in clip] for clip in states]
        stacked = torch.stack([torch.stack(clip) for clip in images])  # (B, K, S, S)
        expected, _ = model.classifier(nn.Sequential(*model.convolutions)(stacked[:, None]))
        torch.testing.assert_close(model(batch).logits, expected, atol=NOISE[number], rtol=0)


@pytest.mark.parametrize("number", MODELS)
def test_only_models_2_and_3_tune_the_last_block_of_the_face(number):
    model = model_of(number).train()
    learning = {name for name, value in model.named_parameters() if value.requires_grad}
    tuned = {name for name in learning if name.startswith("face.")}
    assert bool(tuned) == (number in "23")
    assert all(name.startswith(("face.backbone.network.layer4.", "face.score.")) for name in tuned)
    assert not any(name.startswith("scene.") for name in learning)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    model(batch_of())
    moved = {key for key, value in model.state_dict().items() if not value.equal(before[key])}
    assert all(key.startswith(("face.backbone.network.layer4.", "convolutions.")) for key in moved)
    if number in "23":
        assert model.face.backbone.network.layer4.training
        assert any(key.startswith("face.backbone.network.layer4.") for key in moved)  # BatchNorm's statistics


# Masks


def test_real_frames_are_repeated_evenly():
    mask = torch.tensor([[True, False, True, True, False], [True] * 5, [False] * 5, [False, False, True, False, False]])
    expected = [[0, 0, 2, 2, 3, 3], [0, 0, 1, 2, 3, 4], [0] * 6, [2] * 6]
    assert evenly_spaced_index(mask, 6)[:2].tolist() == expected[:2]
    assert evenly_spaced_index(mask, 6)[3].tolist() == expected[3]
    assert evenly_spaced_index(mask, 5)[1].tolist() == [0, 1, 2, 3, 4]
    assert evenly_spaced_index(mask, 2)[1].tolist() == [0, 2]


def test_the_order_of_the_frames_matters():
    batch = batch_of(2, 6)
    moved = replace(batch, face=batch.face.flip(1), person=batch.person.flip(1))
    with torch.no_grad():
        for number in MODELS:
            model = model_of(number).eval()
            assert not torch.allclose(model(batch).logits, model(moved).logits, atol=10 * NOISE[number]), number


# Frozen features


def test_long_clips_are_seen_piece_by_piece(monkeypatch):
    model, batch = model_of("9").eval(), batch_of(2, 7)
    with torch.no_grad():
        whole = model.forward_frozen(batch).frames
        seen = []
        model.face.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
        monkeypatch.setattr(context_frames, "PIECE", 4)
        torch.testing.assert_close(model.forward_frozen(batch).frames, whole)
    assert seen == [4, 4, 4, 2]


def test_models_of_the_same_context_share_frozen_features():
    one, other = pyramid(levels=(3,)), pyramid(levels=(0, 1))
    assert repr(one.frozen_parts()) == repr(other.frozen_parts())


# Weights


def run_of(tmp_path, classes=SEVEN):
    stills = ImageClassifier(classes, small_backbone())
    path = tmp_path / "best.ckpt"
    torch.save({"state_dict": stills.state_dict(), "fer_lightning": {"class_names": list(classes)}}, path)
    return stills, str(path)


@pytest.mark.parametrize("tuned", [True, False])
def test_a_face_model_arrives_with_its_classifier(tmp_path, tuned):
    stills, path = run_of(tmp_path)
    model = ContextSpatiotemporal(SEVEN, small_backbone(weights=path), context=False, tuned=tuned, width=0.1)
    for module in model.modules():
        if isinstance(module, context_frames.Pretrained):
            module.load_weights()
    batch = batch_of(2, 1)
    with torch.no_grad():
        expected = stills.eval()(batch).logits.softmax(dim=1)
        torch.testing.assert_close(model.eval().describe_frames(batch).probabilities[:, 0], expected)


def test_the_context_model_loads_convolutions_of_a_vgg_file(tmp_path):
    theirs, ours = around(), around(weights=str(tmp_path / "vgg.pth"), pixels="imagenet")
    state = {
        key.removeprefix("network.").split(".", 1)[1]: value
        for key, value in theirs.state_dict().items()
        if "conv" in key
    }
    torch.save(state | {"fc6.weight": torch.zeros(4, 4), "fc6.bias": torch.zeros(4)}, tmp_path / "vgg.pth")
    ours.load_weights()
    x = random_images(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x))


def test_probabilities_that_would_stay_random_are_refused(tmp_path):
    stills, _ = run_of(tmp_path)
    bare = tmp_path / "bare.pth"
    torch.save(stills.backbone.network.state_dict(), bare)
    with pytest.raises(ValueError, match="hold no classifier of faces"):
        pyramid(context=False).face.__class__(small_backbone(weights=str(bare)), SEVEN, tuned=False).load_weights()
    context_frames.FaceModel(small_backbone(weights=str(bare)), SEVEN, tuned=True).load_weights()  # it will learn


def test_a_face_model_of_other_classes_must_state_them(tmp_path):
    classes = tuple(name for name in SEVEN if name != "disgust")
    _, path = run_of(tmp_path, classes)
    with pytest.raises(ValueError, match="face_classes"):
        context_frames.FaceModel(small_backbone(weights=path), SEVEN, tuned=False).load_weights()
    model = ContextTemporalPyramid(SEVEN, small_backbone(weights=path), context=False, face_classes=classes)
    model.face.load_weights()
    assert model.num_features == 15 * (16 + 3 * 6)


def test_only_resnets_can_be_tuned_in_part():
    with pytest.raises(ValueError, match="tuned: false"):
        ContextSpatiotemporal(SEVEN, meta(lambda: FrameBackbone("densenet201")), context=False)


OTHERS = {
    "resnet50": (2048, 23.5),
    "seresnet50": (2048, 26.0),
    "mnasnet_100": (1280, 3.1),
    "densenet201": (1920, 18.1),
    "inception_resnet_v2": (1536, 54.3),
    "legacy_xception": (2048, 20.8),
}


@pytest.mark.parametrize("name", OTHERS)
def test_the_face_models_of_table_2_have_the_stated_sizes(name):
    model = meta(lambda: ContextTemporalPyramid(SEVEN, FrameBackbone(name), context=False))
    features, millions = OTHERS[name]
    assert model.num_features == 15 * (features + 21)
    assert round(count_parameters(model.face.backbone) / 1e6, 1) == millions
    with torch.device("meta"):
        assert model.face.forward_frozen(torch.empty(2, 3, 224, 224, dtype=torch.uint8)).shape == (2, 7 + features)


# What the context model is trained on


@pytest.mark.parametrize("crop", ["face", "person"])
def test_a_classifier_of_images_sees_its_crop_alone(crop):
    model, batch = ImageClassifier(SEVEN, small_backbone(), crop=crop).eval(), batch_of()
    assert model.inputs == {crop}
    assert ImageClassifier(SEVEN, small_backbone()).inputs == {"face"}
    other = "person" if crop == "face" else "face"
    with torch.no_grad():
        output = model(batch)
        crops = model.backbone(getattr(batch, crop)).mean(dim=1)
        torch.testing.assert_close(output.feature, crops)
        torch.testing.assert_close(model(replace(batch, **{other: None})).logits, output.logits)


def test_an_unknown_crop_is_named():
    with pytest.raises(ValueError, match="face or person; found 'body'"):
        ImageClassifier(SEVEN, small_backbone(), crop="body")


def test_the_context_model_arrives_from_a_run_on_persons(tmp_path):
    theirs = ImageClassifier(SEVEN, PooledBackbone("resnet10t", channels=SMALL), crop="person")
    path = tmp_path / "best.ckpt"
    torch.save({"state_dict": theirs.state_dict(), "fer_lightning": {"class_names": list(SEVEN)}}, path)
    ours = PooledBackbone("resnet10t", str(path), SMALL)
    ours.load_weights()
    x = random_images(1, 2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(ours.eval()(x), theirs.eval().backbone(x))


def test_occluded_stills_are_staged_as_occluded_videos():
    stills = SyntheticStills(occluded=True)
    assert stills.variant != SyntheticStills().variant
    wanted = [settings for settings, _ in stills.wanted()]
    for settings in wanted[:: len(wanted) // 4]:
        plan = plan_still(replace(settings, size=32))
        assert plan.staging.sunglasses
        assert plan.staging.mask is not None
        plain = plan_still(replace(settings, size=32, occluded=False))
        assert plain.staging.mask is None
        assert plan.person == plain.person == get_person("still", settings.subject, settings.seed)


# Steps


def test_clips_of_any_length_stand_in_one_batch():
    """What `AllFramesSampler` gives for clips of 3 and 300 frames, and `RandomSampler` for the same."""
    lengths = [len(AllFramesSampler(max_frames=20)(n, None)) for n in (3, 300)]
    assert lengths == [3, 20]
    mask = torch.arange(20) < torch.tensor(lengths)[:, None]
    assert model_of("9").eval()(batch_of(2, 20, mask)).logits.isfinite().all()
    drawn = [RandomSampler(6, eval_views=5)(n, torch.Generator().manual_seed(0)) for n in (3, 300)]
    assert [len(d) for d in drawn] == [6, 6]


@pytest.mark.parametrize("number", "26")
def test_clips_of_any_length_train_alike_from_the_cache(number, tmp_path, monkeypatch):
    monkeypatch.setenv("FER_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("FER_DATA", str(tmp_path / "data"))
    sampler = AllFramesSampler(max_frames=6) if number == "6" else RandomSampler(6, eval_views=2)
    losses = []
    for cache in (True, False):
        data = made_data(MadeFaces(subjects=4, tested=1), sampler=sampler, train_views=2, cache=cache, balanced=True)
        model = model_of(number)
        model.optimizer = lambda parameters: torch.optim.SGD(parameters, lr=1e-3)
        trainer = L.Trainer(
            max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
            callbacks=FeatureCaching(),
        )  # fmt: skip
        trainer.fit(model, data)
        trainer.test(model, data, verbose=False)
        losses.append([float(trainer.callback_metrics[f"{split}/loss"]) for split in ("chosen", "test")])
        if cache and number == "6":
            lengths = {len(data.store.open(clip.record.clip_id)) for clip in data.split("train")}
            kept = {
                data.features.read(clip.record.clip_id, TRAIN_VIEWS, 1).frames.shape for clip in data.split("train")
            }
            assert max(lengths) > 6 > min(lengths)
            assert kept == {(min(length, 6), 7 + 16) for length in lengths}
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_3d_convolutions_learn_in_fp32_on_processors():
    """In bf16 their gradients over small maps are wrong."""
    torch.manual_seed(1)
    network, x, gradients = VolumeCNN(1 / 4), torch.randn(4, 8, 8, 8), []
    for enabled in (False, True):
        network.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            network(x.bfloat16() if enabled else x.bfloat16().float()).square().sum().backward()
        gradients.append([p.grad.clone() for p in network.parameters()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.slow
@pytest.mark.parametrize("make", [ContextSpatiotemporal, ContextTemporalPyramid])
def test_a_step_at_the_papers_size(make):
    model, batch = make(SEVEN).train(), batch_of(2, 32, size=224)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=4e-4)
    loss = model.loss(model(batch), batch)
    loss.backward()
    optimizer.step()
    assert loss.isfinite()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)
