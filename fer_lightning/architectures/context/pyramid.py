"""The context temporal-pyramid model (section 4.2): models 4 to 9 of table 4.

Do et al. (2021), "Context-Aware Emotion Recognition in the Wild Using Spatio-Temporal and Temporal-Pyramid Models",
Sensors 21, 2344, https://doi.org/10.3390/s21072344
"""

from collections.abc import Sequence
from typing import Any

from data_modules.labels import SEVEN
from data_modules.loading.batch import ClipBatch
from fer_lightning.architectures.context.frames import ContextClassifier, ContextModel
from fer_lightning.evaluation.outputs import ClassifierOutput
from fer_lightning.layers.backbones import FrameBackbone
from fer_lightning.layers.pyramid import pyramid_parts, temporal_pyramid


class ContextTemporalPyramid(ContextModel):
    """Temporal-pyramid statistics of all frames of a clip, and the classification block.

    Models 4, 5 and 6 have the levels {3}, {4} and {0, 1, 2, 3} without context; models 7, 8 and 9 have the same levels
    with context. Face model and context model are frozen. Their features can be cached and do not depend on the levels.

    Example:
        >>> from fer_lightning import ContextTemporalPyramid, FrameBackbone, random_batch
        >>> model = ContextTemporalPyramid(("anger", "joy"), FrameBackbone("resnet10t"), context=False).eval()
        >>> model(random_batch()).logits.shape
        torch.Size([2, 2])

    Args:
        class_names: Emotion names in alphabetical order.
        backbone: Backbone of the face model. None is a random ResNet-50. `fer train context_face_rafdb` trains one.
        scene: Backbone of the context model. None is a random VGG-16.
        context: Use the image of the person around the face.
        levels: Levels k of the pyramid.
        hidden: Units of the classification block's FC layers [our choice].
        dropout: Dropout rate after each of them [our choice].
        face_classes: Classes of the face model's probabilities, which may differ from those of the clips.
        training: Optimiser, schedule and loss, see `VideoClassifier`.

    Raises:
        ValueError: There is no level, or a negative one.
    """

    behind_frozen = frozenset({"levels", "num_features"})

    def __init__(
        self,
        class_names: Sequence[str],
        backbone: FrameBackbone | None = None,
        scene: FrameBackbone | None = None,
        context: bool = True,
        levels: Sequence[int] = (0, 1, 2, 3),
        hidden: int = 512,
        dropout: float = 0.5,
        face_classes: Sequence[str] = SEVEN,
        **training: Any,
    ) -> None:
        super().__init__(class_names, backbone, scene, context, False, face_classes, **training)
        self.levels = tuple(levels)
        part_size = self.frame_size + 2 * len(self.face.class_names)  # minimum, mean and maximum of the probabilities
        self.num_features = pyramid_parts(self.levels) * part_size
        self.classifier = ContextClassifier(self.num_features, hidden, len(class_names), dropout)

    def forward(self, batch: ClipBatch) -> ClassifierOutput:
        """Classify faces (B, T, 3, H, W), with context also persons of the same shape."""
        frames = self.describe_frames(batch)
        pyramid = temporal_pyramid(frames.face, frames.probabilities, frames.context, self.levels, batch.mask)
        return ClassifierOutput(*self.classifier(pyramid))
