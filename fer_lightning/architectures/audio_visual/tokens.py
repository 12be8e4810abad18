"""The tokens of faces and audio: features of a frame or of a moment, with their time in the clip."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data_modules.loading.batch import ClipBatch
from fer_lightning.architectures.log_mel_cnn import LogMelFrames
from fer_lightning.layers.backbones import FrameBackbone
from fer_lightning.layers.masking import zero_absent_images
from fer_lightning.layers.pixels import IMAGENET, PixelConversion
from fer_lightning.layers.video_transformer import VideoTransformer


@dataclass(frozen=True)
class Tokens:
    """Tokens of one modality for B samples."""

    values: Tensor  # (B, N, W)
    mask: Tensor  # (B, N) bool, true for real tokens

    @property
    def present(self) -> Tensor:
        """(B,) bool, true for samples with at least one real token."""
        return self.mask.any(dim=1)

    @property
    def padding(self) -> Tensor:
        """(B, N) bool, true for tokens that are not attended to; none if all are padding, or attention would be NaN."""
        return ~self.mask & self.present[:, None]


class Tokeniser(nn.Module):
    """Project a modality's features to tokens and add their time in the clip.

    Args:
        size: Length D of the features.
        width: Length W of the tokens.
    """

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(size)
        self.project = nn.Linear(size, width)

    def forward(self, features: Tensor, mask: Tensor) -> Tokens:
        """Make tokens of features (B, N, D), of which those in the mask (B, N) are real."""
        values = self.project(self.norm(features))
        values = values + time_encoding(mask, values.shape[2]).to(values.dtype)
        return Tokens(torch.where(mask[..., None], values, 0), mask)


def time_encoding(mask: Tensor, width: int) -> Tensor:
    """Encode the time of each token as sines and cosines: (B, N) -> (B, N, W).

    The time runs from 0 at the start of the clip to 1 at its end. Speech segments are cut out of the audio and frames
    are sampled from the whole clip, so the time relative to the clip is the only one known for both.

    Args:
        mask: (B, N) bool, true for real tokens.
        width: Length W of the encoding.
    """
    time = (mask.cumsum(dim=1) - 0.5) / mask.sum(dim=1, keepdim=True).clamp_min(1)  # (B, N)
    octaves = 2.0 ** torch.linspace(-1, 5, math.ceil(width / 2), device=mask.device)
    angle = math.pi * time[..., None] * octaves
    return torch.cat([angle.sin(), angle.cos()], dim=2)[..., :width]


def moments_of(backbone: VideoTransformer, faces: Tensor, mask: Tensor) -> Tensor:
    """Compute the features of each of N moments, or rows of regions, of faces (B, T, 3, H, W): -> (B, N, D)."""
    tokens = backbone.tokens(faces, mask)
    tokens = tokens.reshape(len(tokens), backbone.moments, -1, tokens.shape[2])
    return backbone.norm(tokens.mean(dim=2))  # type: ignore[no-any-return]


class FaceEncoder(nn.Module):
    """Encode each face frame (B, T, 3, H, W) as a token, or each moment of a `VideoTransformer` with all its places."""

    field = "face"

    def __init__(self, backbone: FrameBackbone | VideoTransformer, width: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.tokens = Tokeniser(backbone.num_features, width)

    def forward(self, batch: ClipBatch) -> Tokens:
        """Make tokens, which are real for the real frames of clips with a face."""
        assert batch.face is not None
        mask = batch.mask & batch.has("face")[:, None]
        if isinstance(self.backbone, VideoTransformer):
            features = moments_of(self.backbone, batch.face, mask)
            mask = mask.any(dim=1, keepdim=True).expand(features.shape[:2])
        elif self.training:  # black frames of clips without a face would change BatchNorm's statistics
            seen = self.backbone(batch.face[mask])
            features = seen.new_zeros(*mask.shape, seen.shape[1]).index_put((mask,), seen)
        else:
            features = self.backbone(batch.face)
        return self.tokens(features, mask)  # type: ignore[no-any-return]


class SpectralFilters(nn.Module):
    """Filters over the frequencies of a spectrogram: (B, 3, S, S) uint8 -> (B, moments, filters).

    They have few parameters, for small data sets: a CNN with hundreds of thousands would memorise the training clips.

    Args:
        bands: Frequency bands, and columns, to which the spectrogram is averaged.
        filters: Number of filters over a column.
        moments: Moments to which the columns are averaged after the filters.
    """

    def __init__(self, bands: int = 64, filters: int = 16, moments: int = 8) -> None:
        super().__init__()
        self.bands, self.num_features = bands, filters
        self.conversion = PixelConversion(IMAGENET)
        self.layers = nn.Sequential(
            nn.BatchNorm1d(bands), nn.Conv1d(bands, filters, 1), nn.GELU(), nn.AdaptiveAvgPool1d(moments)
        )

    def forward(self, spectrograms: Tensor, has_audio: Tensor) -> Tensor:
        """Filter the mean over the colour channels, which is 0 for clips without audio (B,)."""
        levels = zero_absent_images(self.conversion(spectrograms), has_audio).mean(dim=1)
        grey = F.adaptive_avg_pool2d(levels, self.bands)  # (B, bands, bands)
        return self.layers(grey).transpose(1, 2)  # type: ignore[no-any-return]


class SpectralCNN(nn.Module):
    """An image network, a transformer among them, on spectrograms: (B, 3, S, S) uint8 -> (B, w, D).

    The last map is averaged over the frequencies, so that each of its w columns is a moment. A transformer's patches
    are such a map; its class token is left out.
    """

    def __init__(self, backbone: FrameBackbone) -> None:
        super().__init__()
        self.backbone, self.num_features = backbone, backbone.num_features
        self.backbone.network.reset_classifier(0, "")  # output the last map unpooled

    def forward(self, spectrograms: Tensor, has_audio: Tensor) -> Tensor:
        """Compute the features of the columns; clips without audio (B,) are the mean image."""
        images = zero_absent_images(self.backbone.normalise(spectrograms), has_audio)
        maps: Tensor = self.backbone.network(images)  # (B, D, h, w), or (B, class token and h w patches, D)
        if maps.ndim == 3:
            grid = self.backbone.network.patch_embed.grid_size
            maps = maps[:, -grid[0] * grid[1] :].transpose(1, 2).reshape(len(maps), -1, *grid)
        return maps.mean(dim=2).transpose(1, 2)


class AudioEncoder(nn.Module):
    """Encode each moment of a spectrogram (B, 3, S, S), or of log-mel energies (B, N, M), as a token."""

    def __init__(self, backbone: FrameBackbone | LogMelFrames | None, width: int) -> None:
        super().__init__()
        self.backbone: SpectralFilters | SpectralCNN | LogMelFrames
        if isinstance(backbone, LogMelFrames):
            self.backbone = backbone
        else:
            self.backbone = SpectralFilters() if backbone is None else SpectralCNN(backbone)
        self.field = "log_mel" if isinstance(backbone, LogMelFrames) else "spectrogram"
        self.tokens = Tokeniser(self.backbone.num_features, width)

    def forward(self, batch: ClipBatch) -> Tokens:
        """Make tokens, which are real for clips with audio."""
        if isinstance(self.backbone, LogMelFrames):
            return self.tokens(*self.backbone.frames(batch))  # type: ignore[no-any-return]
        assert batch.spectrogram is not None
        has_audio = batch.has("audio")
        features = self.backbone(batch.spectrogram, has_audio)  # (B, N, D)
        return self.tokens(features, has_audio[:, None].expand(-1, features.shape[1]))  # type: ignore[no-any-return]
