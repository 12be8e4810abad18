"""CEFLNet against its equations, written plainly in NumPy."""

import numpy as np
import pytest
import torch

from data_modules.labels import SEVEN
from fer_lightning import CEFLNet
from fer_lightning.architectures.ceflnet import (
    EmotionalIntensityActivation,
    LocalGlobalRelation,
    SelfAttentionLearning,
)
from fer_lightning.evaluation.clip_outputs import ClipOutputs
from fer_lightning.evaluation.localization import peak_localization
from fer_lightning.training.cost import count_parameters, multiply_adds
from tests.models import random_batch, random_images, small_backbone


def value(parameter):
    return parameter.detach().double().numpy()


def linear(layer, x):
    return x @ value(layer.weight).T + value(layer.bias)


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def frames_and_mask(clips=4, frames=5, size=16, seed=0):
    rng = np.random.default_rng(seed)
    mask = rng.random((clips, frames)) < 0.7
    mask[0], mask[:, 0] = True, True
    return rng.normal(size=(clips, frames, size)), mask


def plain_sal(layer, frames, mask, heads):
    """Equation 1 per clip and head, then residual and LayerNorm; padded frames are not attended to."""
    out = np.empty_like(frames)
    size = frames.shape[-1] // heads
    for clip in range(len(frames)):
        query, key, val = np.split(linear(layer.query_key_value, frames[clip]), 3, axis=-1)
        parts = []
        for head in range(heads):
            h = slice(head * size, (head + 1) * size)
            scores = query[:, h] @ key[:, h].T / np.sqrt(size)
            scores[:, ~mask[clip]] = -np.inf
            parts.append(softmax(scores) @ val[:, h])
        x = frames[clip] + linear(layer.output, np.concatenate(parts, axis=-1))
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + layer.norm.eps)
        out[clip] = x * value(layer.norm.weight) + value(layer.norm.bias)
    return out


@pytest.mark.parametrize("heads", [1, 4])
def test_sal_is_equation_1(heads):
    layer = SelfAttentionLearning(16, heads).double()
    frames, mask = frames_and_mask()
    result = layer(torch.tensor(frames), torch.tensor(mask)).detach().numpy()
    assert result[mask] == pytest.approx(plain_sal(layer, frames, mask, heads)[mask], abs=1e-9)


def test_lrl_is_equations_2_and_3():
    layer = LocalGlobalRelation(16).double()
    frames, mask = frames_and_mask()
    expected = []
    for clip, real in zip(frames, mask, strict=True):
        whole = clip[real].max(axis=0)
        weights, vectors = [], []
        for frame in clip[real]:
            pair = np.concatenate([whole, frame])
            weights.append(sigmoid(linear(layer.weigh, pair))[0])
            vectors.append(pair)
        mean = sum(w * v for w, v in zip(weights, vectors, strict=True)) / sum(weights)
        expected.append(linear(layer.merge, mean))
    result = layer(torch.tensor(frames), torch.tensor(mask)).detach().numpy()
    assert result == pytest.approx(np.array(expected), abs=1e-9)


def test_eian_is_equations_5_to_8():
    layer = EmotionalIntensityActivation(16).double()
    clips, mask = frames_and_mask(clips=3, frames=7)
    result, scores = layer(torch.tensor(clips), torch.tensor(mask))
    weight, bias = value(layer.score.weight)[0, :, 0], value(layer.score.bias)
    for video in range(3):
        real = mask[video]
        attention = softmax(clips[video][real] @ weight + bias)
        assert scores[video].detach().numpy()[real] == pytest.approx(attention, abs=1e-6)
        activation = attention[:, None] * clips[video][real]
        assert result[video].detach().numpy() == pytest.approx(activation.max(axis=0), abs=1e-6)
    assert scores.sum(dim=1).tolist() == pytest.approx([1, 1, 1])


def test_parameters_and_multiply_adds_are_the_papers():
    model = CEFLNet(class_names=SEVEN)
    assert count_parameters(model) == pytest.approx(12.83e6, rel=0.02)
    assert multiply_adds(model, random_batch(1, size=224)) == pytest.approx(63.80e9, rel=0.01)


def test_parameters_of_each_block():
    """By hand: weights and biases of each layer that the equations name, at D = 512 and seven classes."""
    with torch.device("meta"):
        model = CEFLNet(class_names=SEVEN)
        small = {name: CEFLNet(SEVEN, **{name: False}) for name in ("sal", "lrl", "eian")}
        authors = CEFLNet(SEVEN, form="authors")
    blocks = {
        "backbone": 11_689_512 - 1000 * (512 + 1),  # torchvision's ResNet-18 without its classifier
        "sal": 4 * (512 * 512 + 512) + 2 * 512,  # query, key, value, output; LayerNorm
        "lrl": (1024 + 1) + (1024 * 512 + 512),  # q^0, q^1
        "eian": 512 + 1,  # W
        "classifier": (512 * 256 + 256) + (256 * 128 + 128) + (128 * 7 + 7),  # q^2
    }
    found = {name: count_parameters(block) for name, block in model.named_children() if name != "split_metrics"}
    assert found == blocks
    assert count_parameters(model) == count_parameters(authors) == sum(blocks.values()) == 12_919_625
    for name, without in small.items():
        assert count_parameters(without) == 12_919_625 - blocks[name]


def test_all_frames_go_through_the_backbone_in_one_call(monkeypatch):
    model, calls = CEFLNet(SEVEN, small_backbone()).eval(), []
    network = model.backbone.network
    original = network.forward
    monkeypatch.setattr(network, "forward", lambda x: (calls.append(x.shape), original(x))[1])
    model(random_batch(3))
    assert calls == [(3 * 35, 3, 32, 32)]


def test_a_sub_video_without_any_frame_has_no_score():
    mask = torch.ones(3, 35, dtype=torch.bool)
    mask[1] = False
    mask[2, :5] = False  # one of the seven sub-videos
    attention = CEFLNet(SEVEN, small_backbone())(random_batch(3, mask=mask)).attention
    assert not attention[1].any()
    assert attention[2, 0] == 0
    assert (attention[2, 1:] > 0).all()


def test_the_emotion_rich_clip_is_the_one_with_the_highest_score():
    """Equation 6, from the frames to the share of table 7: one sub-video differs, and W is set to score it highest."""
    model = CEFLNet(SEVEN, small_backbone()).eval()
    places, batch = (5, 0, 3), random_batch(3)
    batch.face[:] = batch.face[0, 0]
    for video, place in enumerate(places):
        batch.face[video, 5 * place : 5 * place + 5] = random_images(3, 32, 32, seed=9)
    clips = []
    model.eian.register_forward_pre_hook(lambda _, given: clips.append(given[0]))
    with torch.no_grad():
        model(batch)
        rich, others = clips[0][0, 5], clips[0][0, 4]
        model.eian.score.weight[0, :, 0] = 3 * (rich - others) / (rich - others).square().sum()
        model.eian.score.bias.fill_(-7.0)  # which a softmax does not see
        output = model(batch)
    # W scores the rich clip 3 above the others: e^3 to 1 against six others.
    expected = np.full((3, 7), 1 / (6 + np.exp(3)))
    expected[np.arange(3), places] = np.exp(3) / (6 + np.exp(3))
    assert output.attention.numpy() == pytest.approx(expected, abs=1e-4)
    assert output.attention.argmax(dim=1).tolist() == list(places)
    for found_at, hit_rate in (((5, 0, 3), 1.0), ((5, 1, 3), 2 / 3), ((4, 1, 2), 0.0)):
        intensity = np.zeros((3, 7, 5))
        intensity[np.arange(3), found_at, 2] = 1.0
        outputs = ClipOutputs(
            batch.clip_id,
            output.feature.numpy(),
            batch.frame_index.numpy(),
            output.attention.numpy(),
            intensity.reshape(3, 35),
        )
        assert peak_localization(outputs).hit_rate == pytest.approx(hit_rate)


def test_bf16_autocast_stays_near_fp32():
    model = CEFLNet(SEVEN, small_backbone()).eval()
    batch = random_batch(2)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = model(batch).logits
    assert torch.allclose(mixed.float(), model(batch).logits, atol=0.05)
