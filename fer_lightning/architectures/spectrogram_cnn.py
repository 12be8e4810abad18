"""The deep audio model of bi-modality fusion (Li et al., ICMI 2019): a spectrogram, seen as an image by VGG-19."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from data_modules.batch import MODALITIES, ClipBatch
from fer_lightning.classifier import VideoClassifier
from fer_lightning.layers.backbones import FrameBackbone
from fer_lightning.outputs import ClassifierOutput
from fer_lightning.weights import RANDOM


def has(modality: str, batch: ClipBatch) -> Tensor:
    """(B,) which samples have a face or sound, as the data tells; all where it does not."""
    if batch.present is None:
        return torch.ones_like(batch.label, dtype=torch.bool)
    return batch.present[:, MODALITIES.index(modality)]


class VGG19(FrameBackbone):
    """VGG-19 up to FC7: images (..., 3, H, W) -> (..., 4096); ImageNet's weights are those of its FC layers too.

    Maps of images smaller than 224 x 224 are brought to 7 x 7 by averaging or repeating.

    Args:
        weights: as of `FrameBackbone`.
        dropout: after FC6, as VGG has it; what comes after FC7 is the caller's.
        channels_last: as of `FrameBackbone`.
    """

    def __init__(self, weights: str = RANDOM, dropout: float = 0.5, channels_last: bool = True) -> None:
        super().__init__("vgg19", weights, channels_last=channels_last)
        self.network.pre_logits.drop = nn.Dropout(dropout)

    def built(self, channels: Sequence[int] | None) -> tuple[Any, int]:
        """The network up to FC7, and its 4096 values."""
        network, _ = super().built(channels)
        return network, network.head_hidden_size


class SpectrogramCNN(VideoClassifier):
    """Section 2, the audio model: the spectrogram of a clip's speech, "an image", goes through VGG-19 to a softmax.

    Args:
        class_names: emotion names in alphabetical order.
        backbone: of the spectrogram; VGG-19 at random where None.
        dropout: before the last layer; VGG's own, the paper states none.
        training: optimiser, schedule and loss, see `VideoClassifier`.
    """

    inputs: frozenset[str] = frozenset({"spectrogram"})

    def __init__(
        self,
        class_names: Sequence[str],
        backbone: FrameBackbone | None = None,
        dropout: float = 0.5,
        **training: Any,
    ) -> None:
        super().__init__(class_names, **training)
        self.backbone = backbone or VGG19()
        self.dropout = nn.Dropout(dropout)
        self.score = nn.Linear(self.backbone.num_features, len(class_names))

    def forward(self, batch: ClipBatch) -> ClassifierOutput:
        """Spectrograms (B, 3, S, S) -> logits, the same for all classes where there is no sound, and FC7's values."""
        assert batch.spectrogram is not None
        heard = has("sound", batch)[:, None]
        feature = self.backbone(torch.where(heard[..., None, None], batch.spectrogram, 0))
        return ClassifierOutput(*(torch.where(heard, x, 0) for x in (self.score(self.dropout(feature)), feature)))
