"""FAN against its equations, written plainly in NumPy."""

import numpy as np
import pytest
import torch

from data_modules.labels import SEVEN
from fer_lightning import FrameAttention
from fer_lightning.architectures.frame_attention import RelationAttentionWeights, SelfAttentionWeights
from fer_lightning.training.cost import count_parameters
from tests.models import Case, random_batch, small_backbone


def fan(**options) -> FrameAttention:
    return FrameAttention(SEVEN, small_backbone(), dropout=0.0, **options)


CONTRACT_CASES = {
    "FrameAttention": Case(fan),
    "FrameAttention without relation": Case(lambda: fan(relation=False)),
}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def weigh(layer, x):
    """The fully connected layer of equations 1 and 3 on one vector."""
    weight, bias = (parameter.detach().double().numpy() for parameter in (layer.weight, layer.bias))
    return sigmoid(float(weight[0] @ x + bias[0]))


def plain_fan(self_attention, relation_attention, frames):
    """Equations 1 to 4 for one video's frames (T, D): f'_v, α, f_v and the frames' shares in it."""
    alpha = [weigh(self_attention.weigh, frame) for frame in frames]  # equation 1
    anchor = sum(a * frame for a, frame in zip(alpha, frames, strict=True)) / sum(alpha)  # equation 2
    pairs = [np.concatenate([frame, anchor]) for frame in frames]
    beta = [weigh(relation_attention.weigh, pair) for pair in pairs]  # equation 3
    weights = [a * b for a, b in zip(alpha, beta, strict=True)]
    feature = sum(w * pair for w, pair in zip(weights, pairs, strict=True)) / sum(weights)  # equation 4
    return anchor, np.array(alpha), feature, np.array(weights) / sum(weights)


def test_both_attentions_are_equations_1_to_4():
    torch.manual_seed(0)
    self_attention, relation_attention = SelfAttentionWeights(16).double(), RelationAttentionWeights(16).double()
    rng = np.random.default_rng(0)
    frames, mask = rng.normal(size=(4, 6, 16)), rng.random((4, 6)) < 0.7
    mask[0], mask[:, 2] = True, True
    x, real = torch.tensor(frames), torch.tensor(mask)
    anchor, first_shares, log_alpha = self_attention(x, real)
    feature, shares = relation_attention(x, anchor, log_alpha, real)
    for video in range(4):
        wanted = plain_fan(self_attention, relation_attention, frames[video][mask[video]])
        assert anchor[video].detach().numpy() == pytest.approx(wanted[0], abs=1e-5)
        assert first_shares[video, real[video]].tolist() == pytest.approx(wanted[1] / wanted[1].sum(), abs=1e-6)
        assert log_alpha[video, real[video]].exp().tolist() == pytest.approx(wanted[1], abs=1e-6)
        assert feature[video].detach().numpy() == pytest.approx(wanted[2], abs=1e-5)
        assert shares[video, real[video]].tolist() == pytest.approx(wanted[3], abs=1e-6)
    assert not shares[~real].any()


def test_weights_that_vanish_still_have_a_mean():
    """α is exp(-200) here, whose square no float32 holds."""
    layer = SelfAttentionWeights(4)
    torch.nn.init.zeros_(layer.weigh.weight)
    torch.nn.init.constant_(layer.weigh.bias, -200.0)
    frames = torch.randn(1, 3, 4)
    anchor, shares, _ = layer(frames, torch.ones(1, 3, dtype=torch.bool))
    assert torch.allclose(anchor, frames.mean(dim=1), atol=1e-6)
    assert torch.allclose(shares, torch.full((1, 3), 1 / 3))


@pytest.mark.parametrize("relation", [True, False])
def test_the_attention_is_each_frames_share(relation):
    mask = torch.tensor([[True] * 5, [False, True, True, False, True], [False] * 5])
    output = fan(relation=relation).eval()(random_batch(3, 5, mask=mask))
    assert output.feature.shape == (3, 32 if relation else 16)
    assert output.attention.sum(dim=1).tolist() == pytest.approx([1, 1, 0], abs=1e-5)
    assert not output.attention[~mask].any()
    assert not output.feature[2].any()


def test_parameters_are_those_counted_by_hand():
    with torch.device("meta"):
        assert count_parameters(FrameAttention(SEVEN)) == 11_176_512 + 513 + 1025 + 1024 * 7 + 7
        assert count_parameters(FrameAttention(SEVEN, relation=False)) == 11_176_512 + 513 + 512 * 7 + 7
