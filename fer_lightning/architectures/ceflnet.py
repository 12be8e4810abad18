"""CEFLNet: clip-aware expressive feature learning.

A video is divided into short clips. A clip-based feature encoder (CFE, section 3.2) computes one vector of each clip's
frames by self-attention (SAL) and local-global relation learning (LRL). An emotional intensity activation network
(EIAN, section 3.3) weighs the clips and identifies the emotion-rich ones.

Liu et al. (2022), "Clip-aware Expressive Feature Learning for Video-based Facial Expression Recognition",
Information Sciences, https://doi.org/10.1016/j.ins.2022.03.062. The authors' code, which differs from the paper, is
https://github.com/CVLab-Liuyuanyuan/CEFLNet.
"""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data_modules.loading.batch import ClipBatch
from fer_lightning.evaluation.outputs import ClassifierOutput
from fer_lightning.layers.backbones import FrameBackbone
from fer_lightning.layers.masking import masked_max, masked_mean, masked_softmax
from fer_lightning.training.classifier import VideoClassifier

Form = Literal["paper", "authors"]
"""Which form of the network: the paper's equations, or the authors' code where it differs from them."""


class SelfAttentionLearning(nn.Module):
    """SAL (equation 1): self-attention between the frames of a clip.

    [our choice] As in the authors' code, there are 4 heads (equation 1 has one), a residual connection and LayerNorm.

    Args:
        size: Number D of features of a frame.
        heads: Heads of the attention.
        dropout: Dropout rate of the attention's weights, and of its output before the residual connection.
    """

    def __init__(self, size: int, heads: int = 4, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads = heads
        self.query_key_value = nn.Linear(size, 3 * size)
        self.output = nn.Linear(size, size)
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(size)

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        """Relate the frames (N, K, D) of N clips, of which those in the mask (N, K) are real: -> (N, K, D)."""
        parts = self.query_key_value(frames).unflatten(-1, (3, self.heads, -1))  # (N, K, 3, heads, D / heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        # If all frames were masked, the attention would be NaN. The result of such a clip is masked later.
        visible = (mask | ~mask.any(dim=1, keepdim=True))[:, None, None, :]
        rate = self.dropout.p if self.training else 0.0
        attended = F.scaled_dot_product_attention(query, key, value, visible, rate)  # (N, heads, K, D / heads)
        related = self.dropout(self.output(attended.transpose(1, 2).flatten(2)))
        return self.norm(frames + related)  # type: ignore[no-any-return]


class LocalGlobalRelation(nn.Module):
    """LRL (equations 2 and 3): weigh each frame by its relation to the whole clip.

    [our choice] As in the authors' code, the clip's vector is the maximum over its frames. The weighted mean is over
    the concatenated vectors of frame and clip, whose 2 D values the fully connected layer of equation 3 maps to D.

    Args:
        size: Number D of features of a frame.
        dropout: Dropout rate of the concatenated vectors of which the weights are computed.
    """

    def __init__(self, size: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.weigh = nn.Linear(2 * size, 1)  # q^0
        self.merge = nn.Linear(2 * size, size)  # q^1

    def forward(self, frames: Tensor, mask: Tensor, raw: Tensor | None = None) -> Tensor:
        """Merge the frames of N clips.

        Args:
            frames: Frames after self-attention (N, K, D).
            mask: The frames that are real (N, K).
            raw: Frames before self-attention (N, K, D), if these are weighed and averaged beside the clip's vector.

        Returns:
            (N, D).
        """
        clip = masked_max(frames, mask)  # (N, D)
        own = frames if raw is None else raw
        pairs = torch.cat([clip[:, None].expand_as(own), own], dim=-1)  # (N, K, 2 D)
        weights = self.weigh(self.dropout(pairs)).sigmoid() * mask[..., None]  # equation 2
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

    It has two forms. `paper` is the paper's equations; `authors` differs from them as the authors' code does. There LRL
    weighs and averages the frames as they were before self-attention (f_k, not f'_k); dropout is 0.1 in the attention
    and behind it, 0.5 before LRL's sigmoid, and 0.4 before the last layer of the classifier only; the attention and
    EIAN begin with other random weights. How they trained is in `experiments/systems/ceflnet_authors.yaml`.

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
        dropout: Dropout rate of the classifier in the paper's form [our choice]; the authors' form has their rates.
        form: `paper` or `authors`.
        training: Optimiser, schedule and loss, see `VideoClassifier`.

    Raises:
        ValueError: The form is unknown, or it is the authors' and another dropout rate is stated.
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
        form: Form = "paper",
        **training: Any,
    ) -> None:
        super().__init__(class_names, **training)
        if form not in get_args(Form):
            raise ValueError(f"expected form to be one of {', '.join(get_args(Form))}; found {form!r}")
        authors = form == "authors"
        if authors and dropout != 0.5:
            raise ValueError(
                f"form: authors has the authors' dropout rates; found dropout: {dropout}, which is for paper"
            )
        self.num_clips, self.form = num_clips, form
        self.backbone = backbone or FrameBackbone("resnet18")
        size = self.backbone.num_features
        self.sal = SelfAttentionLearning(size, heads, 0.1 if authors else 0.0) if sal else None
        self.lrl = LocalGlobalRelation(size, 0.5 if authors else 0.0) if lrl else None
        self.eian = EmotionalIntensityActivation(size) if eian else None
        rate = 0.4 if authors else dropout
        self.classifier = nn.Sequential(  # q^2; as in the authors' code, as the paper names one layer [our choice]
            nn.Linear(size, 256),
            nn.ReLU(),
            nn.Identity() if authors else nn.Dropout(rate),
            nn.Linear(256, 128),
            nn.ReLU(),
            nn.Dropout(rate),
            nn.Linear(128, len(class_names)),
        )
        if authors:
            self._initialise_as_authors()

    def _initialise_as_authors(self) -> None:
        """Initialise the attention as torch's `MultiheadAttention`, and EIAN's scores by the fan-out."""
        if self.sal:
            nn.init.xavier_uniform_(self.sal.query_key_value.weight)
            nn.init.zeros_(self.sal.query_key_value.bias)
            nn.init.zeros_(self.sal.output.bias)
        if self.eian:
            nn.init.kaiming_normal_(self.eian.score.weight, mode="fan_out")

    def forward(self, batch: ClipBatch) -> ClassifierOutput:
        """Classify faces (B, n K, 3, H, W).

        The feature is the emotion-rich representation, and the attention is the clips' scores (B, n).
        """
        assert batch.face is not None
        frames = self.backbone(batch.face)  # (B, n K, D), all frames in one call
        mask = batch.mask.view(-1, batch.mask.shape[1] // self.num_clips)  # (B n, K)
        raw = frames.view(*mask.shape, -1)
        frames = self.sal(raw, mask) if self.sal else raw
        if self.lrl:
            clip = self.lrl(frames, mask, raw if self.form == "authors" else None)  # (B n, D)
        else:
            clip = masked_mean(frames, mask)
        samples = batch.mask.shape[0]
        clips, mask = clip.view(samples, self.num_clips, -1), mask.any(dim=1).view(samples, self.num_clips)
        if self.eian:
            video, scores = self.eian(clips, mask)
        else:
            video, scores = masked_mean(clips, mask), None
        return ClassifierOutput(self.classifier(video), video, scores)
