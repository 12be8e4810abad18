"""The landmark stream of VSHNN (section 4.1): an MLP on LMED-CF, on LMED or on the trajectories of 68 points.

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
DescriptorScaling = Literal["scaled", "raw"]
"""How descriptors are scaled.

`scaled`: distances are relative to that of the eyes [our choice], then each feature lies from -1 to 1 over the training
clips, which section 4.1 states for LMED-CF. `raw`: distances are in pixels of the crop; section 4.1 states no scaling
for LMED. Trajectories have a scale of their own, and only the second step applies to them.
"""
FRAMES = 16  # N (section 5.2.4)
NOSE_TIP = 30


@dataclass(frozen=True)
class LandmarkOutput:
    """Output of the landmark network for B clips; 0 for clips without landmarks."""

    feature: Tensor  # (B, D) descriptor
    hidden: Tensor  # (B, W) output of the last hidden layer
    scores: Tensor  # (B, C) logits
    present: Tensor  # (B,) bool, true for clips with landmarks


def descriptor_size(descriptor: Descriptor, frames: int = FRAMES) -> int:
    """Return the length D of the descriptor of a clip of `frames` frames."""
    statistics = 3 * len(PAIRS)
    sizes = {"lmed": statistics, "lmed_cf": statistics + frames * (frames - 1) // 2, "trajectory": frames * 68 * 2}
    return sizes[descriptor]


def describe(
    landmarks: Tensor, mask: Tensor, descriptor: Descriptor, frames: int, scaling: DescriptorScaling = "scaled"
) -> tuple[Tensor, Tensor]:
    """Compute the descriptors of clips, before each feature is scaled.

    Args:
        landmarks: (B, N, 68, 3) in pixels. Frames with values that are not finite are ignored.
        mask: (B, N) bool, true for real frames.
        descriptor: Name of the descriptor.
        frames: Number N of frames that the model is built for, on which the length of the descriptor depends.
        scaling: Whether distances are relative to that of the eyes.

    Returns:
        Descriptors (B, D), and (B,) bool, true for clips with at least one measurable face.

    Raises:
        ValueError: The clips have another number of frames.
    """
    if landmarks.shape[1] != frames:
        raise ValueError(
            f"found landmarks of {landmarks.shape[1]} frames, but the model is made for {frames}; set `frames` of the "
            "model (or of VSHNN's fusion) and data.sampler.init_args.frames to the same number"
        )
    has_landmarks = mask & landmarks.isfinite().flatten(2).all(dim=2)
    points = torch.where(has_landmarks[..., None, None], landmarks, 0)
    real = has_landmarks & landmark_distances(points)[1]
    if descriptor == "trajectory":
        return trajectory(points, real), real.any(dim=1)
    return (lmed if descriptor == "lmed" else lmed_cf)(points, real, scaling == "scaled"), real.any(dim=1)


def trajectory(landmarks: Tensor, mask: Tensor) -> Tensor:
    """Compute the input of DTGN (reference 34 of the paper): the trajectories of the points.

    Jung et al. (2015), "Joint Fine-Tuning in Deep Neural Networks for Facial Expression Recognition", ICCV 2015,
    https://ieeexplore.ieee.org/document/7410698

    In each frame, the points are taken relative to the nose and divided by the standard deviation of their coordinates
    along each axis. [our choice] The origin is the tip of the nose. A frame that is not real is replaced by the nearest
    real one, the earlier of two.

    Args:
        landmarks: (B, N, 68, 3), finite.
        mask: (B, N) bool, true for real frames.

    Returns:
        (B, N 68 2), frame by frame, x and y of each point.
    """
    points = landmarks[..., :2].to(torch.promote_types(landmarks.dtype, torch.float32))  # (B, N, 68, 2)
    deviation = points.std(dim=2, keepdim=True, correction=0)
    normalised = (points - points[:, :, NOSE_TIP, None]) / torch.where(deviation > 0, deviation, 1)
    index = torch.arange(mask.shape[1], device=mask.device)
    distance = 2 * (index - index[:, None]).abs() + (index > index[:, None])  # (N, N), smaller for the earlier of two
    nearest = torch.where(mask[:, None], distance, 3 * len(index)).argmin(dim=2)  # (B, N)
    return normalised.gather(1, nearest[..., None, None].expand_as(normalised)).flatten(1)


class LandmarkFeatures(nn.Module):
    """A descriptor of which each feature is scaled to [-1, 1] over the training clips (section 4.1).

    Args:
        descriptor: `lmed_cf`, `lmed`, or `trajectory` (that of DTGN).
        frames: Number N of frames of a clip.
        scaling: See `DescriptorScaling`.
    """

    def __init__(
        self, descriptor: Descriptor = "lmed_cf", frames: int = FRAMES, scaling: DescriptorScaling = "scaled"
    ) -> None:
        super().__init__()
        self.descriptor, self.frames, self.scaling = descriptor, frames, scaling
        self.size = descriptor_size(descriptor, frames)
        self.scaler = RangeScaler(self.size, scales=scaling == "scaled")

    def fit(self, batches: Iterable[ClipBatch]) -> None:
        """Fit the scaler to the clips of a training fold, and to no others.

        Raises:
            ValueError: No clip has landmarks.
        """
        vectors = []
        for batch in batches:
            assert batch.landmarks is not None
            x, present = describe(batch.landmarks, batch.mask, self.descriptor, self.frames, self.scaling)
            vectors.append(x[present])
        if not any(len(x) for x in vectors):
            raise ValueError(
                "no training clip has landmarks; prepare the data set with `faces.landmarks: mesh` or another landmark "
                "detector"
            )
        self.scaler.fit(torch.cat(vectors))

    def forward(self, landmarks: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Describe landmarks (B, N, 68, 3), of which those in the mask (B, N) are real.

        Returns:
            Descriptors (B, D) as the network sees them, 0 for clips without landmarks, and (B,) bool, true for clips
            with landmarks.
        """
        x, present = describe(landmarks, mask, self.descriptor, self.frames, self.scaling)
        return torch.where(present[:, None], self.scaler(x), 0), present


class LandmarkNet(nn.Module):
    """The landmark MLP (section 5.2.4): modules of FC, BatchNorm and ReLU, then a linear layer.

    Args:
        num_classes: Number of classes C.
        descriptor: `lmed_cf`, `lmed`, or `trajectory` (that of DTGN, which table 9 uses with the same MLP).
        modules: Number of modules, 3 for AFEW, 2 for CK+ and MMI.
        width: Units W of each hidden layer [our choice].
        frames: Number N of frames of a clip.
        dropout: Dropout rate after each module; the paper states none.
        descriptor_scaling: See `DescriptorScaling`.
    """

    def __init__(
        self,
        num_classes: int,
        descriptor: Descriptor = "lmed_cf",
        modules: int = 3,
        width: int = 256,
        frames: int = FRAMES,
        dropout: float = 0.0,
        descriptor_scaling: DescriptorScaling = "scaled",
    ) -> None:
        super().__init__()
        self.features = LandmarkFeatures(descriptor, frames, descriptor_scaling)
        sizes = [self.features.size, *[width] * modules]
        self.hidden = nn.Sequential(*(_module(*pair, dropout) for pair in pairwise(sizes)))
        self.classifier = nn.Linear(sizes[-1], num_classes)

    def forward(self, landmarks: Tensor, mask: Tensor) -> LandmarkOutput:
        """Classify landmarks (B, N, 68, 3), NaN in frames without landmarks; those in the mask (B, N) are real."""
        feature, present = self.features(landmarks, mask)
        if torch.compiler.is_exporting():  # in evaluation, all clips at once: how many are left depends on data
            hidden, scores = (torch.where(present[:, None], x, 0) for x in self._classify(feature))
        else:  # the zeros of other clips would change BatchNorm's statistics
            parts = self._classify(feature[present])
            hidden, scores = (x.new_zeros(len(present), x.shape[1]).index_put((present,), x) for x in parts)
        return LandmarkOutput(feature, hidden, scores, present)

    def _classify(self, feature: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the last hidden layer (P, W) and scores (P, C) of descriptors (P, D)."""
        hidden = self.hidden(feature)
        return hidden, self.classifier(hidden)


class ClipNorm(nn.BatchNorm1d):
    """BatchNorm over the clips with landmarks, of which a batch may have fewer than two.

    [our choice] One clip has no batch statistics. It is normalised with the running statistics, as in evaluation, and
    does not update them.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise features: (P, W) -> (P, W)."""
        if not self.training or len(x) > 1:
            return super().forward(x)
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)


def _module(size: int, width: int, dropout: float) -> nn.Sequential:
    # BatchNorm subtracts the mean, so a bias before it would have no effect.
    return nn.Sequential(nn.Linear(size, width, bias=False), ClipNorm(width), nn.ReLU(), nn.Dropout(dropout))


class LandmarkMLP(VideoClassifier):
    """The landmark network alone: the MLPs of table 9.

    Example:
        >>> from fer_lightning import LandmarkMLP, random_batch
        >>> model = LandmarkMLP(("anger", "joy"), width=32).eval()
        >>> model(random_batch(model.inputs)).logits.shape
        torch.Size([2, 2])

    Args:
        class_names: Emotion names in alphabetical order.
        descriptor: See `LandmarkNet`.
        modules: See `LandmarkNet`.
        width: See `LandmarkNet`.
        frames: Number N of frames of a clip, as set in the sampler.
        dropout: See `LandmarkNet`.
        descriptor_scaling: See `DescriptorScaling`.
        training: Optimiser, schedule and loss, see `VideoClassifier`.
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
        descriptor_scaling: DescriptorScaling = "scaled",
        **training: Any,
    ) -> None:
        super().__init__(class_names, **training)
        self.net = LandmarkNet(len(class_names), descriptor, modules, width, frames, dropout, descriptor_scaling)

    def fit_statistics(self, data: VideoDataModule) -> None:
        """Fit the descriptor's scaler to the training clips."""
        self.net.features.fit(data.fitting_dataloader())

    def forward(self, batch: ClipBatch) -> ClassifierOutput:
        """Classify landmarks (B, N, 68, 3). The feature is the output of the last hidden layer."""
        assert batch.landmarks is not None
        output = self.net(batch.landmarks, batch.mask)
        return ClassifierOutput(output.scores, output.hidden)
