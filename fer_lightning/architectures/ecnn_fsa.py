"""ECNN-FSA: frame-level attention over an enhanced VGG-16, and the models that its tables compare it with.

An enhanced CNN makes a feature of every frame (section 1.2), frame-level self-attention (FSA, section 1.3) relates the
frames, and a regression module classifies their mean. CNN-LSTM and ECNN-LSTM (tables 2, 3 and 7) have LSTMs instead.

Chen et al. (2022), "Video expression recognition based on frame-level attention mechanism", High Technology Letters
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from data_modules.loading.batch import ClipBatch
from fer_lightning.evaluation.outputs import ClassifierOutput
from fer_lightning.layers.attention import FrameSelfAttention
from fer_lightning.layers.backbones import FrameBackbone
from fer_lightning.layers.local_binary_patterns import local_binary_image
from fer_lightning.layers.masking import masked_mean
from fer_lightning.layers.recurrent import LSTMStack
from fer_lightning.layers.vgg import VGG16, EnhancedVGG
from fer_lightning.training.classifier import VideoClassifier

Fusion = Literal["attention", "scores"]


class RegressionModule(nn.Sequential):
    """Table 1's LayerNorm, ReLU, dropout and FC layer: (..., D) -> (..., C).

    With two FC layers (table 6) the first one, of feature mapping, stands before them (section 1.1); that it keeps the
    feature's size is [our choice].
    """

    def __init__(self, size: int, num_classes: int, fc_layers: int, dropout: float) -> None:
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        if fc_layers == 2:
            layers["map"] = nn.Linear(size, size)
        layers["norm"] = nn.LayerNorm(size)
        layers["relu"] = nn.ReLU()
        layers["dropout"] = nn.Dropout(dropout)
        layers["score"] = nn.Linear(size, num_classes)
        super().__init__(layers)


class ECNNFSA(VideoClassifier):
    """ECNN-FSA, trained end to end; with `fusion: scores` the score-fusion baseline of tables 4 and 7.

    Its n is the number of sampled frames: `--data.sampler.init_args.frames`. Output sizes of backbone and branch (table
    6) are arguments of `EnhancedVGG`. [our choice] The regression module sees the mean over the frames' X*; the
    baseline averages the frames' probabilities.

    Example:
        >>> from fer_lightning import ECNNFSA, FrameBackbone, random_batch
        >>> model = ECNNFSA(("anger", "joy"), FrameBackbone("resnet10t")).eval()
        >>> model(random_batch(frames=5)).logits.shape
        torch.Size([2, 2])

    Args:
        class_names: emotion names in alphabetical order.
        backbone: of the frames; ECNN at random where None.
        scale: s of the attention (tables 6 and 7).
        fc_layers: of the regression module, 1 or 2 (table 6).
        dropout: of the regression module (table 1).
        fusion: `attention`, or `scores` for the baseline, which classifies every frame alone.
        training: optimiser, schedule and loss, see `VideoClassifier`.

    Raises:
        ValueError: no such fusion or number of FC layers.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        backbone: FrameBackbone | None = None,
        scale: float = 0.1,
        fc_layers: int = 1,
        dropout: float = 0.5,
        fusion: Fusion = "attention",
        **training: Any,
    ) -> None:
        super().__init__(class_names, **training)
        if fusion not in get_args(Fusion):
            raise ValueError(f"the fusion is {' or '.join(get_args(Fusion))}; found {fusion!r}")
        if fc_layers not in (1, 2):
            raise ValueError(f"the regression module has 1 or 2 FC layers; found fc_layers = {fc_layers}")
        self.backbone = backbone or EnhancedVGG()
        size = self.backbone.num_features
        self.attention = FrameSelfAttention(size, scale) if fusion == "attention" else None
        self.regression = RegressionModule(size, len(class_names), fc_layers, dropout)

    def forward(self, batch: ClipBatch) -> ClassifierOutput:
        """Faces (B, n, 3, H, W) -> logits, the mean over the frames, how much each counts in it, and the weights."""
        assert batch.face is not None
        frames = self.backbone(batch.face)  # X, (B, n, D)
        if self.attention is None:
            return self._fused_scores(frames, batch.mask)
        attended, weights = self.attention(frames, batch.mask)  # X* (B, n, D), (B, n, n)
        feature = masked_mean(attended, batch.mask)
        # The mean over i of X*_i = Σ_j weights_ij V_j: each V_j counts as its column's mean.
        counts = masked_mean(weights, batch.mask)  # (B, n)
        return ClassifierOutput(self.regression(feature), feature, counts, relation=weights)

    def _fused_scores(self, frames: Tensor, mask: Tensor) -> ClassifierOutput:
        """The baseline: logits whose softmax is the mean of the frames' probabilities."""
        scores = self.regression(frames).float().log_softmax(dim=2)  # (B, n, C)
        lowest = torch.finfo(scores.dtype).min  # not infinity: of a clip without any frame that would be NaN
        total = scores.masked_fill(~mask[..., None], lowest).logsumexp(dim=1)  # (B, C)
        count = mask.sum(dim=1, keepdim=True)
        logits = torch.where(count > 0, total - count.clamp_min(1).log(), 0)  # 0: all classes are as likely
        return ClassifierOutput(logits, masked_mean(frames, mask))


class CNNLSTM(VideoClassifier):
    """CNN-LSTM (tables 2, 8 and 9), and with `EnhancedVGG` as its backbone ECNN-LSTM (tables 3 and 7).

    [our choice] The clip's feature is the last LSTM's state at the last frame; with `lbp` the
    network sees local binary patterns in the place of the pixels, which table 7 names and says no more of.

    Example:
        >>> from fer_lightning import CNNLSTM, FrameBackbone, random_batch
        >>> model = CNNLSTM(("anger", "joy"), FrameBackbone("resnet10t"), hidden=(16,)).eval()
        >>> model(random_batch(frames=5)).logits.shape
        torch.Size([2, 2])

    Args:
        class_names: emotion names in alphabetical order.
        backbone: of the frames; VGG-16 up to FC7 at random where None.
        hidden: units of each LSTM, from the first to the last; one or two in table 2.
        dropout: after backbone and LSTMs [our choice].
        lbp: see local binary patterns (table 7).
        training: optimiser, schedule and loss, see `VideoClassifier`.

    Raises:
        ValueError: no LSTM.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        backbone: FrameBackbone | None = None,
        hidden: Sequence[int] = (2048, 2048),
        dropout: float = 0.5,
        lbp: bool = False,
        **training: Any,
    ) -> None:
        super().__init__(class_names, **training)
        if not hidden:
            raise ValueError("expected the units of at least one LSTM in `hidden`; found none")
        self.lbp = lbp
        self.backbone = backbone or VGG16()
        self.dropout = nn.Dropout(dropout)
        self.lstm = LSTMStack(self.backbone.num_features, hidden)
        self.score = nn.Linear(hidden[-1], len(class_names))

    def forward(self, batch: ClipBatch) -> ClassifierOutput:
        """Faces (B, n, 3, H, W) -> logits and the last LSTM's state."""
        assert batch.face is not None
        face = local_binary_image(batch.face) if self.lbp else batch.face
        feature = self.lstm(self.dropout(self.backbone(face)), batch.mask)
        return ClassifierOutput(self.score(self.dropout(feature)), feature)
