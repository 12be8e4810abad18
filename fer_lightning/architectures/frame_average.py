"""The ResNet-18 that classifies a video frame by frame, the first row of CEFLNet's ablation (table 6).

Liu et al. (2022), "Clip-aware Expressive Feature Learning for Video-based Facial Expression Recognition",
Information Sciences, https://doi.org/10.1016/j.ins.2022.03.062
"""

from collections.abc import Sequence
from typing import Any

from torch import nn

from data_modules.loading.batch import ClipBatch
from fer_lightning.evaluation.outputs import ClassifierOutput
from fer_lightning.layers.backbones import FrameBackbone
from fer_lightning.layers.masking import masked_mean, masked_mean_probability
from fer_lightning.training.classifier import VideoClassifier


class FrameAverage(VideoClassifier):
    """A backbone and one linear layer that classify each frame separately.

    [our choice] The frames' probabilities are averaged, in training too; the paper does not say how the answers for
    the frames become one for the video. `CEFLNet` without its modules and `ImageClassifier` average features instead.

    Example:
        >>> from fer_lightning import FrameAverage, FrameBackbone, random_batch
        >>> model = FrameAverage(("anger", "joy"), FrameBackbone("resnet10t")).eval()
        >>> model(random_batch(frames=5)).logits.shape
        torch.Size([2, 2])

    Args:
        class_names: Emotion names in alphabetical order.
        backbone: Backbone of the frames. None is a random ResNet-18.
        dropout: Dropout rate before the linear layer [our choice].
        training: Optimiser, schedule and loss, see `VideoClassifier`.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        backbone: FrameBackbone | None = None,
        dropout: float = 0.0,
        **training: Any,
    ) -> None:
        super().__init__(class_names, **training)
        self.backbone = backbone or FrameBackbone("resnet18")
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(self.backbone.num_features, len(class_names)))

    def forward(self, batch: ClipBatch) -> ClassifierOutput:
        """Classify faces (B, T, 3, H, W). The feature is the mean of the frames' features."""
        assert batch.face is not None
        frames = self.backbone(batch.face)  # (B, T, D)
        logits = masked_mean_probability(self.head(frames), batch.mask)
        return ClassifierOutput(logits, masked_mean(frames, batch.mask))
