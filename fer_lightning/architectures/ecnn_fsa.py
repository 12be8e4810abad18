"""ECNN-FSA: frame-level self-attention over an enhanced VGG-16, and the models that its tables compare it with.

An enhanced CNN (ECNN, section 1.2) computes a feature of each frame, frame-level self-attention (FSA, section 1.3)
relates the frames, and a regression module classifies their mean. CNN-LSTM and ECNN-LSTM (tables 2, 3 and 7) have LSTMs
instead of the attention.

Chen et al. (2023), "Video expression recognition based on frame-level attention mechanism", High Technology Letters,
https://doi.org/10.3772/j.issn.1006-6748.2023.02.003
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Literal, get_args

from torch import nn

from data_modules.loading.batch import ClipBatch
from fer_lightning.evaluation.outputs import ClassifierOutput
from fer_lightning.layers.attention import FrameSelfAttention
from fer_lightning.layers.backbones import FrameBackbone
from fer_lightning.layers.local_binary_patterns import local_binary_image
from fer_lightning.layers.masking import masked_mean, masked_mean_probability
from fer_lightning.layers.recurrent import LSTMStack
from fer_lightning.layers.vgg import VGG16, EnhancedVGG
from fer_lightning.training.classifier import VideoClassifier

Fusion = Literal["attention", "scores"]


class RegressionModule(nn.Sequential):
    """LayerNorm, ReLU, dropout and an FC layer (table 1): (..., D) -> (..., C).

    With two FC layers (table 6), the first one comes before the LayerNorm, for feature mapping (section 1.1). It keeps
    the length D [our choice].
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
    """ECNN-FSA, trained end to end. With `fusion: scores` it is the score-fusion baseline of table 4, on CK+.

    The number n of frames is set in the sampler, with `--data.sampler.init_args.frames`. The output sizes of backbone
    and branch (table 6) are arguments of `EnhancedVGG`. [our choice] The regression module classifies the mean of X*
    over the frames. The baseline averages the frames' probabilities. It is not the "AFEW baseline" of table 7, 38.81,
    which is most likely the challenge's own.

    Example:
        >>> from fer_lightning import ECNNFSA, FrameBackbone, random_batch
        >>> model = ECNNFSA(("anger", "joy"), FrameBackbone("resnet10t")).eval()
        >>> model(random_batch(frames=5)).logits.shape
        torch.Size([2, 2])

    Args:
        class_names: Emotion names in alphabetical order.
        backbone: Backbone of the frames. None is a random ECNN.
        scale: Scale s of the attention (tables 6 and 7). With 0 every frame has the same weight: the control that
            differs from `attention` in nothing else, while `fusion: scores` averages probabilities instead.
        residual: Add the frames' features to the attention's result, as VASNet (reference 30) does.
        output_layer: Use VASNet's linear layer behind the attention.
        attention_dropout: Dropout rate of the attention's weights; VASNet has 0.5.
        fc_layers: FC layers of the regression module, 1 or 2 (table 6).
        dropout: Dropout rate of the regression module (table 1).
        fusion: `attention`, or `scores` for the baseline, which classifies each frame separately.
        training: Optimiser, schedule and loss, see `VideoClassifier`.

    Raises:
        ValueError: The fusion is unknown, or `fc_layers` is neither 1 nor 2.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        backbone: FrameBackbone | None = None,
        scale: float = 0.1,
        fc_layers: int = 1,
        dropout: float = 0.5,
        fusion: Fusion = "attention",
        residual: bool = False,
        output_layer: bool = False,
        attention_dropout: float = 0.0,
        **training: Any,
    ) -> None:
        super().__init__(class_names, **training)
        if fusion not in get_args(Fusion):
            raise ValueError(f"the fusion is {' or '.join(get_args(Fusion))}; found {fusion!r}")
        if fc_layers not in (1, 2):
            raise ValueError(f"the regression module has 1 or 2 FC layers; found fc_layers = {fc_layers}")
        self.backbone = backbone or EnhancedVGG()
        size = self.backbone.num_features
        attention = FrameSelfAttention(size, scale, residual, output_layer, attention_dropout)
        self.attention = attention if fusion == "attention" else None
        self.regression = RegressionModule(size, len(class_names), fc_layers, dropout)

    def forward(self, batch: ClipBatch) -> ClassifierOutput:
        """Classify faces (B, n, 3, H, W).

        The feature is the mean of X*, the attention (B, n) each frame's share in it, and the relation (B, n, n) the
        weights of the self-attention.
        """
        assert batch.face is not None
        frames = self.backbone(batch.face)  # X, (B, n, D)
        if self.attention is None:
            logits = masked_mean_probability(self.regression(frames), batch.mask)
            return ClassifierOutput(logits, masked_mean(frames, batch.mask))
        attended, weights = self.attention(frames, batch.mask)  # X* (B, n, D), (B, n, n)
        feature = masked_mean(attended, batch.mask)
        # The mean over i of Σ_j weights_ij V_j has V_j with the mean of column j as its factor.
        shares = masked_mean(weights, batch.mask)  # (B, n)
        return ClassifierOutput(self.regression(feature), feature, shares, relation=weights)


class CNNLSTM(VideoClassifier):
    """CNN-LSTM (tables 2, 8 and 9), or ECNN-LSTM (tables 3 and 7) with `EnhancedVGG` as its backbone.

    [our choice] The clip's feature is the last LSTM's state at the last frame. With `lbp` the input is local binary
    patterns instead of pixels, which table 7 lists without further details.

    Example:
        >>> from fer_lightning import CNNLSTM, FrameBackbone, random_batch
        >>> model = CNNLSTM(("anger", "joy"), FrameBackbone("resnet10t"), hidden=(16,)).eval()
        >>> model(random_batch(frames=5)).logits.shape
        torch.Size([2, 2])

    Args:
        class_names: Emotion names in alphabetical order.
        backbone: Backbone of the frames. None is a random VGG-16 up to FC7.
        hidden: Units of each LSTM, from the first to the last; one or two LSTMs in table 2.
        dropout: Dropout rate after the backbone and after the LSTMs [our choice].
        lbp: Use local binary patterns as input (table 7).
        training: Optimiser, schedule and loss, see `VideoClassifier`.

    Raises:
        ValueError: `hidden` is empty.
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
        """Classify faces (B, n, 3, H, W). The feature is the last LSTM's state at the last real frame."""
        assert batch.face is not None
        face = local_binary_image(batch.face) if self.lbp else batch.face
        feature = self.lstm(self.dropout(self.backbone(face)), batch.mask)
        return ClassifierOutput(self.score(self.dropout(feature)), feature)
