"""What the context models make of every frame (section 3.5), and the classifier behind both of them.

Do et al. (2021), "Context-Aware Emotion Recognition in the Wild Using Spatio-Temporal and Temporal-Pyramid Models",
Sensors 21, 2344, https://doi.org/10.3390/s21072344
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isqrt
from typing import Any

import torch
from torch import Tensor, nn

from data_modules.labels import SEVEN
from data_modules.loading.batch import ClipBatch
from fer_lightning.evaluation.outputs import FrozenFeatures
from fer_lightning.layers.backbones import FrameBackbone, Pretrained
from fer_lightning.layers.pixels import Pixels
from fer_lightning.layers.vgg import BLOCKS, VGGBackbone
from fer_lightning.training.classifier import VideoClassifier
from fer_lightning.weights import RANDOM, checkpoint_named, load_backbone_weights, read_checkpoint, trained_here

PIECE = 128
"""Frames that a frozen network sees at a time: what it needs of memory does not grow with a video's length."""
LAST = "layer4"  # the last block of timm's ResNets


class PooledVGG(VGGBackbone):
    """The context model (section 3.5): VGG-16's last map pooled to 2 x 2; (..., 3, H, W) -> (..., 2048).

    The paper counts 2048 context features (section 6.5) and does not say how they are pooled [our choice].

    Args:
        weights: as of `VGGBackbone`; `timm` for ImageNet's.
        width: share of the published channels; a small one makes a network for tests.
        channels_last: as of `VGGBackbone`.
        pool: side of the pooled map.
        pixels: as of `VGGBackbone`.
    """

    def __init__(
        self,
        weights: str = RANDOM,
        width: float = 1.0,
        channels_last: bool = True,
        pool: int = 2,
        pixels: Pixels | None = None,
    ) -> None:
        super().__init__(weights, pixels, width, channels_last)
        self.pool = nn.AdaptiveAvgPool2d(pool)
        self.num_features = round(width * BLOCKS[-1][-1]) * pool**2
        self.to(memory_format=self.memory_format)

    def convolutions(self) -> list[nn.Module]:
        """See `FrameBackbone.convolutions`."""
        return [self.conversion, self.network, self.pool]

    def pooled(self, middle: Tensor, last: Tensor) -> Tensor:
        """See `VGGBackbone.pooled`."""
        return self.pool(last).flatten(1)  # type: ignore[no-any-return]


class PooledBackbone(FrameBackbone):
    """One of timm's image networks with its last map pooled to a few cells, as `PooledVGG`: the place counts.

    Args:
        name: of the network in timm.
        weights: as of `FrameBackbone`.
        channels: as of `FrameBackbone`.
        channels_last: as of `FrameBackbone`.
        pool: side of the pooled map.
        pixels: as of `FrameBackbone`.
    """

    def __init__(
        self,
        name: str = "resnet18",
        weights: str = RANDOM,
        channels: Sequence[int] | None = None,
        channels_last: bool = True,
        pool: int = 2,
        pixels: Pixels | None = None,
    ) -> None:
        super().__init__(name, weights, channels, channels_last, pixels)
        self.pool = nn.AdaptiveAvgPool2d(pool)
        self.num_features *= pool**2

    def built(self, channels: Sequence[int] | None) -> tuple[Any, int]:
        """See `FrameBackbone.built`; the network gives its map as it is."""
        network, features = super().built(channels)
        network.reset_classifier(0, "")
        return network, features

    def convolutions(self) -> list[nn.Module]:
        """See `FrameBackbone.convolutions`."""
        return [self.conversion, self.network, self.pool]

    def convolved_images(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, D)."""
        return self.pool(self.network(images)).flatten(1)  # type: ignore[no-any-return]


class FaceModel(nn.Module, Pretrained):
    """The face model (equation 14): features and probabilities of a face, of which all but the end may be frozen.

    Args:
        backbone: of the faces; its weights `run:NAME` bring the run's classifier too.
        class_names: of its probabilities, which need not be those of the clips.
        tuned: whether the last of a ResNet's four blocks and the classifier learn (models 2 and 3 of table 3).

    Raises:
        ValueError: a network without such blocks is to be tuned.
    """

    def __init__(self, backbone: FrameBackbone, class_names: Sequence[str], tuned: bool) -> None:
        super().__init__()
        if tuned and not hasattr(backbone.network, LAST):
            raise ValueError(
                f"only the four blocks of ResNets can be fine-tuned apart; found {backbone.name}: state tuned: false"
            )
        self.backbone, self.class_names, self.tuned = backbone, tuple(class_names), tuned
        self.score = nn.Linear(backbone.num_features, len(self.class_names))

    def frozen_parts(self) -> list[nn.Module]:
        """What does not learn: all, or the blocks before the last one."""
        return [self.backbone.conversion, *(block for _, block in self._first_blocks())] if self.tuned else [self]

    def load_weights(self) -> None:
        """Fills the classifier; the backbone fills itself.

        Raises:
            ValueError: the weights lack the classifier, which does not learn, or it knows other classes.
        """
        source = self.backbone.weights
        if source == RANDOM:
            return
        if not trained_here(source):
            if self.tuned:
                return
            raise ValueError(
                f"the weights {source!r} hold no classifier of faces, so the probabilities of the frozen face model "
                "would stay random; name the run that trained it, such as run:context_face_rafdb"
            )
        content = read_checkpoint(checkpoint_named(source)).get("fer_lightning")
        theirs = tuple(content["class_names"]) if isinstance(content, dict) else ()
        if theirs != self.class_names:
            raise ValueError(
                f"{source} was trained on {', '.join(theirs)}; the face model expects {', '.join(self.class_names)}: "
                "state its classes as model.init_args.face_classes"
            )
        load_backbone_weights(self.score, f"the classifier behind {self.backbone.name}", source, "head.1.")

    def forward_frozen(self, frames: Tensor) -> Tensor:
        """Frames (N, 3, H, W) -> (N, D), which `forward_trainable` goes on from.

        With `tuned` the map of the last frozen block, flattened; else probabilities and features beside each other.
        """
        if self.tuned:
            x = self.backbone.converted(frames)
            for _, block in self._first_blocks():
                x = block(x)
            return x.flatten(1)
        feature = self.backbone(frames)
        return torch.cat([self.score(feature).float().softmax(dim=-1), feature.float()], dim=-1)

    def forward_trainable(self, made: Tensor) -> tuple[Tensor, Tensor]:
        """What `forward_frozen` made, (B, T, D) -> probabilities (B, T, C) and features (B, T, F)."""
        if not self.tuned:
            classes = len(self.class_names)
            return made[..., :classes], made[..., classes:]
        network = self.backbone.network
        channels: int = network.feature_info[-2]["num_chs"]
        side = isqrt(made.shape[-1] // channels)
        maps = made.flatten(0, 1).view(-1, channels, side, side).contiguous(memory_format=self.backbone.memory_format)
        feature = network.forward_head(network.get_submodule(LAST)(maps)).view(*made.shape[:2], -1)
        return self.score(feature).float().softmax(dim=-1), feature.float()

    def _first_blocks(self) -> list[tuple[str, nn.Module]]:
        blocks = list(self.backbone.network.named_children())
        return blocks[: [name for name, _ in blocks].index(LAST)]


@dataclass(frozen=True)
class DescribedFrames:
    """Equation 19: what is known of every frame."""

    probabilities: Tensor  # (B, T, C)
    face: Tensor  # (B, T, F)
    context: Tensor | None  # (B, T, G)


class ContextModel(VideoClassifier):
    """What both context models share: a face model, and with `context` a frozen one of the person's surroundings.

    Args:
        class_names: emotion names in alphabetical order.
        backbone: of the face model; ResNet-50 at random where None.
        scene: the context model; VGG-16 at random where None.
        context: whether the person around the face is looked at.
        tuned: see `FaceModel`.
        face_classes: of the face model's probabilities.
        training: optimiser, schedule and loss, see `VideoClassifier`.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        backbone: FrameBackbone | None,
        scene: FrameBackbone | None,
        context: bool,
        tuned: bool,
        face_classes: Sequence[str] = SEVEN,
        **training: Any,
    ) -> None:
        super().__init__(class_names, **training)
        self.face = FaceModel(backbone or FrameBackbone("resnet50"), face_classes, tuned)
        self.freeze(*self.face.frozen_parts())
        self.scene: FrameBackbone | None = None
        if context:
            self.inputs = frozenset({"face", "person"})
            self.scene = scene or PooledVGG()
            self.freeze(self.scene)

    @property
    def frame_size(self) -> int:
        """Numbers that describe a frame: probabilities, features of the face and of the context."""
        around = self.scene.num_features if self.scene else 0
        return len(self.face.class_names) + self.face.backbone.num_features + around

    def forward_frozen(self, batch: ClipBatch) -> FrozenFeatures:
        """What both frozen networks make of every frame, one after the other."""
        assert batch.face is not None
        made = [_in_pieces(self.face.forward_frozen, batch.face)]
        if self.scene:
            assert batch.person is not None
            made.append(_in_pieces(self.scene, batch.person))
        return FrozenFeatures(torch.cat(made, dim=2))

    def described(self, batch: ClipBatch) -> DescribedFrames:
        """All frames of a batch, from the cache where there is one."""
        frames = self.frozen_features(batch).frames
        assert frames is not None
        around = self.scene.num_features if self.scene else 0
        inner = frames.shape[2] - around
        probabilities, face = self.face.forward_trainable(frames[..., :inner])
        return DescribedFrames(probabilities, face, frames[..., inner:] if self.scene else None)


def _in_pieces(network: Callable[[Tensor], Tensor], frames: Tensor) -> Tensor:
    """(B, T, 3, H, W) -> (B, T, D) float32, `PIECE` frames at a time."""
    flat = frames.flatten(0, 1)
    made = [network(flat[start : start + PIECE]).float() for start in range(0, len(flat), PIECE)]
    return torch.cat(made).view(*frames.shape[:2], -1)


class ContextClassifier(nn.Module):
    """The classification block (equation 24): two FC layers, each with ReLU and dropout, and the last one.

    [our choice] The sizes, and the dropout.
    """

    def __init__(self, size: int, hidden: int, num_classes: int, dropout: float) -> None:
        super().__init__()
        self.embed = nn.Sequential(
            nn.Linear(size, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
        )
        self.score = nn.Linear(hidden, num_classes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, D) -> logits (B, C) and the feature that they are made of (B, H)."""
        feature = self.embed(x)
        return self.score(feature), feature
