"""The context spatiotemporal LSTM-3DCNN model (section 4.1): models 1 to 3 of table 3.

Do et al. (2021), "Context-Aware Emotion Recognition in the Wild Using Spatio-Temporal and Temporal-Pyramid Models",
Sensors 21, 2344, https://doi.org/10.3390/s21072344
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from data_modules.labels import SEVEN
from data_modules.loading.batch import ClipBatch
from fer_lightning.architectures.context.frames import ContextClassifier, ContextModel
from fer_lightning.evaluation.outputs import ClassifierOutput
from fer_lightning.layers.backbones import FrameBackbone
from fer_lightning.layers.frames import gather_frames, real_frames_first

BLOCKS = ((2, 64), (2, 128), (3, 256), (4, 512))  # convolutions and channels (section 4.1)


def evenly_spaced_index(mask: Tensor, count: int) -> Tensor:
    """Select `count` real frames at even spacing, in order: (B, T) -> their positions (B, count).

    Frames are repeated if there are fewer real ones, and skipped if there are more. The positions of clips without real
    frames are valid but arbitrary.
    """
    rank = torch.arange(count, device=mask.device) * mask.sum(dim=1, keepdim=True) // count
    return real_frames_first(mask).gather(1, rank)


class SpatiotemporalVolume(nn.Module):
    """Two LSTM layers, and a dense layer that reshapes each state to an image (equations 21 and 22).

    Args:
        size: Length D of a frame's description.
        hidden: Units of each LSTM layer.
        side: Side S of the images.
    """

    def __init__(self, size: int, hidden: int, side: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(size, hidden, num_layers=2, batch_first=True)
        self.dense = nn.Linear(hidden, side**2)
        self.side = side

    def forward(self, frames: Tensor) -> Tensor:
        """Compute the volume: (B, K, D) -> (B, K, S, S)."""
        states, _ = self.lstm(frames)
        return self.dense(states).view(*frames.shape[:2], self.side, self.side)  # type: ignore[no-any-return]


class VolumeCNN(nn.Sequential):
    """Four blocks of 3 x 3 x 3 convolutions with 2 x 2 x 2 max pooling, and a global average (equation 23).

    [our choice] BatchNorm and ReLU follow each convolution, the initialisation is He's, and pooling rounds up.

    Args:
        width: Fraction of the published channels.
    """

    def __init__(self, width: float = 1.0) -> None:
        layers: list[nn.Module] = []
        inputs = 1
        for count, channels in BLOCKS:
            outputs = max(1, round(width * channels))
            for _ in range(count):
                layers += [nn.Conv3d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm3d(outputs), nn.ReLU()]
                inputs = outputs
            layers.append(nn.MaxPool3d(2, ceil_mode=True))
        super().__init__(*layers, nn.AdaptiveAvgPool3d(1), nn.Flatten())
        self.num_features = inputs
        for layer in layers:
            if isinstance(layer, nn.Conv3d):  # torch's default loses most of the signal over eleven layers
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, volume: Tensor) -> Tensor:
        """Compute the features of volumes: (B, K, S, S) -> (B, D)."""
        # On CPUs, oneDNN's bf16 gradients of 3D convolutions over small maps are wrong by orders of magnitude.
        with torch.autocast("cpu", enabled=False):
            features: Tensor = super().forward(volume[:, None].float())  # type: ignore[no-untyped-call]
            return features


class ContextSpatiotemporal(ContextModel):
    """LSTMs over the frames, whose states form a volume for 3D convolutions, and the classification block.

    Of table 3, model 1 has a frozen face model (`tuned: false`, `context: false`), model 2 fine-tunes its last block
    (`context: false`), and model 3 adds the context. [our choice] Padded frames are left out, and the real ones are
    repeated or skipped evenly to obtain K frames.

    Example:
        >>> from fer_lightning import ContextSpatiotemporal, FrameBackbone, random_batch
        >>> model = ContextSpatiotemporal(("anger", "joy"), FrameBackbone("resnet10t"), context=False, width=0.1).eval()
        >>> model(random_batch()).logits.shape
        torch.Size([2, 2])

    Args:
        class_names: Emotion names in alphabetical order.
        backbone: Backbone of the face model. None is a random ResNet-50. `fer train context_face_rafdb` trains one.
        scene: Backbone of the context model. None is a random VGG-16.
        context: Use the image of the person around the face.
        tuned: Fine-tune the last of the face model's four blocks and its classifier.
        frames: Number K of frames in the volume, as many as the sampler draws.
        lstm: Units of each of the two LSTM layers [our choice].
        side: Side S of the volume [our choice].
        width: Fraction of the 3D convolutions' published channels; small values give networks for laptops.
        hidden: Units of the classification block's FC layers [our choice].
        dropout: Dropout rate after each of them [our choice].
        face_classes: Classes of the face model's probabilities, which may differ from those of the clips.
        training: Optimiser, schedule and loss, see `VideoClassifier`.

    Raises:
        ValueError: `tuned` is true for a network other than a ResNet.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        backbone: FrameBackbone | None = None,
        scene: FrameBackbone | None = None,
        context: bool = True,
        tuned: bool = True,
        frames: int = 32,
        lstm: int = 512,
        side: int = 16,
        width: float = 1.0,
        hidden: int = 512,
        dropout: float = 0.5,
        face_classes: Sequence[str] = SEVEN,
        **training: Any,
    ) -> None:
        super().__init__(class_names, backbone, scene, context, tuned, face_classes, **training)
        self.frames = frames
        self.volume = SpatiotemporalVolume(self.frame_size, lstm, side)
        self.convolutions = VolumeCNN(width)
        self.classifier = ContextClassifier(self.convolutions.num_features, hidden, len(class_names), dropout)

    def forward(self, batch: ClipBatch) -> ClassifierOutput:
        """Classify faces (B, T, 3, H, W), with context also persons of the same shape."""
        described = self.describe_frames(batch)
        parts = [part for part in (described.probabilities, described.face, described.context) if part is not None]
        index = evenly_spaced_index(batch.mask, self.frames)  # (B, K)
        frames = gather_frames(torch.cat(parts, dim=2), index)  # (B, K, D), equation 20
        frames = torch.where(batch.mask.any(dim=1)[:, None, None], frames, 0)
        return ClassifierOutput(*self.classifier(self.convolutions(self.volume(frames))))
