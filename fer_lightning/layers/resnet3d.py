"""ResNet3D and ResNeXt3D: residual networks of 3x3x3 convolutions, built from torchvision's blocks.

Hara et al. (2018), "Can Spatiotemporal 3D CNNs Retrace the History of 2D CNNs and ImageNet?", CVPR 2018,
https://arxiv.org/abs/1711.09577
"""

from torch import Tensor, nn
from torchvision.models.video.resnet import BasicBlock, Bottleneck  # type: ignore[import-untyped]

BASIC = {10: (1, 1, 1, 1), 18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}
BOTTLENECK = {26: (2, 2, 2, 2), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
STEM = 64


class ResNeXtBlock(Bottleneck):  # type: ignore[misc]
    """Bottleneck with half the expansion, whose grouped inner convolution is twice as wide."""

    expansion = 2


class ResNet3D(nn.Module):
    """ResNet3D, or with a cardinality above 1 ResNeXt3D: (B, 3, T, H, W) -> (B, D).

    Networks of basic blocks follow torchvision's `r3d_18` (3x7x7 stem), and those of bottlenecks Hara et al. (7x7x7
    stem, max pooling), so that the Kinetics weights published by either can be loaded.

    Args:
        depth: 10, 18 or 34 for basic blocks; 26, 50, 101 or 152 for bottlenecks.
        cardinality: Groups of a bottleneck's inner convolution, 32 in ResNeXt; 1 for a ResNet.
        width: Fraction of the published channels, rounded to multiples of the cardinality.

    Raises:
        ValueError: The depth is unknown, or basic blocks have a cardinality above 1.
    """

    def __init__(self, depth: int = 18, cardinality: int = 1, width: float = 1.0) -> None:
        super().__init__()
        if depth not in BASIC | BOTTLENECK or (depth in BASIC and cardinality > 1):
            raise ValueError(
                f"there is no 3D network of depth {depth} and cardinality {cardinality}; expected a depth of "
                f"{', '.join(map(str, BASIC))} with cardinality 1, or of {', '.join(map(str, BOTTLENECK))}"
            )
        self.cardinality, self.width = cardinality, width
        self.channels = self._scaled(STEM)
        self.stem = self._stem(bottleneck=depth in BOTTLENECK)
        block = BasicBlock if depth in BASIC else (ResNeXtBlock if cardinality > 1 else Bottleneck)
        widest = STEM * 2 if cardinality > 1 else STEM
        blocks = (BASIC | BOTTLENECK)[depth]
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            self._layer(block, self._scaled(widest * 2**stage), count, stride=1 if stage == 0 else 2)
            for stage, count in enumerate(blocks)
        )
        self.num_features = self.channels
        self.pool = nn.AdaptiveAvgPool3d(1)
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, clips: Tensor) -> Tensor:
        """Compute the features of clips: (B, 3, T, H, W) -> (B, D)."""
        x = self.layer2(self.layer1(self.stem(clips)))
        return self.pool(self.layer4(self.layer3(x))).flatten(1)  # type: ignore[no-any-return]

    def _scaled(self, channels: int) -> int:
        return max(1, round(channels * self.width / self.cardinality)) * self.cardinality

    def _stem(self, bottleneck: bool) -> nn.Sequential:
        length = 7 if bottleneck else 3
        convolution = nn.Conv3d(3, self.channels, (length, 7, 7), (1, 2, 2), (length // 2, 3, 3), bias=False)
        pool = [nn.MaxPool3d(3, stride=2, padding=1)] if bottleneck else []
        return nn.Sequential(convolution, nn.BatchNorm3d(self.channels), nn.ReLU(inplace=True), *pool)

    def _layer(self, block: type[BasicBlock | Bottleneck], channels: int, count: int, stride: int) -> nn.Sequential:
        """Build a stage of equal blocks, the first of which has the stride."""

        def convolution(inputs: int, outputs: int, _middle: int, stride: int = 1) -> nn.Conv3d:
            return nn.Conv3d(inputs, outputs, 3, stride, padding=1, groups=self.cardinality, bias=False)

        outputs = channels * block.expansion
        shortcut = None
        if stride != 1 or self.channels != outputs:
            shortcut = nn.Sequential(
                nn.Conv3d(self.channels, outputs, 1, stride, bias=False),
                nn.BatchNorm3d(outputs),
            )
        first = block(self.channels, channels, convolution, stride, shortcut)
        self.channels = outputs
        return nn.Sequential(first, *(block(outputs, channels, convolution) for _ in range(count - 1)))
