from collections.abc import Iterator

import pytest
import torch

from data_modules.sampling import (
    AllFramesSampler,
    ContiguousSampler,
    MiddleFrameSampler,
    RandomSampler,
    SegmentSampler,
    SubvideoSampler,
    contiguous_indices,
    random_indices,
    segment_indices,
    subvideo_indices,
)

LENGTHS = (1, 2, 3, 5, 8, 16, 34, 35, 74, 75, 104, 105, 106, 211, 1000)


def draws(seed=0):
    return [None, *(torch.Generator().manual_seed(seed + i) for i in range(20))]


def lengths_and_draws() -> Iterator[tuple[int, torch.Generator | None]]:
    return ((length, generator) for length in LENGTHS for generator in draws())


@pytest.mark.parametrize(
    "sampler",
    [
        SubvideoSampler(),
        SubvideoSampler(clips=1, frames=16),
        SubvideoSampler(clips=12, frames=2),
        SubvideoSampler(eval_frames="first"),
        SegmentSampler(6),
        SegmentSampler(16, successive=2),
        ContiguousSampler(),
        ContiguousSampler(5, eval_views=3),
        ContiguousSampler(16, stride=4),
        RandomSampler(32),
        MiddleFrameSampler(),
    ],
    ids=repr,
)
def test_indices_are_inside_the_clip_and_in_order(sampler):
    for num_frames, generator in lengths_and_draws():
        indices = sampler(num_frames, generator)
        assert indices.shape == (sampler.num_clips * sampler.frames,)
        assert indices.dtype == torch.int64
        assert indices.min() >= 0
        assert indices.max() < num_frames
        groups = indices.view(sampler.num_clips, sampler.frames)
        assert (groups.diff(dim=1) >= 0).all(), "frames of a sub-video are in order"
        assert (groups[:, 0].diff() >= 0).all(), "sub-videos are in order"


def test_evaluation_of_105_frames_is_the_papers_layout():
    # Start 15, seven windows of 15 frames ten apart, five frames evenly spaced in each.
    expected = torch.tensor([[15 + 10 * clip + 1 + 3 * i for i in range(5)] for clip in range(7)])
    assert torch.equal(subvideo_indices(105), expected)


def test_evaluation_of_105_frames_can_be_the_authors():
    # Frames 0, 3, 6, 9 and 12 of each sub-video; training draws are the same as without the option.
    expected = [15 + 10 * clip + i for clip in range(7) for i in (0, 3, 6, 9, 12)]
    sampler = SubvideoSampler(eval_frames="first")
    assert sampler(105, None).tolist() == expected
    first, second = (torch.Generator().manual_seed(3) for _ in range(2))
    assert sampler(105, first).equal(SubvideoSampler()(105, second))


def test_training_draws_are_five_different_frames_of_each_window():
    for generator in draws()[1:]:
        indices = subvideo_indices(105, generator=generator)
        start = min(int(row.min()) - 10 * clip for clip, row in enumerate(indices))
        assert (indices.diff(dim=1) > 0).all()
        assert 0 <= start < 45
        for clip, row in enumerate(indices):
            assert row.max() - row.min() < 15
            assert row.max() < 105
            assert row.min() >= 10 * clip


def test_training_draws_reach_the_first_and_the_last_start():
    seen = torch.cat([subvideo_indices(105, generator=torch.Generator().manual_seed(i)).flatten() for i in range(500)])
    assert seen.min() <= 1
    assert seen.max() >= 102


@pytest.mark.parametrize("num_frames", [7, 20, 52])
def test_short_clips_repeat_their_frames_evenly(num_frames):
    indices = subvideo_indices(num_frames, clips=1, frames=75).flatten()
    inner = torch.bincount(indices)[indices.min() + 1 : indices.max()]
    assert inner.max() - inner.min() <= 1
    assert indices.min() / num_frames == pytest.approx(15 / 105, abs=1 / num_frames)


def test_long_clips_are_sampled_over_their_whole_length():
    indices = subvideo_indices(1050).flatten()
    assert indices.min() == pytest.approx(160, abs=10)
    assert indices.max() == pytest.approx(880, abs=10)


def test_segments_by_hand():
    assert segment_indices(10, 5).tolist() == [1, 3, 5, 7, 9]
    assert segment_indices(2, 4).tolist() == [0, 0, 1, 1]
    assert segment_indices(9, 1).tolist() == [4]
    for generator in draws()[1:]:
        assert ((segment_indices(100, 5, generator) // 20) == torch.arange(5)).all()


def test_successive_frames_of_segments_are_those_of_former_dfer():
    """Evaluation takes frame int(t / 2 + t x) of segment x and the next one, where t is (frames - 1) / 8."""
    for num_frames in (17, 40, 143):
        tick = (num_frames - 1) / 8
        expected = [first + i for first in (int(tick / 2 + tick * x) for x in range(8)) for i in (0, 1)]
        assert segment_indices(num_frames, 16, successive=2).tolist() == expected
    seen = torch.stack([segment_indices(81, 16, generator, 2).view(8, 2) for generator in draws()[1:]])
    assert (seen.diff(dim=2) == 1).all()
    assert (seen[..., 0] // 10 == torch.arange(8)).all()
    assert len(seen[:, 0, 0].unique()) > 3
    assert segment_indices(1, 4, successive=2).tolist() == [0, 0, 0, 0]
    with pytest.raises(ValueError, match="5 frames cannot be cut into segments of 2 successive frames; set `frames`"):
        segment_indices(10, 5, successive=2)


def test_random_indices_repeat_only_where_they_must():
    for generator in draws()[1:]:
        assert len(set(random_indices(40, 32, generator).tolist())) == 32
        counts = torch.bincount(random_indices(5, 32, generator), minlength=5)
        assert counts.max() - counts.min() <= 1


def test_the_same_generator_gives_the_same_frames():
    first, second = (subvideo_indices(60, generator=torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize("function", [subvideo_indices, segment_indices, random_indices, contiguous_indices])
def test_an_empty_clip_is_refused(function):
    arguments = {subvideo_indices: (), segment_indices: (5,), random_indices: (5,), contiguous_indices: (5, 0.5)}[
        function
    ]
    with pytest.raises(ValueError, match="at least 1"):
        function(0, *arguments)


def test_all_frames_are_all_of_them_up_to_a_limit():
    sampler = AllFramesSampler(max_frames=105)
    for num_frames, generator in lengths_and_draws():
        indices = sampler(num_frames, generator)
        if num_frames <= 105:
            assert torch.equal(indices, torch.arange(num_frames))
        else:
            assert len(indices) == sampler.num_clips * sampler.frames == 105
            steps = indices.diff()
            assert steps.min() >= num_frames // 105
            assert steps.max() <= num_frames // 105 + 1, "evenly spaced over the whole clip"
            assert indices.min() < num_frames / 105
            assert indices.max() >= num_frames - num_frames / 105 - 1


def test_an_empty_clip_has_no_frames_to_give():
    with pytest.raises(ValueError, match="a clip of 0 frames"):
        AllFramesSampler()(0, None)


def test_windows_by_hand():
    middle, three = ContiguousSampler(frames=4), ContiguousSampler(frames=4, eval_views=3)
    assert middle(10, None).tolist() == [3, 4, 5, 6]
    assert middle.evaluation_view(10, 0).tolist() == [3, 4, 5, 6]
    # nine possible windows of 12 frames, in three parts of three, of which each gives its middle one; the middle first
    assert [three.evaluation_view(12, number).tolist()[0] for number in range(3)] == [4, 1, 7]
    assert [three.evaluation_view(5, number).tolist() for number in range(3)] == [
        [1, 2, 3, 4],
        [0, 1, 2, 3],
        [1, 2, 3, 4],
    ]
    assert middle(4, None).tolist() == [0, 1, 2, 3]
    assert middle(2, None).tolist() == three.evaluation_view(2, 2).tolist() == [0, 0, 1, 1]


def test_windows_with_a_stride_by_hand():
    two = ContiguousSampler(frames=4, eval_views=2, stride=3)
    assert two(12, None).tolist() == [1, 4, 7, 10]  # the middle one of three windows of 10 frames
    # six windows of 15 frames, in two parts of three
    assert [two.evaluation_view(15, number).tolist() for number in range(2)] == [[1, 4, 7, 10], [4, 7, 10, 13]]
    assert two(10, None).tolist() == [0, 3, 6, 9]
    assert two(8, None).tolist() == [1, 3, 5, 7]  # shorter than a window: evenly
    generator = torch.Generator().manual_seed(0)
    assert {tuple(two(12, generator).tolist()) for _ in range(50)} == {(0, 3, 6, 9), (1, 4, 7, 10), (2, 5, 8, 11)}
    with pytest.raises(ValueError, match="a stride of 0; expected at least 1"):
        ContiguousSampler(stride=0)(20, None)


def test_windows_are_contiguous_and_short_clips_repeat_evenly():
    sampler = ContiguousSampler(frames=16)
    for num_frames, generator in lengths_and_draws():
        indices = sampler(num_frames, generator)
        if num_frames >= 16:
            assert (indices.diff() == 1).all()
        else:
            counts = torch.bincount(indices, minlength=num_frames)
            assert counts.min() >= 1
            assert counts.max() - counts.min() <= 1


def test_every_window_is_drawn_alike_in_training():
    generator = torch.Generator().manual_seed(0)
    starts = torch.tensor([int(ContiguousSampler(frames=16)(20, generator)[0]) for _ in range(2000)])
    assert torch.bincount(starts, minlength=5).tolist() == pytest.approx([400] * 5, abs=80)


def test_several_random_views_are_those_of_fixed_seeds():
    sampler = RandomSampler(4, eval_views=2)
    views = [sampler.evaluation_view(50, number) for number in range(2)]
    for seed, view in enumerate(views):
        assert torch.equal(view, sampler(50, torch.Generator().manual_seed(seed)))
    assert not torch.equal(*views)
    assert torch.equal(RandomSampler(4).evaluation_view(50, 0), segment_indices(50, 4))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ContiguousSampler(frames=0), "frames = 0"),
        (lambda: ContiguousSampler(eval_views=0), "eval_views = 0"),
        (lambda: SubvideoSampler(clips=0), "num_clips = 0"),
        (lambda: AllFramesSampler(max_frames=0), "frames = 0"),
    ],
)
def test_a_sampler_without_frames_is_refused(make, message):
    with pytest.raises(ValueError, match=rf"{message}; expected at least 1"):
        make()
