"""VSHNN's parts joined: the paper's equations written plainly, what is frozen, and clips that lack something."""

import copy
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import pytorch_lightning as L
import torch
import torch.nn.functional as F

from data_modules.labels import SEVEN
from data_modules.sampling import SegmentSampler
from fer_lightning import (
    VSHNN,
    AppearanceRNN,
    ClipBackbone,
    DenseNetFC,
    FullyConnectedBackbone,
    IntermediateConcatenation,
    LandmarkMLP,
    LowRankMultiModalFusion,
    SceneCNN,
    WeightedSum,
)
from fer_lightning.architectures.vshnn.fusion import ALPHAS, AlphaSearch
from fer_lightning.layers.correlation import substitution_index
from fer_lightning.training.cost import count_parameters, multiply_adds
from fer_lightning.training.feature_caching import FeatureCaching
from fer_lightning.weights import load_backbone_weights, read_source
from tests.models import SMALL, random_batch, random_images, small_backbone
from tests.small_runs import made_data

FUSIONS = ("none", "ic", "ws", "lrmf", "lrmaf")
FRAMES = 8


def small_fc(**options) -> FullyConnectedBackbone:
    return FullyConnectedBackbone("resnet10t", channels=SMALL, pool=2, hidden=12, **options)


def small_scene(**options) -> ClipBackbone:
    return ClipBackbone("c3d", width=1 / 32, size=32, **options)


def small_fusion(name, **options):
    network = {"width": 8, "frames": FRAMES, "modules": 2}
    make = {
        "none": lambda: None,
        "ic": lambda: IntermediateConcatenation(frames=FRAMES),
        "ws": lambda: WeightedSum(**network, **options),
        "lrmf": lambda: LowRankMultiModalFusion(attention=False, **network, **options),
        "lrmaf": lambda: LowRankMultiModalFusion(**network, **options),
    }
    return make[name]()


def small_vshnn(fusion="none", settings=None, **options) -> VSHNN:
    """A VSHNN with a fusion by the paper's abbreviation; `settings` are the fusion's own."""
    torch.manual_seed(0)
    sizes = {"hidden": 16, "features": 8, "dropout": 0.0, "substitution": 2}
    defaults = {"backbone": small_fc(), "scene": small_scene(), "fusion": small_fusion(fusion, **(settings or {}))}
    return VSHNN(SEVEN, **(defaults | sizes | options))


def small_models():
    yield from ((f"VSHNN {fusion}", small_vshnn(fusion)) for fusion in FUSIONS)
    yield "SceneCNN", SceneCNN(SEVEN, small_scene(), hidden=16, dropout=0.0)
    yield "CNN-GRU", AppearanceRNN(SEVEN, small_fc(), hidden=16, features=8, dropout=0.0)
    yield "CNN-LSTM", AppearanceRNN(SEVEN, small_fc(), cell="lstm", hidden=16, features=8, dropout=0.0)


MODELS = dict(small_models())


def model_of(name):
    return copy.deepcopy(MODELS[name])


def batch_of(clips=4, frames=FRAMES, size=32, **options):
    batch = random_batch(clips, frames, size, **options)
    landmarks = torch.rand(clips, frames, 68, 3, generator=torch.Generator().manual_seed(1)) * size
    return replace(batch, landmarks=landmarks)


def double(model, batch):
    return model.double(), replace(batch, landmarks=batch.landmarks.double())


def entropy(logits, label):
    return float(np.mean([np.log(np.exp(row).sum()) - row[y] for row, y in zip(logits, label, strict=True)]))


def numbers(x):
    return x.detach().double().numpy()


# Section 3.2: DenseNet-FC


def test_fc6_has_205_million_parameters():
    with torch.device("meta"):
        backbone = FullyConnectedBackbone()
    count = {name: sum(p.numel() for p in layer.parameters()) for name, layer in backbone.connected.named_children()}
    assert count["fc6"] == 1024 * 7 * 7 * 4096 + 4096 == 205_524_992
    assert count["fc7"] == 4096 * 4096 + 4096
    assert sum(p.numel() for p in backbone.network.parameters()) == 6_953_856  # DenseNet-121 without its head
    assert backbone.num_features == 4096


@pytest.mark.parametrize("shape", [(2, 3, 64, 64), (2, 5, 3, 32, 32), (1, 1, 3, 224, 224)])
def test_a_fully_connected_backbone_is_its_layers_in_order(shape):
    backbone = small_fc().eval()
    frames = random_images(*shape)
    map_ = backbone.network(backbone.normalise(frames.flatten(0, -4)))
    assert map_.shape[1] == SMALL[-1]
    flat = F.adaptive_avg_pool2d(map_, 2).flatten(1)
    expected = backbone.connected.fc7(backbone.connected.fc6(flat).relu()).relu()
    found = backbone(frames)
    assert found.shape == (*shape[:-3], 12)
    assert torch.allclose(found.flatten(0, -2), expected, atol=1e-5)


def run_of(model, folder, name):
    path = folder / "runs" / name / "1-0" / "checkpoints" / "best.ckpt"
    path.parent.mkdir(parents=True)
    torch.save({"state_dict": model.state_dict(), "fer_lightning": {}}, path)
    return path


@pytest.mark.parametrize("as_path", [False, True])
def test_a_runs_backbone_loads_with_its_fully_connected_layers(tmp_path, as_path):
    trained = DenseNetFC(SEVEN, small_fc())
    path = run_of(trained, tmp_path, "densenet_fc_x")
    model = small_vshnn(backbone=small_fc(weights=str(path) if as_path else "run:densenet_fc_x"))
    model.backbone.load_weights()
    state = model.backbone.state_dict()
    assert all(value.equal(state[key]) for key, value in trained.backbone.state_dict().items())
    assert "connected.fc6.weight" in state


def test_a_run_without_the_fully_connected_layers_is_refused(tmp_path):
    run_of(DenseNetFC(SEVEN, small_backbone()), tmp_path, "plain")
    with pytest.raises(ValueError, match=r"do not fit the layers behind resnet10t.*fc6\.bias"):
        small_fc(weights="run:plain").load_weights()


def test_weights_from_elsewhere_fill_the_convolutions_alone(tmp_path):
    published = small_backbone()
    torch.save(published.network.state_dict(), tmp_path / "published.pth")
    backbone = small_fc(weights=str(tmp_path / "published.pth"), pixels="imagenet")
    before = backbone.connected.fc6.weight.clone()
    backbone.load_weights()
    assert all(value.equal(backbone.network.state_dict()[key]) for key, value in published.network.state_dict().items())
    assert backbone.connected.fc6.weight.equal(before)
    with pytest.raises(ValueError, match=r"would stay random.*run:densenet_fc_fer2013"):
        backbone.requires_grad_(False).load_weights()


def test_a_plain_backbones_run_still_loads(tmp_path):
    trained = DenseNetFC(SEVEN, small_backbone())
    run_of(trained, tmp_path, "plain")
    network = small_backbone().network
    load_backbone_weights(network, read_source("run:plain"), "run:plain", "resnet10t")
    assert all(value.equal(trained.backbone.network.state_dict()[key]) for key, value in network.state_dict().items())


# Sections 3.3 to 3.5, and equation 15


@pytest.mark.parametrize("fusion", ["none", "ic"])
def test_vshnn_is_its_sections_one_after_another(fusion):
    """Also equation 16: the scene input is [BatchNorm(v), l']."""
    model, batch = double(small_vshnn(fusion).eval(), batch_of())
    output = model(batch)
    appearance = torch.stack([model.backbone(clip) for clip in batch.face])
    v = torch.stack([model.scene_feature(model.scene(clip[None])[0]) for clip in batch.face])
    aux, scene = v, v
    for layer in model.auxiliary_classifier:
        aux = layer(aux)
    if fusion == "ic":
        norm, features = model.fusion.norm, model.fusion.features
        normal = (v - norm.running_mean) / (norm.running_var + norm.eps).sqrt() * norm.weight + norm.bias
        scene = torch.cat([normal, features(batch.landmarks, batch.mask)[0]], dim=1)
        assert scene.shape[1] == 16 + 102 + FRAMES * (FRAMES - 1) // 2
    index = substitution_index(appearance, 2)
    assert torch.equal(model.substitution_index(appearance), index)
    logits = []
    for clip in range(len(batch)):
        frames = appearance[clip][index[clip]]
        hidden = (
            scene[clip] if model.sarnn.rnn.scene_to_hidden is None else model.sarnn.rnn.scene_to_hidden(scene[clip])
        )
        _, last = model.sarnn.rnn.rnn(frames[None], hidden[None, None])
        logits.append(model.sarnn.score(model.sarnn.embed[1](last[0, 0]).relu()))
    assert torch.allclose(output.logits, torch.stack(logits), atol=1e-9)
    assert torch.allclose(output.auxiliary, aux, atol=1e-9)
    label = batch.label.tolist()
    expected = entropy(numbers(output.logits), label) + 0.5 * entropy(numbers(output.auxiliary), label)
    assert float(model.loss(output, batch)) == pytest.approx(expected, rel=1e-5)


def test_the_relation_of_frames_is_their_correlation_matrix():
    model, batch = small_vshnn().eval(), batch_of(2)
    frames, output = model.forward_frozen(batch).frames, model(batch)
    for clip, found in zip(numbers(frames), output.relation, strict=True):
        assert found.numpy() == pytest.approx(np.corrcoef(clip @ clip.T), abs=1e-4)
    assert output.frame_source.equal(model.substitution_index(frames, batch.mask))
    assert output.attention is None


def test_three_frames_are_replaced_by_the_most_alike():
    model = small_vshnn(substitution=3)
    frames = torch.randn(2, 16, 12)
    index, mean = model.substitution_index(frames), [np.corrcoef(x @ x.T).mean(axis=1) for x in frames.double().numpy()]
    for clip in range(2):
        low, high = np.argsort(mean[clip])[:3], np.argsort(-mean[clip])[:3]
        assert index[clip][low].tolist() == high.tolist()
        rest = np.setdiff1d(np.arange(16), low)
        assert index[clip][rest].tolist() == rest.tolist()


def test_cnn_gru_is_a_gru_that_begins_with_zero():
    model, batch = MODELS["CNN-GRU"].eval(), batch_of()
    _, last = model.sarnn.rnn.rnn(model.backbone(batch.face))
    assert torch.allclose(model(batch).logits, model.sarnn.score(model.sarnn.embed(last[0])), atol=1e-6)


# Section 4.2


def streams(model, batch):
    """Logits of SARNN and of the landmarks."""
    made = model.frozen_features(batch)
    frames = made.frames[torch.arange(len(batch))[:, None], model.substitution_index(made.frames)]
    video, _ = model.sarnn(frames, model.scene_feature(made.clip), batch.mask)
    return video, model.fusion.net(batch.landmarks, batch.mask).scores


@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0])
def test_ws_is_equation_17(alpha):
    model, batch = double(small_vshnn("ws", {"alpha": alpha}).eval(), batch_of())
    output = model(batch)
    p, q = (numbers(scores.softmax(dim=1)) for scores in streams(model, batch))
    assert numbers(output.logits.softmax(dim=1)) == pytest.approx(alpha * p + (1 - alpha) * q, abs=1e-7)  # α is float32
    label = batch.label.tolist()
    parts = [entropy(numbers(x), label) for x in (output.fused.video, output.fused.landmarks, output.auxiliary)]
    assert float(model.loss(output, batch)) == pytest.approx(parts[0] + parts[1] + 0.5 * parts[2], rel=1e-5)


@pytest.mark.parametrize("fusion", ["lrmf", "lrmaf"])
def test_low_rank_fusion_is_equations_18_to_20_of_the_scores(fusion):
    model, batch = double(small_vshnn(fusion, {"rank": 3}).eval(), batch_of())
    output, fuse = model(batch), model.fusion.low_rank
    video, landmarks = (numbers(scores.softmax(dim=1)) for scores in streams(model, batch))
    for clip in range(len(batch)):
        z = [np.append(video[clip], 1), np.append(landmarks[clip], 1)]
        if fusion == "lrmaf":
            layers = (fuse.video_attention, fuse.landmark_attention)
            logits = [numbers(f.weight) @ x + numbers(f.bias) for f, x in zip(layers, z, strict=True)]
            z = [x / (1 + np.exp(-a)) for x, a in zip(z, logits, strict=True)]
        outer = np.outer(*z)
        factors = zip(numbers(fuse.video_factor), numbers(fuse.landmark_factor), strict=True)
        weight = sum(np.einsum("ao,bo->abo", v, w) for v, w in factors)
        assert numbers(output.logits[clip]) == pytest.approx(np.einsum("ab,abo->o", outer, weight), abs=1e-9)
    label = batch.label.tolist()
    said = (output.logits, output.fused.video, output.fused.landmarks, output.auxiliary)
    parts = [entropy(numbers(x), label) for x in said]
    assert float(model.loss(output, batch)) == pytest.approx(sum(parts[:3]) + 0.5 * parts[3], rel=1e-5)


@pytest.mark.parametrize("fusion", FUSIONS[2:])
def test_a_clip_without_landmarks_has_the_videos_scores(fusion):
    model, batch = small_vshnn(fusion).eval(), batch_of()
    landmarks = batch.landmarks.clone()
    landmarks[1], landmarks[2, :3] = float("nan"), float("nan")
    output = model(replace(batch, landmarks=landmarks))
    assert output.fused.present.tolist() == [True, False, True, True]
    video = output.fused.video.softmax(1)
    assert torch.allclose(output.logits[1].softmax(0), video[1], atol=1e-6)
    assert not torch.allclose(output.logits[2].softmax(0), video[2], atol=1e-3)


def test_ic_without_landmarks_has_the_middle_of_the_scale():
    layer = small_vshnn("ic").fusion.eval()
    batch = batch_of(2)
    scene, present = layer.scene_input(
        torch.randn(2, 16), replace(batch, landmarks=torch.full_like(batch.landmarks, torch.nan))
    )
    assert not present.any()
    assert scene.isfinite().all()
    assert not scene[:, 16:].any()


def test_alpha_is_the_best_one_nearest_to_the_middle():
    rng = np.random.default_rng(0)
    p, q = (rng.dirichlet(np.ones(7), 60) for _ in range(2))
    label = np.where(rng.random(60) < 0.6, p.argmax(axis=1), q.argmax(axis=1))
    search = AlphaSearch(7)
    for rows in (slice(0, 25), slice(25, 60)):
        search.update(*(torch.tensor(x[rows]) for x in (p, q, label)))
    right = [((a * p + (1 - a) * q).argmax(axis=1) == label).sum() for a in ALPHAS]
    best = max(range(21), key=lambda i: (right[i], -abs(ALPHAS[i] - 0.5)))
    assert int(search.compute()) == best
    assert search.confusion[best].diagonal().sum() == right[best] > right[0]
    alike = AlphaSearch(7)
    alike.update(torch.tensor(p), torch.tensor(p), torch.tensor(label))
    assert ALPHAS[int(alike.compute())] == 0.5


def test_wrong_settings_are_refused():
    with pytest.raises(ValueError, match="frozen convolutions"):
        small_vshnn(scene=small_scene(frozen=False))
    with pytest.raises(ValueError, match="this WeightedSum has the layers of another VSHNN"):
        VSHNN(SEVEN, small_fc(), small_scene(), fusion=small_vshnn("ws").fusion)
    with pytest.raises(ValueError, match="from 0 to 1"):
        WeightedSum(1.5)


# What is trained and what is frozen


# Clips that lack something


@pytest.mark.parametrize("k", [0, 5, 40])
def test_one_frame_and_more_substitutions_than_frames(k):
    for frames in (1, FRAMES):
        model, batch = small_vshnn(substitution=k).eval(), batch_of(2, frames)
        assert model(batch).logits.isfinite().all()


# Training


def trained(
    tmp_path,
    model,
    precision="32-true",
    epochs=1,
    selection="inner",
    cache=False,
    train_views=0,
    watch_test=False,
    **options,
):
    data = made_data(
        sampler=SegmentSampler(frames=FRAMES), batch_size=8, inputs=model.inputs, selection=selection, cache=cache,
        train_views=train_views, watch_test=watch_test,
    )  # fmt: skip
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    trainer = L.Trainer(
        **quiet, max_epochs=epochs, precision=precision, num_sanity_val_steps=0, default_root_dir=tmp_path,
        use_distributed_sampler=False, enable_checkpointing=False, **options,
    )  # fmt: skip
    trainer.fit(model, data)
    return trainer, data


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=1e-2)


def still(parameters):
    return torch.optim.SGD(parameters, lr=0.0)


def test_gradient_values_are_clipped_under_bf16_too(tmp_path):
    """Steps of plain SGD show the gradients: with values clipped to c none is longer than lr c."""
    steps, clip = [], 1e-3

    class Watched(VSHNN):
        def on_before_optimizer_step(self, optimizer):
            steps.append(max(float(p.grad.abs().max()) for p in self.parameters() if p.grad is not None))

        def on_train_batch_start(self, batch, batch_idx):
            self.before = [p.detach().clone() for p in self.parameters()]

        def on_train_batch_end(self, outputs, batch, batch_idx):
            moved = [(p - old).abs().max() for p, old in zip(self.parameters(), self.before, strict=True)]
            assert 0 < max(moved) <= 1e-2 * clip * 1.01 + 1e-7

    torch.manual_seed(0)
    model = Watched(SEVEN, small_fc(), small_scene(), hidden=16, features=8, substitution=2, optimizer=sgd)
    options = {"gradient_clip_val": clip, "gradient_clip_algorithm": "value", "limit_train_batches": 2}
    trained(tmp_path, model, "bf16-mixed", limit_val_batches=0, **options)
    assert len(steps) == 2
    assert max(steps) > clip, "nothing was to be clipped"


def test_ws_is_watched_with_the_alpha_of_its_epoch(tmp_path, monkeypatch):
    """The reported split comes after the inner one, on which α is chosen."""
    model, seen = small_vshnn("ws", optimizer=sgd), []
    model.fusion.alpha.fill_(0.05)
    predict = type(model).predict_clips

    def watched(self, batch):
        if self.trainer.validating or self.trainer.state.fn == "fit":
            seen.append(float(self.fusion.alpha))
        return predict(self, batch)

    monkeypatch.setattr(type(model), "predict_clips", watched)
    trainer, _ = trained(tmp_path, model, epochs=1, watch_test=True)
    assert seen
    assert set(seen) == {float(model.fusion.alpha)}
    assert float(trainer.callback_metrics["inner/alpha"]) == pytest.approx(float(model.fusion.alpha))
    assert float(model.fusion.alpha) != pytest.approx(0.05), "the value that it begins with"


def test_ws_finds_alpha_on_the_inner_split(tmp_path):
    model = small_vshnn("ws", optimizer=sgd)
    trainer, data = trained(tmp_path, model, epochs=2)
    alpha = float(model.fusion.alpha)
    logged = trainer.callback_metrics
    assert float(logged["inner/alpha"]) == pytest.approx(alpha)
    right, answers = dict.fromkeys(ALPHAS, 0), []
    model.eval()
    for batch in data.val_dataloader():
        with torch.no_grad():
            output = model(batch)
        p, q = output.fused.video.softmax(1), output.fused.landmarks.softmax(1)
        answers.append(output.logits.softmax(1).argmax(1) == batch.label)
        for a in ALPHAS:
            right[a] += int(((a * p + (1 - a) * q).argmax(1) == batch.label).sum())
    best = max(ALPHAS, key=lambda a: (right[a], -abs(a - 0.5)))
    assert alpha == pytest.approx(best)
    clips = data.split("inner")
    assert float(logged["inner/war"]) == pytest.approx(right[best] / len(clips))
    assert int(torch.cat(answers).sum()) == right[best]
    assert float(logged["inner/without_landmarks"]) == 0


def saved(path, model):
    """The checkpoint of a model with other weights than those that it began with."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.uniform_(-1, 1)
    content = {"state_dict": model.state_dict()}
    model.on_save_checkpoint(content)
    torch.save(content, path)
    return model


@pytest.mark.parametrize("fusion", FUSIONS[2:])
def test_a_fusion_begins_with_the_weights_of_streams_that_were_trained_alone(tmp_path, fusion):
    """Training with a rate of 0 leaves the parameters as they were loaded."""
    video = saved(tmp_path / "video.ckpt", small_vshnn())
    landmarks = saved(tmp_path / "landmarks.ckpt", LandmarkMLP(SEVEN, modules=2, width=8, frames=FRAMES))
    sources = {"video_weights": str(tmp_path / "video.ckpt"), "optimizer": still}
    model = small_vshnn(fusion, {"weights": str(tmp_path / "landmarks.ckpt")}, **sources)
    backbone = copy.deepcopy(model.backbone.state_dict())
    trained(tmp_path, model, limit_train_batches=1)
    for name in ("scene_feature", "auxiliary_classifier", "sarnn"):
        pairs = zip(getattr(model, name).parameters(), getattr(video, name).parameters(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)
    pairs = zip(model.fusion.net.parameters(), landmarks.net.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert all(torch.equal(tensor, backbone[name]) for name, tensor in model.backbone.state_dict().items())


def test_streams_of_other_classes_or_shapes_are_refused(tmp_path):
    path = tmp_path / "landmarks.ckpt"
    others = sorted({*SEVEN, "contempt"} - {"neutral"})
    saved(path, LandmarkMLP(others, modules=2, width=8, frames=FRAMES))  # seven classes too
    with pytest.raises(ValueError, match=r"was trained on the classes anger, contempt, .*expected anger, disgust"):
        trained(tmp_path, small_vshnn("ws", {"weights": str(path)}, optimizer=still))
    saved(path, LandmarkMLP(SEVEN, modules=2, width=9, frames=FRAMES))
    with pytest.raises(ValueError, match=r"net.hidden.0.0.weight \(\(8, \d+\) expected, \(9, \d+\) found\)"):
        trained(tmp_path, small_vshnn("ws", {"weights": str(path)}, optimizer=still))


@pytest.mark.parametrize(
    ("selection", "batches", "reason"),
    [("last", None, r"with `selection: last` there is none"), ("inner", 0, r"`limit_val_batches: 0` leaves it out")],
)
def test_alpha_is_not_searched_without_an_inner_split(tmp_path, selection, batches, reason):
    with pytest.raises(ValueError, match=rf"WeightedSum searches its alpha on the inner split, but {reason}; state"):
        trained(tmp_path, small_vshnn("ws", optimizer=sgd), selection=selection, limit_val_batches=batches)
    caching = {"cache": True, "train_views": 1, "callbacks": [FeatureCaching()]}
    refused = small_vshnn("ws", optimizer=sgd)
    with pytest.raises(ValueError, match="searches its alpha"):
        trained(tmp_path, refused, selection=selection, limit_val_batches=batches, **caching)
    assert not refused._begun, "before weights are loaded and features are computed"
    model = small_vshnn("ws", {"alpha": 0.6}, optimizer=sgd)
    trained(tmp_path, model, selection=selection, limit_val_batches=batches, limit_train_batches=1)
    assert float(model.fusion.alpha) == pytest.approx(0.6)


def test_the_scaler_is_fitted_on_training_clips_alone(tmp_path):
    model = small_vshnn("lrmaf", optimizer=sgd)
    trainer, data = trained(tmp_path, model, limit_train_batches=1)
    batches = list(data.fitting_dataloader())
    assert {clip for batch in batches for clip in batch.clip_id} == {
        clip.record.clip_id for clip in data.split("train") if clip.usable
    }
    features = torch.cat([model.fusion.net.features(batch.landmarks, batch.mask)[0] for batch in batches])
    assert features.amin() == pytest.approx(-1, abs=1e-4)
    assert features.amax() == pytest.approx(1, abs=1e-4)
    assert "train/without_landmarks" in trainer.callback_metrics


# The paper's size


def test_parameters_of_each_block():
    """By hand, for GRU, type B and seven classes; a 3D CNN of 512 maps of 4 x 4 ends in 8192 values."""
    with torch.device("meta"):
        model = VSHNN(SEVEN)
    sizes = (3, 64, 128, 256, 256, 512, 512, 512, 512)
    blocks = {
        "backbone": 6_953_856 + (1024 * 7 * 7 * 4096 + 4096) + (4096 * 4096 + 4096),  # section 3.2
        "scene": sum(27 * a * b + b for a, b in pairwise(sizes)),  # C3D's convolutions
        "scene_feature": 8192 * 2048 + 2048,  # section 5.2.2
        "auxiliary_classifier": (2048 * 2048 + 2048) + 2 * 2048 + (2048 * 7 + 7),  # FC, BatchNorm, FC: section 3.3
        "sarnn": 3 * (4096 * 2048 + 2048 * 2048 + 2 * 2048) + (2048 * 1024 + 1024) + (1024 * 7 + 7),  # section 5.2.3
    }
    found = {name: count_parameters(block) for name, block in model.named_children() if name != "split_metrics"}
    assert found == blocks
    assert count_parameters(model) == sum(blocks.values()) == 317_776_526


@pytest.mark.slow
@pytest.mark.parametrize("fusion", ["none", "lrmaf"])
def test_a_step_at_the_papers_size(fusion):
    model = VSHNN(SEVEN, fusion={"none": None, "lrmaf": LowRankMultiModalFusion()}[fusion])
    landmarks = torch.rand(2, 16, 68, 3) * 224
    batch = replace(random_batch(2, 16, 224), landmarks=landmarks)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    model.loss(model(batch), batch).backward()
    optimizer.step()
    assert model(batch).logits.isfinite().all()
    assert count_parameters(model) == {"none": 317_776_526, "lrmaf": 317_968_357}[fusion]
    assert multiply_adds(model, batch) == pytest.approx(88.01e9, rel=1e-3)  # without the GRU's 0.6 G
