"""How VSHNN joins its video stream and the facial landmarks (section 4.2).

Lee et al. (2020), "Visual Scene-Aware Hybrid and Multi-Modal Feature Aggregation for Facial Expression Recognition",
Sensors 20, 5184, https://doi.org/10.3390/s20185184
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from data_modules.loading.batch import ClipBatch
from fer_lightning.architectures.vshnn.landmark_mlp import FRAMES, Descriptor, LandmarkFeatures, LandmarkNet
from fer_lightning.evaluation.outputs import StreamScores
from fer_lightning.layers.fusion import LowRankFusion

ALPHAS = tuple(place / 20 for place in range(21))  # [our choice]
BEFORE_SEARCH = 0.5

Classify = Callable[[Tensor], tuple[Tensor, Tensor]]
"""SARNN and its classifier: scene input (B, S') -> logits (B, C) and the feature that they are made of (B, F)."""


@dataclass(frozen=True)
class Fused:
    """What both modalities say together of B clips.

    Each tensor of `supervised` gets a cross-entropy of its own in the training loss. `video` and `landmarks` are what
    each modality says alone, where the fusion is one of scores; a clip without landmarks has the video's logits there.
    """

    logits: Tensor  # (B, C)
    feature: Tensor  # (B, F)
    present: Tensor  # (B,) bool, whether a clip has landmarks
    supervised: tuple[Tensor, ...]  # logits (B, C)
    video: Tensor | None = None  # (B, C) logits
    landmarks: Tensor | None = None  # (B, C) logits
    streams: tuple[StreamScores, ...] = ()


class Chosen(NamedTuple):
    """What a fusion has found on the inner split."""

    name: str
    value: float
    confusion: Tensor  # (C + 1, C + 1) of this process's clips with that value; rows are the true classes


class LandmarkFusion(nn.Module, ABC):
    """Joins VSHNN's video stream and the landmarks.

    A fusion is made with its own settings alone; VSHNN then calls `build` with the sizes that are its own.
    """

    searches: bool = False
    """Whether a value is found on the inner split in every epoch; see `search` and `choose`."""

    @abstractmethod
    def build(self, num_classes: int, scene_size: int) -> int:
        """Makes the layers.

        Args:
            num_classes: C.
            scene_size: S, length of VSHNN's scene feature.

        Returns:
            S', the length of the scene input that `forward` gives to SARNN.
        """

    @abstractmethod
    def forward(self, scene: Tensor, classify: Classify, batch: ClipBatch) -> Fused:
        """The scene feature (B, S), the video's classifier and the clips' landmarks -> what they say together."""

    @abstractmethod
    def fit(self, batches: Iterable[ClipBatch]) -> None:
        """Fits the descriptor's scaler to the clips of a training fold, the only ones that it may see."""

    def search(self, video: Tensor, landmarks: Tensor, label: Tensor) -> None:
        """Adds clips of the inner split: probabilities of each modality (M, C), (M, C), and classes (M,)."""

    def choose(self) -> Chosen | None:
        """Takes over the best value of the clips that `search` has seen, and begins anew; None without a search."""
        return None


class IntermediateConcatenation(LandmarkFusion):
    """IC, equation 16: SARNN's scene input is v' = [BatchNorm(v), l'], with l' the scaled descriptor.

    [our choice] L' is 0, the middle of its scale, for clips without landmarks.

    Args:
        descriptor: of the landmarks, `lmed_cf` in the paper.
        frames: of a sample, T; `lmed_cf` and `trajectory` depend on it.
    """

    def __init__(self, descriptor: Descriptor = "lmed_cf", frames: int = FRAMES) -> None:
        super().__init__()
        self.features = LandmarkFeatures(descriptor, frames)

    def build(self, num_classes: int, scene_size: int) -> int:
        """Makes the normalisation of the scene feature; S' is S and the length of the descriptor."""
        self.norm = nn.BatchNorm1d(scene_size)
        return scene_size + self.features.size

    def fit(self, batches: Iterable[ClipBatch]) -> None:
        """Fits the descriptor's scaler."""
        self.features.fit(batches)

    def scene_input(self, scene: Tensor, batch: ClipBatch) -> tuple[Tensor, Tensor]:
        """Scene feature v (B, S) -> v' (B, S'), and (B,) which clips have landmarks."""
        assert batch.landmarks is not None
        descriptor, present = self.features(batch.landmarks, batch.mask)
        normal = self.norm(scene)
        return torch.cat([normal, descriptor.to(normal.dtype)], dim=1), present

    def forward(self, scene: Tensor, classify: Classify, batch: ClipBatch) -> Fused:
        """What SARNN says of the joined scene input."""
        joined, present = self.scene_input(scene, batch)
        logits, feature = classify(joined)
        return Fused(logits, feature, present, supervised=(logits,))


class ScoreFusion(LandmarkFusion):
    """Joins the scores of SARNN with those of a network of the landmarks.

    [our choice] Both modalities are trained together, and each keeps a loss of its own beside that of the joined
    scores. A clip without landmarks has the video's scores.

    Args:
        descriptor: of the landmarks, `lmed_cf` in the paper.
        modules: of the landmarks' MLP: 3 for AFEW, 2 for CK+ and MMI (section 5.2.4).
        width: units of that MLP's hidden layers [our choice].
        frames: of a sample, T; `lmed_cf` and `trajectory` depend on it.
    """

    def __init__(
        self, descriptor: Descriptor = "lmed_cf", modules: int = 3, width: int = 256, frames: int = FRAMES
    ) -> None:
        super().__init__()
        self.network = partial(LandmarkNet, descriptor=descriptor, modules=modules, width=width, frames=frames)

    def build(self, num_classes: int, scene_size: int) -> int:
        """Makes the landmarks' network; SARNN gets the scene feature as it is."""
        self.net = self.network(num_classes)
        return scene_size

    def fit(self, batches: Iterable[ClipBatch]) -> None:
        """Fits the scaler of the network's descriptor."""
        self.net.features.fit(batches)

    @abstractmethod
    def fuse(self, video: Tensor, landmarks: Tensor) -> Tensor:
        """Logits of both modalities (B, C), (B, C) -> logits of both together (B, C)."""

    def supervised(self, fused: Tensor, video: Tensor, landmarks: Tensor) -> tuple[Tensor, ...]:
        """The logits that have a loss of their own."""
        return fused, video, landmarks

    def forward(self, scene: Tensor, classify: Classify, batch: ClipBatch) -> Fused:
        """The fused scores, and those of each modality as a stream, NaN where a clip has no landmarks."""
        assert batch.landmarks is not None
        video, feature = classify(scene)
        found = self.net(batch.landmarks, batch.mask)
        present = found.present[:, None]
        landmarks = torch.where(present, found.scores.to(video.dtype), video.detach())
        fused = torch.where(present, self.fuse(video, landmarks).to(video.dtype), video)
        seen = landmarks.masked_fill(~present, torch.nan)
        return Fused(
            fused,
            feature,
            found.present,
            self.supervised(fused, video, landmarks),
            video,
            landmarks,
            streams=(StreamScores("video", video), StreamScores("landmarks", seen)),
        )


class WeightedSum(ScoreFusion):
    """WS, the weighted summation of equation 17: z = α p + (1 - α) q of the softmax scores.

    The sum has no loss of its own, as α is no parameter.

    Args:
        alpha: α, weight of the video's scores: 0.6 for AFEW, 0.5 for CK+ and MMI in the paper; None to search it on
            the inner split in every epoch, which begins with 0.5.
        network: the landmarks' network, see `ScoreFusion`.

    Raises:
        ValueError: α is not from 0 to 1.
    """

    alpha: Tensor

    def __init__(self, alpha: float | None = None, **network: Any) -> None:
        super().__init__(**network)
        if alpha is not None and not 0 <= alpha <= 1:
            raise ValueError(f"alpha weighs the video's scores, so it is from 0 to 1; found {alpha}")
        self.register_buffer("alpha", torch.tensor(BEFORE_SEARCH if alpha is None else alpha))
        self.searches = alpha is None

    def build(self, num_classes: int, scene_size: int) -> int:
        """Makes the landmarks' network, and what counts right answers for each α."""
        self.counts = AlphaSearch(num_classes)
        return super().build(num_classes, scene_size)

    def fuse(self, video: Tensor, landmarks: Tensor) -> Tensor:
        """Logits (B, C), (B, C) -> logits whose softmax is z (B, C)."""
        p, q = _softmax(video), _softmax(landmarks)
        z = self.alpha * p + (1 - self.alpha) * q
        return z.clamp_min(torch.finfo(z.dtype).tiny).log()

    def supervised(self, fused: Tensor, video: Tensor, landmarks: Tensor) -> tuple[Tensor, ...]:
        """Each modality alone."""
        return video, landmarks

    def search(self, video: Tensor, landmarks: Tensor, label: Tensor) -> None:
        """Counts how well each α does."""
        self.counts.update(video, landmarks, label)

    def choose(self) -> Chosen | None:
        """Sets α to the best one; None where it is given."""
        if not self.searches:
            return None
        best = int(self.counts.compute())
        self.alpha.fill_(ALPHAS[best])
        chosen = Chosen("alpha", ALPHAS[best], self.counts.confusion[best].clone())
        self.counts.reset()
        return chosen


class LowRankMultiModalFusion(ScoreFusion):
    """LRMAF, low-rank multi-modal attention fusion of the softmax scores, and LRMF without attention (section 4.2.3).

    Args:
        rank: γ of the weights (equation 20) [our choice].
        attention: weigh each modality's scores by their own attention (equations 18 and 19).
        network: the landmarks' network, see `ScoreFusion`.
    """

    def __init__(self, rank: int = 4, attention: bool = True, **network: Any) -> None:
        super().__init__(**network)
        self.rank, self.attention = rank, attention

    def build(self, num_classes: int, scene_size: int) -> int:
        """Makes the landmarks' network and the fusion's weights."""
        scene_size = super().build(num_classes, scene_size)
        self.low_rank = LowRankFusion(num_classes, num_classes, num_classes, self.rank, self.attention)
        return scene_size

    def fuse(self, video: Tensor, landmarks: Tensor) -> Tensor:
        """Logits (B, C), (B, C) -> logits (B, C)."""
        return self.low_rank(_softmax(video), _softmax(landmarks))  # type: ignore[no-any-return]


class AlphaSearch(Metric):
    """Confusion matrices of a split for every α of `ALPHAS`, the same on any number of processes."""

    confusion: Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.size = num_classes + 1  # as `SplitMetrics`: one more for clips without a prediction
        counts = torch.zeros(len(ALPHAS), self.size, self.size, dtype=torch.long)
        self.add_state("confusion", counts, dist_reduce_fx="sum")  # rows are the true classes

    def update(self, video: Tensor, landmarks: Tensor, label: Tensor) -> None:
        """Adds clips: probabilities (M, C), (M, C), and classes (M,)."""
        alphas = torch.tensor(ALPHAS, device=video.device, dtype=video.dtype)[:, None, None]
        guess = (alphas * video + (1 - alphas) * landmarks).argmax(dim=-1)  # (A, M)
        cell = label.to(guess.device) * self.size + guess
        self.confusion += nn.functional.one_hot(cell, self.size**2).sum(dim=1).view_as(self.confusion)

    def compute(self) -> Tensor:
        """The place in `ALPHAS` of the one with the most right answers, of several the nearest to 0.5."""
        right = self.confusion.diagonal(dim1=1, dim2=2).sum(dim=1).double()  # (A,)
        alphas = torch.tensor(ALPHAS, device=right.device, dtype=torch.float64)
        return (right - (alphas - BEFORE_SEARCH).abs()).argmax()


def _softmax(logits: Tensor) -> Tensor:
    return logits.to(torch.promote_types(logits.dtype, torch.float32)).softmax(dim=-1)
