"""The deep audio model of bi-modality fusion: a spectrogram, seen as an image by VGG-19 (section 2.2).

Li et al. (2019), "Bi-modality Fusion for Emotion Recognition in the Wild", ICMI 2019,
https://doi.org/10.1145/3340555.3355719
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from data_modules.loading.batch import ClipBatch
from fer_lightning.evaluation.outputs import ClassifierOutput
from fer_lightning.layers.backbones import FrameBackbone
from fer_lightning.layers.vgg import VGG19
from fer_lightning.training.classifier import VideoClassifier


class SpectrogramCNN(VideoClassifier):
    """Section 2, the audio model: the spectrogram of a clip's speech, "an image", goes through VGG-19 to a softmax.

    Example:
        >>> from fer_lightning import FrameBackbone, SpectrogramCNN, random_batch
        >>> model = SpectrogramCNN(("anger", "joy"), FrameBackbone("resnet10t")).eval()
        >>> model(random_batch(model.inputs, size=64)).logits.shape
        torch.Size([2, 2])

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
        has_audio = batch.has("audio")[:, None]
        images = self.backbone.converted(batch.spectrogram)
        images = torch.where(has_audio[..., None, None], images, 0)  # the mean picture: BatchNorm counts these too
        feature = self.backbone.connected_features(self.backbone.convolved_images(images))
        return ClassifierOutput(*(torch.where(has_audio, x, 0) for x in (self.score(self.dropout(feature)), feature)))
