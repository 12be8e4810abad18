"""3D networks without their heads, applied to all clips of a batch in one call."""

from contextlib import nullcontext
from typing import Literal, Self, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fer_lightning.layers.backbones import Pretrained
from fer_lightning.layers.c3d import c3d_convolutions, c3d_features
from fer_lightning.layers.pixels import IMAGENET, PixelConversion, Pixels
from fer_lightning.layers.resnet3d import ResNet3D
from fer_lightning.layers.video_weights import PUBLISHED, load_clip_weights
from fer_lightning.weights import RANDOM

Network = Literal["c3d", "resnet3d", "resnext3d"]
DEPTHS = {"resnet3d": 18, "resnext3d": 101}  # [our choice] those with published weights


class ClipBackbone(nn.Module, Pretrained):
    """A 3D CNN without its head: clips (B, T, 3, H, W) uint8 -> features (B, D).

    D is 8192 for C3D, the map its first fully connected layer sees; for the residual networks the mean over the last
    map. Networks are made for 16 frames of 112 x 112, and take others. They do not know of padded frames, all of which
    have ImageNet's mean colour for them [our choice].

    Args:
        name: `c3d`, `resnet3d` or `resnext3d`.
        weights: `random`; `sports1m` (C3D) or `kinetics` (ResNet3D of depth 18), fetched when a training begins;
            `run:NAME` for those of a run of this suite; or the path of a checkpoint or weights file.
        depth: of a residual network, 18 for ResNet3D and 101 for ResNeXt3D where None [our choice].
        cardinality: groups of ResNeXt3D.
        width: share of the published channels; a small one makes a network for laptops.
        frozen: weights (Lee et al., 2020, section 3.3) and BatchNorm's statistics [our choice] stay as they are.
        size: larger frames are averaged down to this side; smaller ones stay.
        normalisation: convention of the pixels that the weights were trained with, one of `CONVENTIONS`. None takes
            that of the weights: of the named ones, what the checkpoint of a run says, ImageNet's where they are random;
            a file's must be stated.
        sha256: of a file given as weights, or its first digits, to be sure of it.
        channels_last: keep pixels' channels together in memory.

    Raises:
        ValueError: no such network, depth, normalisation, or weights for another network.
    """

    padding: Tensor

    def __init__(
        self,
        name: Network = "c3d",
        weights: str = RANDOM,
        depth: int | None = None,
        cardinality: int = 32,
        width: float = 1.0,
        frozen: bool = True,
        size: int = 112,
        normalisation: Pixels | None = None,
        sha256: str | None = None,
        channels_last: bool = False,
    ) -> None:
        super().__init__()
        self.name, self.weights, self.size, self.sha256, self.frozen = name, weights, size, sha256, frozen
        self.network, self.num_features = _build(name, depth, cardinality, width)
        self.memory_format = torch.channels_last_3d if channels_last else torch.contiguous_format
        self.network.to(memory_format=self.memory_format)
        if frozen:
            self.network.requires_grad_(False).eval()
        if weights in PUBLISHED and not PUBLISHED[weights].network.startswith(name):
            raise ValueError(f"the weights {weights} are for {PUBLISHED[weights].network}; found the network {name}")
        published = PUBLISHED[weights].pixels if weights in PUBLISHED else None
        self.conversion = PixelConversion(normalisation or published)
        self.register_buffer("padding", IMAGENET.of_bytes()[0], persistent=False)

    def load_weights(self) -> None:
        """See `Pretrained.load_weights`.

        Raises:
            ValueError: the weights have other pixels than are stated, or a file's are not stated.
        """
        if self.weights != RANDOM:
            load_clip_weights(self.network, self.conversion, self.weights, self.sha256)

    def extra_repr(self) -> str:
        """What its tensors do not tell, but its features depend on."""
        return f"name={self.name}, size={self.size}"

    def train(self, mode: bool = True) -> Self:
        """A frozen network stays in evaluation mode: BatchNorm would go on counting."""
        super().train(mode)
        if self.frozen:
            self.network.eval()
        return self

    def forward(self, clips: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, T, 3, H, W) uint8, and (B, T) bool, which frames are real; all where None -> (B, D)."""
        # On processors, oneDNN's bf16 gradients of 3D convolutions over small maps are wrong by orders of magnitude.
        learns = torch.is_grad_enabled() and not self.frozen
        exact = learns and clips.device.type == "cpu"
        with (
            torch.set_grad_enabled(learns),
            torch.autocast(clips.device.type, enabled=False) if exact else nullcontext(),
        ):
            x = self._resized(self.conversion(clips))
            if mask is not None:
                x = torch.where(mask[:, :, None, None, None], x, self.conversion.normalised(self.padding))
            x = x.transpose(1, 2).contiguous(memory_format=self.memory_format)  # (B, 3, T, H, W)
            return self.network(x).flatten(1)  # type: ignore[no-any-return]

    def _resized(self, clips: Tensor) -> Tensor:
        height, width = min(clips.shape[-2], self.size), min(clips.shape[-1], self.size)
        if (height, width) == clips.shape[-2:]:
            return clips
        frames = F.interpolate(clips.flatten(0, 1), (height, width), mode="area")
        return frames.view(*clips.shape[:3], height, width)


def _build(name: str, depth: int | None, cardinality: int, width: float) -> tuple[nn.Module, int]:
    """A network and the number of its features."""
    if name not in get_args(Network):
        raise ValueError(f"the 3D network is one of {', '.join(get_args(Network))}; found {name!r}")
    if name == "c3d":
        if depth is not None:
            raise ValueError(f"C3D has one depth; found depth {depth}, which only the residual networks take")
        return c3d_convolutions(width), c3d_features(width)
    network = ResNet3D(depth or DEPTHS[name], cardinality if name == "resnext3d" else 1, width)
    return network, network.num_features
