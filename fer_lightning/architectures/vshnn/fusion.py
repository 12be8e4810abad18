"""Fusion of VSHNN's video stream with the facial landmarks (section 4.2).

Lee et al. (2020), "Visual Scene-Aware Hybrid and Multi-Modal Feature Aggregation for Facial Expression Recognition",
Sensors 20, 5184, https://doi.org/10.3390/s20185184
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from data_modules.loading.batch import ClipBatch
from fer_lightning.architectures.vshnn.landmark_mlp import FRAMES, Descriptor, LandmarkFeatures, LandmarkNet
from fer_lightning.evaluation.outputs import StreamScores
from fer_lightning.layers.backbones import Pretrained
from fer_lightning.layers.fusion import LowRankFusion
from fer_lightning.layers.pretrained_parts import PretrainedParts
from fer_lightning.weights import RANDOM

ALPHAS = tuple(step / 20 for step in range(21))  # [our choice]
INITIAL_ALPHA = 0.5

Classify = Callable[[Tensor], tuple[Tensor, Tensor]]
"""SARNN and its classifier: scene input (B, S') -> logits (B, C) and the feature (B, F) that they classify."""


@dataclass(frozen=True)
class FusionOutput:
    """Output of a fusion for B clips.

    Score fusions also set `video` and `landmarks`. For clips without landmarks, `landmarks` holds the video's logits.
    """

    logits: Tensor  # (B, C)
    feature: Tensor  # (B, F)
    present: Tensor  # (B,) bool, true for clips with landmarks
    supervised: tuple[Tensor, ...]  # logits (B, C), each with its own cross-entropy in the training loss
    video: Tensor | None = None  # (B, C) logits of the video alone
    landmarks: Tensor | None = None  # (B, C) logits of the landmarks alone
    streams: tuple[StreamScores, ...] = ()


class SearchResult(NamedTuple):
    """The value that a fusion has chosen on the inner split."""

    name: str
    value: float
    confusion: Tensor  # (C + 1, C + 1) of this process's clips with the value; rows are the true classes


class LandmarkFusion(nn.Module, ABC):
    """Base class of the fusions of VSHNN's video stream with the landmarks.

    A fusion is constructed from its own settings. VSHNN then calls `build` with the sizes that it determines.
    """

    searches: bool = False
    """Whether a value is searched on the inner split in each epoch; see `search` and `choose`."""

    @abstractmethod
    def build(self, num_classes: int, scene_size: int) -> int:
        """Build the layers.

        Args:
            num_classes: Number of classes C.
            scene_size: Length S of VSHNN's scene feature.

        Returns:
            Length S' of the scene input that `forward` passes to SARNN.
        """

    @abstractmethod
    def forward(self, scene: Tensor, classify: Classify, batch: ClipBatch) -> FusionOutput:
        """Classify both modalities together.

        Args:
            scene: Scene feature v, (B, S).
            classify: SARNN and its classifier.
            batch: Clips with landmarks.
        """

    @abstractmethod
    def fit(self, batches: Iterable[ClipBatch]) -> None:
        """Fit the descriptor's scaler to the clips of a training fold, and to no others."""

    def search(self, video: Tensor, landmarks: Tensor, label: Tensor) -> None:
        """Add clips of the inner split to the search.

        Args:
            video: Probabilities of the video, (M, C).
            landmarks: Probabilities of the landmarks, (M, C).
            label: Classes, (M,).
        """

    def pretrained(self, class_names: Sequence[str]) -> list[Pretrained]:
        """List the layers that start from the weights of a run; its classes must be those given."""
        return []

    def choose(self) -> SearchResult | None:
        """Set and return the best value for the clips that were added, then reset the search; None without a search."""
        return None


class IntermediateConcatenation(LandmarkFusion):
    """IC (equation 16): SARNN's scene input is v' = [BatchNorm(v), l'], where l' is the scaled descriptor.

    [our choice] For clips without landmarks, l' is 0, the middle of its range.

    Args:
        descriptor: Descriptor of the landmarks, `lmed_cf` in the paper.
        frames: Number of frames of a sample, which `lmed_cf` and `trajectory` depend on.
    """

    def __init__(self, descriptor: Descriptor = "lmed_cf", frames: int = FRAMES) -> None:
        super().__init__()
        self.features = LandmarkFeatures(descriptor, frames)

    def build(self, num_classes: int, scene_size: int) -> int:
        """Build the BatchNorm of the scene feature. S' is S plus the length of the descriptor."""
        self.norm = nn.BatchNorm1d(scene_size)
        return scene_size + self.features.size

    def fit(self, batches: Iterable[ClipBatch]) -> None:
        """Fit the descriptor's scaler."""
        self.features.fit(batches)

    def scene_input(self, scene: Tensor, batch: ClipBatch) -> tuple[Tensor, Tensor]:
        """Compute v' (B, S') from the scene feature v (B, S), and (B,) bool, true for clips with landmarks."""
        assert batch.landmarks is not None
        descriptor, present = self.features(batch.landmarks, batch.mask)
        normalised = self.norm(scene)
        return torch.cat([normalised, descriptor.to(normalised.dtype)], dim=1), present

    def forward(self, scene: Tensor, classify: Classify, batch: ClipBatch) -> FusionOutput:
        """Classify with v' as the scene input."""
        scene_input, present = self.scene_input(scene, batch)
        logits, feature = classify(scene_input)
        return FusionOutput(logits, feature, present, supervised=(logits,))


class ScoreFusion(LandmarkFusion):
    """Base class for fusions of SARNN's scores with those of a landmark network.

    [our choice] Both modalities are trained together. Each has its own loss in addition to that of the fused scores.
    Clips without landmarks get the video's scores.

    Args:
        descriptor: Descriptor of the landmarks, `lmed_cf` in the paper.
        modules: Modules of the landmark MLP: 3 for AFEW, 2 for CK+ and MMI (section 5.2.4).
        width: Units of that MLP's hidden layers [our choice].
        frames: Number of frames of a sample, which `lmed_cf` and `trajectory` depend on.
        weights: `random`, or a run of `LandmarkMLP` (`run:NAME`) from whose landmark network the training starts.
    """

    def __init__(
        self,
        descriptor: Descriptor = "lmed_cf",
        modules: int = 3,
        width: int = 256,
        frames: int = FRAMES,
        weights: str = RANDOM,
    ) -> None:
        super().__init__()
        self.weights = weights
        self.network = partial(LandmarkNet, descriptor=descriptor, modules=modules, width=width, frames=frames)

    def build(self, num_classes: int, scene_size: int) -> int:
        """Build the landmark network. SARNN's scene input is the scene feature."""
        self.net = self.network(num_classes)
        return scene_size

    def fit(self, batches: Iterable[ClipBatch]) -> None:
        """Fit the scaler of the network's descriptor."""
        self.net.features.fit(batches)

    def pretrained(self, class_names: Sequence[str]) -> list[Pretrained]:
        """List the landmark network."""
        return [PretrainedParts({"net": self.net}, self.weights, class_names)]

    @abstractmethod
    def fuse(self, video: Tensor, landmarks: Tensor) -> Tensor:
        """Fuse the logits of both modalities: (B, C), (B, C) -> (B, C)."""

    def supervised(self, fused: Tensor, video: Tensor, landmarks: Tensor) -> tuple[Tensor, ...]:
        """Return the logits that have their own loss."""
        return fused, video, landmarks

    def forward(self, scene: Tensor, classify: Classify, batch: ClipBatch) -> FusionOutput:
        """Fuse the scores. Each modality's scores are a stream, NaN for clips without landmarks."""
        assert batch.landmarks is not None
        video, feature = classify(scene)
        output = self.net(batch.landmarks, batch.mask)
        present = output.present[:, None]
        landmarks = torch.where(present, output.scores.to(video.dtype), video.detach())
        fused = torch.where(present, self.fuse(video, landmarks).to(video.dtype), video)
        landmark_stream = landmarks.masked_fill(~present, torch.nan)
        return FusionOutput(
            fused,
            feature,
            output.present,
            self.supervised(fused, video, landmarks),
            video,
            landmarks,
            streams=(StreamScores("video", video), StreamScores("landmarks", landmark_stream)),
        )


class WeightedSum(ScoreFusion):
    """WS (equation 17): the weighted sum z = α p + (1 - α) q of the softmax scores of video and landmarks.

    The sum has no loss of its own, since α is not a trained parameter.

    Args:
        alpha: Weight α of the video's scores, in the paper 0.6 for AFEW and 0.5 for CK+ and MMI. None searches it on
            the inner split in each epoch, starting from 0.5.
        network: The landmark network, see `ScoreFusion`.

    Raises:
        ValueError: α is not from 0 to 1.
    """

    alpha: Tensor

    def __init__(self, alpha: float | None = None, **network: Any) -> None:
        super().__init__(**network)
        if alpha is not None and not 0 <= alpha <= 1:
            raise ValueError(f"alpha is the weight of the video's scores, from 0 to 1; found {alpha}")
        self.register_buffer("alpha", torch.tensor(INITIAL_ALPHA if alpha is None else alpha))
        self.searches = alpha is None

    def build(self, num_classes: int, scene_size: int) -> int:
        """Build the landmark network and the search over α."""
        self.counts = AlphaSearch(num_classes)
        return super().build(num_classes, scene_size)

    def fuse(self, video: Tensor, landmarks: Tensor) -> Tensor:
        """Compute logits whose softmax is z: (B, C), (B, C) -> (B, C)."""
        p, q = _softmax(video), _softmax(landmarks)
        z = self.alpha * p + (1 - self.alpha) * q
        return z.clamp_min(torch.finfo(z.dtype).tiny).log()

    def supervised(self, fused: Tensor, video: Tensor, landmarks: Tensor) -> tuple[Tensor, ...]:
        """Return the logits of each modality."""
        return video, landmarks

    def search(self, video: Tensor, landmarks: Tensor, label: Tensor) -> None:
        """Update the confusion matrices of all α."""
        self.counts.update(video, landmarks, label)

    def choose(self) -> SearchResult | None:
        """Set α to the best value; None if α is given."""
        if not self.searches:
            return None
        best = int(self.counts.compute())
        self.alpha.fill_(ALPHAS[best])
        result = SearchResult("alpha", ALPHAS[best], self.counts.confusion[best].clone())
        self.counts.reset()
        return result


class LowRankMultiModalFusion(ScoreFusion):
    """LRMAF, low-rank multi-modal attention fusion of the softmax scores; without attention, LRMF (section 4.2.3).

    Args:
        rank: Rank γ of the weights (equation 20) [our choice].
        attention: Apply an attention to each modality's scores first (equations 18 and 19).
        network: The landmark network, see `ScoreFusion`.
    """

    def __init__(self, rank: int = 4, attention: bool = True, **network: Any) -> None:
        super().__init__(**network)
        self.rank, self.attention = rank, attention

    def build(self, num_classes: int, scene_size: int) -> int:
        """Build the landmark network and the fusion's weights."""
        scene_size = super().build(num_classes, scene_size)
        self.low_rank = LowRankFusion(num_classes, num_classes, num_classes, self.rank, self.attention)
        return scene_size

    def fuse(self, video: Tensor, landmarks: Tensor) -> Tensor:
        """Fuse the logits of both modalities: (B, C), (B, C) -> (B, C)."""
        return self.low_rank(_softmax(video), _softmax(landmarks))  # type: ignore[no-any-return]


class AlphaSearch(Metric):
    """Confusion matrices of a split for each α of `ALPHAS`, summed over all processes."""

    confusion: Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.size = num_classes + 1  # as in `SplitMetrics`, with one more for clips without a prediction
        counts = torch.zeros(len(ALPHAS), self.size, self.size, dtype=torch.long)
        self.add_state("confusion", counts, dist_reduce_fx="sum")  # rows are the true classes

    def update(self, video: Tensor, landmarks: Tensor, label: Tensor) -> None:
        """Add clips: probabilities of video (M, C) and landmarks (M, C), and classes (M,)."""
        alphas = torch.tensor(ALPHAS, device=video.device, dtype=video.dtype)[:, None, None]
        predicted = (alphas * video + (1 - alphas) * landmarks).argmax(dim=-1)  # (A, M)
        cell = label.to(predicted.device) * self.size + predicted
        self.confusion += nn.functional.one_hot(cell, self.size**2).sum(dim=1).view_as(self.confusion)

    def compute(self) -> Tensor:
        """Return the index of the α with the most correct predictions; among equal ones, of the nearest to 0.5."""
        correct = self.confusion.diagonal(dim1=1, dim2=2).sum(dim=1).double()  # (A,)
        alphas = torch.tensor(ALPHAS, device=correct.device, dtype=torch.float64)
        return (correct - (alphas - INITIAL_ALPHA).abs()).argmax()


def _softmax(logits: Tensor) -> Tensor:
    return logits.to(torch.promote_types(logits.dtype, torch.float32)).softmax(dim=-1)
