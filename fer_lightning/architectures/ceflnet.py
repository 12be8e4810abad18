"""CEFLNet: clip-aware expressive feature learning.

A video is cut into short clips. A clip-based feature encoder (CFE, section 3.2) makes one vector of each clip's frames
by self-attention (SAL) and local-global relation learning (LRL); an emotional intensity activation network (EIAN,
section 3.3) weighs the clips and finds the emotion-rich one.

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
    """SAL, equation 1: the frames of a clip attend to each other.

    [our choice] After the authors' code: 4 heads, residual, LayerNorm (equation 1 has one head).
    """

    def __init__(self, size: int, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.query_key_value = nn.Linear(size, 3 * size)
        self.output = nn.Linear(size, size)
        self.norm = nn.LayerNorm(size)

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        """(N, K, D) frames and (N, K) mask -> (N, K, D)."""
        parts = self.query_key_value(frames).unflatten(-1, (3, self.heads, -1))  # (N, K, 3, heads, D / heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        # A clip without any real frame attends to all; what comes of it is masked further on.
        visible = (mask | ~mask.any(dim=1, keepdim=True))[:, None, None, :]
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=visible)  # (N, heads, K, D / heads)
        return self.norm(frames + self.output(attended.transpose(1, 2).flatten(2)))  # type: ignore[no-any-return]


class LocalGlobalRelation(nn.Module):
    """LRL, equations 2 and 3: each frame is weighed beside the whole clip.

    [our choice] The clip is max-pooled, and the weighted mean is over the concatenated vectors,
    whose 2 D values go through the fully connected layer of equation 3.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weigh = nn.Linear(2 * size, 1)  # q^0
        self.merge = nn.Linear(2 * size, size)  # q^1

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        """(N, K, D) frames and (N, K) mask -> (N, D)."""
        clip = masked_max(frames, mask)  # (N, D)
        pairs = torch.cat([clip[:, None].expand_as(frames), frames], dim=-1)  # (N, K, 2 D)
        weights = self.weigh(pairs).sigmoid() * mask[..., None]  # equation 2
        mean = (weights * pairs).sum(dim=1) / weights.sum(dim=1).clamp_min(1e-6)
        return self.merge(mean)  # type: ignore[no-any-return]


class EmotionalIntensityActivation(nn.Module):
    """EIAN, equations 5 to 8: scores of the clips' emotional intensity, and the emotion-rich representation.

    [our choice] One channel of scores, where equation 5 reads as one per class.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.score = nn.Conv1d(size, 1, kernel_size=1)  # W of equation 5

    def forward(self, clips: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """(B, n, D) clips and (B, n) mask -> (B, D) and scores (B, n)."""
        scores = masked_softmax(self.score(clips.transpose(1, 2))[:, 0], mask)  # equation 5
        activation = scores[..., None] * clips  # M_c, equation 7
        return masked_max(activation, mask), scores  # equation 8


class CEFLNet(VideoClassifier):
    """CEFLNet; without `sal`, `lrl` and `eian` it is table 6's ResNet-18, which averages its frames.

    Example:
        >>> from fer_lightning import CEFLNet, FrameBackbone, random_batch
        >>> model = CEFLNet(("anger", "joy"), FrameBackbone("resnet10t")).eval()
        >>> model(random_batch(frames=35)).logits.shape
        torch.Size([2, 2])

    Args:
        class_names: emotion names in alphabetical order.
        backbone: of the frames.
        num_clips: sub-videos that the T frames of a sample are; linked to the sampler.
        heads: of the self-attention.
        sal: self-attention learning, or frames as they are.
        lrl: local-global relation learning, or the mean of the frames.
        eian: emotional intensity activation, or the mean of the clips.
        dropout: of the classifier.
        training: optimiser, schedule and loss, see `VideoClassifier`.
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
        self.classifier = nn.Sequential(  # q^2; its layers [our choice]
            nn.Linear(size, 256),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(256, 128),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(128, len(class_names)),
        )

    def forward(self, batch: ClipBatch) -> ClassifierOutput:
        """Faces (B, n K, 3, H, W) -> logits, the emotion-rich representation, and the clips' scores (B, n)."""
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
