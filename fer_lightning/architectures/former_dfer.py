"""Former-DFER: a convolutional spatial transformer over each frame, and a temporal transformer over the frames.

Zhao and Liu (2021), "Former-DFER: Dynamic Facial Expression Recognition Transformer", ACM Multimedia 2021,
https://doi.org/10.1145/3474085.3475292. Sizes are those of the authors' code, whose files are cited here:
https://github.com/zengqunzhao/Former-DFER (MIT).
"""

from collections.abc import Sequence
from typing import Any

import torch
from timm.models.resnet import ResNet
from torch import Tensor, nn

from data_modules.labels import ANGER, DISGUST, FEAR, HAPPINESS, NEUTRAL, SADNESS, SURPRISE
from data_modules.loading.batch import ClipBatch
from fer_lightning.evaluation.outputs import ClassifierOutput
from fer_lightning.layers.backbones import FrameBackbone, Pretrained
from fer_lightning.layers.masking import masked_mean
from fer_lightning.layers.pixels import Pixels
from fer_lightning.layers.published_model import PublishedForm, PublishedModel
from fer_lightning.layers.transformer import TemporalTransformer, TransformerBlock
from fer_lightning.training.classifier import VideoClassifier
from fer_lightning.weights import RANDOM, Renames, load_backbone_weights, tensors_in, trained_here


class SpatialEncoder(nn.Module):
    """Encoders over the places of a feature map, each of which is a token (models/S_Former.py).

    Args:
        channels: Channels C of the map, the length of a token.
        grid: Side of the map.
        depth: Number of encoders.
        heads: Heads of the attention.
        hidden: Units of an encoder's hidden layer.
    """

    def __init__(self, channels: int, grid: int, depth: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.grid = grid
        self.position = nn.Parameter(torch.randn(1, grid**2, channels))
        self.blocks = nn.ModuleList(TransformerBlock(channels, heads, hidden) for _ in range(depth))

    def forward(self, maps: Tensor) -> Tensor:
        """Relate the places of each map: (N, C, grid, grid) -> (N, C, grid, grid).

        Raises:
            ValueError: The maps have another size.
        """
        if maps.shape[2:] != (self.grid, self.grid):
            raise ValueError(
                f"the spatial transformer has positions for maps of {self.grid} x {self.grid}; found one of "
                f"{maps.shape[2]} x {maps.shape[3]}: a ResNet's third stage has 1/16 of the side of the frames, so set "
                "data.size to 16 times the backbone's `grid`, or change `grid`"
            )
        tokens = maps.flatten(2).transpose(1, 2) + self.position  # (N, grid², C)
        for block in self.blocks:
            tokens = block(tokens)
        return tokens.transpose(1, 2).reshape(maps.shape)


class ConvolutionalSpatialTransformer(FrameBackbone):
    """S-Former: a ResNet with spatial encoders between its third and its fourth stage.

    Args:
        name: Name of the ResNet in timm.
        weights: `random`, as in the authors' code; or what `FrameBackbone` accepts, for the convolutions. `run:NAME`
            of a run with spatial encoders gives these, too.
        channels: See `FrameBackbone`.
        channels_last: See `FrameBackbone`.
        pixels: See `FrameBackbone`.
        grid: Side of the third stage's map, 7 for frames of 112².
        depth: Number of encoders.
        heads: Heads of their attention.
        hidden: Units of their hidden layer.

    Raises:
        ValueError: The network is not a ResNet.
    """

    def __init__(
        self,
        name: str = "resnet18",
        weights: str = RANDOM,
        channels: Sequence[int] | None = None,
        channels_last: bool = True,
        pixels: Pixels | None = None,
        grid: int = 7,
        depth: int = 1,
        heads: int = 8,
        hidden: int = 512,
    ) -> None:
        super().__init__(name, weights, channels, channels_last, pixels)
        if not isinstance(self.network, ResNet):
            raise ValueError(f"the spatial transformer stands between the stages of a ResNet; found {name}")
        for norm in (module for module in self.network.modules() if isinstance(module, nn.BatchNorm2d)):
            nn.init.ones_(norm.weight)  # as in torchvision and the authors' code; timm's blocks begin as identities
        self.spatial = SpatialEncoder(self.network.feature_info[3]["num_chs"], grid, depth, heads, hidden)

    def load_content(self, content: dict[str, object]) -> None:
        """Load the convolutions, and the spatial encoders if the content is of a run that has them.

        Raises:
            ValueError: The weights do not fit.
        """
        super().load_content(content)
        prefix = "backbone.spatial."
        if trained_here(content) and any(key.startswith(prefix) for key in tensors_in(content, self.weights)):
            load_backbone_weights(self.spatial, content, self.weights, "the spatial encoders", prefix)

    def convolutions(self) -> list[nn.Module]:
        """Return the modules that `forward_features` runs."""
        return [self.conversion, self.network, self.spatial]

    def forward_images(self, images: Tensor) -> Tensor:
        """Compute the features of normalised images: (N, 3, H, W) -> (N, D)."""
        network = self.network
        maps = network.maxpool(network.act1(network.bn1(network.conv1(images))))
        maps = network.layer3(network.layer2(network.layer1(maps)))
        return network.forward_head(network.layer4(self.spatial(maps)))  # type: ignore[no-any-return]


ENCODER_NAMES: Renames = (  # of encoders in Zhao's code, DFER-CLIP's too
    (r"\.pos_embedding$", ".position"),
    (r"\.cls_token$", ".token"),
    (r"\.(spatial|temporal)_transformer\.layers\.(\d+)\.", r".blocks.\2."),
    (r"\.0\.fn\.norm\.", ".norm1."),
    (r"\.0\.fn\.fn\.to_qkv\.", ".attention.query_key_value."),
    (r"\.0\.fn\.fn\.to_out\.0\.", ".attention.output."),
    (r"\.1\.fn\.norm\.", ".norm2."),
    (r"\.1\.fn\.fn\.net\.0\.", ".mlp.0."),
    (r"\.1\.fn\.fn\.net\.3\.", ".mlp.2."),
)
PUBLISHED = PublishedForm(
    names=(
        (r"^module\.", ""),  # of torch's DataParallel
        (r"^s_former\.(pos_embedding|spatial_transformer)", r"backbone.spatial.\1"),
        (r"^s_former\.", "backbone.network."),
        (r"^t_former\.", "temporal."),
        *ENCODER_NAMES,
        (r"^fc\.", "head."),
    ),
    classes=(HAPPINESS, SADNESS, NEUTRAL, ANGER, SURPRISE, DISGUST, FEAR),  # DFEW's codes 1 to 7
    last_layer="head",
    pixels="unit",  # dataloader/video_transform.py: red, green and blue from 0 to 1
    where=(
        "the authors publish a file for each fold of DFEW; the read-me of https://github.com/zengqunzhao/Former-DFER "
        "links them"
    ),
)


class FormerDFER(VideoClassifier):
    """Former-DFER. Without the encoders of either transformer it is the ablation of that one.

    Example:
        >>> from fer_lightning import ConvolutionalSpatialTransformer, FormerDFER, random_batch
        >>> model = FormerDFER(("anger", "joy"), ConvolutionalSpatialTransformer("resnet10t", grid=2), depth=1).eval()
        >>> model(random_batch(frames=16, size=32)).logits.shape
        torch.Size([2, 2])

    Args:
        class_names: Emotion names in alphabetical order.
        backbone: Backbone of the frames. None is a random S-Former over a ResNet-18 for frames of 112², with the
            authors' pixels; a `FrameBackbone` has no spatial encoders.
        frames: Frames of a clip, as set in the sampler.
        depth: Encoders of the temporal transformer. With 0 the features of the frames are averaged.
        heads: Heads of its attention.
        hidden: Units of an encoder's hidden layer.
        weights: `random`, or the path of a file that the authors published, trained on DFEW. The last layer's rows are
            then put into the order of the class names; for other classes than DFEW's the layer stays random.
        training: Optimiser, schedule and loss, see `VideoClassifier`.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        backbone: FrameBackbone | None = None,
        frames: int = 16,
        depth: int = 3,
        heads: int = 8,
        hidden: int = 1024,
        weights: str = RANDOM,
        **training: Any,
    ) -> None:
        super().__init__(class_names, **training)
        self.published_file = weights
        self.backbone = backbone or ConvolutionalSpatialTransformer(pixels="unit")
        size = self.backbone.num_features
        self.temporal = TemporalTransformer(size, frames, depth, heads, hidden) if depth else None
        self.head = nn.Linear(size, len(class_names))

    def pretrained(self) -> list[Pretrained]:
        """List the backbone, and the whole model if it starts from the authors' file."""
        conversion = self.backbone.conversion
        whole = PublishedModel(self, conversion, self.class_names, PUBLISHED, self.published_file)
        return [*super().pretrained(), whole]

    def forward(self, batch: ClipBatch) -> ClassifierOutput:
        """Classify faces (B, T, 3, H, W). The feature is the class token's output."""
        assert batch.face is not None
        frames = self.backbone(batch.face)  # (B, T, D)
        feature = self.temporal(frames, batch.mask) if self.temporal else masked_mean(frames, batch.mask)
        return ClassifierOutput(self.head(feature), feature)
