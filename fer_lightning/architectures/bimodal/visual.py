"""The visual streams of bi-modality fusion.

Three networks make a feature of every frame, which a bidirectional LSTM relates (section 2, equations 1 to 3); a fourth
one classifies frames alone, and its labels are counted. `fer_lightning.ensemble` weighs their scores (equation 4).

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
from fer_lightning.weights import RANDOM, checkpoint_named, read_checkpoint, tensors_in


class CNNBiLSTM(VideoClassifier):
    """A CNN and a two-layer Bi-LSTM over its features: VGG-Face, ResNet-18 and DenseNet-121 in the paper (section 2).

    [our choice] The mean over the frames' states is classified; dropout.

    Example:
        >>> from fer_lightning import CNNBiLSTM, FrameBackbone, random_batch
        >>> model = CNNBiLSTM(("anger", "joy"), FrameBackbone("resnet10t"), hidden=16).eval()
        >>> model(random_batch()).logits.shape
        torch.Size([2, 2])

    Args:
        class_names: emotion names in alphabetical order.
        backbone: of the frames; VGG-16 up to FC7 at random where None.
        hidden: units of every layer and direction [our choice].
        layers: of the Bi-LSTM, 2 in the paper (section 2).
        dropout: of the frames' features, and of the clip's.
        frozen_convolutions: train the fully connected layers of the backbone, not its convolutions, nor the statistics
            of their BatchNorm: VGG-Face's in the paper (section 2). What they make of the clips can be cached.
        training: optimiser, schedule and loss, see `VideoClassifier`.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        backbone: FrameBackbone | None = None,
        hidden: int = 512,
        layers: int = 2,
        dropout: float = 0.5,
        frozen_convolutions: bool = False,
        **training: Any,
    ) -> None:
        super().__init__(class_names, **training)
        self.backbone = backbone or VGG16()
        if frozen_convolutions:
            self.freeze(*self.backbone.convolutions())
        self.dropout = nn.Dropout(dropout)
        self.lstm = SummedBiLSTM(self.backbone.num_features, hidden, layers)
        self.score = nn.Linear(hidden, len(class_names))

    def forward_frozen(self, batch: ClipBatch) -> FrozenFeatures:
        """What the convolutions make of the frames (B, T, M)."""
        assert batch.face is not None
        return FrozenFeatures(frames=self.backbone.convolved(batch.face))

    def forward(self, batch: ClipBatch) -> ClassifierOutput:
        """Faces (B, T, 3, H, W) -> logits and the mean of the frames' states."""
        convolved = self.frozen_features(batch).frames
        assert convolved is not None
        frames = self.backbone.connected_features(convolved)  # (B, T, D)
        states = self.lstm(self.dropout(frames), batch.mask)  # (B, T, H)
        feature = masked_mean(states, batch.mask)
        return ClassifierOutput(self.score(self.dropout(feature)), feature)


NO_VOTE = -200.0  # e^-200 is 0 in float32, and the loss of such a class is a number


def vote_logits(votes: Tensor, num_classes: int, mask: Tensor) -> Tensor:
    """Logits whose softmax is how often each class was voted for; the same for all where nothing is real.

    Among classes with as many votes the first one of the class list is the answer, as of all equal probabilities.

    Args:
        votes: (B, T) classes of the frames.
        num_classes: C.
        mask: (B, T) bool, true where a frame is real.

    Returns:
        (B, C) float32; `NO_VOTE` for classes without a vote.
    """
    counts = (F.one_hot(votes, num_classes) * mask[..., None]).sum(dim=1).float()  # (B, C)
    total = counts.sum(dim=1, keepdim=True)
    logits = torch.where(counts > 0, (counts.clamp_min(1) / total.clamp_min(1)).log(), NO_VOTE)
    return torch.where(total > 0, logits, 0)


class StaticFrameVote(GradientFreeClassifier, ImageClassifier):
    """A still-image classifier whose labels of a clip's frames are counted: VGG-16 of AffectNet (section 2).

    It begins with the weights of that classifier's run and trains nothing; its one epoch measures the training clips.
    Of the run's classes it asks for those of the data alone, whatever the order of either.

    Example:
        >>> from fer_lightning import FrameBackbone, StaticFrameVote, random_batch
        >>> model = StaticFrameVote(("anger", "joy"), FrameBackbone("resnet10t")).eval()
        >>> model(random_batch()).logits.shape
        torch.Size([2, 2])

    Args:
        class_names: emotion names in alphabetical order.
        backbone: of the frames, that of the run; VGG-16 up to FC7 where None.
        unsupported_classes: of the data, which the run need not know and which then get no votes.
        training: `start_from`, see `VideoClassifier`; there is no optimiser.
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
        """The frames' features (B, T, D)."""
        assert batch.face is not None
        return FrozenFeatures(frames=self.backbone(batch.face))

    def forward(self, batch: ClipBatch) -> ClassifierOutput:
        """Faces (B, T, 3, H, W) -> logits whose softmax is the votes' frequency, and the mean feature."""
        frames = self.frozen_features(batch).frames
        assert frames is not None
        votes = self.head(frames).argmax(dim=2)  # (B, T)
        return ClassifierOutput(vote_logits(votes, len(self.class_names), batch.mask), masked_mean(frames, batch.mask))

    def begin_training(self) -> None:
        """Begins with the weights of the run.

        Raises:
            ValueError: no run is named.
        """
        if self.start_from == RANDOM:
            raise ValueError(
                "StaticFrameVote trains nothing: it counts the answers of a classifier of stills, but `start_from` is "
                f"{RANDOM}; name the run of one, such as --model.init_args.start_from run:vgg16_affectnet"
            )
        super().begin_training()

    def fit_statistics(self, data: VideoDataModule) -> None:
        """Takes the rows of the run's last layer that are the data's classes, by their names.

        Raises:
            ValueError: the run does not know a class of the data.
        """
        content = read_checkpoint(checkpoint_named(self.start_from))
        theirs = cast(dict[str, Any], content.get("fer_lightning") or {}).get("class_names") or []
        missing = [name for name in self.class_names if name not in theirs]
        if strange := sorted(set(missing) - set(self.unsupported_classes)):
            raise ValueError(
                f"{self.start_from} does not know {', '.join(strange)}: its classes are {', '.join(theirs) or 'none'}; "
                "use data with these, a run that knows more, or name the others, which then get no votes, with "
                f"--model.init_args.unsupported_classes '[{', '.join(strange)}]'"
            )
        state, layer = tensors_in(content, self.start_from), cast(nn.Linear, self.head[1])
        rows = [theirs.index(name) if name in theirs else 0 for name in self.class_names]
        layer.weight.copy_(state["head.1.weight"][rows])
        layer.bias.copy_(state["head.1.bias"][rows])
        for name in missing:
            place = self.class_names.index(name)
            layer.weight[place], layer.bias[place] = 0, torch.finfo(torch.float16).min
        left_out = [name for name in theirs if name not in self.class_names]
        self.print(f"votes for {', '.join(self.class_names)}; left out: {', '.join(left_out) or 'none'}")
