"""Frame-level self-attention against the paper's equations, written plainly."""

import math

import numpy as np
import pytest
import torch

from fer_lightning.layers import FrameSelfAttention


def plain_attention(x, attention, mask):
    """Equations 1 and 2 with s in the place of 1 / sqrt(d), one number after another, over a clip's real frames."""
    matrices = (attention.query.weight, attention.key.weight, attention.value.weight)
    wq, wk, wv = (matrix.detach().double().numpy() for matrix in matrices)
    x = x.double().numpy()
    n, size = x.shape
    real = [i for i in range(n) if mask[i]]
    attended, weights = np.zeros((n, size)), np.zeros((n, n))
    for i in real:
        query = [sum(wq[a, b] * x[i, b] for b in range(size)) for a in range(size)]
        scores = {}
        for j in real:
            key = [sum(wk[a, b] * x[j, b] for b in range(size)) for a in range(size)]
            scores[j] = attention.scale * sum(q * k for q, k in zip(query, key, strict=True))
        total = sum(math.exp(score) for score in scores.values())
        for j, score in scores.items():
            weights[i, j] = math.exp(score) / total
            attended[i] += weights[i, j] * (wv @ x[j])
    return attended, weights


def attention_of(size=6, scale=0.1):
    torch.manual_seed(1)
    return FrameSelfAttention(size, scale)


def close(found, expected, tolerance=1e-5):
    np.testing.assert_allclose(found.detach().numpy(), expected, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize(
    ("frames", "scale"), [(1, 0.0), (1, 2.0), (3, 0.1), (3, 2.0), (5, 0.0), (5, 0.3), (9, 0.001), (9, 0.1), (9, 2.0)]
)
def test_it_is_the_papers_equations(frames, scale):
    attention = attention_of(scale=scale)
    x = 2 * torch.randn(2, frames, 6, generator=torch.Generator().manual_seed(frames))
    attended, weights = attention(x)
    assert attended.shape == (2, frames, 6)
    assert weights.shape == (2, frames, frames)
    for clip in range(2):
        expected = plain_attention(x[clip], attention, [True] * frames)
        close(attended[clip], expected[0])
        close(weights[clip], expected[1])


@pytest.mark.parametrize(
    "mask",
    [
        [True] * 5,
        [True, True, True, False, False],
        [False, True, False, True, True],
        [True, False, False, False, False],
        [False] * 5,
    ],
)
def test_masked_frames_take_no_part(mask):
    attention = attention_of()
    x = torch.randn(1, 5, 6, generator=torch.Generator().manual_seed(2))
    attended, weights = attention(x, torch.tensor([mask]))
    expected = plain_attention(x[0], attention, mask)
    close(attended[0], expected[0])
    close(weights[0], expected[1])
    close(weights[0].sum(dim=1), np.array(mask, float))


def test_what_stands_in_masked_frames_does_not_matter():
    attention = attention_of()
    x = torch.randn(2, 4, 6)
    mask = torch.tensor([[True, True, False, True], [True, False, False, False]])
    other = torch.where(mask[..., None], x, 1e4)
    for found, expected in zip(attention(other, mask), attention(x, mask), strict=True):
        assert torch.equal(found, expected)


def test_no_mask_is_a_mask_of_real_frames():
    attention, x = attention_of(), torch.randn(2, 4, 6)
    for found, expected in zip(attention(x), attention(x, torch.ones(2, 4, dtype=torch.bool)), strict=True):
        torch.testing.assert_close(found, expected)


def test_permuted_frames_permute_the_output():
    attention, x = attention_of(), torch.randn(2, 5, 6)
    mask = torch.tensor([[True, True, True, True, False], [True] * 5])
    order = torch.tensor([3, 0, 4, 1, 2])
    attended, weights = attention(x, mask)
    moved, moved_weights = attention(x[:, order], mask[:, order])
    torch.testing.assert_close(moved, attended[:, order])
    torch.testing.assert_close(moved_weights, weights[:, order][:, :, order])


def test_one_frame_attends_to_itself():
    attention, x = attention_of(), torch.randn(3, 1, 6)
    attended, weights = attention(x)
    assert torch.equal(weights, torch.ones(3, 1, 1))
    torch.testing.assert_close(attended, attention.value(x))


def test_without_scale_every_frame_counts_the_same():
    _, weights = attention_of(scale=0.0)(torch.randn(1, 4, 6))
    torch.testing.assert_close(weights, torch.full((1, 4, 4), 0.25))


def test_gradients_are_those_of_differences():
    attention = attention_of(4, 0.5).double()
    x = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    mask = torch.tensor([[True, True, False], [False, False, False]])
    assert torch.autograd.gradcheck(lambda x: attention(x, mask)[0], (x,))


def test_its_matrices_have_no_bias_and_the_papers_size():
    with torch.device("meta"):
        attention = FrameSelfAttention()
    assert attention.scale == 0.1
    assert {key: tuple(value.shape) for key, value in attention.state_dict().items()} == {
        f"{name}.weight": (2048, 2048) for name in ("query", "key", "value")
    }


def test_half_precision_keeps_the_weights_digits():
    """Scores of some hundreds, as sums of many products are: bfloat16's steps there are 1 and more."""
    attention = attention_of(64, 0.1)
    for layer in (attention.query, attention.key):
        torch.nn.init.eye_(layer.weight)
    x = (8 * torch.randn(1, 4, 64)).bfloat16().float()
    with torch.autocast("cpu", torch.bfloat16):
        attended, weights = attention(x)
    expected = (0.1 * x.double() @ x.double().transpose(1, 2)).softmax(dim=2)
    assert weights.dtype == torch.float32
    torch.testing.assert_close(weights.double(), expected, atol=1e-4, rtol=1e-4)
    assert attended.isfinite().all()


@pytest.mark.parametrize("mask", [[True] * 4, [True, False, True, False], [False] * 4])
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("output_layer", [False, True])
def test_options_are_those_of_vasnet(residual, output_layer, mask):
    torch.manual_seed(3)
    attention = FrameSelfAttention(6, 0.3, residual, output_layer)
    x = torch.randn(1, 4, 6)
    attended, weights = attention(x, torch.tensor([mask]))
    expected, expected_weights = plain_attention(x[0], attention, mask)
    if output_layer:
        expected = expected @ attention.output.weight.detach().double().numpy().T
    for i in range(4):
        if residual and mask[i]:
            expected[i] += x[0, i].numpy()
    close(attended[0], expected)
    close(weights[0], expected_weights)


def test_dropout_acts_on_the_weights_in_training_alone():
    torch.manual_seed(3)
    attention = FrameSelfAttention(6, dropout=0.5)
    torch.nn.init.eye_(attention.value.weight)
    x = torch.eye(6)[None]  # X* is then the dropped-out weights themselves
    attended, weights = attention(x)
    kept = attended != 0
    assert 0 < kept.sum() < kept.numel()
    torch.testing.assert_close(attended[kept], 2 * weights[kept])
    attention.eval()
    torch.testing.assert_close(*attention(x))


@pytest.mark.parametrize("scale", [-0.1, float("nan"), float("inf")])
def test_a_scale_that_is_none_is_refused(scale):
    with pytest.raises(ValueError, match="expected a number from 0"):
        FrameSelfAttention(6, scale)
