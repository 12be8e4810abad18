"""LMED and LMED-CF against their definition, written plainly, and what they must not change under."""

from itertools import combinations

import numpy as np
import pytest
import torch

from data_modules.loading.transforms import MIRROR_68
from fer_lightning.layers import inter_frame_correlation, landmark_distances, lmed, lmed_cf
from fer_lightning.layers.landmark_descriptors import DISTANCES, PAIRS


def faces(clips=3, frames=16, seed=0, dtype=torch.float64):
    """A face that moves a little from frame to frame, in pixels."""
    rng = np.random.default_rng(seed)
    face = rng.random((clips, 1, 68, 3)) * 100
    return torch.tensor(face + rng.normal(scale=3, size=(clips, frames, 68, 3)) + 200, dtype=dtype)


def plain_distances(points):
    """(N, 68, 3) -> (N, 34)."""
    rows = []
    for face in points:
        eyes = np.sqrt(((face[36] - face[45]) ** 2).sum())
        rows.append([np.sqrt(((face[a] - face[b]) ** 2).sum()) / eyes for a, b in PAIRS])
    return np.array(rows)


def plain_lmed_cf(points, real):
    """One clip: (N, 68, 3), (N,) -> (102 + N (N - 1) / 2,)."""
    distances = plain_distances(points[real])
    place = {n: i for i, n in enumerate(np.flatnonzero(real))}
    correlation = np.corrcoef((distances @ distances.T).T) if real.sum() > 1 else np.ones((1, 1))
    triangle = [
        correlation[place[a], place[b]] if a in place and b in place else 0
        for a, b in combinations(range(len(real)), 2)
    ]
    return np.concatenate([distances.max(0), distances.mean(0), distances.std(0), triangle])


@pytest.mark.parametrize("frames", [1, 2, 7, 16, 30])
def test_descriptors_are_their_definition(frames):
    points = faces(4, frames)
    mask = torch.rand(4, frames, generator=torch.Generator().manual_seed(1)) < 0.6
    mask[0], mask[:, -1] = True, True
    result = lmed_cf(points, mask)
    assert result.shape == (4, 102 + frames * (frames - 1) // 2)
    for clip in range(4):
        expected = plain_lmed_cf(points[clip].numpy(), mask[clip].numpy())
        assert result[clip].numpy() == pytest.approx(expected, abs=1e-7)
    assert torch.equal(lmed(points, mask), result[:, :102])
    whole = plain_lmed_cf(points[1].numpy(), np.ones(frames, dtype=bool))
    assert lmed_cf(points)[1].numpy() == pytest.approx(whole, abs=1e-7)


def test_distances_that_are_not_relative_are_in_the_landmarks_unit():
    points = torch.zeros(1, 2, 68, 3)
    points[..., 45, 0] = 50  # the outer corner of the left eye; that of the right one is at 0
    first, second = PAIRS[0]
    points[0, 0, first, 1] = 7.0
    points[0, 1, second, 2] = 3.0
    assert landmark_distances(points, relative=False)[0][0, :, 0].tolist() == [7, 3]
    assert landmark_distances(points)[0][0, :, 0].tolist() == pytest.approx([0.14, 0.06])
    maximum, mean, deviation = lmed(points, relative=False)[0].view(3, 34)[:, 0].tolist()
    assert (maximum, mean, deviation) == pytest.approx((7, 5, 2))
    assert torch.equal(lmed_cf(points, relative=False)[:, :102], lmed(points, relative=False))


def test_at_16_frames_the_descriptor_has_the_papers_222_values():
    assert lmed(faces()).shape == (3, 102)
    assert lmed_cf(faces()).shape == (3, 222)


def test_the_triangle_is_read_row_by_row():
    points = faces(1, 4)
    correlation = inter_frame_correlation(landmark_distances(points)[0])[0]
    rows = [correlation[0, 1], correlation[0, 2], correlation[0, 3], correlation[1, 2], correlation[1, 3]]
    assert lmed_cf(points)[0, 102:].tolist() == pytest.approx([*map(float, rows), float(correlation[2, 3])])


def rotations(count, seed=0):
    q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(count, 3, 3)))
    q *= np.sign(np.einsum("nii->ni", r))[:, None]
    return torch.tensor(q * np.sign(np.linalg.det(q))[:, None, None])


def test_it_does_not_change_under_similarities_of_each_frame():
    points = faces(3, 16)
    turned = torch.einsum("nij,bnkj->bnki", rotations(16), points - 200)
    scale = torch.linspace(0.01, 50, 16)[:, None, None]
    moved = turned * scale + torch.linspace(-300, 500, 48).view(16, 1, 3)
    assert torch.linalg.det(rotations(16)).tolist() == pytest.approx([1] * 16)
    assert torch.allclose(lmed_cf(moved), lmed_cf(points), atol=1e-6)
    single = lmed_cf((points[:, :, :] * 0.3 + 900).float())
    assert torch.allclose(single.double(), lmed_cf(points), atol=1e-3)


def test_depth_counts():
    flat = faces()
    flat[..., 2] = 0
    assert not torch.allclose(lmed(flat), lmed(faces()), atol=1e-2)


def test_34_distances_over_five_regions_also_of_the_mirrored():
    pairs = {frozenset(pair) for pair in PAIRS}
    assert len(PAIRS) == len(pairs) == 34
    assert {distances.region for distances in DISTANCES} == {"brows", "lids", "nose", "lips", "jaw"}
    assert {frozenset(MIRROR_68[list(pair)].tolist()) for pair in pairs} == pairs
    points = faces(1, 3)
    mirrored = points[:, :, MIRROR_68] * torch.tensor([-1.0, 1, 1])
    assert sorted(lmed(mirrored)[0].tolist()) == pytest.approx(sorted(lmed(points)[0].tolist()))


@pytest.mark.parametrize("descriptor", [lmed, lmed_cf])
def test_what_cannot_be_measured_is_zero_with_a_finite_gradient(descriptor):
    points = faces(4, 6, dtype=torch.float32)
    points[1] = 0  # no face found
    points[2, :, 45] = points[2, :, 36]  # eye corners fall together
    points[3, :, 48] = points[3, :, 54]  # a mouth without width: a distance of 0 in all frames
    mask = torch.ones(4, 6, dtype=torch.bool)
    mask[0] = False
    points.requires_grad_()
    result = descriptor(points, mask)
    assert not result[:3].any()
    assert result.isfinite().all()
    result.square().sum().backward()
    assert points.grad.isfinite().all()
    assert not points.grad[:3].any()
    assert points.grad[3].any()


def test_frames_without_a_face_take_no_part():
    points, mask = faces(1, 6), torch.ones(1, 6, dtype=torch.bool)
    points[0, 2] = 0
    mask[0, 2] = False
    assert torch.equal(lmed_cf(points), lmed_cf(points, mask))
    assert torch.equal(lmed_cf(points, torch.ones_like(mask)), lmed_cf(points, mask))
    assert torch.allclose(lmed(points), lmed(points[:, [0, 1, 3, 4, 5]]))


def test_a_still_face_has_no_deviation_and_a_finite_gradient():
    points = faces(2, 1, dtype=torch.float32).expand(2, 8, 68, 3).clone().requires_grad_()
    result = lmed_cf(points)
    assert result[:, 68:102].abs().max() < 1e-6
    assert not result[:, 102:].any()
    result.sum().backward()
    assert points.grad.isfinite().all()


def test_half_precision_is_computed_in_full():
    points = faces(2, 16, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(lmed_cf(points), lmed_cf(points.float()))
    assert torch.allclose(lmed_cf(points), lmed_cf(points.double()).float(), atol=1e-3)


def test_other_points_are_refused():
    with pytest.raises(ValueError, match=r"\(B, N, 68, 3\); found \(1, 2, 68, 2\)"):
        lmed(torch.zeros(1, 2, 68, 2))
