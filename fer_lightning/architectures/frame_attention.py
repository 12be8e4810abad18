"""Frame attention networks (FAN): each frame's weight in the video's feature is learned.

Meng et al. (2019), "Frame Attention Networks for Facial Expression Recognition in Videos", ICIP 2019,
https://arxiv.org/abs/1907.00193
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data_modules.loading.batch import ClipBatch
from fer_lightning.evaluation.outputs import ClassifierOutput
from fer_lightning.layers.backbones import FrameBackbone
from fer_lightning.layers.masking import masked_softmax
from fer_lightning.training.classifier import VideoClassifier


class SelfAttentionWeights(nn.Module):
    """Self-attention weights (equations 1 and 2): α_i = σ(f_i q⁰) weighs the frames of the video's anchor f'_v.

    [our choice] The fully connected layers of this equation and of equation 3 have biases.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weigh = nn.Linear(size, 1)  # q^0

    def forward(self, frames: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Merge the frames (B, T, D), of which those in the mask (B, T) are real.

        Returns:
            The anchor f'_v (B, D), each frame's share in it (B, T), and the logarithm of α (B, T).
        """
        log_alpha = F.logsigmoid(self.weigh(frames)[..., 0].float())
        anchor, shares = weighted_mean(frames, log_alpha, mask)
        return anchor, shares, log_alpha


class RelationAttentionWeights(nn.Module):
    """Relation-attention weights (equations 3 and 4): β_i = σ([f_i : f'_v] q¹) relates each frame to the anchor."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weigh = nn.Linear(2 * size, 1)  # q^1

    def forward(self, frames: Tensor, anchor: Tensor, log_alpha: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Merge the pairs of frame (B, T, D) and anchor (B, D), weighted by α β: -> (B, 2 D) and the shares (B, T)."""
        pairs = torch.cat([frames, anchor[:, None].expand_as(frames)], dim=2)  # (B, T, 2 D)
        log_beta = F.logsigmoid(self.weigh(pairs)[..., 0].float())
        return weighted_mean(pairs, log_alpha + log_beta, mask)


def weighted_mean(x: Tensor, log_weights: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of the real items (B, N, D), weighted by exp(log_weights) (B, N): -> (B, D) and the items' shares (B, N).

    A softmax of logarithms is the division by the sum of the weights, and none of these is too small for it.
    """
    shares = masked_softmax(log_weights, mask)
    return (shares[..., None].to(x.dtype) * x).sum(dim=1), shares


class FrameAttention(VideoClassifier):
    """FAN. Without `relation` it has self-attention alone, the paper's ablation.

    The number of frames may differ between clips.

    Example:
        >>> from fer_lightning import FrameAttention, FrameBackbone, random_batch
        >>> model = FrameAttention(("anger", "joy"), FrameBackbone("resnet10t")).eval()
        >>> model(random_batch(frames=5)).logits.shape
        torch.Size([2, 2])

    Args:
        class_names: Emotion names in alphabetical order.
        backbone: Backbone of the frames. None is a random ResNet-18.
        relation: Use relation-attention; otherwise the anchor of self-attention is classified.
        dropout: Dropout rate before the classifier [our choice].
        training: Optimiser, schedule and loss, see `VideoClassifier`.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        backbone: FrameBackbone | None = None,
        relation: bool = True,
        dropout: float = 0.5,
        **training: Any,
    ) -> None:
        super().__init__(class_names, **training)
        self.backbone = backbone or FrameBackbone("resnet18")
        size = self.backbone.num_features
        self.self_attention = SelfAttentionWeights(size)
        self.relation_attention = RelationAttentionWeights(size) if relation else None
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(2 * size if relation else size, len(class_names)))

    def forward(self, batch: ClipBatch) -> ClassifierOutput:
        """Classify faces (B, T, 3, H, W). The attention (B, T) is each frame's share in the feature."""
        assert batch.face is not None
        frames = self.backbone(batch.face)  # (B, T, D)
        feature, shares, log_alpha = self.self_attention(frames, batch.mask)
        if self.relation_attention:
            feature, shares = self.relation_attention(frames, feature, log_alpha, batch.mask)
        return ClassifierOutput(self.head(feature), feature, shares)
