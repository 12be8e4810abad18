"""The parts that both context models share: the frames' features (section 3.5) and the classification block.

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
from fer_lightning.weights import RANDOM, classes_in, load_backbone_weights, read_source, trained_here

PIECE = 128
"""Frames that a frozen network processes at a time, so that its memory does not grow with the length of a video."""
LAST_BLOCK = "layer4"  # the last block of timm's ResNets


class PooledVGG(VGGBackbone):
    """The context model (section 3.5): VGG-16 with its last map pooled to 2 x 2; (..., 3, H, W) uint8 -> (..., 2048).

    The paper has 2048 context features (section 6.5) but does not say how they are pooled [our choice].

    Args:
        weights: See `VGGBackbone`.
        width: See `VGGBackbone`.
        channels_last: See `VGGBackbone`.
        pool: Side of the pooled map.
        pixels: See `VGGBackbone`.
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
        """Return the modules that `forward_features` runs."""
        return [self.conversion, self.network, self.pool]

    def pool_maps(self, middle: Tensor, last: Tensor) -> Tensor:
        """Pool and flatten the last map."""
        return self.pool(last).flatten(1)  # type: ignore[no-any-return]


class PooledBackbone(FrameBackbone):
    """A timm network with its last map pooled to a few cells, as in `PooledVGG`, which keeps some spatial information.

    Args:
        name: Name of the network in timm.
        weights: See `FrameBackbone`.
        channels: See `FrameBackbone`.
        channels_last: See `FrameBackbone`.
        pool: Side of the pooled map.
        pixels: See `FrameBackbone`.
    """

    pools = False

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

    def convolutions(self) -> list[nn.Module]:
        """Return the modules that `forward_features` runs."""
        return [self.conversion, self.network, self.pool]

    def forward_images(self, images: Tensor) -> Tensor:
        """Run the network, then pool and flatten its map: (N, 3, H, W) -> (N, D)."""
        return self.pool(self.network(images)).flatten(1)  # type: ignore[no-any-return]


class FaceModel(nn.Module, Pretrained):
    """The face model (equation 14), which computes features and emotion probabilities of a face.

    Args:
        backbone: Backbone of the faces. With weights `run:NAME`, the run's classifier is loaded too.
        class_names: Classes of the probabilities, which may differ from those of the clips.
        tuned: Fine-tune the last of a ResNet's four blocks and the classifier (models 2 and 3 of table 3). Otherwise
            the whole model is frozen.

    Raises:
        ValueError: The network cannot be fine-tuned because it has no such blocks.
    """

    def __init__(self, backbone: FrameBackbone, class_names: Sequence[str], tuned: bool) -> None:
        super().__init__()
        if tuned and not hasattr(backbone.network, LAST_BLOCK):
            raise ValueError(
                f"only the four blocks of ResNets can be fine-tuned separately; found {backbone.name}: set tuned: false"
            )
        self.backbone, self.class_names, self.tuned = backbone, tuple(class_names), tuned
        self.score = nn.Linear(backbone.num_features, len(self.class_names))

    def frozen_parts(self) -> list[nn.Module]:
        """Return the frozen modules: the whole model, or with `tuned` the blocks before the last one."""
        return [self.backbone.conversion, *(block for _, block in self._first_blocks())] if self.tuned else [self]

    @property
    def source(self) -> str:
        """What the weights come from: what those of the backbone do."""
        return self.backbone.weights

    def load_weights(self) -> None:
        """Load the weights of the classifier. The backbone loads its own.

        Raises:
            ValueError: The weights contain no classifier although it is frozen, or one of other classes.
        """
        if self.source != RANDOM:
            self.load_content({} if self.source == "timm" else read_source(self.source))

    def load_content(self, content: dict[str, object]) -> None:
        """Load the classifier from the content of a checkpoint.

        Raises:
            ValueError: The weights contain no classifier although it is frozen, or one of other classes.
        """
        source = self.source
        if not trained_here(content):
            if self.tuned:
                return
            raise ValueError(
                f"the weights {source!r} hold no classifier of faces, so the probabilities of the frozen face model "
                "would stay random; name the run that trained it, such as run:context_face_rafdb"
            )
        run_classes = classes_in(content)
        if run_classes != self.class_names:
            raise ValueError(
                f"{source} was trained on {', '.join(run_classes)}; the face model expects "
                f"{', '.join(self.class_names)}: state the run's classes as model.init_args.face_classes"
            )
        load_backbone_weights(self.score, content, source, f"the classifier behind {self.backbone.name}", "head.1.")

    def forward_frozen(self, frames: Tensor) -> Tensor:
        """Run the frozen part of the model: (N, 3, H, W) uint8 -> (N, D), the input of `forward_trainable`.

        With `tuned` this is the flattened map of the last frozen block, otherwise the concatenated probabilities and
        features.
        """
        if self.tuned:
            x = self.backbone.normalise(frames)
            for _, block in self._first_blocks():
                x = block(x)
            return x.flatten(1)
        feature = self.backbone(frames)
        return torch.cat([self.score(feature).float().softmax(dim=-1), feature.float()], dim=-1)

    def forward_trainable(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Run the rest of the model on the output of `forward_frozen`.

        Args:
            x: (B, T, D).

        Returns:
            Probabilities (B, T, C) and features (B, T, F).
        """
        if not self.tuned:
            classes = len(self.class_names)
            return x[..., :classes], x[..., classes:]
        network = self.backbone.network
        channels: int = network.feature_info[-2]["num_chs"]
        side = isqrt(x.shape[-1] // channels)
        maps = x.flatten(0, 1).view(-1, channels, side, side).contiguous(memory_format=self.backbone.memory_format)
        feature = network.forward_head(network.get_submodule(LAST_BLOCK)(maps))
        feature = feature.view(*x.shape[:2], feature.shape[1])
        return self.score(feature).float().softmax(dim=-1), feature.float()

    def _first_blocks(self) -> list[tuple[str, nn.Module]]:
        """Return the named modules of the backbone before its last block."""
        blocks = list(self.backbone.network.named_children())
        return blocks[: [name for name, _ in blocks].index(LAST_BLOCK)]


@dataclass(frozen=True)
class FrameDescription:
    """The description of each frame (equation 19)."""

    probabilities: Tensor  # (B, T, C) of the face model
    face: Tensor  # (B, T, F) features of the face
    context: Tensor | None  # (B, T, G) features of the context


class ContextModel(VideoClassifier):
    """Base class of both context models: a face model and, with `context`, a frozen context model.

    Args:
        class_names: Emotion names in alphabetical order.
        backbone: Backbone of the face model. None is a random ResNet-50.
        scene: Backbone of the context model. None is a random VGG-16.
        context: Use the image of the person around the face.
        tuned: See `FaceModel`.
        face_classes: Classes of the face model's probabilities.
        training: Optimiser, schedule and loss, see `VideoClassifier`.
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
    def context_size(self) -> int:
        """Length G of a frame's context feature, 0 without context."""
        return self.scene.num_features if self.scene else 0

    @property
    def frame_size(self) -> int:
        """Length of a frame's description: probabilities, face feature and context feature."""
        return len(self.face.class_names) + self.face.backbone.num_features + self.context_size

    def forward_frozen(self, batch: ClipBatch) -> FrozenFeatures:
        """Run the frozen networks and concatenate their outputs for each frame."""
        assert batch.face is not None
        features = [_run_in_pieces(self.face.forward_frozen, batch.face)]
        if self.scene:
            assert batch.person is not None
            features.append(_run_in_pieces(self.scene, batch.person))
        return FrozenFeatures(torch.cat(features, dim=2))

    def describe_frames(self, batch: ClipBatch) -> FrameDescription:
        """Describe all frames of a batch, from cached features if there are any."""
        frames = self.frozen_features(batch).frames
        assert frames is not None
        face_size = frames.shape[2] - self.context_size
        probabilities, face = self.face.forward_trainable(frames[..., :face_size])
        return FrameDescription(probabilities, face, frames[..., face_size:] if self.scene else None)


def _run_in_pieces(network: Callable[[Tensor], Tensor], frames: Tensor) -> Tensor:
    """Run a network on `PIECE` frames at a time: (B, T, 3, H, W) -> (B, T, D) in float32."""
    flat = frames.flatten(0, 1)
    if torch.compiler.is_exporting():  # for any number of frames, so that of the pieces is not known
        features: Tensor = network(flat).float()
    else:
        features = torch.cat([network(flat[start : start + PIECE]).float() for start in range(0, len(flat), PIECE)])
    return features.view(*frames.shape[:2], features.shape[1])


class ContextClassifier(nn.Module):
    """The classification block (equation 24): two FC layers, each with ReLU and dropout, and a third for the scores.

    The sizes and the dropout are [our choice].
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
        """Classify clips (B, D): -> logits (B, C), and the feature (B, H) that the last layer classifies."""
        feature = self.embed(x)
        return self.score(feature), feature
