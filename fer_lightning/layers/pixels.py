"""Pixel conventions: how each backbone normalises the uint8 images of a batch for its weights.

A convention belongs to the weights, as in timm's `pretrained_cfg`, and is saved with them in the checkpoint.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import timm
import torch
from timm.models.resnet import Bottleneck, ResNet
from torch import Tensor, nn

Pixels = Literal[
    "imagenet", "inception", "unit", "grey", "clip", "vggface", "vggface2", "kinetics", "sports1m", "activitynet"
]
"""Names of the conventions in experiment files."""
Order = Literal["rgb", "bgr", "grey"]


@dataclass(frozen=True)
class PixelConvention:
    """The pixel values that a network's weights expect: (value - mean) / std for each channel.

    Args:
        mean: Means of the three channels, in the convention's order and range.
        std: Standard deviations of the three channels.
        order: Order of the channels: `rgb` for red, green, blue, `bgr` for blue, green, red; `grey` for the brightness
            (luma of ITU-R BT.601) in all three, for weights that were trained on grey images.
        range: Value of white before normalisation, 1 or 255. Black is 0.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    order: Order = "rgb"
    range: float = 1.0

    def byte_statistics(self) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation, (3, 1, 1) each, for values from 0 to 255."""
        factor = 255 / self.range
        return torch.tensor(self.mean).view(3, 1, 1) * factor, torch.tensor(self.std).view(3, 1, 1) * factor

    def matches(self, other: "PixelConvention") -> bool:
        """Whether both conventions are equal within the precision of bfloat16."""
        pairs = zip(self.byte_statistics(), other.byte_statistics(), strict=True)
        return self.order == other.order and all(torch.allclose(a, b, rtol=5e-3) for a, b in pairs)

    @property
    def name(self) -> str:
        """Name in experiment files, or the numbers of a convention without a name."""
        return next((name for name, convention in CONVENTIONS.items() if self.matches(convention)), str(self))


LUMA = (0.299, 0.587, 0.114)  # shares of red, green and blue in the brightness, ITU-R BT.601
IMAGENET = PixelConvention((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CONVENTIONS: dict[str, PixelConvention] = {
    "imagenet": IMAGENET,
    "inception": PixelConvention((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),  # -1 to 1, as timm names it
    "unit": PixelConvention((0.0, 0.0, 0.0)),  # 0 to 1
    "grey": PixelConvention((0.5, 0.5, 0.5), (0.25, 0.25, 0.25), order="grey"),  # about FER2013's mean and deviation
    "clip": PixelConvention((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),  # OpenAI's
    # Oxford's VGG-Face, with the means of the authors' release.
    "vggface": PixelConvention((129.1863, 104.7624, 93.5940), range=255),
    # Converted from Caffe. The means are those of the authors' networks, and of
    # github.com/ox-vgg/vgg_face2, standard_evaluation/pytorch_feature_extractor.py.
    "vggface2": PixelConvention((91.4953, 103.8827, 131.0912), order="bgr", range=255),
    "kinetics": PixelConvention((0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989)),  # torchvision's
    "sports1m": PixelConvention((104.0, 117.0, 128.0), range=255),  # MMAction2's configuration of its C3D
    "activitynet": PixelConvention((114.7748, 107.7354, 99.475), range=255),  # Hara et al.'s first files
}


def get_convention(name: Pixels) -> PixelConvention:
    """Return the convention of a name.

    Raises:
        ValueError: The name is unknown.
    """
    if name not in CONVENTIONS:
        raise ValueError(f"expected pixels to be one of {', '.join(get_args(Pixels))}; found {name!r}")
    return CONVENTIONS[name]


def timm_convention(name: str) -> PixelConvention:
    """Return the convention of timm's weights for a network, from its `pretrained_cfg`.

    Raises:
        ValueError: timm publishes no weights for the network.
    """
    config = timm.get_pretrained_cfg(name)
    if config is None:
        raise ValueError(f"timm publishes no weights for {name}; use `weights: random`, a run or a file")
    return PixelConvention(tuple(config.mean), tuple(config.std))


class PixelConversion(nn.Module):
    """Normalise uint8 images to the pixel values that a network's weights expect.

    The convention is part of the state dict. When a state dict is loaded, its convention is adopted if none was stated,
    and refused if another one was stated.

    Args:
        stated: The convention, or its name, from an experiment file. None adopts that of the weights, and uses
            ImageNet's until they are loaded.

    Raises:
        ValueError: The name is unknown.
    """

    mean: Tensor
    std: Tensor
    bgr: Tensor
    luma: Tensor  # (3, 1, 1), only for grey images

    def __init__(self, stated: PixelConvention | Pixels | None = None) -> None:
        super().__init__()
        self.stated = get_convention(stated) if isinstance(stated, str) else stated
        self._use(self.stated or IMAGENET)

    def _use(self, convention: PixelConvention) -> None:
        """Write a convention to the buffers. `grey` is one for grey images alone; earlier versions had none."""
        self.convention = convention
        mean, std = (values.to(getattr(self, "mean", values)) for values in convention.byte_statistics())
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)
        self.register_buffer("bgr", torch.tensor(convention.order == "bgr", device=mean.device))
        if convention.order == "grey":
            self.register_buffer("grey", torch.tensor(True, device=mean.device))
            self.register_buffer("luma", torch.tensor(LUMA).view(3, 1, 1).to(mean), persistent=False)

    def extra_repr(self) -> str:
        """Return the convention's name, on which cached features depend."""
        return f"pixels={self.convention.name}"

    def adopt(self, convention: PixelConvention, source: str) -> None:
        """Adopt the convention of weights that are loaded.

        Args:
            convention: The convention of the weights.
            source: Where the weights come from, for the error message.

        Raises:
            ValueError: Another convention was stated. Or the weights have that of VGGFace2 and it was not stated when
                the network was built, which needs another layout for them.
        """
        if convention.matches(self.convention):
            return
        if self.stated or convention.matches(CONVENTIONS["vggface2"]):
            raise ValueError(
                f"{source} was trained with other pixels than {self.convention.name!r}; found {convention.name!r}: "
                "state these as `pixels`, or use weights of the same pixels"
            )
        self._use(convention)

    def require_stated(self, source: str) -> PixelConvention:
        """Return the stated convention, for weights that do not contain theirs.

        Raises:
            ValueError: No convention was stated.
        """
        if self.stated is None:
            raise ValueError(
                f"{source}: a file of weights does not tell which pixels it was trained with, and none are stated; "
                f"state `pixels:` beside it, one of {', '.join(CONVENTIONS)}"
            )
        return self.stated

    def forward(self, images: Tensor, memory_format: torch.memory_format = torch.preserve_format) -> Tensor:
        """Normalise images (..., 3, H, W) uint8, to the data type of the network's weights.

        Raises:
            TypeError: The images are not uint8.
        """
        if images.dtype != torch.uint8:
            raise TypeError(
                f"found images of {images.dtype}; expected torch.uint8 with red, green and blue from 0 to 255, which "
                "the network normalises itself"
            )
        return self.normalise(images, memory_format)

    def normalise(self, images: Tensor, memory_format: torch.memory_format = torch.preserve_format) -> Tensor:
        """Normalise red, green and blue from 0 to 255 of any data type; see `forward`."""
        dtype = torch.promote_types(self.mean.dtype, torch.float32)
        ordered = images.flip(-3) if self.convention.order == "bgr" else images
        values = ordered.to(dtype, memory_format=memory_format, copy=True)
        if self.convention.order == "grey":
            values.copy_((values * self.luma.to(dtype)).sum(-3, keepdim=True).expand_as(values))
        return values.sub_(self.mean).div_(self.std).to(self.mean.dtype)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        """Adopt the convention of a state dict. Those of version 0.1.0 contain none here and change nothing."""
        convention = convention_from_state(state_dict, prefix)
        if convention:
            self.adopt(convention, "the checkpoint")
        state_dict.update({prefix + name: value for name, value in self.state_dict().items()})
        super()._load_from_state_dict(state_dict, prefix, *rest)


def convention_from_state(state: Mapping[str, Any], prefix: str) -> PixelConvention | None:
    """Return the convention in the state dict of the `PixelConversion` with a prefix, or None if it has none."""
    if not all(prefix + name in state for name in ("mean", "std", "bgr")):
        return None
    mean, std, bgr = (state[prefix + name] for name in ("mean", "std", "bgr"))
    order: Order = "grey" if f"{prefix}grey" in state else "bgr" if bool(bgr) else "rgb"
    return PixelConvention(_triple(mean), _triple(std), order, range=255)


def _triple(values: Tensor) -> tuple[float, float, float]:
    first, second, third = values.float().flatten().tolist()
    return first, second, third


def upgrade_first_version(state: dict[str, Any], prefix: str) -> None:
    """Convert the pixel convention in a backbone's state dict of version 0.1.0 to the present format, in place.

    Version 0.1.0 had `scale` and `shift`, applied to pixels normalised as ImageNet's, or nothing for ImageNet's.

    Args:
        state: State dict of a model.
        prefix: Prefix of the backbone's tensor names, such as `backbone.`.
    """
    scale, shift = state.pop(f"{prefix}scale", None), state.pop(f"{prefix}shift", None)
    conversion = f"{prefix}conversion."
    if convention_from_state(state, conversion):
        return
    convention = IMAGENET
    if scale is not None and shift is not None:
        mean, std = IMAGENET.byte_statistics()
        std = std / scale.cpu()
        mean = mean - shift.cpu() * std
        blue_first = PixelConvention(_triple(mean.flip(0)), _triple(std.flip(0)), "bgr", range=255)
        is_vggface2 = blue_first.matches(CONVENTIONS["vggface2"])  # the only convention of that order
        convention = blue_first if is_vggface2 else PixelConvention(_triple(mean), _triple(std), range=255)
    state.update({conversion + name: value for name, value in PixelConversion(convention).state_dict().items()})


def apply_caffe_layout(network: nn.Module, name: str) -> None:
    """Change a timm ResNet to the layout that the authors of VGGFace2 trained with Caffe, in place.

    The weights are the same. In blocks that halve the map, the first convolution has the stride instead of the second.
    The first pooling pads only on the right and at the bottom. Source: github.com/cydonia999/VGGFace2-pytorch,
    models/resnet.py, which converts the Caffe networks.

    Args:
        network: The network to change.
        name: Name of the network, for the error message.

    Raises:
        ValueError: The network is not a ResNet with bottlenecks.
    """
    blocks = [module for module in network.modules() if isinstance(module, Bottleneck)]
    if not isinstance(network, ResNet) or not blocks or not isinstance(network.maxpool, nn.MaxPool2d):
        raise ValueError(
            f"VGGFace2's weights are for ResNets with bottlenecks, such as resnet50 and seresnet50; found {name}"
        )
    network.maxpool = nn.MaxPool2d(3, stride=2, ceil_mode=True)
    for block in blocks:
        block.conv1.stride, block.conv2.stride = block.conv2.stride, block.conv1.stride
