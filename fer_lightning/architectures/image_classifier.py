"""ImageClassifier: a network of still images. A still is a clip of one frame, so it has no code path of its own.

DenseNet-FC (section 3.2):
Lee et al. (2020), "Visual Scene-Aware Hybrid and Multi-Modal Feature Aggregation for Facial Expression Recognition",
Sensors 20, 5184, https://doi.org/10.3390/s20185184
"""

from collections.abc import Sequence
from typing import Any, Literal, get_args

from torch import nn

from data_modules.loading.batch import ClipBatch
from fer_lightning.evaluation.outputs import ClassifierOutput
from fer_lightning.layers.backbones import FrameBackbone, FullyConnectedBackbone
from fer_lightning.layers.masking import masked_mean
from fer_lightning.training.classifier import VideoClassifier

Crop = Literal["face", "person"]


class ImageClassifier(VideoClassifier):
    """Backbone, dropout, one linear layer. Of a clip of several frames it classifies the mean feature.

    Example:
        >>> from fer_lightning import FrameBackbone, ImageClassifier, random_batch
        >>> model = ImageClassifier(("anger", "joy"), FrameBackbone("resnet10t")).eval()
        >>> model(random_batch(frames=1)).logits.shape
        torch.Size([2, 2])

    Args:
        class_names: emotion names in alphabetical order.
        backbone: of the frames.
        dropout: before the linear layer.
        crop: what of a frame is looked at: the face, or the person with what is around.
        training: optimiser, schedule and loss, see `VideoClassifier`.

    Raises:
        ValueError: no such crop.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        backbone: FrameBackbone | None = None,
        dropout: float = 0.0,
        crop: Crop = "face",
        **training: Any,
    ) -> None:
        super().__init__(class_names, **training)
        if crop not in get_args(Crop):
            raise ValueError(f"the crop is {' or '.join(get_args(Crop))}; found {crop!r}")
        self.crop, self.inputs = crop, frozenset({crop})
        self.backbone = backbone or FrameBackbone("resnet18")
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(self.backbone.num_features, len(class_names)))

    def forward(self, batch: ClipBatch) -> ClassifierOutput:
        """Crops (B, T, 3, H, W) -> logits and the mean feature."""
        crops = batch.face if self.crop == "face" else batch.person
        assert crops is not None
        feature = masked_mean(self.backbone(crops), batch.mask)
        return ClassifierOutput(self.head(feature), feature)


class DenseNetFC(ImageClassifier):
    """DenseNet-FC, which gives VSHNN its appearance features (section 3.2): DenseNet-121 with two FC layers.

    Example:
        >>> from fer_lightning import DenseNetFC, FrameBackbone, random_batch
        >>> model = DenseNetFC(("anger", "joy"), FrameBackbone("resnet10t")).eval()
        >>> model(random_batch(frames=1)).logits.shape
        torch.Size([2, 2])

    Args:
        class_names: emotion names in alphabetical order.
        backbone: of the frames; DenseNet-121 at random where None.
        dropout: after the second FC layer [our choice].
        training: optimiser, schedule and loss, see `VideoClassifier`.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        backbone: FrameBackbone | None = None,
        dropout: float = 0.5,
        **training: Any,
    ) -> None:
        super().__init__(class_names, backbone or FullyConnectedBackbone(), dropout, **training)
