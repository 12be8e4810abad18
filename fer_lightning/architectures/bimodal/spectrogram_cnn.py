"""The deep audio model of bi-modality fusion: VGG-19 on the spectrogram as an image (section 2).

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
from fer_lightning.layers.masking import zero_absent_images
from fer_lightning.layers.vgg import VGG19
from fer_lightning.training.classifier import VideoClassifier


class SpectrogramCNN(VideoClassifier):
    """The audio model (section 2): VGG-19 and a softmax on the spectrogram of a clip's speech, as an image.

    Example:
        >>> from fer_lightning import FrameBackbone, SpectrogramCNN, random_batch
        >>> model = SpectrogramCNN(("anger", "joy"), FrameBackbone("resnet10t")).eval()
        >>> model(random_batch(model.inputs, size=64)).logits.shape
        torch.Size([2, 2])

    Args:
        class_names: Emotion names in alphabetical order.
        backbone: Backbone of the spectrogram. None is a random VGG-19.
        dropout: Dropout rate before the last layer, as in VGG; the paper states none [our choice].
        training: Optimiser, schedule and loss, see `VideoClassifier`.
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
        """Classify spectrograms (B, 3, S, S). The feature is FC7's output; both are 0 for clips without audio."""
        assert batch.spectrogram is not None
        has_audio = batch.has("audio")
        images = zero_absent_images(self.backbone.normalise(batch.spectrogram), has_audio)
        feature = self.backbone.forward_head(self.backbone.forward_images(images))
        return ClassifierOutput(
            *(torch.where(has_audio[:, None], x, 0) for x in (self.score(self.dropout(feature)), feature))
        )
