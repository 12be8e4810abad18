"""Which frames of a clip a model sees: pure index arithmetic, one function per paper's sampler.

Every function gives indices within [0, num_frames), in order, whatever num_frames >= 1 is. Without a generator it is
the deterministic sampling of the evaluation; with one it draws, as in training.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

SEQUENCE = 105  # frames every video is brought to (CEFLNet, section 4.1)
LATEST_START = 30  # the first of the 75 frames is among the first 30
SPAN = 75  # consecutive frames that are cut into sub-videos


def _check_count(num_frames: int) -> None:
    if num_frames < 1:
        raise ValueError(f"cannot sample from a clip of {num_frames} frames; expected at least 1")


def window_length(clips: int) -> float:
    """Frames in each of `clips` windows that cover `SPAN` frames, neighbours sharing a third: 15 for 7 clips."""
    return 3 * SPAN / (2 * clips + 1)


def subvideo_indices(num_frames: int, clips: int = 7, frames: int = 5, generator: Generator | None = None) -> Tensor:
    """CEFLNet's sampling (section 4.1): `frames` frames from each of `clips` overlapping sub-videos.

    The video is brought to 105 frames: shorter ones repeat frames evenly, longer ones are sampled over their whole
    length. From a start among the first 30, 75 consecutive frames are cut into sub-videos of 15 that share 5 with the
    next. [our choice] The evaluation starts at 15 and takes evenly spaced frames; for another number of clips the 75
    frames are cut into that many windows, a third overlapping.

    Returns:
        (clips, frames) int64.
    """
    _check_count(num_frames)
    if generator is None:
        start = LATEST_START // 2
        within = (torch.arange(frames, dtype=torch.float64) + 0.5).expand(clips, frames) / frames
    else:
        start = int(torch.randint(LATEST_START, (), generator=generator))
        within = torch.stack([_ordered_draw(frames, round(window_length(clips)), generator) for _ in range(clips)])
    length = window_length(clips)
    first = start + torch.arange(clips, dtype=torch.float64) * (length * 2 / 3)
    position = (first[:, None] + within * length).floor()
    return _rescale(position, SEQUENCE, num_frames)


def _ordered_draw(count: int, length: int, generator: Generator) -> Tensor:
    """`count` of `length` places in order, as the middles of the places in (0, 1); repeats only if count > length."""
    if count <= length:
        places = torch.randperm(length, generator=generator)[:count]
    else:
        places = torch.randint(length, (count,), generator=generator)
    return (places.sort().values.double() + 0.5) / length


def _rescale(position: Tensor, length: int, num_frames: int) -> Tensor:
    """Positions on a timeline of `length` frames -> frames of a clip of `num_frames`."""
    return ((position + 0.5) * num_frames / length).floor().long().clamp(0, num_frames - 1)


def segment_indices(num_frames: int, n: int, generator: Generator | None = None) -> Tensor:
    """One frame from each of `n` equal segments: its middle, or drawn at random. Returns (n,) int64."""
    _check_count(num_frames)
    within = torch.full((n,), 0.5) if generator is None else torch.rand(n, generator=generator)
    return ((torch.arange(n) + within.double()) * num_frames / n).floor().long().clamp(0, num_frames - 1)


def random_indices(num_frames: int, k: int, generator: Generator | None = None) -> Tensor:
    """`k` frames in order: drawn without repetition where the clip is long enough, or evenly spaced.

    Returns:
        (k,) int64.
    """
    _check_count(num_frames)
    if generator is None:
        return segment_indices(num_frames, k)
    whole, rest = divmod(k, num_frames)
    drawn = torch.randperm(num_frames, generator=generator)[:rest]
    return torch.cat([torch.arange(num_frames).repeat(whole), drawn]).sort().values


class FrameSampler(ABC):
    """A way of choosing frames, as experiments state it.

    `num_clips` x `frames` is the shape of a sample. With `eval_views` > 1, the predictions for that many random
    samples of a clip are averaged at evaluation; they are always the same ones.
    """

    num_clips: int
    frames: int
    eval_views: int

    @abstractmethod
    def __call__(self, num_frames: int, generator: Generator | None) -> Tensor:
        """(T,) int64 frame numbers, T = num_clips * frames (at most that many where samples differ in length)."""


@dataclass
class SubvideoSampler(FrameSampler):
    """`subvideo_indices`: CEFLNet's `clips` sub-videos of `frames` frames."""

    clips: int = 7
    frames: int = 5
    eval_views: int = 1

    @property
    def num_clips(self) -> int:  # type: ignore[override]
        """Sub-videos in a sample."""
        return self.clips

    def __call__(self, num_frames: int, generator: Generator | None) -> Tensor:
        """(clips * frames,) int64."""
        return subvideo_indices(num_frames, self.clips, self.frames, generator).flatten()


@dataclass
class SegmentSampler(FrameSampler):
    """`segment_indices`: one frame from each of `frames` segments."""

    num_clips: ClassVar[int] = 1  # type: ignore[misc]
    frames: int = 16
    eval_views: int = 1

    def __call__(self, num_frames: int, generator: Generator | None) -> Tensor:
        """(frames,) int64."""
        return segment_indices(num_frames, self.frames, generator)


@dataclass
class RandomSampler(FrameSampler):
    """`random_indices`: `frames` frames in order."""

    num_clips: ClassVar[int] = 1  # type: ignore[misc]
    frames: int = 32
    eval_views: int = 1

    def __call__(self, num_frames: int, generator: Generator | None) -> Tensor:
        """(frames,) int64."""
        return random_indices(num_frames, self.frames, generator)


@dataclass
class AllFramesSampler(FrameSampler):
    """All frames of a clip, in training too; of one longer than `max_frames` so many, evenly spaced.

    Samples differ in length: shorter ones of a batch are padded with frames that its mask leaves out. The limit keeps
    memory from growing with a video's length [our choice].
    """

    num_clips: ClassVar[int] = 1  # type: ignore[misc]
    eval_views: ClassVar[int] = 1  # type: ignore[misc]
    max_frames: int = 256

    @property
    def frames(self) -> int:  # type: ignore[override]
        """The most frames that a sample can have."""
        return self.max_frames

    def __call__(self, num_frames: int, generator: Generator | None) -> Tensor:
        """(min(num_frames, max_frames),) int64."""
        return segment_indices(num_frames, min(num_frames, self.max_frames))


@dataclass
class MiddleFrameSampler(FrameSampler):
    """The middle frame alone, in training too: what a classifier of still images makes of a clip."""

    num_clips: ClassVar[int] = 1  # type: ignore[misc]
    frames: ClassVar[int] = 1  # type: ignore[misc]
    eval_views: ClassVar[int] = 1  # type: ignore[misc]

    def __call__(self, num_frames: int, generator: Generator | None) -> Tensor:
        """(1,) int64."""
        return segment_indices(num_frames, 1)
