"""VSHNN's single streams, the models that table 2 compares it with.

Lee et al. (2020), "Visual Scene-Aware Hybrid and Multi-Modal Feature Aggregation for Facial Expression Recognition",
Sensors 20, 5184, https://doi.org/10.3390/s20185184
"""

from collections.abc import Sequence
from typing import Any

from data_modules.loading.batch import ClipBatch
from fer_lightning.architectures.vshnn.network import (
    AuxiliaryClassifier,
    SceneAwareClassifier,
    SceneFeature,
)
from fer_lightning.evaluation.outputs import ClassifierOutput, FrozenFeatures
from fer_lightning.layers.backbones import FrameBackbone, FullyConnectedBackbone
from fer_lightning.layers.recurrent import Cell, SceneAwareRNN
from fer_lightning.layers.video_backbones import ClipBackbone
from fer_lightning.training.classifier import VideoClassifier


class SceneCNN(VideoClassifier):
    """A 3D CNN alone (table 2): its FC layer and the classifier of figure 3 are trained.

    Example:
        >>> from fer_lightning import ClipBackbone, SceneCNN, random_batch
        >>> model = SceneCNN(("anger", "joy"), ClipBackbone("c3d", width=0.1), hidden=16).eval()
        >>> model(random_batch()).logits.shape
        torch.Size([2, 2])

    Args:
        class_names: Emotion names in alphabetical order.
        scene: 3D CNN without its head. None is a random, frozen C3D. If it is not frozen, it is trained too.
        hidden: Units of both FC layers (section 5.2.2).
        dropout: Dropout rate of the classifier [our choice].
        training: Optimiser, schedule and loss, see `VideoClassifier`.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        scene: ClipBackbone | None = None,
        hidden: int = 2048,
        dropout: float = 0.5,
        **training: Any,
    ) -> None:
        super().__init__(class_names, **training)
        self.scene = scene or ClipBackbone("c3d")
        if self.scene.frozen:
            self.freeze(self.scene)
        self.scene_feature = SceneFeature(self.scene.num_features, hidden)
        self.classifier = AuxiliaryClassifier(hidden, hidden, len(class_names), dropout)

    def forward_frozen(self, batch: ClipBatch) -> FrozenFeatures:
        """Compute the features of the convolutions (B, E)."""
        assert batch.face is not None
        return FrozenFeatures(clip=self.scene(batch.face, batch.mask))

    def forward(self, batch: ClipBatch) -> ClassifierOutput:
        """Classify faces (B, T, 3, H, W). The feature is the scene feature."""
        feature = self.scene_feature(self.frozen_features(batch).clip)
        return ClassifierOutput(self.classifier(feature), feature)


class AppearanceRNN(VideoClassifier):
    """CNN-LSTM and CNN-GRU (table 2): a recurrent network over the appearance features, without the scene.

    Example:
        >>> from fer_lightning import AppearanceRNN, FrameBackbone, random_batch
        >>> model = AppearanceRNN(("anger", "joy"), FrameBackbone("resnet10t"), hidden=16).eval()
        >>> model(random_batch()).logits.shape
        torch.Size([2, 2])

    Args:
        class_names: Emotion names in alphabetical order.
        backbone: Frozen backbone of the frames. None is a random DenseNet-FC.
        cell: Cell of the recurrent network, `gru` or `lstm`.
        hidden: Units of the recurrent network.
        features: Units of the FC layer behind it.
        dropout: Dropout rate of its last hidden state.
        training: Optimiser, schedule and loss, see `VideoClassifier`.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        backbone: FrameBackbone | None = None,
        cell: Cell = "gru",
        hidden: int = 2048,
        features: int = 1024,
        dropout: float = 0.5,
        **training: Any,
    ) -> None:
        super().__init__(class_names, **training)
        self.backbone = backbone or FullyConnectedBackbone()
        self.freeze(self.backbone)
        # Type B starts from h_0 = v. With v = 0 it is an ordinary LSTM or GRU.
        rnn = SceneAwareRNN(self.backbone.num_features, hidden, hidden, cell, "B")
        self.sarnn = SceneAwareClassifier(rnn, features, len(class_names), dropout)

    def forward_frozen(self, batch: ClipBatch) -> FrozenFeatures:
        """Compute the appearance features (B, T, D)."""
        assert batch.face is not None
        return FrozenFeatures(frames=self.backbone(batch.face))

    def forward(self, batch: ClipBatch) -> ClassifierOutput:
        """Classify faces (B, T, 3, H, W). The feature is the output of the FC layer behind the recurrent network."""
        frames = self.frozen_features(batch).frames
        assert frames is not None
        no_scene = frames.new_zeros(batch.mask.shape[0], self.sarnn.rnn.rnn.hidden_size)
        return ClassifierOutput(*self.sarnn(frames, no_scene, batch.mask))
