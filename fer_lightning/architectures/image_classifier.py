"""Classifiers of still images. An image is a clip of one frame, so it needs no separate code path.

DenseNet-FC (section 3.2):
Lee et al. (2020), "Visual Scene-Aware Hybrid and Multi-Modal Feature Aggregation for Facial Expression Recognition",
Sensors 20, 5184, https://doi.org/10.3390/s20185184
"""

from collections.abc import Sequence
from typing import Any, Literal, get_args

from torch import nn

from data_modules.loading.batch import ClipBatch
from fer_lightning.evaluation.outputs import ClassifierOutput, FrozenFeatures
from fer_lightning.layers.backbones import FrameBackbone, FullyConnectedBackbone
from fer_lightning.layers.masking import masked_mean
from fer_lightning.training.classifier import VideoClassifier

Crop = Literal["face", "person"]


class ImageClassifier(VideoClassifier):
    """Backbone, dropout and one linear layer. For clips of several frames, it classifies the mean feature.

    Example:
        >>> from fer_lightning import FrameBackbone, ImageClassifier, random_batch
        >>> model = ImageClassifier(("anger", "joy"), FrameBackbone("resnet10t")).eval()
        >>> model(random_batch(frames=1)).logits.shape
        torch.Size([2, 2])

    Args:
        class_names: Emotion names in alphabetical order.
        backbone: Backbone of the frames. None is a random ResNet-18.
        dropout: Dropout rate before the linear layer.
        crop: Crop of the frame to classify: `face`, or `person` for the person with the surroundings.
        frozen_convolutions: Freeze the convolutions of the backbone and the statistics of their BatchNorm, and train
            only the layers behind them.
        training: Optimiser, schedule and loss, see `VideoClassifier`.

    Raises:
        ValueError: The crop is unknown.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        backbone: FrameBackbone | None = None,
        dropout: float = 0.0,
        crop: Crop = "face",
        frozen_convolutions: bool = False,
        **training: Any,
    ) -> None:
        super().__init__(class_names, **training)
        if crop not in get_args(Crop):
            raise ValueError(f"the crop is {' or '.join(get_args(Crop))}; found {crop!r}")
        self.crop, self.inputs = crop, frozenset({crop})
        self.backbone = backbone or FrameBackbone("resnet18")
        if frozen_convolutions:
            self.freeze(*self.backbone.convolutions())
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(self.backbone.num_features, len(class_names)))

    def forward_frozen(self, batch: ClipBatch) -> FrozenFeatures:
        """Run the backbone's convolutions: frames (B, T, M)."""
        crops = batch.face if self.crop == "face" else batch.person
        assert crops is not None
        return FrozenFeatures(frames=self.backbone.forward_features(crops))

    def forward(self, batch: ClipBatch) -> ClassifierOutput:
        """Classify crops (B, T, 3, H, W). The feature is the mean over the frames."""
        features = self.frozen_features(batch).frames  # (B, T, M)
        assert features is not None
        feature = masked_mean(self.backbone.forward_head(features), batch.mask)
        return ClassifierOutput(self.head(feature), feature)


class DenseNetFC(ImageClassifier):
    """DenseNet-FC (section 3.2): DenseNet-121 with two FC layers, which provides VSHNN's appearance features.

    Example:
        >>> from fer_lightning import DenseNetFC, FrameBackbone, random_batch
        >>> model = DenseNetFC(("anger", "joy"), FrameBackbone("resnet10t")).eval()
        >>> model(random_batch(frames=1)).logits.shape
        torch.Size([2, 2])

    Args:
        class_names: Emotion names in alphabetical order.
        backbone: Backbone of the frames. None is a random DenseNet-121 with two FC layers.
        dropout: Dropout rate after the second FC layer [our choice].
        training: Optimiser, schedule and loss, see `VideoClassifier`.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        backbone: FrameBackbone | None = None,
        dropout: float = 0.5,
        **training: Any,
    ) -> None:
        super().__init__(class_names, backbone or FullyConnectedBackbone(), dropout, **training)
