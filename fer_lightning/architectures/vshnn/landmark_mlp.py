"""The landmark side of VSHNN (section 4.1): LMED-CF, LMED or trajectories of 68 points, classified by an MLP.

Lee et al. (2020), "Visual Scene-Aware Hybrid and Multi-Modal Feature Aggregation for Facial Expression Recognition",
Sensors 20, 5184, https://doi.org/10.3390/s20185184
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data_modules.loading.batch import ClipBatch
from data_modules.loading.datamodule import VideoDataModule
from fer_lightning.evaluation.outputs import ClassifierOutput
from fer_lightning.layers.landmark_descriptors import PAIRS, landmark_distances, lmed, lmed_cf
from fer_lightning.layers.scaling import RangeScaler
from fer_lightning.training.classifier import VideoClassifier

Descriptor = Literal["lmed_cf", "lmed", "trajectory"]
FRAMES = 16  # N, section 5.2.4
NOSE_TIP = 30


@dataclass(frozen=True)
class LandmarkOutput:
    """What the landmarks of B clips say; zeros where a clip has none."""

    feature: Tensor  # (B, D) the descriptor, scaled
    hidden: Tensor  # (B, W) the last hidden layer
    scores: Tensor  # (B, C) logits
    present: Tensor  # (B,) bool, true where a frame has landmarks


def descriptor_size(descriptor: Descriptor, frames: int = FRAMES) -> int:
    """Length of a clip's descriptor of `frames` frames."""
    statistics = 3 * len(PAIRS)
    sizes = {"lmed": statistics, "lmed_cf": statistics + frames * (frames - 1) // 2, "trajectory": frames * 68 * 2}
    return sizes[descriptor]


def describe(landmarks: Tensor, mask: Tensor, descriptor: Descriptor, frames: int) -> tuple[Tensor, Tensor]:
    """What describes clips, not yet scaled.

    Args:
        landmarks: (B, N, 68, 3) in pixels; frames with values that are not finite take no part.
        mask: (B, N) bool, true where a frame is real.
        descriptor: which.
        frames: N, as the model is made for: each frame has its place in these descriptors.

    Returns:
        (B, D), and (B,) bool, false where no frame has a face that can be measured.

    Raises:
        ValueError: clips of another length.
    """
    if landmarks.shape[1] != frames:
        raise ValueError(
            f"landmarks of {landmarks.shape[1]} frames, but the model is made for {frames}; state the same number as "
            "`frames` of the model (of VSHNN's fusion) and data.sampler.init_args.frames"
        )
    found = mask & landmarks.isfinite().flatten(2).all(dim=2)
    points = torch.where(found[..., None, None], landmarks, 0)
    real = found & landmark_distances(points)[1]
    if descriptor == "trajectory":
        return trajectory(points, real), real.any(dim=1)
    return (lmed if descriptor == "lmed" else lmed_cf)(points, real), real.any(dim=1)


def trajectory(landmarks: Tensor, mask: Tensor) -> Tensor:
    """DTGN's input (Jung et al., ICCV 2015, the paper's [34]): where the points go in the picture.

    In each frame the points are taken from the nose and divided by the deviation of their coordinates along each axis.
    [our choice] The tip of the nose; a frame that is not real shows the nearest one that is, of two the earlier.

    Args:
        landmarks: (B, N, 68, 3), finite.
        mask: (B, N) bool, true where a frame is real.

    Returns:
        (B, N 68 2), frame by frame, x and y of each point.
    """
    flat = landmarks[..., :2].to(torch.promote_types(landmarks.dtype, torch.float32))  # (B, N, 68, 2)
    deviation = flat.std(dim=2, keepdim=True, correction=0)
    shape = (flat - flat[:, :, NOSE_TIP, None]) / torch.where(deviation > 0, deviation, 1)
    places = torch.arange(mask.shape[1], device=mask.device)
    apart = 2 * (places - places[:, None]).abs() + (places > places[:, None])  # (N, N), the earlier one is nearer
    nearest = torch.where(mask[:, None], apart, 3 * len(places)).argmin(dim=2)  # (B, N)
    return shape.gather(1, nearest[..., None, None].expand_as(shape)).flatten(1)


class LandmarkFeatures(nn.Module):
    """A descriptor, scaled to [-1, 1] per feature over the training clips (section 4.1).

    Args:
        descriptor: `lmed_cf`, `lmed`, or `trajectory` (DTGN's).
        frames: N of a clip.
    """

    def __init__(self, descriptor: Descriptor = "lmed_cf", frames: int = FRAMES) -> None:
        super().__init__()
        self.descriptor, self.frames = descriptor, frames
        self.size = descriptor_size(descriptor, frames)
        self.scaler = RangeScaler(self.size)

    def fit(self, batches: Iterable[ClipBatch]) -> None:
        """Fits the scaler to the clips of a training fold, the only ones that it may see.

        Raises:
            ValueError: no clip has landmarks.
        """
        vectors = []
        for batch in batches:
            assert batch.landmarks is not None
            x, present = describe(batch.landmarks, batch.mask, self.descriptor, self.frames)
            vectors.append(x[present])
        if not any(len(x) for x in vectors):
            raise ValueError(
                "no training clip has landmarks; prepare the data set with `faces.landmarks: mesh` or another that "
                "finds them"
            )
        self.scaler.fit(torch.cat(vectors))

    def forward(self, landmarks: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N, 68, 3), (B, N) -> (B, D), zeros where a clip has no landmarks, and (B,) which have."""
        x, present = describe(landmarks, mask, self.descriptor, self.frames)
        return torch.where(present[:, None], self.scaler(x), 0), present


class LandmarkNet(nn.Module):
    """The MLP of section 5.2.4: modules of FC, BatchNorm and ReLU, then a linear layer.

    Args:
        num_classes: of the scores.
        descriptor: `lmed_cf`, `lmed`, or `trajectory` (DTGN's, which table 9 puts into the same MLP).
        modules: 3 for AFEW, 2 for CK+ and MMI.
        width: of every hidden layer [our choice].
        frames: N of a clip.
        dropout: after every module; the paper states none.
    """

    def __init__(
        self,
        num_classes: int,
        descriptor: Descriptor = "lmed_cf",
        modules: int = 3,
        width: int = 256,
        frames: int = FRAMES,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.features = LandmarkFeatures(descriptor, frames)
        sizes = [self.features.size, *[width] * modules]
        self.hidden = nn.Sequential(*(_module(*pair, dropout) for pair in pairwise(sizes)))
        self.classifier = nn.Linear(sizes[-1], num_classes)

    def forward(self, landmarks: Tensor, mask: Tensor) -> LandmarkOutput:
        """Landmarks (B, N, 68, 3), NaN in frames where none were found, and mask (B, N)."""
        feature, present = self.features(landmarks, mask)
        hidden = self.hidden(feature[present])  # zeros of the others would move BatchNorm's statistics
        scores = self.classifier(hidden)
        hidden, scores = (x.new_zeros(len(present), x.shape[1]).index_put((present,), x) for x in (hidden, scores))
        return LandmarkOutput(feature, hidden, scores, present)


class ClipNorm(nn.BatchNorm1d):
    """BatchNorm over however many clips have landmarks: fewer than two have no statistics of their own.

    [our choice] Those are normalised as in evaluation, and move no running statistics.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(P, W) -> (P, W)."""
        if len(x) > 1 or not self.training:
            return super().forward(x)
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)


def _module(size: int, width: int, dropout: float) -> nn.Sequential:
    # BatchNorm takes the mean away, so a bias before it would do nothing.
    return nn.Sequential(nn.Linear(size, width, bias=False), ClipNorm(width), nn.ReLU(), nn.Dropout(dropout))


class LandmarkMLP(VideoClassifier):
    """The landmark network alone: table 9's MLPs.

    Example:
        >>> from fer_lightning import LandmarkMLP, random_batch
        >>> model = LandmarkMLP(("anger", "joy"), width=32).eval()
        >>> model(random_batch(model.inputs)).logits.shape
        torch.Size([2, 2])

    Args:
        class_names: emotion names in alphabetical order.
        descriptor: see `LandmarkNet`, as are the next four.
        modules: of the MLP.
        width: of its hidden layers.
        frames: of a clip, as the sampler gives them.
        dropout: after every module.
        training: optimiser, schedule and loss, see `VideoClassifier`.
    """

    inputs: frozenset[str] = frozenset({"landmarks"})

    def __init__(
        self,
        class_names: Sequence[str],
        descriptor: Descriptor = "lmed_cf",
        modules: int = 3,
        width: int = 256,
        frames: int = FRAMES,
        dropout: float = 0.0,
        **training: Any,
    ) -> None:
        super().__init__(class_names, **training)
        self.net = LandmarkNet(len(class_names), descriptor, modules, width, frames, dropout)

    def fit_statistics(self, data: VideoDataModule) -> None:
        """Fits the scaler."""
        self.net.features.fit(data.fitting_dataloader())

    def forward(self, batch: ClipBatch) -> ClassifierOutput:
        """Landmarks (B, N, 68, 3) -> logits, and the last hidden layer."""
        assert batch.landmarks is not None
        output = self.net(batch.landmarks, batch.mask)
        return ClassifierOutput(output.scores, output.hidden)
