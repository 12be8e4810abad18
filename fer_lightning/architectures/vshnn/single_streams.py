"""VSHNN's streams alone: the single models that its table 2 compares it with.

Lee et al. (2020), "Visual Scene-Aware Hybrid and Multi-Modal Feature Aggregation for Facial Expression Recognition",
Sensors 20, 5184, https://doi.org/10.3390/s20185184
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

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
    """A 3D CNN alone (table 2): its FC layer and the classifier of figure 3 are trained, its convolutions frozen.

    Example:
        >>> from fer_lightning import ClipBackbone, SceneCNN, random_batch
        >>> model = SceneCNN(("anger", "joy"), ClipBackbone("c3d", width=0.1), hidden=16).eval()
        >>> model(random_batch()).logits.shape
        torch.Size([2, 2])

    Args:
        class_names: emotion names in alphabetical order.
        scene: the 3D CNN without its head; C3D at random where None. One that is not frozen is trained whole.
        hidden: units of both FC layers (section 5.2.2).
        dropout: of the classifier [our choice].
        training: optimiser, schedule and loss, see `VideoClassifier`.
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
        """The convolutions' features (B, E)."""
        return FrozenFeatures(clip=self._convolved(batch))

    def forward(self, batch: ClipBatch) -> ClassifierOutput:
        """Faces (B, T, 3, H, W) -> logits and the scene feature."""
        feature = self.scene_feature(self.frozen_features(batch).clip)
        return ClassifierOutput(self.classifier(feature), feature)

    def _convolved(self, batch: ClipBatch) -> Tensor:
        assert batch.face is not None
        return self.scene(batch.face, batch.mask)  # type: ignore[no-any-return]


class AppearanceRNN(VideoClassifier):
    """CNN-LSTM and CNN-GRU (table 2): a recurrent network over the appearance features, which knows no scene.

    Example:
        >>> from fer_lightning import AppearanceRNN, FrameBackbone, random_batch
        >>> model = AppearanceRNN(("anger", "joy"), FrameBackbone("resnet10t"), hidden=16).eval()
        >>> model(random_batch()).logits.shape
        torch.Size([2, 2])

    Args:
        class_names: emotion names in alphabetical order.
        backbone: of the frames, frozen; DenseNet-FC at random where None.
        cell: `gru` or `lstm`.
        hidden: units of the recurrent network.
        features: units of the FC layer behind it.
        dropout: of its last hidden state.
        training: optimiser, schedule and loss, see `VideoClassifier`.
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
        # Type B begins with h_0 = v: without a scene, v = 0, it is the ordinary network.
        rnn = SceneAwareRNN(self.backbone.num_features, hidden, hidden, cell, "B")
        self.sarnn = SceneAwareClassifier(rnn, features, len(class_names), dropout)

    def forward_frozen(self, batch: ClipBatch) -> FrozenFeatures:
        """The appearance features (B, T, D)."""
        assert batch.face is not None
        return FrozenFeatures(frames=self.backbone(batch.face))

    def forward(self, batch: ClipBatch) -> ClassifierOutput:
        """Faces (B, T, 3, H, W) -> logits and the feature before them."""
        frames = self.frozen_features(batch).frames
        assert frames is not None
        nothing = frames.new_zeros(len(batch), self.sarnn.rnn.rnn.hidden_size)
        return ClassifierOutput(*self.sarnn(frames, nothing, batch.mask))
