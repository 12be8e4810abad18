"""C3D trained whole, and C3D-LSTM: the sequence-based networks that CEFLNet is compared with (tables 2, 4 and 8).

C3D (section 3.3):
Tran et al. (2015), "Learning Spatiotemporal Features with 3D Convolutional Networks", ICCV 2015,
https://arxiv.org/abs/1412.0767

C3D-LSTM:
Parmar and Morris (2017), "Learning to Score Olympic Events", CVPR Workshops 2017, https://arxiv.org/abs/1611.05125
"""

from collections.abc import Sequence
from typing import Any

from torch import nn

from data_modules.loading.batch import ClipBatch
from fer_lightning.evaluation.outputs import ClassifierOutput, FrozenFeatures
from fer_lightning.layers.c3d import hidden_layer
from fer_lightning.layers.recurrent import LSTMStack
from fer_lightning.layers.video_backbones import ClipBackbone
from fer_lightning.training.classifier import VideoClassifier


class C3DClassifier(VideoClassifier):
    """C3D with its hidden layers fc6 and fc7, over all frames of a video at once.

    With the 487 classes of Sports-1M it has the 79 991 015 parameters that CEFLNet's table 8 prints as 79.99 M.

    Example:
        >>> from fer_lightning import C3DClassifier, ClipBackbone, random_batch
        >>> model = C3DClassifier(("anger", "joy"), ClipBackbone("c3d", width=0.1), hidden=16).eval()
        >>> model(random_batch(frames=16)).logits.shape
        torch.Size([2, 2])

    Args:
        class_names: Emotion names in alphabetical order.
        backbone: 3D CNN without its head. None is a random C3D that is trained.
        hidden: Units of fc6 and of fc7.
        dropout: Dropout rate after both hidden layers.
        training: Optimiser, schedule and loss, see `VideoClassifier`.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        backbone: ClipBackbone | None = None,
        hidden: int = 4096,
        dropout: float = 0.5,
        **training: Any,
    ) -> None:
        super().__init__(class_names, **training)
        self.backbone = backbone or ClipBackbone("c3d", frozen=False)
        if self.backbone.frozen:
            self.freeze(self.backbone)
        self.dropout = nn.Dropout(dropout)
        self.fc6 = hidden_layer(self.backbone.num_features, hidden)
        self.fc7 = hidden_layer(hidden, hidden)
        self.fc8 = nn.Linear(hidden, len(class_names))

    def forward_frozen(self, batch: ClipBatch) -> FrozenFeatures:
        """Compute the features of the convolutions (B, E)."""
        assert batch.face is not None
        return FrozenFeatures(clip=self.backbone(batch.face, batch.mask))

    def forward(self, batch: ClipBatch) -> ClassifierOutput:
        """Classify faces (B, T, 3, H, W). The feature is the output of fc7."""
        features = self.frozen_features(batch).clip
        assert features is not None
        hidden = self.dropout(self.fc6(features).relu())
        feature = self.fc7(hidden).relu()
        return ClassifierOutput(self.fc8(self.dropout(feature)), feature)


class C3DLSTM(VideoClassifier):
    """C3D-LSTM: an LSTM over the fc6 features of the successive clips of a video.

    CEFLNet's table 8 gives it 110.24 M parameters and no sizes. [our choice] As in Parmar and Morris, the LSTM reads
    fc6; with one layer of 2000 units the network has 110.01 M parameters for six classes. The LSTM's state at the last
    clip that shows a face is classified.

    Example:
        >>> from fer_lightning import C3DLSTM, ClipBackbone, random_batch
        >>> model = C3DLSTM(("anger", "joy"), ClipBackbone("c3d", width=0.1), 16, (8,)).eval()
        >>> model(random_batch(frames=32)).logits.shape
        torch.Size([2, 2])

    Args:
        class_names: Emotion names in alphabetical order.
        backbone: 3D CNN without its head. None is a random C3D that is trained.
        hidden: Units of fc6.
        lstm: Units of each LSTM, from the first to the last.
        clip_frames: Frames in each clip, 16 as in Tran et al. The frames of a video are cut into clips of this length.
        dropout: Dropout rate after fc6 and after the LSTMs [our choice].
        training: Optimiser, schedule and loss, see `VideoClassifier`.

    Raises:
        ValueError: `lstm` is empty.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        backbone: ClipBackbone | None = None,
        hidden: int = 4096,
        lstm: Sequence[int] = (2000,),
        clip_frames: int = 16,
        dropout: float = 0.5,
        **training: Any,
    ) -> None:
        super().__init__(class_names, **training)
        if not lstm:
            raise ValueError("expected the units of at least one LSTM in `lstm`; found none")
        self.clip_frames = clip_frames
        self.backbone = backbone or ClipBackbone("c3d", frozen=False)
        if self.backbone.frozen:
            self.freeze(self.backbone)
        self.dropout = nn.Dropout(dropout)
        self.fc6 = hidden_layer(self.backbone.num_features, hidden)
        self.lstm = LSTMStack(hidden, lstm)
        self.score = nn.Linear(lstm[-1], len(class_names))

    def forward_frozen(self, batch: ClipBatch) -> FrozenFeatures:
        """Compute the features of the convolutions for each of the n clips: (B, n E).

        Raises:
            ValueError: The frames cannot be cut into clips of `clip_frames`.
        """
        assert batch.face is not None
        count, frames = batch.mask.shape
        if frames % self.clip_frames:
            raise ValueError(
                f"C3D-LSTM cuts a video into clips of {self.clip_frames} frames; found {frames} frames, which is no "
                f"multiple: set the sampler's frames to {7 * self.clip_frames}, for example, or change `clip_frames`"
            )
        clips = batch.face.view(-1, self.clip_frames, *batch.face.shape[2:])  # (B n, K, 3, H, W)
        return FrozenFeatures(clip=self.backbone(clips, batch.mask.view(-1, self.clip_frames)).view(count, -1))

    def forward(self, batch: ClipBatch) -> ClassifierOutput:
        """Classify faces (B, n K, 3, H, W). The feature is the last LSTM's state at the last clip with a face."""
        features = self.frozen_features(batch).clip
        assert features is not None
        mask = batch.mask.view(batch.mask.shape[0], -1, self.clip_frames).any(dim=2)  # (B, n)
        clips = self.dropout(self.fc6(features.view(*mask.shape, -1)).relu())  # (B, n, D)
        feature = self.lstm(clips, mask)
        return ClassifierOutput(self.score(self.dropout(feature)), feature)
