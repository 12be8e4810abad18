"""How VSHNN joins its video stream and the facial landmarks (section 4.2)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from data_modules.loading.batch import ClipBatch
from fer_lightning.architectures.vshnn.landmark_mlp import LandmarkFeatures, LandmarkNet, LandmarkOutput
from fer_lightning.layers.fusion import LowRankFusion

ALPHAS = tuple(place / 20 for place in range(21))  # not stated in the paper: our choice
BEFORE_SEARCH = 0.5


class IntermediateConcatenation(nn.Module):
    """IC, equation 16: v' = [BatchNorm(v), l'], with l' the scaled descriptor.

    Not stated in the paper, our choice: l' is 0, the middle of its scale, for clips without landmarks.
    """

    def __init__(self, size: int, features: LandmarkFeatures) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(size)
        self.features = features
        self.size = size + features.size

    def forward(self, scene: Tensor, batch: ClipBatch) -> tuple[Tensor, Tensor]:
        """(B, S) -> (B, S + L), and (B,) which clips have landmarks."""
        assert batch.landmarks is not None
        descriptor, present = self.features(batch.landmarks, batch.mask)
        normal = self.norm(scene)
        return torch.cat([normal, descriptor.to(normal.dtype)], dim=1), present


class WeightedSum(nn.Module):
    """WS, equation 17: z = α p + (1 - α) q of the softmax scores.

    Args:
        num_classes: C.
        alpha: α; None where it is searched, which begins with 0.5.

    Raises:
        ValueError: α is not from 0 to 1.
    """

    alpha: Tensor

    def __init__(self, num_classes: int, alpha: float | None = None) -> None:
        super().__init__()
        if alpha is not None and not 0 <= alpha <= 1:
            raise ValueError(f"alpha weighs the video's scores, so it is from 0 to 1; found {alpha}")
        self.register_buffer("alpha", torch.tensor(BEFORE_SEARCH if alpha is None else alpha))
        self.search = AlphaSearch(num_classes) if alpha is None else None

    def forward(self, video: Tensor, landmarks: Tensor) -> Tensor:
        """Logits (B, C), (B, C) -> logits whose softmax is z (B, C)."""
        p, q = _softmax(video), _softmax(landmarks)
        z = self.alpha * p + (1 - self.alpha) * q
        return z.clamp_min(torch.finfo(z.dtype).tiny).log()


class ScoreFusion(nn.Module):
    """LRMF, and with attention LRMAF (section 4.2.3), of the softmax scores of both modalities."""

    def __init__(self, num_classes: int, rank: int, attention: bool) -> None:
        super().__init__()
        self.fusion = LowRankFusion(num_classes, num_classes, num_classes, rank, attention)

    def forward(self, video: Tensor, landmarks: Tensor) -> Tensor:
        """Logits (B, C), (B, C) -> logits (B, C)."""
        return self.fusion(_softmax(video), _softmax(landmarks))  # type: ignore[no-any-return]


@dataclass(frozen=True)
class FusedScores:
    """Logits (B, C) of both modalities together and of the landmarks, and (B,) which clips have landmarks.

    A clip without landmarks has the video's logits as both.
    """

    fused: Tensor
    landmarks: Tensor
    present: Tensor


class LateFusion(nn.Module):
    """The landmark network, and the fusion of its scores with the video's."""

    def __init__(self, net: LandmarkNet, fuse: WeightedSum | ScoreFusion) -> None:
        super().__init__()
        self.net, self.fuse = net, fuse

    def forward(self, video: Tensor, batch: ClipBatch) -> FusedScores:
        """The video's logits (B, C) and the clips' landmarks."""
        assert batch.landmarks is not None
        found: LandmarkOutput = self.net(batch.landmarks, batch.mask)
        there = found.present[:, None]
        landmarks = torch.where(there, found.scores.to(video.dtype), video.detach())
        fused = torch.where(there, self.fuse(video, landmarks).to(video.dtype), video)
        return FusedScores(fused, landmarks, found.present)

    @property
    def search(self) -> "AlphaSearch | None":
        """What finds α on the inner split; None where there is nothing to find."""
        return self.fuse.search if isinstance(self.fuse, WeightedSum) else None

    def use_best(self, search: "AlphaSearch") -> tuple[float, Tensor]:
        """Sets α to the best of the clips that the search has seen, and begins anew.

        Returns:
            α, and the confusion matrix with it of this process's clips.
        """
        assert isinstance(self.fuse, WeightedSum)
        best = int(search.compute())
        self.fuse.alpha.fill_(ALPHAS[best])
        confusion = search.confusion[best].clone()
        search.reset()
        return ALPHAS[best], confusion


class AlphaSearch(Metric):
    """Confusion matrices of a split for every α of `ALPHAS`, the same on any number of processes."""

    confusion: Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.size = num_classes + 1  # as `SplitMetrics`: one more for clips without a prediction
        counts = torch.zeros(len(ALPHAS), self.size, self.size, dtype=torch.long)
        self.add_state("confusion", counts, dist_reduce_fx="sum")  # rows are the true classes

    def update(self, video: Tensor, landmarks: Tensor, label: Tensor) -> None:
        """Adds clips: scores (M, C), (M, C), and classes (M,)."""
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
