"""What numbers the weights of a network take for pixels: each backbone turns the bytes of a batch into them itself.

A convention belongs to the weights, as timm's `pretrained_cfg` has it, and travels in the checkpoint with them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import timm
import torch
from timm.models.resnet import Bottleneck, ResNet
from torch import Tensor, nn

Pixels = Literal["imagenet", "inception", "unit", "vggface", "vggface2", "kinetics", "sports1m", "activitynet"]
"""The conventions that have a name in experiment files."""


@dataclass(frozen=True)
class PixelConvention:
    """An image as a network's weights expect it: (value - mean) / std of each channel.

    Args:
        mean: of the three channels, in the convention's order and range.
        std: their standard deviation, which the values are divided by.
        order: of the channels, red, green, blue or blue, green, red.
        range: the value of white, 1 or 255; black is 0.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    order: Literal["rgb", "bgr"] = "rgb"
    range: float = 1.0

    def of_bytes(self) -> tuple[Tensor, Tensor]:
        """Mean and deviation (3, 1, 1) of values from 0 to 255."""
        factor = 255 / self.range
        return torch.tensor(self.mean).view(3, 1, 1) * factor, torch.tensor(self.std).view(3, 1, 1) * factor

    def same(self, other: "PixelConvention") -> bool:
        """Whether both say the same, as exactly as bfloat16 can tell."""
        pairs = zip(self.of_bytes(), other.of_bytes(), strict=True)
        return self.order == other.order and all(torch.allclose(a, b, rtol=5e-3) for a, b in pairs)

    @property
    def name(self) -> str:
        """Its name in experiment files, or its numbers."""
        return next((name for name, known in CONVENTIONS.items() if self.same(known)), str(self))


IMAGENET = PixelConvention((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CONVENTIONS: dict[str, PixelConvention] = {
    "imagenet": IMAGENET,
    "inception": PixelConvention((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),  # timm's name of -1 to 1
    "unit": PixelConvention((0.0, 0.0, 0.0)),  # 0 to 1
    # Oxford's VGG-Face: the means of its authors' release.
    "vggface": PixelConvention((129.1863, 104.7624, 93.5940), range=255),
    # Converted from Caffe: the means stand in the layers of its authors' networks, and in their
    # github.com/ox-vgg/vgg_face2, standard_evaluation/pytorch_feature_extractor.py.
    "vggface2": PixelConvention((91.4953, 103.8827, 131.0912), order="bgr", range=255),
    "kinetics": PixelConvention((0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989)),  # torchvision's
    "sports1m": PixelConvention((104.0, 117.0, 128.0), range=255),  # MMAction2's configuration of its C3D
    "activitynet": PixelConvention((114.7748, 107.7354, 99.475), range=255),  # Hara et al.'s first files
}


def convention_named(name: Pixels) -> PixelConvention:
    """The convention of that name.

    Raises:
        ValueError: there is none.
    """
    if name not in CONVENTIONS:
        raise ValueError(f"the pixels are one of {', '.join(get_args(Pixels))}; found {name!r}")
    return CONVENTIONS[name]


def timm_convention(name: str) -> PixelConvention:
    """The convention of the weights that timm publishes for a network, read from its `pretrained_cfg`.

    Raises:
        ValueError: timm publishes none.
    """
    config = timm.get_pretrained_cfg(name)
    if config is None:
        raise ValueError(f"timm publishes no weights of {name}; use `weights: random`, a run or a file")
    return PixelConvention(tuple(config.mean), tuple(config.std))


class PixelConversion(nn.Module):
    """Bytes of red, green, blue -> the numbers that a network's weights take for pixels.

    The convention is part of the state dict. One that the state dict brings is taken over where none was stated, and
    refused where another one was.

    Args:
        stated: the convention, as it stands in an experiment; None for the one that the weights bring, and ImageNet's
            until they do.

    Raises:
        ValueError: there is no convention of that name.
    """

    mean: Tensor
    std: Tensor
    bgr: Tensor

    def __init__(self, stated: PixelConvention | Pixels | None = None) -> None:
        super().__init__()
        self.stated = convention_named(stated) if isinstance(stated, str) else stated
        self.convention = self.stated or IMAGENET
        mean, std = self.convention.of_bytes()
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)
        self.register_buffer("bgr", torch.tensor(self.convention.order == "bgr"))

    def extra_repr(self) -> str:
        """What cached features depend on."""
        return f"pixels={self.convention.name}"

    def adopt(self, theirs: PixelConvention, source: str) -> None:
        """Takes over the convention of weights.

        Args:
            theirs: the convention of the weights.
            source: where the weights come from, for the message.

        Raises:
            ValueError: another one was stated; or theirs are VGGFace2's and nobody said so when the network was built,
                which is laid out differently for them.
        """
        if theirs.same(self.convention):
            return
        if self.stated or theirs.same(CONVENTIONS["vggface2"]):
            raise ValueError(
                f"{source} was trained with other pixels than {self.convention.name!r}; found {theirs.name!r}: state "
                "these as `pixels`, or use weights of the same pixels"
            )
        self.convention = theirs
        mean, std = theirs.of_bytes()
        self.mean.copy_(mean)
        self.std.copy_(std)
        self.bgr.fill_(theirs.order == "bgr")

    def stated_for(self, source: str) -> PixelConvention:
        """The stated convention, for weights that do not tell theirs.

        Raises:
            ValueError: none was stated.
        """
        if self.stated is None:
            raise ValueError(
                f"{source}: a file of weights does not tell which pixels it was trained with, and none are stated; "
                f"state `pixels:` beside it, one of {', '.join(CONVENTIONS)}"
            )
        return self.stated

    def forward(self, images: Tensor, memory_format: torch.memory_format = torch.preserve_format) -> Tensor:
        """(..., 3, H, W) uint8 -> float of the same shape, in the type of the network's weights.

        Raises:
            TypeError: the images are no bytes.
        """
        if images.dtype != torch.uint8:
            raise TypeError(
                f"found images of {images.dtype}; expected torch.uint8, red, green and blue from 0 to 255: the network "
                "normalises them itself"
            )
        return self.normalised(images, memory_format)

    def normalised(self, images: Tensor, memory_format: torch.memory_format = torch.preserve_format) -> Tensor:
        """As `forward`, of red, green, blue from 0 to 255 in any type."""
        exact = torch.promote_types(self.mean.dtype, torch.float32)
        ordered = images.flip(-3) if self.convention.order == "bgr" else images
        values = ordered.to(exact, memory_format=memory_format, copy=True)
        return values.sub_(self.mean).div_(self.std).to(self.mean.dtype)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        """Adopts the convention of a state dict; one of version 0.1.0 has none here and changes nothing."""
        theirs = convention_in(state_dict, prefix)
        if theirs:
            self.adopt(theirs, "the checkpoint")
        state_dict.update({prefix + name: value for name, value in self.state_dict().items()})
        super()._load_from_state_dict(state_dict, prefix, *rest)


def convention_in(state: Mapping[str, Any], prefix: str) -> PixelConvention | None:
    """The convention that a state dict holds for the `PixelConversion` of that prefix; None where it tells none."""
    if not all(prefix + name in state for name in ("mean", "std", "bgr")):
        return None
    mean, std, bgr = (state[prefix + name] for name in ("mean", "std", "bgr"))
    return PixelConvention(_three(mean), _three(std), "bgr" if bool(bgr) else "rgb", range=255)


def _three(values: Tensor) -> tuple[float, float, float]:
    first, second, third = values.float().flatten().tolist()
    return first, second, third


def upgrade_first_version(state: dict[str, Any], prefix: str) -> None:
    """Rewrites what version 0.1.0 said of a backbone's pixels as the state of its `PixelConversion`, in place.

    It had `scale` and `shift`, which made the backbone's pixels of ImageNet's, or nothing where these stayed.

    Args:
        state: state dict of a model.
        prefix: of the backbone's names, such as `backbone.`.
    """
    scale, shift = state.pop(f"{prefix}scale", None), state.pop(f"{prefix}shift", None)
    conversion = f"{prefix}conversion."
    if convention_in(state, conversion):
        return
    theirs = IMAGENET
    if scale is not None and shift is not None:  # of (value - mean) / std with ImageNet's
        mean, std = IMAGENET.of_bytes()
        std = std / scale.cpu()
        mean = mean - shift.cpu() * std
        blue_first = PixelConvention(_three(mean.flip(0)), _three(std.flip(0)), "bgr", range=255)
        vggface2 = blue_first.same(CONVENTIONS["vggface2"])  # the only ones of that order
        theirs = blue_first if vggface2 else PixelConvention(_three(mean), _three(std), range=255)
    state.update({conversion + name: value for name, value in PixelConversion(theirs).state_dict().items()})


def lay_out_as_caffe(network: nn.Module, name: str) -> None:
    """Makes of timm's ResNet the one that the authors of VGGFace2 trained: the same weights, elsewhere strided.

    Where a block halves its map, the first convolution does so, not the second; the first pooling pads at the far ends
    alone. Source: the Caffe networks, as github.com/cydonia999/VGGFace2-pytorch converts them (models/resnet.py).

    Raises:
        ValueError: the network is no ResNet with such blocks.
    """
    blocks = [module for module in network.modules() if isinstance(module, Bottleneck)]
    if not isinstance(network, ResNet) or not blocks or not isinstance(network.maxpool, nn.MaxPool2d):
        raise ValueError(
            f"VGGFace2's weights are for ResNets with bottlenecks, as resnet50 and seresnet50; found {name}"
        )
    network.maxpool = nn.MaxPool2d(3, stride=2, ceil_mode=True)
    for block in blocks:
        block.conv1.stride, block.conv2.stride = block.conv2.stride, block.conv1.stride
