"""C3D: a 3D CNN of eight 3x3x3 convolutions and three fully connected layers.

Tran et al. (2015), "Learning Spatiotemporal Features with 3D Convolutional Networks", ICCV 2015,
https://arxiv.org/abs/1412.0767
"""

import math
from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STAGES = (
    (("1a", 64),),
    (("2a", 128),),
    (("3a", 256), ("3b", 256)),
    (("4a", 512), ("4b", 512)),
    (("5a", 512), ("5b", 512)),
)
GRID = (1, 4, 4)  # size of the last map for clips of 16 x 112 x 112


def c3d_convolutions(width: float = 1.0) -> nn.Sequential:
    """Build the convolutional part: (B, 3, T, H, W) -> (B, 512 width, 1, 4, 4).

    Pooling rounds up, as in the original: 7 x 7 becomes 4 x 4. [our choice] Clips that are not 16 x 112 x 112 give
    another map, which is averaged (or repeated) to 1 x 4 x 4.

    Args:
        width: Fraction of the published channels.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    channels = 3
    for stage, convolutions in enumerate(STAGES, start=1):
        for name, published in convolutions:
            layers[f"conv{name}"] = nn.Conv3d(channels, channels := round(published * width), kernel_size=3, padding=1)
            layers[f"relu{name}"] = nn.ReLU(inplace=True)
        pool = (1, 2, 2) if stage == 1 else (2, 2, 2)
        layers[f"pool{stage}"] = nn.MaxPool3d(pool, pool, ceil_mode=True)
    layers["grid"] = _GridAverage(GRID)
    network = nn.Sequential(layers)
    _initialise(network)
    return network


class _GridAverage(nn.AdaptiveAvgPool3d):
    """Averages a map to a grid of one step in time; in an export by other operations, as ONNX has no equal."""

    def forward(self, x: Tensor) -> Tensor:
        """Average maps (B, C, T, H, W) to (B, C, 1, 4, 4)."""
        if not torch.compiler.is_exporting():
            return super().forward(x)
        rows, columns = (_cell_shares(size, cells).to(x) for size, cells in zip(x.shape[-2:], GRID[1:], strict=True))
        return rows @ x.mean(2, keepdim=True) @ columns.T


def _cell_shares(size: int, cells: int) -> Tensor:
    """Return the share, (cells, size), that each place has in the mean of each cell of an adaptive average."""
    place, cell = torch.arange(size), torch.arange(cells)[:, None]
    inside = (place >= cell * size // cells) & (place < -(-(cell + 1) * size // cells))
    return inside / inside.sum(1, keepdim=True)


def c3d_features(width: float = 1.0) -> int:
    """Return the number of values in the last map of the convolutional part."""
    return round(STAGES[-1][-1][1] * width) * math.prod(GRID)


def hidden_layer(inputs: int, units: int) -> nn.Linear:
    """Build a fully connected layer that ReLU follows, such as fc6: (..., inputs) -> (..., units)."""
    layer = nn.Linear(inputs, units)
    _initialise(layer)
    return layer


class C3D(nn.Module):
    """C3D (Tran et al., 2015) for clips of 16 x 112 x 112.

    With the 487 classes of Sports-1M it has 79 991 015 parameters.

    Args:
        num_classes: Number of classes C.
        width: Fraction of the published channels and hidden units.
        dropout: Dropout rate after both hidden layers.
    """

    def __init__(self, num_classes: int, width: float = 1.0, dropout: float = 0.5) -> None:
        super().__init__()
        self.features = c3d_convolutions(width)
        self.num_features = round(4096 * width)
        self.fc6 = hidden_layer(c3d_features(width), self.num_features)
        self.fc7 = hidden_layer(self.num_features, self.num_features)
        self.dropout = nn.Dropout(dropout)
        self.fc8 = nn.Linear(self.num_features, num_classes)

    def embed(self, clips: Tensor) -> Tensor:
        """Compute the feature that fc8 classifies: (B, T, 3, H, W) -> (B, 4096 width)."""
        features = self.features(clips.transpose(1, 2)).flatten(1)
        hidden = self.dropout(F.relu(self.fc6(features)))
        return self.dropout(F.relu(self.fc7(hidden)))  # type: ignore[no-any-return]

    def forward(self, clips: Tensor) -> Tensor:
        """Compute the scores of the classes: (B, T, 3, H, W) -> (B, C)."""
        return self.fc8(self.embed(clips))  # type: ignore[no-any-return]


def _initialise(module: nn.Module) -> None:
    """Apply He's initialisation [our choice]. Without BatchNorm, torch's default loses the signal over ten layers."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv3d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
