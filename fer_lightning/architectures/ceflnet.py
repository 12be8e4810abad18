"""CEFLNet: clip-aware expressive feature learning.

A video is divided into short clips. A clip-based feature encoder (CFE, section 3.2) computes one vector of each clip's
frames by self-attention (SAL) and local-global relation learning (LRL). An emotional intensity activation network
(EIAN, section 3.3) weighs the clips and identifies the emotion-rich ones.

Liu et al. (2022), "Clip-aware Expressive Feature Learning for Video-based Facial Expression Recognition",
Information Sciences, https://doi.org/10.1016/j.ins.2022.03.062
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data_modules.loading.batch import ClipBatch
from fer_lightning.evaluation.outputs import ClassifierOutput
from fer_lightning.layers.backbones import FrameBackbone
from fer_lightning.layers.masking import masked_max, masked_mean, masked_softmax
from fer_lightning.training.classifier import VideoClassifier


class SelfAttentionLearning(nn.Module):
    """SAL (equation 1): self-attention between the frames of a clip.

    [our choice] As in the authors' code, there are 4 heads (equation 1 has one), a residual connection and LayerNorm.
    """

    def __init__(self, size: int, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.query_key_value = nn.Linear(size, 3 * size)
        self.output = nn.Linear(size, size)
        self.norm = nn.LayerNorm(size)

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        """Relate the frames (N, K, D) of N clips, of which those in the mask (N, K) are real: -> (N, K, D)."""
        parts = self.query_key_value(frames).unflatten(-1, (3, self.heads, -1))  # (N, K, 3, heads, D / heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        # If all frames were masked, the attention would be NaN. The result of such a clip is masked later.
        visible = (mask | ~mask.any(dim=1, keepdim=True))[:, None, None, :]
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=visible)  # (N, heads, K, D / heads)
        return self.norm(frames + self.output(attended.transpose(1, 2).flatten(2)))  # type: ignore[no-any-return]


class LocalGlobalRelation(nn.Module):
    """LRL (equations 2 and 3): weigh each frame by its relation to the whole clip.

    [our choice] The clip's vector is the maximum over its frames. The weighted mean is over the concatenated vectors of
    frame and clip, whose 2 D values the fully connected layer of equation 3 maps to D.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weigh = nn.Linear(2 * size, 1)  # q^0
        self.merge = nn.Linear(2 * size, size)  # q^1

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        """Merge the frames (N, K, D) of N clips, of which those in the mask (N, K) are real: -> (N, D)."""
        clip = masked_max(frames, mask)  # (N, D)
        pairs = torch.cat([clip[:, None].expand_as(frames), frames], dim=-1)  # (N, K, 2 D)
        weights = self.weigh(pairs).sigmoid() * mask[..., None]  # equation 2
        mean = (weights * pairs).sum(dim=1) / weights.sum(dim=1).clamp_min(1e-6)
        return self.merge(mean)  # type: ignore[no-any-return]


class EmotionalIntensityActivation(nn.Module):
    """EIAN (equations 5 to 8): scores of the clips' emotional intensity, and the emotion-rich representation.

    [our choice] There is one channel of scores. Equation 5 can be read as one for each class.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.score = nn.Conv1d(size, 1, kernel_size=1)  # W of equation 5

    def forward(self, clips: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Merge the clips (B, n, D), of which those in the mask (B, n) are real: -> (B, D) and the scores (B, n)."""
        scores = masked_softmax(self.score(clips.transpose(1, 2))[:, 0], mask)  # equation 5
        activation = scores[..., None] * clips  # M_c, equation 7
        return masked_max(activation, mask), scores  # equation 8


class CEFLNet(VideoClassifier):
    """CEFLNet. Without `sal`, `lrl` and `eian` it averages the frames' features.

    Table 6's ResNet-18, which classifies frame by frame, is `FrameAverage`.

    Example:
        >>> from fer_lightning import CEFLNet, FrameBackbone, random_batch
        >>> model = CEFLNet(("anger", "joy"), FrameBackbone("resnet10t")).eval()
        >>> model(random_batch(frames=35)).logits.shape
        torch.Size([2, 2])

    Args:
        class_names: Emotion names in alphabetical order.
        backbone: Backbone of the frames. None is a random ResNet-18.
        num_clips: Number n of clips into which the frames of a sample are divided, as set in the sampler.
        heads: Heads of the self-attention.
        sal: Use self-attention learning.
        lrl: Use local-global relation learning; otherwise the mean of the frames.
        eian: Use emotional intensity activation; otherwise the mean of the clips.
        dropout: Dropout rate of the classifier.
        training: Optimiser, schedule and loss, see `VideoClassifier`.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        backbone: FrameBackbone | None = None,
        num_clips: int = 7,
        heads: int = 4,
        sal: bool = True,
        lrl: bool = True,
        eian: bool = True,
        dropout: float = 0.5,
        **training: Any,
    ) -> None:
        super().__init__(class_names, **training)
        self.num_clips = num_clips
        self.backbone = backbone or FrameBackbone("resnet18")
        size = self.backbone.num_features
        self.sal = SelfAttentionLearning(size, heads) if sal else None
        self.lrl = LocalGlobalRelation(size) if lrl else None
        self.eian = EmotionalIntensityActivation(size) if eian else None
        self.classifier = nn.Sequential(  # q^2, whose layers are [our choice]
            nn.Linear(size, 256),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(256, 128),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(128, len(class_names)),
        )

    def forward(self, batch: ClipBatch) -> ClassifierOutput:
        """Classify faces (B, n K, 3, H, W).

        The feature is the emotion-rich representation, and the attention is the clips' scores (B, n).
        """
        assert batch.face is not None
        frames = self.backbone(batch.face)  # (B, n K, D), all frames in one call
        mask = batch.mask.view(-1, batch.mask.shape[1] // self.num_clips)  # (B n, K)
        frames = frames.view(*mask.shape, -1)
        if self.sal:
            frames = self.sal(frames, mask)
        clip = self.lrl(frames, mask) if self.lrl else masked_mean(frames, mask)  # (B n, D)
        clips, mask = clip.view(len(batch), self.num_clips, -1), mask.any(dim=1).view(len(batch), self.num_clips)
        if self.eian:
            video, scores = self.eian(clips, mask)
        else:
            video, scores = masked_mean(clips, mask), None
        return ClassifierOutput(self.classifier(video), video, scores)
