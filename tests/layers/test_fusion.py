"""Low-rank fusion against the tensors it never builds."""

import numpy as np
import pytest
import torch

from fer_lightning.layers import LowRankFusion

V, L, O = 7, 5, 3  # noqa: E741


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def value(parameter):
    return parameter.detach().numpy()


def extended(z, attention):
    """z' of equation 19, for one vector."""
    z = np.append(z, 1.0)
    return z if attention is None else sigmoid(value(attention.weight) @ z + value(attention.bias)) * z


@pytest.mark.parametrize("attention", [True, False])
@pytest.mark.parametrize("rank", [1, 2, 3, 4])
def test_it_is_the_full_weight_tensor_on_the_outer_product(rank, attention):
    layer = LowRankFusion(V, L, O, rank, attention).double()
    assert layer.video_factor.shape == (rank, V + 1, O)
    assert layer.landmark_factor.shape == (rank, L + 1, O)
    weight = np.zeros((V + 1, L + 1, O))  # equation 20, one matrix for each output
    for i in range(rank):
        for o in range(O):
            weight[:, :, o] += np.outer(value(layer.video_factor)[i, :, o], value(layer.landmark_factor)[i, :, o])
    assert [np.linalg.matrix_rank(weight[:, :, o]) for o in range(O)] == [rank] * O
    rng = np.random.default_rng(rank)
    video, landmark = rng.normal(size=(6, V)), rng.normal(size=(6, L))
    result = layer(torch.tensor(video), torch.tensor(landmark)).detach().numpy()
    for clip in range(6):
        z = np.outer(extended(video[clip], layer.video_attention), extended(landmark[clip], layer.landmark_attention))
        expected = [(z * weight[:, :, o]).sum() for o in range(O)]
        assert result[clip] == pytest.approx(expected, abs=1e-12)


def test_without_attention_it_has_the_two_factors_alone():
    layer = LowRankFusion(V, L, O, attention=False)
    assert {name: tuple(p.shape) for name, p in layer.named_parameters()} == {
        "video_factor": (4, V + 1, O),
        "landmark_factor": (4, L + 1, O),
    }
    assert sum(p.numel() for p in LowRankFusion(7, 7, 7, attention=False).parameters()) == 2 * 4 * 8 * 7


def test_attention_weighs_the_appended_one_too():
    layer = LowRankFusion(V, L, O)
    with torch.no_grad():
        for attention in (layer.video_attention, layer.landmark_attention):
            attention.weight.zero_()
            attention.bias.zero_()
    plain = LowRankFusion(V, L, O, attention=False)
    plain.load_state_dict(layer.state_dict(), strict=False)
    video, landmark = torch.randn(4, V), torch.randn(4, L)
    assert torch.allclose(layer(video, landmark), plain(video, landmark) / 4, atol=1e-6)  # σ(0) = 1/2, twice


@pytest.mark.parametrize("rank", [1, 4, 16])
@pytest.mark.parametrize("size", [7, 300])
def test_it_begins_with_outputs_of_the_inputs_scale(rank, size):
    torch.manual_seed(0)
    layer = LowRankFusion(size, 20, 400, rank, attention=False)
    output = layer(torch.randn(500, size), torch.randn(500, 20))
    assert output.std().item() == pytest.approx(1, rel=0.15)


@pytest.mark.parametrize("attention", [True, False])
def test_every_parameter_gets_a_gradient(attention):
    layer = LowRankFusion(V, L, O, attention=attention)
    layer(torch.rand(4, V), torch.rand(4, L)).square().sum().backward()
    assert all(p.grad.any() and p.grad.isfinite().all() for p in layer.parameters())


def test_bf16_autocast_stays_near_float32():
    layer = LowRankFusion(V, L, O)
    video, landmark = torch.rand(4, V).softmax(dim=1), torch.rand(4, L).softmax(dim=1)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = layer(video, landmark)
    assert torch.allclose(mixed.float(), layer(video, landmark), atol=0.02)
