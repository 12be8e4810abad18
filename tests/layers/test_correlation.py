"""Inter-frame correlation and frame substitution against the paper's equations, written plainly in NumPy."""

import numpy as np
import pytest
import torch

from fer_lightning.layers import frame_substitution, inter_frame_correlation, substitution_index


def plain_correlation(x, mask):
    """Equations 1 and 2 over the real frames of one clip, (N, D) -> (N, N)."""
    real = np.flatnonzero(mask)
    y = x[real] @ x[real].T
    out = np.zeros((len(x), len(x)))
    for a, j in enumerate(real):
        for b, k in enumerate(real):
            one, two = y[:, a] - y[:, a].mean(), y[:, b] - y[:, b].mean()
            length = np.sqrt((one**2).sum()) * np.sqrt((two**2).sum())
            out[j, k] = 1 if j == k else (0 if length < 1e-9 else (one * two).sum() / length)
    return out


def plain_index(x, k, mask):
    """Section 3.4 for one clip: which frame stands where."""
    means = (plain_correlation(x, mask).sum(axis=1) / max(1, mask.sum())).round(9)
    real = list(np.flatnonzero(mask))
    lowest = sorted(real, key=lambda n: (means[n], n))
    highest = sorted(real, key=lambda n: (-means[n], n))
    index = np.arange(len(x))
    for low, high in list(zip(lowest, highest, strict=True))[: min(k, len(real) // 2)]:
        index[low] = high
    return index


def clips(shape=(4, 16, 64), seed=0):
    """Positive features like those behind a ReLU: their common part hides what differs."""
    return np.random.default_rng(seed).random(shape) + 3


def masks(clips_, frames, seed=0):
    mask = np.random.default_rng(seed).random((clips_, frames)) < 0.6
    mask[0], mask[1, :], mask[1, -1] = True, False, True  # all frames, and only the last
    return mask


@pytest.mark.parametrize("frames", [1, 2, 5, 16, 40])
def test_correlation_is_equations_1_and_2(frames):
    x, mask = clips((4, frames, 64)), masks(4, frames)
    result = inter_frame_correlation(torch.tensor(x), torch.tensor(mask)).numpy()
    for clip in range(4):
        assert result[clip] == pytest.approx(plain_correlation(x[clip], mask[clip]), abs=1e-8)
    whole = inter_frame_correlation(torch.tensor(x)).numpy()
    assert whole[2] == pytest.approx(np.corrcoef((x[2] @ x[2].T).T) if frames > 1 else np.ones((1, 1)), abs=1e-8)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, 1e30])
def test_what_is_padding_does_not_matter(value):
    x, mask = torch.tensor(clips()), torch.tensor(masks(4, 16))
    other = torch.where(mask[..., None], x, value)
    assert torch.equal(inter_frame_correlation(x, mask), inter_frame_correlation(other, mask))
    assert torch.equal(substitution_index(x, 3, mask), substitution_index(other, 3, mask))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e4])
def test_constant_columns_correlate_with_themselves_alone(dtype, scale):
    still = torch.rand(2, 1, 300, dtype=dtype, generator=torch.Generator().manual_seed(0)).expand(2, 7, 300) * scale
    assert torch.equal(inter_frame_correlation(still), torch.eye(7, dtype=dtype).expand(2, 7, 7))
    moving = torch.tensor(clips((1, 7, 300)), dtype=dtype) * scale
    moving[:, 3] = 0  # its product with every frame is 0
    correlation = inter_frame_correlation(moving)
    assert correlation[0, 3].tolist() == [0, 0, 0, 1, 0, 0, 0]
    assert torch.equal(correlation[0, :, 3], correlation[0, 3])


def test_no_frame_at_all_gives_zeros_and_a_finite_gradient():
    x = torch.rand(2, 5, 8, requires_grad=True)
    mask = torch.tensor([[True] * 5, [False] * 5])
    correlation = inter_frame_correlation(x, mask)
    assert not correlation[1].any()
    (correlation.sum() + frame_substitution(x, 3, mask).sum()).backward()
    assert x.grad.isfinite().all()
    assert torch.equal(frame_substitution(x, 3, mask)[1], x[1])


def test_gradient_is_that_of_the_equations():
    x = torch.tensor(clips((2, 5, 6)), requires_grad=True)
    mask = torch.tensor([[True] * 5, [True, False, True, True, False]])
    assert torch.autograd.gradcheck(lambda x: inter_frame_correlation(x, mask), x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_half_precision_is_computed_in_full(dtype):
    x = torch.tensor(clips(), dtype=torch.float32).to(dtype)
    exact = inter_frame_correlation(x.double())
    with torch.autocast("cpu", torch.bfloat16):
        result = inter_frame_correlation(x)
        assert torch.equal(substitution_index(x), substitution_index(x.double()))
    assert result.dtype == torch.float32
    assert torch.allclose(result.double(), exact, atol=1e-4)


@pytest.mark.parametrize(
    ("frames", "k"),
    [(1, 0), (1, 3), (2, 1), (2, 30), (5, 0), (5, 1), (5, 3), (16, 1), (16, 3), (16, 8), (33, 8), (33, 30)],
)
def test_substitution_is_section_3_4(frames, k):
    x, mask = clips((5, frames, 24)), masks(5, frames)
    index = substitution_index(torch.tensor(x), k, torch.tensor(mask)).numpy()
    result = frame_substitution(torch.tensor(x), k, torch.tensor(mask)).numpy()
    for clip in range(5):
        assert (index[clip] == plain_index(x[clip], k, mask[clip])).all()
        assert (result[clip] == x[clip][index[clip]]).all()
    whole = substitution_index(torch.tensor(x), k)[3].numpy()
    assert (whole == plain_index(x[3], k, np.ones(frames, dtype=bool))).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_ties_go_to_the_earlier_frame(k, dtype):
    """Short clips repeat frames, so equal frames are common."""
    rng = np.random.default_rng(k)
    for seed in range(20):
        x = torch.tensor(clips((5, 24), seed)[rng.integers(5, size=11)]).to(dtype)
        expected = plain_index(x.double().numpy(), k, np.ones(11, dtype=bool))
        assert substitution_index(x[None], k)[0].tolist() == expected.tolist()


def test_ties_by_hand():
    """Frames 1 and 4 are equal and highest, 2 and 5 equal and, after 3, lowest: 1 goes to 3, 4 to 2."""
    x = clips((4, 24), seed=1)[[0, 1, 2, 3, 1, 2]]
    means = plain_correlation(x, np.ones(6, dtype=bool)).mean(axis=1)
    assert means[3] < means[2] == pytest.approx(means[5])
    assert means[2] < means[0] < means[1] == pytest.approx(means[4])
    assert substitution_index(torch.tensor(x)[None], 2).tolist() == [[0, 1, 4, 1, 4, 5]]


def test_a_still_clip_stays_as_it_is():
    x = torch.rand(1, 1, 30).expand(1, 16, 30)
    assert torch.equal(frame_substitution(x), x)


def test_the_index_says_which_frame_stands_where():
    x, mask = torch.tensor(clips()), torch.tensor(masks(4, 16))
    index = substitution_index(x, 3, mask)
    assert torch.equal(frame_substitution(x, 3, mask), torch.stack([c[i] for c, i in zip(x, index, strict=True)]))
    assert (index != torch.arange(16)).sum(dim=1).tolist() == [min(3, n // 2) for n in mask.sum(dim=1).tolist()]
    with pytest.raises(ValueError, match="0 or more; found -1"):
        substitution_index(x, -1)


def test_gradients_flow_through_the_copied_frames():
    x = torch.tensor(clips((1, 16, 24)), requires_grad=True)
    index = substitution_index(x)
    frame_substitution(x).sum().backward()
    copies = torch.bincount(index[0], minlength=16).double()
    assert torch.equal(x.grad[0], copies[:, None].expand(16, 24))
    assert copies.max() == 2
    assert (copies == 0).sum() == 3
