"""3D CNNs without their heads, applied to all clips of a batch in one call."""

from contextlib import nullcontext
from typing import Literal, Self, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fer_lightning.layers.backbones import Pretrained
from fer_lightning.layers.c3d import c3d_convolutions, c3d_features
from fer_lightning.layers.pixels import IMAGENET, PixelConversion, Pixels
from fer_lightning.layers.resnet3d import ResNet3D
from fer_lightning.layers.video_weights import PUBLISHED, load_clip_content, load_clip_weights
from fer_lightning.weights import RANDOM

Network = Literal["c3d", "resnet3d", "resnext3d"]
DEPTHS = {"resnet3d": 18, "resnext3d": 101}  # [our choice] depths with published weights


class ClipBackbone(nn.Module, Pretrained):
    """A 3D CNN without its head: clips (B, T, 3, H, W) uint8 -> features (B, D).

    For C3D, D is 8192, the flattened map before its first fully connected layer; for residual networks the feature is
    the mean over the last map. The networks are designed for 16 frames of 112 x 112 but accept other sizes. They do not
    use the mask; padded frames are replaced by ImageNet's mean colour [our choice].

    Args:
        name: `c3d`, `resnet3d` or `resnext3d`.
        weights: `random`; `sports1m` (C3D) or `kinetics` (ResNet3D of depth 18), downloaded at the start of a training;
            `run:NAME` for the weights of a run of this suite; or the path of a checkpoint or weights file.
        depth: Depth of a residual network. None is 18 for ResNet3D and 101 for ResNeXt3D [our choice].
        cardinality: Groups of ResNeXt3D.
        width: Fraction of the published channels; small values give networks for laptops.
        frozen: Freeze the weights (Lee et al., 2020, section 3.3) and the statistics of BatchNorm [our choice].
        size: Larger frames are averaged down to this side, in pixels; smaller frames are not resized.
        normalisation: Pixel convention of the weights, one of `CONVENTIONS`. None takes it from the weights: those of
            `sports1m` and `kinetics` are known, a run's checkpoint contains its own, and random weights use ImageNet's.
            It must be given for weights files from other sources.
        sha256: SHA-256 of a weights file, or its first digits, which is then verified.
        channels_last: Store clips in the channels-last memory format.

    Raises:
        ValueError: The network, its depth or the normalisation is unknown, or the weights are for another network.
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
        self.register_buffer("padding", IMAGENET.byte_statistics()[0], persistent=False)

    @property
    def source(self) -> str:
        """See `Pretrained`."""
        return self.weights

    def load_weights(self) -> None:
        """Load the pretrained weights and adopt their pixel convention.

        Raises:
            ValueError: The weights have another pixel convention than `normalisation`, or they are a file and
                `normalisation` is None.
        """
        if self.weights != RANDOM:
            load_clip_weights(self.network, self.conversion, self.weights, self.sha256)

    def load_content(self, content: dict[str, object]) -> None:
        """Load the convolutions from the content of a checkpoint.

        Raises:
            ValueError: The weights do not fit.
        """
        load_clip_content(self.network, content, self.weights)

    def extra_repr(self) -> str:
        """Return the settings that the features depend on and the parameters do not show."""
        return f"name={self.name}, size={self.size}"

    def train(self, mode: bool = True) -> Self:
        """Set training mode. A frozen network stays in evaluation mode, so that BatchNorm does not update itself."""
        super().train(mode)
        if self.frozen:
            self.network.eval()
        return self

    def forward(self, clips: Tensor, mask: Tensor | None = None) -> Tensor:
        """Compute the features of clips.

        Args:
            clips: Frames (B, T, 3, H, W) uint8.
            mask: (B, T) bool, true for real frames; None if all are real.

        Returns:
            Features (B, D).
        """
        needs_grad = torch.is_grad_enabled() and not self.frozen
        # On CPUs, oneDNN's bf16 gradients of 3D convolutions over small maps are wrong by orders of magnitude.
        no_autocast = needs_grad and clips.device.type == "cpu"
        with (
            torch.set_grad_enabled(needs_grad),
            torch.autocast(clips.device.type, enabled=False) if no_autocast else nullcontext(),
        ):
            x = self._resize(self.conversion(clips))
            if mask is not None:
                x = torch.where(mask[:, :, None, None, None], x, self.conversion.normalise(self.padding))
            x = x.transpose(1, 2).contiguous(memory_format=self.memory_format)  # (B, 3, T, H, W)
            return self.network(x).flatten(1)  # type: ignore[no-any-return]

    def _resize(self, clips: Tensor) -> Tensor:
        """Average frames down to `size`: (B, T, 3, H, W) -> (B, T, 3, min(H, size), min(W, size))."""
        height, width = min(clips.shape[-2], self.size), min(clips.shape[-1], self.size)
        if (height, width) == clips.shape[-2:]:
            return clips
        frames = F.interpolate(clips.flatten(0, 1), (height, width), mode="area")
        return frames.view(*clips.shape[:3], height, width)


def _build(name: str, depth: int | None, cardinality: int, width: float) -> tuple[nn.Module, int]:
    """Return a network and its number of features."""
    if name not in get_args(Network):
        raise ValueError(f"the 3D network is one of {', '.join(get_args(Network))}; found {name!r}")
    if name == "c3d":
        if depth is not None:
            raise ValueError(f"C3D has one depth; found depth {depth}, which only residual networks accept")
        return c3d_convolutions(width), c3d_features(width)
    network = ResNet3D(depth or DEPTHS[name], cardinality if name == "resnext3d" else 1, width)
    return network, network.num_features
