"""A small network of log-mel energies: residual convolutions, attentive statistics pooling, and augmentation.

[our choice] It is not from one of the papers. openSMILE's licence permits research alone, and its functionals average
over a whole clip. This network reads frames that are long enough to resolve the harmonics of a voice, and has few
enough weights for the thousand clips of an acted data set. Its parts are from:

He et al. (2016), "Deep Residual Learning for Image Recognition", CVPR 2016, figure 2, https://arxiv.org/abs/1512.03385

Okabe et al. (2018), "Attentive Statistics Pooling for Deep Speaker Embedding", Interspeech 2018,
https://arxiv.org/abs/1803.10963

Park et al. (2019), "SpecAugment: A Simple Data Augmentation Method for Automatic Speech Recognition", Interspeech
2019, section 2, https://arxiv.org/abs/1904.08779

Jaitly and Hinton (2013), "Vocal Tract Length Perturbation (VTLP) improves speech recognition", ICML workshop on deep
learning for audio, speech and language processing
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data_modules.loading.batch import ClipBatch
from data_modules.loading.datamodule import VideoDataModule
from fer_lightning.evaluation.outputs import ClassifierOutput
from fer_lightning.layers.masking import masked_softmax
from fer_lightning.training.classifier import VideoClassifier

MIN_VARIANCE = 1e-5  # of pooled values, whose root would have no gradient at 0


class VoiceAugmentation(nn.Module):
    """Random changes of standardised log-mel energies in training; in evaluation it changes nothing.

    The clip becomes faster or slower, and its bands are shifted and stretched like another speaker's, as in VTLP
    (Jaitly and Hinton), but on the mel scale. Its level changes. One stretch of frames and one of bands are set to the
    mean, 0 (Park et al., section 2, without its time warping). All numbers are drawn from torch's own generator.

    Args:
        tempo: Largest change of the tempo, as a share.
        shift: Largest shift of the bands, as a share of half of them, and twice the largest change of their scale.
        level: Largest change of the level, in standard deviations.
        bands: Largest number of bands that are hidden.
        frames: Largest number of frames that are hidden.
    """

    def __init__(
        self, tempo: float = 0.1, shift: float = 0.06, level: float = 0.5, bands: int = 8, frames: int = 12
    ) -> None:
        super().__init__()
        self.tempo, self.shift, self.level, self.bands, self.frames = tempo, shift, level, bands, frames

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Change clips (B, N, M) whose real frames (B, N) come first; return them with their real frames."""
        if not self.training:
            return x, mask
        x, mask = self._warp(x, mask)
        x = x + self._uniform(x, self.level)[:, None, None]
        hidden = _stretch(mask.sum(dim=1), x.shape[1], self.frames)[..., None]
        hidden = hidden | _stretch(x.new_full((len(x),), x.shape[2]), x.shape[2], self.bands)[:, None]
        return torch.where(hidden, 0, x), mask

    def _warp(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        tempo = 1 + self._uniform(x, self.tempo)
        matrix = x.new_zeros(len(x), 2, 3)  # from places in the result to places in the clip, both from -1 to 1
        matrix[:, 0, 0], matrix[:, 0, 2] = 1 + self._uniform(x, self.shift / 2), self._uniform(x, self.shift)
        matrix[:, 1, 1], matrix[:, 1, 2] = tempo, tempo - 1  # the first frame stays where it is
        grid = F.affine_grid(matrix, [len(x), 1, *x.shape[1:]], align_corners=False)
        warped = F.grid_sample(x[:, None], grid, padding_mode="border", align_corners=False)[:, 0]
        length = (mask.sum(dim=1) / tempo).ceil()
        return warped, torch.arange(x.shape[1], device=x.device) < length[:, None]

    @staticmethod
    def _uniform(x: Tensor, largest: float) -> Tensor:
        """Draw (B,) numbers between minus and plus the largest."""
        return (2 * torch.rand(len(x), device=x.device) - 1) * largest


def _stretch(length: Tensor, size: int, largest: int) -> Tensor:
    """Draw a stretch of up to `largest` places within the first (B,) of `size` places: (B, size) bool."""
    width = torch.rand(len(length), device=length.device) * largest
    start = torch.rand(len(length), device=length.device) * (length - width).clamp_min(0)
    places = torch.arange(size, device=length.device)
    return (places >= start[:, None]) & (places < (start + width)[:, None])


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions with BatchNorm beside a shortcut (He et al., figure 2); frames of padding stay 0.

    Args:
        inputs: Channels that come in.
        outputs: Channels that go out.
        stride: Of bands and frames.
    """

    def __init__(self, inputs: int, outputs: int, stride: tuple[int, int]) -> None:
        super().__init__()
        self.stride = stride
        self.first = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(outputs) for _ in range(3))
        self.shortcut = nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Compute (B, C', M', N') of (B, C, M, N), with the real frames (B, N')."""
        bands, frames = self.stride
        mask = mask[:, ::frames]
        real = mask[:, None, None]
        hidden = F.relu(self.norms[0](self.first(x))) * real
        # Not a stride of the convolution: on processors without AVX-512, oneDNN writes beyond its memory in the
        # gradients of strided 1 x 1 convolutions of two to seven channels that are stored last, and the process ends.
        beside = self.norms[2](self.shortcut(x[:, :, ::bands, ::frames]))
        return F.relu(self.norms[1](self.second(hidden)) + beside) * real, mask


class AttentiveStatistics(nn.Module):
    """Mean and standard deviation over frames that attention weighs (Okabe et al.).

    Args:
        width: Values D of a frame.
        hidden: Units of the layer that computes the weights.
    """

    def __init__(self, width: int, hidden: int = 64) -> None:
        super().__init__()
        self.hidden = nn.Linear(width, hidden)
        self.score = nn.Linear(hidden, 1, bias=False)  # a softmax cancels a bias

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Pool (B, N, D) over its real frames (B, N) to (B, 2 D) in float32."""
        weights = masked_softmax(self.score(torch.tanh(self.hidden(x)))[..., 0], mask)[..., None]
        x = x.float()
        mean = (weights * x).sum(dim=1)
        variance = (weights * x.square()).sum(dim=1) - mean.square()
        return torch.cat([mean, variance.clamp_min(MIN_VARIANCE).sqrt()], dim=1)


class LogMelLayers(nn.Module):
    """The convolutions over standardised log-mel energies, which `LogMelCNN` and `LogMelFrames` have in common."""

    mean: Tensor  # (M,) of the bands of the training clips
    deviation: Tensor  # (M,)

    def add_layers(self, bands: int, width: int, augmentation: VoiceAugmentation | None) -> int:
        """Add the layers and return the length D of a frame's vector behind them; see `LogMelCNN`."""
        self.augmentation = augmentation
        self.register_buffer("mean", torch.zeros(bands))
        self.register_buffer("deviation", torch.ones(bands))
        self.stem = nn.Conv2d(1, width, 5, 2, 2, bias=False)
        self.norm = nn.BatchNorm2d(width)
        strides = ((2, 2), (2, 2), (2, 1))
        channels = (width, 2 * width, 4 * width, 6 * width)
        self.blocks = nn.ModuleList(map(ResidualBlock, channels[:-1], channels[1:], strides))
        rows = bands
        for _ in range(1 + len(strides)):  # each halves the bands
            rows = (rows + 1) // 2
        self.joined = nn.Linear(rows * channels[-1], channels[-1])
        return channels[-1]

    def fit_statistics(self, data: VideoDataModule) -> None:
        """Measure mean and standard deviation of each band over the training clips."""
        total, squares, count = torch.zeros(3, len(self.mean), dtype=torch.float64).unbind()
        for batch in data.fitting_dataloader():
            frames, mask = self._energies(batch)
            real = frames[mask].double().cpu()
            total, squares, count = total + real.sum(dim=0), squares + real.square().sum(dim=0), count + len(real)
        mean = total / count.clamp_min(1)
        self.mean.copy_(mean)
        self.deviation.copy_((squares / count.clamp_min(1) - mean.square()).clamp_min(MIN_VARIANCE).sqrt())

    def frames(self, batch: ClipBatch) -> tuple[Tensor, Tensor]:
        """Compute vectors of N' frames of log-mel energies (B, N, M): (B, N', D), and which are real (B, N')."""
        x, mask = self._energies(batch)
        x = (x - self.mean) / self.deviation * mask[..., None]
        if self.augmentation is not None:
            x, mask = self.augmentation(x, mask)
            x = x * mask[..., None]
        x = x.transpose(1, 2)[:, None].contiguous(memory_format=torch.channels_last)  # (B, 1, M, N), faster on CPUs
        mask = mask[:, ::2]
        x = F.relu(self.norm(self.stem(x))) * mask[:, None, None]
        for block in self.blocks:
            x, mask = block(x, mask)
        return F.relu(self.joined(x.flatten(1, 2).transpose(1, 2))), mask

    def _energies(self, batch: ClipBatch) -> tuple[Tensor, Tensor]:
        """Return log-mel energies (B, N, M), 0 where there are none, and the real frames (B, N).

        Raises:
            ValueError: The data has another number of bands.
        """
        assert batch.log_mel is not None
        if batch.log_mel.shape[2] != len(self.mean):
            raise ValueError(
                f"the model is made for {len(self.mean)} bands, and the data has {batch.log_mel.shape[2]}: set the "
                "network's `bands` and --data.audio.bands to the same number"
            )
        mask = batch.log_mel.isfinite().all(dim=2) & batch.has("audio")[:, None]
        return torch.where(mask[..., None], batch.log_mel, 0), mask


class LogMelFrames(LogMelLayers):
    """`LogMelCNN` without its pooling, whose frames are the moments of another network's audio.

    Args:
        bands: See `LogMelCNN`, as the other arguments.
        width: Channels of the first convolution.
        augmentation: Changes training clips.
    """

    def __init__(self, bands: int = 80, width: int = 16, augmentation: VoiceAugmentation | None = None) -> None:
        super().__init__()
        self.num_features = self.add_layers(bands, width, augmentation)


class LogMelCNN(LogMelLayers, VideoClassifier):
    """A residual network over the log-mel energies of a clip's audio, standardised with the training clips' statistics.

    Example:
        >>> from fer_lightning import LogMelCNN, random_batch
        >>> model = LogMelCNN(("anger", "joy")).eval()
        >>> model(random_batch(model.inputs)).logits.shape
        torch.Size([2, 2])

    Args:
        class_names: Emotion names in alphabetical order.
        bands: Number M of bands, as in `data.audio.bands`.
        width: Channels of the first convolution; the blocks have two, four and six times as many.
        dropout: Dropout rate before the last layer.
        augmentation: Changes training clips. None changes nothing.
        training: Optimiser, schedule and loss, see `VideoClassifier`.
    """

    inputs: frozenset[str] = frozenset({"log_mel"})

    def __init__(
        self,
        class_names: Sequence[str],
        bands: int = 80,
        width: int = 16,
        dropout: float = 0.3,
        augmentation: VoiceAugmentation | None = None,
        **training: Any,
    ) -> None:
        super().__init__(class_names, **training)
        size = self.add_layers(bands, width, augmentation)
        self.pooling = AttentiveStatistics(size)
        self.dropout = nn.Dropout(dropout)
        self.score = nn.Linear(2 * size, len(class_names))

    def forward(self, batch: ClipBatch) -> ClassifierOutput:
        """Classify log-mel energies (B, N, M). The feature is the pooled one; both are 0 for clips without audio."""
        frames, mask = self.frames(batch)  # (B, N', D)
        feature = self.pooling(frames, mask)
        values = (self.score(self.dropout(feature)), feature)
        return ClassifierOutput(*(torch.where(mask.any(dim=1, keepdim=True), value, 0) for value in values))
