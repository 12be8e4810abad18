"""The temporal pyramid against its equations in plain loops, and what must not matter to it."""

import math

import numpy as np
import pytest
import torch

from fer_lightning.layers import temporal_pyramid
from fer_lightning.layers.pyramid import part_membership

GROUPS = [(0,), (3,), (4,), (0, 1, 2, 3), (2, 0)]


def plain(face, probabilities, context, levels):
    """Equations 26 to 28 for one clip of n frames, (n, D) arrays -> (Σ 2^k (F + G + 3 C),)."""
    n, made = len(face), []
    for level in levels:
        parts = 2**level
        for j in range(1, parts + 1):
            frames = list(range(math.floor((j - 1) * n / parts), math.floor(j * n / parts)))
            if not frames:  # the nearest: that around the part's middle
                frames = [int((j - 0.5) * n / parts)]
            made.append(sum(face[i] for i in frames) / len(frames))
            if context is not None:
                made.append(sum(context[i] for i in frames) / len(frames))
            columns = probabilities[frames]
            made += [columns.min(axis=0), columns.mean(axis=0), columns.max(axis=0)]
    return np.concatenate(made)


def made(batch=2, frames=9, face=5, classes=3, context=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x, p, c = (torch.randn(batch, frames, size, generator=generator) for size in (face, classes, context))
    return x, p.softmax(dim=2), c


@pytest.mark.parametrize(
    ("levels", "frames", "with_context"),
    [  # fewer frames than parts, as many, one more, and a multiple
        ((0,), 1, True),
        ((0,), 9, False),
        ((2, 0), 3, False),
        ((2, 0), 5, True),
        ((3,), 1, False),
        ((3,), 7, True),
        ((3,), 8, False),
        ((3,), 9, True),
        ((4,), 2, True),
        ((4,), 16, False),
        ((4,), 31, True),
        ((0, 1, 2, 3), 1, True),
        ((0, 1, 2, 3), 17, False),
        ((0, 1, 2, 3), 64, True),
    ],
)
def test_it_is_the_papers_equations(levels, frames, with_context):
    x, p, c = made(frames=frames)
    c = c if with_context else None
    found = temporal_pyramid(x, p, c, levels)
    assert found.shape == (2, sum(2**k for k in levels) * (5 + 9 + 4 * with_context))
    for i in range(2):
        expected = plain(x[i].numpy(), p[i].numpy(), c[i].numpy() if with_context else None, levels)
        np.testing.assert_allclose(found[i], expected, atol=1e-6)


def test_the_papers_lengths():
    x, p, c = made(batch=1, frames=20, face=2048, classes=7, context=2048)
    assert temporal_pyramid(x, p).shape == (1, 31_035)
    assert temporal_pyramid(x, p, c).shape == (1, 61_755)
    assert temporal_pyramid(x, p, c, levels=(4,)).shape == (1, 16 * 4117)


@pytest.mark.parametrize("levels", GROUPS)
def test_frames_that_are_not_real_do_not_count(levels):
    """Wherever they stand, and whatever is in them."""
    x, p, c = made(batch=3, frames=12)
    mask = torch.rand(3, 12, generator=torch.Generator().manual_seed(1)) < 0.6
    mask[:, 4] = True
    noisy = [
        torch.where(mask[..., None], t, torch.full_like(t, bad)) for t, bad in ((x, 9.0), (p, -9.0), (c, math.nan))
    ]
    found = temporal_pyramid(*noisy, levels, mask)
    for i in range(3):
        alone = temporal_pyramid(x[i, mask[i]][None], p[i, mask[i]][None], c[i, mask[i]][None], levels)
        torch.testing.assert_close(found[i], alone[0])


def test_a_clip_without_frames_is_zeros_and_sends_no_gradient():
    x, p, c = (t.requires_grad_() for t in made())
    mask = torch.tensor([[False] * 9, [True] * 9])
    found = temporal_pyramid(x, p, c, mask=mask)
    assert not found[0].any()
    assert found[1].any()
    found.sum().backward()
    for t in (x, p, c):
        assert t.grad.isfinite().all()
        assert not t.grad[0].any()
        assert t.grad[1].any(dim=-1).all()


def test_only_the_order_between_parts_matters():
    x, p, c = made(frames=16)
    swapped = torch.arange(16).view(8, 2).flip(1).flatten()  # within the parts of level 3
    moved = torch.arange(16).flip(0)
    one, same, other = (temporal_pyramid(x[:, o], p[:, o], c[:, o]) for o in (torch.arange(16), swapped, moved))
    torch.testing.assert_close(one, same)
    assert not torch.allclose(one, other)
    whole, turned = (temporal_pyramid(x[:, o], p[:, o], c[:, o], levels=(0,)) for o in (torch.arange(16), moved))
    torch.testing.assert_close(whole, turned)


@pytest.mark.parametrize("frames", [8, 11, 150])
def test_parts_of_a_level_share_no_frame_and_leave_none_out(frames):
    member = part_membership(torch.ones(1, frames, dtype=torch.bool), (3,))[0]
    assert (member.sum(dim=0) == 1).all()
    sizes = member.sum(dim=1)
    assert sizes.max() - sizes.min() <= 1


def test_bf16_keeps_the_digits_of_a_mean():
    x = torch.full((1, 300, 4), 1.0)
    x[:, ::2] += 2**-7
    with torch.autocast("cpu", torch.bfloat16):
        found = temporal_pyramid(x, x, levels=(0,))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found[0, :4], torch.full((4,), 1 + 2**-8))


@pytest.mark.parametrize("levels", [(), (-1, 2)])
def test_levels_that_are_none_are_refused(levels):
    with pytest.raises(ValueError, match="at least one level"):
        temporal_pyramid(*made(), levels=levels)
