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
from fer_lightning.layers.frames import frames_at, real_first

BLOCKS = ((2, 64), (2, 128), (3, 256), (4, 512))  # convolutions and channels (section 4.1)


def evenly_real(mask: Tensor, count: int) -> Tensor:
    """(B, T) -> (B, count): which frames give `count` real ones in order, evenly repeated or left out.

    With as many real frames as asked for, these; 0 where none is real.
    """
    place = torch.arange(count, device=mask.device) * mask.sum(dim=1, keepdim=True) // count
    return real_first(mask).gather(1, place)


class SpatiotemporalVolume(nn.Module):
    """Two LSTM layers and a dense one that lays each state out as an image (equations 21 and 22).

    (B, K, D) -> (B, K, S, S).
    """

    def __init__(self, size: int, hidden: int, side: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(size, hidden, num_layers=2, batch_first=True)
        self.dense = nn.Linear(hidden, side**2)
        self.side = side

    def forward(self, frames: Tensor) -> Tensor:
        """(B, K, D) -> (B, K, S, S)."""
        states, _ = self.lstm(frames)
        return self.dense(states).view(*frames.shape[:2], self.side, self.side)  # type: ignore[no-any-return]


class VolumeCNN(nn.Sequential):
    """3D convolutions of 3³ in four blocks with 2³ max pooling, and a global average (equation 23).

    [our choice] BatchNorm and ReLU after every convolution; He's initialisation; rounding up
    where a side is odd.
    """

    def __init__(self, width: float = 1.0) -> None:
        layers: list[nn.Module] = []
        before = 1
        for count, channels in BLOCKS:
            after = max(1, round(width * channels))
            for _ in range(count):
                layers += [nn.Conv3d(before, after, 3, padding=1, bias=False), nn.BatchNorm3d(after), nn.ReLU()]
                before = after
            layers.append(nn.MaxPool3d(2, ceil_mode=True))
        super().__init__(*layers, nn.AdaptiveAvgPool3d(1), nn.Flatten())
        self.num_features = before
        for layer in layers:
            if isinstance(layer, nn.Conv3d):  # with torch's own, eleven layers let little through
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, volume: Tensor) -> Tensor:
        """(B, K, S, S) -> (B, D)."""
        # On processors, oneDNN's bf16 gradients of 3D convolutions over small maps are wrong by orders of magnitude.
        with torch.autocast("cpu", enabled=False):
            made: Tensor = super().forward(volume[:, None].float())  # type: ignore[no-untyped-call]
            return made


class ContextSpatiotemporal(ContextModel):
    """LSTMs over the frames, whose states make a volume that 3D convolutions see.

    Model 1 of table 3 has a frozen face model (`tuned: false`, `context: false`), model 2 tunes its last block
    (`context: false`), model 3 looks at the person too. [our choice] Of padded or left out frames the model knows
    nothing; real ones are brought to `frames` by repeating them evenly.

    Example:
        >>> from fer_lightning import ContextSpatiotemporal, FrameBackbone, random_batch
        >>> model = ContextSpatiotemporal(("anger", "joy"), FrameBackbone("resnet10t"), context=False, width=0.1).eval()
        >>> model(random_batch()).logits.shape
        torch.Size([2, 2])

    Args:
        class_names: emotion names in alphabetical order.
        backbone: of the face model; ResNet-50 at random where None. `fer train context_face_rafdb` trains one.
        scene: the context model; VGG-16 at random where None.
        context: whether the person around the face is looked at.
        tuned: whether the last of the face model's four blocks and its classifier learn.
        frames: K, steps of the volume, as many as the sampler draws.
        lstm: units of each of the two LSTM layers [our choice].
        side: S of the volume [our choice].
        width: share of the 3D convolutions' channels; a small one makes a network for laptops.
        hidden: units of the classifier's FC layers [our choice].
        dropout: after each of them [our choice].
        face_classes: of the face model's probabilities, which need not be those of the clips.
        training: optimiser, schedule and loss, see `VideoClassifier`.

    Raises:
        ValueError: a network other than a ResNet is to be tuned.
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
        """Faces (B, T, 3, H, W), and persons alike with context -> logits and the feature before them."""
        made = self.described(batch)
        parts = [made.probabilities, made.face, *([] if made.context is None else [made.context])]
        frames = frames_at(torch.cat(parts, dim=2), evenly_real(batch.mask, self.frames))  # equation 20, (B, K, D)
        frames = torch.where(batch.mask.any(dim=1)[:, None, None], frames, 0)
        return ClassifierOutput(*self.classifier(self.convolutions(self.volume(frames))))
