"""Choose the frames of a clip that a model sees: pure index arithmetic, one function for each paper's sampler.

Every function returns ascending indices within [0, num_frames) for any num_frames >= 1. Without a generator, sampling
is deterministic, as in evaluation; with a generator it is random, as in training.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Generator, Tensor

SEQUENCE = 105  # frames that every video is resampled to (CEFLNet, section 4.1)
LATEST_START = 30  # the 75 frames start within the first 30
MOST_FRAMES = 10_000  # that a sampler takes of a clip, as a checkpoint of somebody else may name any number
SPAN = 75  # consecutive frames that are cut into sub-videos

EvaluationFrames = Literal["middle", "first"]
"""Which frame of each equal part of a sub-video is seen at evaluation."""


def _check_count(num_frames: int) -> None:
    if num_frames < 1:
        raise ValueError(f"cannot sample from a clip of {num_frames} frames; expected at least 1")


def window_length(clips: int) -> float:
    """Return the frames in each of `clips` windows that cover `SPAN` frames and overlap by a third: 15 for 7 clips."""
    return 3 * SPAN / (2 * clips + 1)


def subvideo_indices(
    num_frames: int,
    clips: int = 7,
    frames: int = 5,
    generator: Generator | None = None,
    eval_frames: EvaluationFrames = "middle",
) -> Tensor:
    """Sample `frames` frames from each of `clips` overlapping sub-videos (CEFLNet, section 4.1).

    The video is first resampled to 105 frames: shorter videos repeat frames evenly, and [our choice] longer ones are
    sampled over their whole length, as the paper does not say what its "clipping" leaves out. From a start within the
    first 30 frames, 75 consecutive frames are cut into sub-videos of 15 frames, each sharing 5 with the next.
    [our choice] Evaluation starts at frame 15, as in the authors' code, and takes one frame of each equal part of a
    sub-video; for another number of clips, the 75 frames are cut into that many windows, which overlap by a third.

    Args:
        num_frames: frames in the video.
        clips: number of sub-videos.
        frames: frames taken from each sub-video.
        generator: source of randomness; None for deterministic sampling.
        eval_frames: without a generator, the frame of each of `frames` equal parts of a sub-video: its middle one, or
            its first one as in the authors' code, which are frames 0, 3, 6, 9 and 12 of 15.

    Returns:
        (clips, frames) int64 frame numbers.

    Raises:
        ValueError: the video has no frames.
    """
    _check_count(num_frames)
    length = window_length(clips)
    if generator is None:
        start = LATEST_START // 2
        part = torch.arange(frames, dtype=torch.float64) + (0.5 if eval_frames == "middle" else 0.0)
        within = (part * length / frames).expand(clips, frames)
    else:
        start = int(torch.randint(LATEST_START, (), generator=generator))
        cells = [_draw_sorted(frames, round(length), generator) for _ in range(clips)]
        within = torch.stack(cells) * length
    first = start + torch.arange(clips, dtype=torch.float64) * (length * 2 / 3)
    position = (first[:, None] + within).floor()
    return _rescale(position, SEQUENCE, num_frames)


def _draw_sorted(count: int, length: int, generator: Generator) -> Tensor:
    """Draw `count` of `length` cells in ascending order, as centres within (0, 1); repeat only if count > length."""
    if count <= length:
        cells = torch.randperm(length, generator=generator)[:count]
    else:
        cells = torch.randint(length, (count,), generator=generator)
    return (cells.sort().values.double() + 0.5) / length


def _rescale(position: Tensor, length: int, num_frames: int) -> Tensor:
    """Map positions on a timeline of `length` frames to frames of a clip of `num_frames`."""
    return ((position + 0.5) * num_frames / length).floor().long().clamp(0, num_frames - 1)


def segment_indices(num_frames: int, n: int, generator: Generator | None = None, successive: int = 1) -> Tensor:
    """Sample `n` frames: from each of `n / successive` equal segments, that many successive frames.

    They begin in the middle of the segment, or anywhere in it if a generator is given.

    Args:
        num_frames: frames in the video.
        n: frames that are sampled.
        generator: source of randomness; None for deterministic sampling.
        successive: frames of each segment, 2 in Former-DFER (Zhao and Liu, 2021) and what follows it.

    Returns:
        (n,) int64 frame numbers.

    Raises:
        ValueError: the video has no frames, or `n` is no multiple of `successive`.
    """
    _check_count(num_frames)
    if successive < 1 or n % successive:
        raise ValueError(
            f"{n} frames cannot be cut into segments of {successive} successive frames; set `frames` to a multiple of "
            "`successive`"
        )
    segments, starts = n // successive, max(num_frames - successive + 1, 1)
    within = torch.full((segments,), 0.5) if generator is None else torch.rand(segments, generator=generator)
    first = ((torch.arange(segments) + within.double()) * starts / segments).floor().long().clamp(0, starts - 1)
    frames = (first[:, None] + torch.arange(successive)).flatten().clamp_max(num_frames - 1)
    return frames.sort().values  # segments of short clips overlap


def random_indices(num_frames: int, k: int, generator: Generator | None = None) -> Tensor:
    """Sample `k` frames in ascending order.

    With a generator they are drawn at random, and no frame is repeated if the clip has at least `k`. Without one they
    are evenly spaced.

    Returns:
        (k,) int64 frame numbers.

    Raises:
        ValueError: the video has no frames.
    """
    _check_count(num_frames)
    if generator is None:
        return segment_indices(num_frames, k)
    whole, rest = divmod(k, num_frames)
    drawn = torch.randperm(num_frames, generator=generator)[:rest]
    return torch.cat([torch.arange(num_frames).repeat(whole), drawn]).sort().values


def contiguous_indices(num_frames: int, n: int, position: float, stride: int = 1) -> Tensor:
    """Return `n` successive frames, or every `stride`-th one; shorter clips give `n` evenly, repeated if need be.

    Args:
        num_frames: frames in the video.
        n: frames of the window.
        position: where the window lies, from 0 for the first possible one to 1 for the last one.
        stride: steps from a frame to the next one.

    Returns:
        (n,) int64 frame numbers.

    Raises:
        ValueError: the video has no frames, or the stride is below 1.
    """
    _check_count(num_frames)
    if stride < 1:
        raise ValueError(f"found a stride of {stride}; expected at least 1")
    starts = num_frames - stride * (n - 1)
    if starts < 1:
        return segment_indices(num_frames, n)
    return min(int(position * starts), starts - 1) + stride * torch.arange(n)


class FrameSampler(ABC):
    """Choose frames of a clip; experiments name a subclass and its settings.

    Raises:
        ValueError: the number of sub-videos, of frames or of evaluation views is below 1, or their product above
            `MOST_FRAMES`.
    """

    def __post_init__(self) -> None:
        for name in ("num_clips", "frames", "eval_views"):
            if getattr(self, name) < 1:
                raise ValueError(f"{self} has {name} = {getattr(self, name)}; expected at least 1")
        if self.num_clips * self.frames * self.eval_views > MOST_FRAMES:
            raise ValueError(f"{self} takes more than {MOST_FRAMES} frames of a clip, which would fill the memory")

    @property
    @abstractmethod
    def num_clips(self) -> int:
        """Sub-videos in a sample."""

    @property
    @abstractmethod
    def frames(self) -> int:
        """Frames in each sub-video; the maximum if samples differ in length."""

    @property
    @abstractmethod
    def eval_views(self) -> int:
        """Views of each clip whose predictions are averaged at evaluation; see `evaluation_view`."""

    @abstractmethod
    def __call__(self, num_frames: int, generator: Generator | None) -> Tensor:
        """Return the (T,) int64 frame numbers of a sample, T = num_clips * frames.

        T is smaller for short clips if samples differ in length. Without a generator, sampling is deterministic.
        """

    def evaluation_view(self, num_frames: int, number: int) -> Tensor:
        """Return the (T,) int64 frame numbers of one of the `eval_views` views, counted from 0.

        A single view is the deterministic sample. Several are random, but the same in every evaluation.
        """
        return self(num_frames, None if self.eval_views == 1 else Generator().manual_seed(number))


@dataclass
class SubvideoSampler(FrameSampler):
    """Sample `frames` frames from each of CEFLNet's `clips` sub-videos; see `subvideo_indices`."""

    clips: int = 7
    frames: int = 5
    eval_views: int = 1
    eval_frames: EvaluationFrames = "middle"

    @property
    def num_clips(self) -> int:
        """Sub-videos in a sample."""
        return self.clips

    def __call__(self, num_frames: int, generator: Generator | None) -> Tensor:
        """Return (clips * frames,) int64 frame numbers."""
        return subvideo_indices(num_frames, self.clips, self.frames, generator, self.eval_frames).flatten()


@dataclass
class SegmentSampler(FrameSampler):
    """Sample `successive` frames from each of `frames / successive` equal segments; see `segment_indices`."""

    num_clips: ClassVar[int] = 1
    frames: int = 16
    eval_views: int = 1
    successive: int = 1

    def __call__(self, num_frames: int, generator: Generator | None) -> Tensor:
        """Return (frames,) int64 frame numbers."""
        return segment_indices(num_frames, self.frames, generator, self.successive)


@dataclass
class ContiguousSampler(FrameSampler):
    """Take a window of `frames` successive frames, or of every `stride`-th; see `contiguous_indices`.

    Training takes a random window. Evaluation takes the middle window, or the middle one of each of `eval_views` equal
    parts of all possible windows. The first view, which reports show, is nearest to the middle of the clip.
    """

    num_clips: ClassVar[int] = 1
    frames: int = 16
    eval_views: int = 1
    stride: int = 1

    def __call__(self, num_frames: int, generator: Generator | None) -> Tensor:
        """Return (frames,) int64 frame numbers."""
        position = 0.5 if generator is None else float(torch.rand((), generator=generator, dtype=torch.float64))
        return contiguous_indices(num_frames, self.frames, position, self.stride)

    def evaluation_view(self, num_frames: int, number: int) -> Tensor:
        """Return the (frames,) int64 frame numbers of the window `number`, counted from 0."""
        parts = sorted(range(self.eval_views), key=lambda part: abs(2 * part + 1 - self.eval_views))
        return contiguous_indices(num_frames, self.frames, (parts[number] + 0.5) / self.eval_views, self.stride)


@dataclass
class RandomSampler(FrameSampler):
    """Sample `frames` frames in ascending order; see `random_indices`."""

    num_clips: ClassVar[int] = 1
    frames: int = 32
    eval_views: int = 1

    def __call__(self, num_frames: int, generator: Generator | None) -> Tensor:
        """Return (frames,) int64 frame numbers."""
        return random_indices(num_frames, self.frames, generator)


@dataclass
class AllFramesSampler(FrameSampler):
    """Take all frames of a clip, also in training; of a clip longer than `max_frames`, that many evenly spaced ones.

    Samples differ in length: the shorter ones in a batch are padded with frames that the mask excludes. The limit keeps
    memory from growing with the length of a video; no paper states it [our choice].
    """

    num_clips: ClassVar[int] = 1
    eval_views: ClassVar[int] = 1
    max_frames: int = 256

    @property
    def frames(self) -> int:
        """The maximum number of frames in a sample."""
        return self.max_frames

    def __call__(self, num_frames: int, generator: Generator | None) -> Tensor:
        """Return (min(num_frames, max_frames),) int64 frame numbers."""
        return segment_indices(num_frames, min(num_frames, self.max_frames))


@dataclass
class MiddleFrameSampler(FrameSampler):
    """Take only the middle frame, also in training, so that a classifier of still images can classify a clip."""

    num_clips: ClassVar[int] = 1
    frames: ClassVar[int] = 1
    eval_views: ClassVar[int] = 1

    def __call__(self, num_frames: int, generator: Generator | None) -> Tensor:
        """Return (1,) int64: the number of the middle frame."""
        _check_count(num_frames)
        return torch.tensor([num_frames // 2])
