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
    """Statistics over the parts of a clip, of all its frames, classified by two FC layers and a third.

    Models 4, 5 and 6 have the levels {3}, {4} and {0, 1, 2, 3} without context, models 7, 8 and 9 the same with it.
    Face and context model are frozen; their features can be cached, and are the same for all levels.

    Example:
        >>> from fer_lightning import ContextTemporalPyramid, FrameBackbone, random_batch
        >>> model = ContextTemporalPyramid(("anger", "joy"), FrameBackbone("resnet10t"), context=False).eval()
        >>> model(random_batch()).logits.shape
        torch.Size([2, 2])

    Args:
        class_names: emotion names in alphabetical order.
        backbone: of the face model; ResNet-50 at random where None. `fer train context_face_rafdb` trains one.
        scene: the context model; VGG-16 at random where None.
        context: whether the person around the face is looked at.
        levels: of the pyramid.
        hidden: units of the classifier's FC layers [our choice].
        dropout: after each of them [our choice].
        face_classes: of the face model's probabilities, which need not be those of the clips.
        training: optimiser, schedule and loss, see `VideoClassifier`.

    Raises:
        ValueError: no level, or a negative one.
    """

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
        part = self.frame_size + 2 * len(self.face.class_names)  # minimum, mean and maximum of the probabilities
        self.num_features = pyramid_parts(self.levels) * part
        self.classifier = ContextClassifier(self.num_features, hidden, len(class_names), dropout)

    def forward(self, batch: ClipBatch) -> ClassifierOutput:
        """Faces (B, T, 3, H, W), and persons alike with context -> logits and the feature before them."""
        frames = self.described(batch)
        pyramid = temporal_pyramid(frames.face, frames.probabilities, frames.context, self.levels, batch.mask)
        return ClassifierOutput(*self.classifier(pyramid))
