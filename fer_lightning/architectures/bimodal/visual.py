"""The visual models of bi-modality fusion.

Three models extract a feature of each frame with a CNN and relate them with a bidirectional LSTM (section 2, equations
1 to 3). A fourth model classifies single frames and counts their labels. `fer_lightning.ensemble` computes the weighted
sum of the models' scores (equation 4).

Li et al. (2019), "Bi-modality Fusion for Emotion Recognition in the Wild", ICMI 2019,
https://doi.org/10.1145/3340555.3355719
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data_modules.loading.batch import ClipBatch
from data_modules.loading.datamodule import VideoDataModule
from fer_lightning.architectures.gradient_free import GradientFreeClassifier
from fer_lightning.architectures.image_classifier import ImageClassifier
from fer_lightning.evaluation.outputs import ClassifierOutput, FrozenFeatures
from fer_lightning.layers.backbones import FrameBackbone
from fer_lightning.layers.masking import masked_mean
from fer_lightning.layers.recurrent import SummedBiLSTM
from fer_lightning.layers.vgg import VGG16
from fer_lightning.training.classifier import VideoClassifier
from fer_lightning.weights import RANDOM, classes_in, read_source, tensors_in


class CNNBiLSTM(VideoClassifier):
    """A two-layer Bi-LSTM over a CNN's features; VGG-Face, ResNet-18 and DenseNet-121 in the paper (section 2).

    The paper fine-tunes the CNN on faces first and then feeds the features of its last fully connected layer to the
    Bi-LSTM (section 2): the backbone starts from the run of an `ImageClassifier`, with `frozen_backbone`. Without it,
    CNN and Bi-LSTM are trained at once. [our choice] The mean of the frames' states is classified. There is dropout.

    Example:
        >>> from fer_lightning import CNNBiLSTM, FrameBackbone, random_batch
        >>> model = CNNBiLSTM(("anger", "joy"), FrameBackbone("resnet10t"), hidden=16).eval()
        >>> model(random_batch()).logits.shape
        torch.Size([2, 2])

    Args:
        class_names: Emotion names in alphabetical order.
        backbone: Backbone of the frames. None is a random VGG-16 up to FC7.
        hidden: Units of each layer and direction [our choice].
        layers: Layers of the Bi-LSTM, 2 in the paper (section 2).
        dropout: Dropout rate of the frames' features and of the clip's feature.
        frozen_convolutions: Freeze the convolutions of the backbone and the statistics of their BatchNorm, and train
            only its fully connected layers. The output of the convolutions can then be cached.
        frozen_backbone: Freeze the whole backbone; its features can then be cached.
        training: Optimiser, schedule and loss, see `VideoClassifier`.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        backbone: FrameBackbone | None = None,
        hidden: int = 512,
        layers: int = 2,
        dropout: float = 0.5,
        frozen_convolutions: bool = False,
        frozen_backbone: bool = False,
        **training: Any,
    ) -> None:
        super().__init__(class_names, **training)
        self.backbone = backbone or VGG16()
        self.frozen_backbone = frozen_backbone
        if frozen_backbone:
            self.freeze(self.backbone)
        elif frozen_convolutions:
            self.freeze(*self.backbone.convolutions())
        self.dropout = nn.Dropout(dropout)
        self.lstm = SummedBiLSTM(self.backbone.num_features, hidden, layers)
        self.score = nn.Linear(hidden, len(class_names))

    def forward_frozen(self, batch: ClipBatch) -> FrozenFeatures:
        """Run the backbone, or its convolutions if these alone may be frozen: frames (B, T, D) or (B, T, M)."""
        assert batch.face is not None
        run = self.backbone if self.frozen_backbone else self.backbone.forward_features
        return FrozenFeatures(frames=run(batch.face))

    def forward(self, batch: ClipBatch) -> ClassifierOutput:
        """Classify faces (B, T, 3, H, W). The feature is the mean of the frames' states."""
        features = self.frozen_features(batch).frames  # (B, T, D) or (B, T, M)
        assert features is not None
        frames = features if self.frozen_backbone else self.backbone.forward_head(features)  # (B, T, D)
        states = self.lstm(self.dropout(frames), batch.mask)  # (B, T, H)
        feature = masked_mean(states, batch.mask)
        return ClassifierOutput(self.score(self.dropout(feature)), feature)


NO_VOTE = -200.0  # e^-200 is 0 in float32, and the loss of such a class is still finite


def vote_logits(votes: Tensor, num_classes: int, mask: Tensor) -> Tensor:
    """Compute logits whose softmax is the fraction of frames that voted for each class.

    Among classes with equally many votes, the first one of the class list is predicted.

    Args:
        votes: Predicted classes of the frames, (B, T).
        num_classes: Number of classes C.
        mask: (B, T) bool, true for real frames.

    Returns:
        (B, C) in float32; `NO_VOTE` for classes without a vote, and 0 for clips without real frames.
    """
    counts = (F.one_hot(votes, num_classes) * mask[..., None]).sum(dim=1).float()  # (B, C)
    total = counts.sum(dim=1, keepdim=True)
    logits = torch.where(counts > 0, (counts.clamp_min(1) / total.clamp_min(1)).log(), NO_VOTE)
    return torch.where(total > 0, logits, 0)


class StaticFrameVote(GradientFreeClassifier, ImageClassifier):
    """Majority vote of an image classifier over a clip's frames; VGG-16 trained on AffectNet in the paper (section 2).

    It loads the weights of that classifier's run and trains nothing. Its one epoch evaluates the training clips. Of the
    run's classes it uses those of the data, matched by name.

    Example:
        >>> from fer_lightning import FrameBackbone, StaticFrameVote, random_batch
        >>> model = StaticFrameVote(("anger", "joy"), FrameBackbone("resnet10t")).eval()
        >>> model(random_batch()).logits.shape
        torch.Size([2, 2])

    Args:
        class_names: Emotion names in alphabetical order.
        backbone: Backbone of the frames, the same as in the run. None is VGG-16 up to FC7.
        unsupported_classes: Classes of the data that the run may lack. They get no votes then.
        training: `start_from`, see `VideoClassifier`. There is no optimiser.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        backbone: FrameBackbone | None = None,
        unsupported_classes: Sequence[str] = (),
        **training: Any,
    ) -> None:
        super().__init__(class_names, backbone or VGG16(), dropout=0.0, **training)
        self.unsupported_classes = tuple(unsupported_classes)
        self.freeze(self.backbone)
        self.head.requires_grad_(False)

    def forward_frozen(self, batch: ClipBatch) -> FrozenFeatures:
        """Compute the frames' features (B, T, D)."""
        assert batch.face is not None
        return FrozenFeatures(frames=self.backbone(batch.face))

    def forward(self, batch: ClipBatch) -> ClassifierOutput:
        """Count the votes for faces (B, T, 3, H, W). The feature is the mean of the frames' features."""
        frames = self.frozen_features(batch).frames
        assert frames is not None
        votes = self.head(frames).argmax(dim=2)  # (B, T)
        return ClassifierOutput(vote_logits(votes, len(self.class_names), batch.mask), masked_mean(frames, batch.mask))

    def begin_training(self) -> None:
        """Load the weights of the run.

        Raises:
            ValueError: `start_from` does not name a run.
        """
        if self.start_from == RANDOM:
            raise ValueError(
                "StaticFrameVote trains nothing: it counts the answers of a classifier of stills, but `start_from` is "
                f"{RANDOM}; name the run of one, such as --model.init_args.start_from run:vgg16_affectnet"
            )
        super().begin_training()

    def fit_statistics(self, data: VideoDataModule) -> None:
        """Select the rows of the run's last layer that belong to the data's classes.

        Raises:
            ValueError: The run lacks a class of the data that is not in `unsupported_classes`.
        """
        content = read_source(self.start_from)
        run_classes = classes_in(content)
        missing = [name for name in self.class_names if name not in run_classes]
        if unexpected := sorted(set(missing) - set(self.unsupported_classes)):
            raise ValueError(
                f"{self.start_from} does not know {', '.join(unexpected)}: its classes are "
                f"{', '.join(run_classes) or 'none'}; use data with these classes or a run with more classes, or name "
                "the others, which then get no votes, with "
                f"--model.init_args.unsupported_classes '[{', '.join(unexpected)}]'"
            )
        state, layer = tensors_in(content, self.start_from), cast(nn.Linear, self.head[1])
        rows = [run_classes.index(name) if name in run_classes else 0 for name in self.class_names]
        layer.weight.copy_(state["head.1.weight"][rows])
        layer.bias.copy_(state["head.1.bias"][rows])
        for name in missing:
            index = self.class_names.index(name)
            layer.weight[index], layer.bias[index] = 0, torch.finfo(torch.float16).min
        left_out = [name for name in run_classes if name not in self.class_names]
        self.print(f"votes for {', '.join(self.class_names)}; left out: {', '.join(left_out) or 'none'}")
