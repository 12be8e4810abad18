"""M3DFEL: a video is a bag of short 3D instances, some of which show the expression of its label.

A 3D CNN computes a vector of each instance. The dynamic long-term instance aggregation module (DLIAM) relates the
instances and merges them.

Wang et al. (2023), "Rethinking the Learning Paradigm for Dynamic Facial Expression Recognition", CVPR 2023,
https://doi.org/10.1109/CVPR52729.2023.01722. Sizes are those of the authors' code,
https://github.com/Tencent/TFace/tree/master/attribute/M3DFEL, whose files are cited here.

[our choice] Instances without a face are skipped by the LSTM, not attended to, left out of the statistics and 0 in the
merged vector; the authors' clips have none.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from data_modules.loading.batch import ClipBatch
from fer_lightning.evaluation.outputs import ClassifierOutput, FrozenFeatures
from fer_lightning.layers.masking import masked_mean
from fer_lightning.layers.recurrent import BiLSTM
from fer_lightning.layers.transformer import MultiHeadAttention
from fer_lightning.layers.video_backbones import ClipBackbone
from fer_lightning.training.classifier import VideoClassifier


class DynamicMultiInstanceNormalization(nn.Module):
    """DMIN: normalise by a learned mixture of two statistics, each feature's over the bag and all features' (utils.py).

    Mean and variance have a mixture each. That of a feature over the instances is unbiased.

    Args:
        size: Length D of an instance's vector.
        eps: Added to the variance.
    """

    def __init__(self, size: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight, self.bias = nn.Parameter(torch.ones(size)), nn.Parameter(torch.zeros(size))
        self.mean_mixture, self.variance_mixture = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Normalise bags (B, N, D), of whose instances those in the mask (B, N) are real: -> (B, N, D)."""
        x = x.float()  # a variance of half precision would be too coarse
        count = mask.sum(dim=1)[:, None, None]
        own_mean = masked_mean(x, mask)[:, None]  # (B, 1, D)
        squares = ((x - own_mean) * mask[..., None]).square().sum(dim=1, keepdim=True)
        own_variance = squares / (count - 1).clamp_min(1)
        mean = own_mean.mean(dim=2, keepdim=True)  # (B, 1, 1)
        variance = (own_variance + own_mean**2).mean(dim=2, keepdim=True) - mean**2
        means, variances = self.mean_mixture.softmax(dim=0), self.variance_mixture.softmax(dim=0)
        centre = means[0] * own_mean + means[1] * mean
        spread = variances[0] * own_variance + variances[1] * variance
        return (x - centre) * (spread + self.eps).rsqrt() * self.weight + self.bias


class InstanceAggregation(nn.Module):
    """DLIAM: a Bi-LSTM, self-attention whose normalised output gates its states, and a convolution that merges them.

    The convolution's channels are the instances, and it runs over the features (models/M3DFEL.py).

    Args:
        size: Length D of an instance's vector.
        instances: Instances N of a bag.
        hidden: Units H of each direction of the LSTM.
        layers: Layers of the LSTM.
        heads: Heads of the attention; with 0 there is neither attention nor gate.
        dynamic: Normalise by DMIN; otherwise by a LayerNorm.
    """

    def __init__(self, size: int, instances: int, hidden: int, layers: int, heads: int, dynamic: bool) -> None:
        super().__init__()
        self.lstm = BiLSTM(size, hidden, layers)
        self.attention = MultiHeadAttention(2 * hidden, heads, output=False) if heads else None
        self.norm: nn.Module = nn.Identity()
        if heads:
            self.norm = DynamicMultiInstanceNormalization(2 * hidden) if dynamic else nn.LayerNorm(2 * hidden)
        self.merge = nn.Conv1d(instances, 1, kernel_size=3, padding=1)

    def forward(self, bag: Tensor, mask: Tensor) -> Tensor:
        """Merge bags (B, N, D), of whose instances those in the mask (B, N) are real: -> (B, 2 H)."""
        states = self.lstm(bag, mask)  # (B, N, 2 H)
        if self.attention:
            visible = mask | ~mask.any(dim=1, keepdim=True)  # if all were masked, the attention would be NaN
            attended = self.attention(states, visible)
            is_dynamic = isinstance(self.norm, DynamicMultiInstanceNormalization)
            normalised = self.norm(attended, mask) if is_dynamic else self.norm(attended)
            states = states * normalised.sigmoid().to(states.dtype)
        return self.merge(states.masked_fill(~mask[..., None], 0))[:, 0]  # type: ignore[no-any-return]


class M3DFEL(VideoClassifier):
    """M3DFEL.

    Example:
        >>> from fer_lightning import M3DFEL, ClipBackbone, random_batch
        >>> model = M3DFEL(("anger", "joy"), ClipBackbone("resnet3d", width=0.1, frozen=False), hidden=8).eval()
        >>> model(random_batch(frames=16)).logits.shape
        torch.Size([2, 2])

    Args:
        class_names: Emotion names in alphabetical order.
        backbone: 3D CNN without its head. None is a random ResNet3D-18 that is trained.
        frames: Frames of a clip, as set in the sampler.
        instance_length: Frames of an instance, into which the clip is cut.
        hidden: Units of each direction of the LSTM.
        layers: Layers of the LSTM.
        heads: Heads of the attention; with 0 there is neither attention nor gate.
        dynamic: Normalise the attention's output by DMIN; otherwise by a LayerNorm.
        training: Optimiser, schedule and loss, see `VideoClassifier`.

    Raises:
        ValueError: The frames cannot be cut into instances.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        backbone: ClipBackbone | None = None,
        frames: int = 16,
        instance_length: int = 4,
        hidden: int = 512,
        layers: int = 2,
        heads: int = 8,
        dynamic: bool = True,
        **training: Any,
    ) -> None:
        super().__init__(class_names, **training)
        if frames % instance_length:
            raise ValueError(
                f"{frames} frames cannot be cut into instances of {instance_length}; set `instance_length` to a "
                "divisor of `frames`"
            )
        self.frames, self.instance_length = frames, instance_length
        self.backbone = backbone or ClipBackbone("resnet3d", frozen=False)
        if self.backbone.frozen:
            self.freeze(self.backbone)
        size = self.backbone.num_features
        self.aggregation = InstanceAggregation(size, frames // instance_length, hidden, layers, heads, dynamic)
        self.head = nn.Linear(2 * hidden, len(class_names))

    def forward_frozen(self, batch: ClipBatch) -> FrozenFeatures:
        """Compute the vector of each of the N instances: (B, N E).

        Raises:
            ValueError: The clips have another number of frames than the model.
        """
        assert batch.face is not None
        if batch.mask.shape[1] != self.frames:
            raise ValueError(
                f"the model cuts clips of {self.frames} frames into instances; found {batch.mask.shape[1]}: set the "
                "model's `frames` to those of the sampler"
            )
        instances = batch.face.reshape(-1, self.instance_length, *batch.face.shape[2:])  # (B N, K, 3, H, W)
        features = self.backbone(instances, batch.mask.reshape(-1, self.instance_length))
        return FrozenFeatures(clip=features.view(batch.mask.shape[0], -1))

    def forward(self, batch: ClipBatch) -> ClassifierOutput:
        """Classify faces (B, T, 3, H, W). The feature is the merged vector of the instances."""
        features = self.frozen_features(batch).clip
        assert features is not None
        mask = batch.mask.view(batch.mask.shape[0], -1, self.instance_length).any(dim=2)  # (B, N)
        feature = self.aggregation(features.view(*mask.shape, -1), mask)
        return ClassifierOutput(self.head(feature), feature)
