"""Faces and voice in one network, trained end to end, either of which may be missing.

It stands beside the papers: bi-modality fusion (Li et al., 2019) trains its networks apart and adds their scores.
Here frames of the face are tokens of one transformer, stretches of the spectrogram of another, and what the two say is
multiplied: if face and voice depend on each other through the emotion alone, and no emotion is more frequent than
others, the logarithm of its probability given both is, but for a constant, the sum of those given each (a product of
experts; Hinton, 2002), to which what is missing adds nothing. That holds for experts who know how sure they may be, so
in training one of the two is hidden now and then (modality dropout; Neverova et al., ModDrop, TPAMI 2016), and each is
trained alone, too.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data_modules.loading.batch import ClipBatch
from fer_lightning.evaluation.outputs import ClassifierOutput, StreamScores
from fer_lightning.layers.backbones import FrameBackbone
from fer_lightning.layers.masking import masked_softmax
from fer_lightning.layers.pixels import IMAGENET, PixelConversion
from fer_lightning.training.classifier import VideoClassifier

Modality = Literal["face", "audio"]
FIELDS: dict[Modality, str] = {"face": "face", "audio": "spectrogram"}


@dataclass(frozen=True)
class Tokens:
    """What one modality gives of B samples: a vector for each moment."""

    values: Tensor  # (B, N, W)
    mask: Tensor  # (B, N) bool, true where there is something

    @property
    def present(self) -> Tensor:
        """(B,) which samples have any."""
        return self.mask.any(dim=1)


class Tokeniser(nn.Module):
    """A modality's features -> tokens: a linear layer, and where in the clip they are.

    Args:
        size: of the features.
        width: of the tokens.
    """

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(size)
        self.project = nn.Linear(size, width)

    def forward(self, features: Tensor, mask: Tensor) -> Tokens:
        """(B, N, D), (B, N) -> N tokens."""
        values = self.project(self.norm(features))
        values = values + moments(mask, values.shape[2]).to(values.dtype)
        return Tokens(torch.where(mask[..., None], values, 0), mask)


def moments(mask: Tensor, width: int) -> Tensor:
    """(B, N) which are real -> (B, N, W): when each is, from 0 at the clip's beginning to 1 at its end, as waves.

    Speech is cut out of the sound and frames are sampled from the whole clip, so both know the time by the clip alone.
    """
    time = (mask.cumsum(dim=1) - 0.5) / mask.sum(dim=1, keepdim=True).clamp_min(1)  # (B, N)
    octaves = 2.0 ** torch.linspace(-1, 5, math.ceil(width / 2), device=mask.device)
    angle = math.pi * time[..., None] * octaves
    return torch.cat([angle.sin(), angle.cos()], dim=2)[..., :width]


class FaceEncoder(nn.Module):
    """Faces (B, T, 3, H, W) -> a token for every frame."""

    def __init__(self, backbone: FrameBackbone, width: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.tokens = Tokeniser(backbone.num_features, width)

    def forward(self, batch: ClipBatch) -> Tokens:
        """Of the frames that are real, in clips that have a face."""
        assert batch.face is not None
        return self.tokens(self.backbone(batch.face), batch.mask & batch.has("face")[:, None])  # type: ignore[no-any-return]


class SpectralFilters(nn.Module):
    """Filters over the frequencies of a spectrogram: (B, 3, S, S) uint8 -> (B, moments, filters); for few clips.

    Where a voice tells little, a CNN of hundreds of thousands of parameters learns the clips instead.

    Args:
        bands: of frequencies, and columns, to which the spectrogram is averaged.
        filters: that look at a column.
        moments: to which the columns are averaged then.
    """

    def __init__(self, bands: int = 64, filters: int = 16, moments: int = 8) -> None:
        super().__init__()
        self.bands, self.num_features = bands, filters
        self.conversion = PixelConversion(IMAGENET)
        self.layers = nn.Sequential(
            nn.BatchNorm1d(bands), nn.Conv1d(bands, filters, 1), nn.GELU(), nn.AdaptiveAvgPool1d(moments)
        )

    def forward(self, pictures: Tensor, has_audio: Tensor) -> Tensor:
        """Of the grey levels, in whatever colours they come; zeros in clips (B,) without sound."""
        levels = _where_heard(self.conversion(pictures), has_audio).mean(dim=1)
        grey = F.adaptive_avg_pool2d(levels, self.bands)  # (B, bands, bands)
        return self.layers(grey).transpose(1, 2)  # type: ignore[no-any-return]


class SpectralCNN(nn.Module):
    """Spectrograms (B, 3, S, S) uint8 -> the columns (B, w, D) of an image network's last map.

    They are averaged over frequencies.
    """

    def __init__(self, backbone: FrameBackbone) -> None:
        super().__init__()
        self.backbone, self.num_features = backbone, backbone.num_features
        self.backbone.network.reset_classifier(0, "")  # the map as it is

    def forward(self, pictures: Tensor, has_audio: Tensor) -> Tensor:
        """Columns are moments; clips (B,) without sound are the mean picture."""
        images = _where_heard(self.backbone.converted(pictures), has_audio)
        maps: Tensor = self.backbone.network(images)  # (B, D, h, w)
        return maps.mean(dim=2).transpose(1, 2)


def _where_heard(images: Tensor, has_audio: Tensor) -> Tensor:
    """Normalised spectrograms (B, 3, S, S), zeros where clips (B,) have no sound: BatchNorm counts these too."""
    return torch.where(has_audio[:, None, None, None], images, 0)


class AudioEncoder(nn.Module):
    """Spectrograms (B, 3, S, S) -> a token for every moment."""

    def __init__(self, backbone: FrameBackbone | None, width: int) -> None:
        super().__init__()
        self.backbone = SpectralFilters() if backbone is None else SpectralCNN(backbone)
        self.tokens = Tokeniser(self.backbone.num_features, width)

    def forward(self, batch: ClipBatch) -> Tokens:
        """Of clips that have sound."""
        assert batch.spectrogram is not None
        has_audio = batch.has("audio")
        features = self.backbone(batch.spectrogram, has_audio)  # (B, N, D)
        return self.tokens(features, has_audio[:, None].expand(-1, features.shape[1]))  # type: ignore[no-any-return]


class Pooling(nn.Module):
    """Attention over tokens: (B, N, W), (B, N) -> (B, W), and the weights (B, N); zeros where there are none."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.score = nn.Linear(width, 1, bias=False)  # a softmax does not see what is added to all

    def forward(self, tokens: Tokens) -> tuple[Tensor, Tensor]:
        """A weighted mean, and how much each token counts in it."""
        weights = masked_softmax(self.score(tokens.values)[..., 0], tokens.mask)
        return (weights.to(tokens.values.dtype)[:, None] @ tokens.values)[:, 0], weights


@dataclass(frozen=True)
class ModalityOutput:
    """What one modality says of B samples; logits and features are zeros where it is missing."""

    logits: Tensor  # (B, C)
    feature: Tensor  # (B, W)
    weights: Tensor  # (B, N) how much each token counts
    present: Tensor  # (B,)


class ModalityBranch(nn.Module):
    """One modality by itself: its tokens attend to each other, are pooled by attention, and classified.

    Args:
        encoder: makes `width` values of every moment.
        width: of the tokens.
        num_classes: C.
        layers: of the transformer, LayerNorm first.
        heads: of its attention.
        dropout: of the transformer and before the last layer.
    """

    def __init__(
        self, encoder: FaceEncoder | AudioEncoder, width: int, num_classes: int, layers: int, heads: int, dropout: float
    ) -> None:
        super().__init__()
        self.encoder = encoder
        layer = nn.TransformerEncoderLayer(
            width, heads, 2 * width, dropout, activation="gelu", batch_first=True, norm_first=True
        )
        self.transformer = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.pooling = Pooling(width)
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)
        self.score = nn.Linear(width, num_classes)

    def forward(self, batch: ClipBatch) -> ModalityOutput:
        """The samples' tokens, and what they say together."""
        tokens: Tokens = self.encoder(batch)
        present = tokens.present
        hidden = ~tokens.mask & present[:, None]  # where there is nothing at all, all is looked at, for nothing
        values = self.transformer(tokens.values, src_key_padding_mask=hidden)
        pooled, weights = self.pooling(Tokens(values, tokens.mask))
        feature = self.norm(pooled)
        logits = self.score(self.dropout(feature))
        there = present[:, None]
        return ModalityOutput(torch.where(there, logits, 0), torch.where(there, feature, 0), weights, present)


class AudioVisual(VideoClassifier):
    """Faces and voice, trained together; of a clip that lacks one of them it says what the other tells.

    Its streams are what each branch says alone; its logits are their sum.

    Example:
        >>> from fer_lightning import AudioVisual, FrameBackbone, random_batch
        >>> model = AudioVisual(("anger", "joy"), FrameBackbone("resnet10t"), width=32).eval()
        >>> model(random_batch(model.inputs, size=64)).logits.shape
        torch.Size([2, 2])

    Args:
        class_names: emotion names in alphabetical order.
        face_backbone: of the frames; ResNet-18 at random where None.
        audio_backbone: of the spectrogram, one of timm's whose last map has rows and columns; `SpectralFilters`, which
            few clips are enough for, where None.
        modalities: what it looks at: `face`, `audio`, or both; one alone is the same network without the other's
            branch.
        width: of the tokens.
        layers: of each branch's transformer.
        heads: of its attention.
        dropout: of the transformers and before the last layers.
        modality_dropout: share of the training samples with both of which one is hidden from the sum.
        stream_weight: of the loss of what each branch says alone; where the sum counts more, a branch learns only what
            the other does not know by heart, and is worse than it would be alone.
        training: optimiser, schedule and loss, see `VideoClassifier`.

    Raises:
        ValueError: no modality, or an unknown one; or a share that is not from 0 to 1.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        face_backbone: FrameBackbone | None = None,
        audio_backbone: FrameBackbone | None = None,
        modalities: Sequence[Modality] = ("face", "audio"),
        width: int = 256,
        layers: int = 2,
        heads: int = 4,
        dropout: float = 0.1,
        modality_dropout: float = 0.3,
        stream_weight: float = 2.0,
        **training: Any,
    ) -> None:
        super().__init__(class_names, **training)
        if not modalities or len(set(modalities)) < len(modalities) or not set(modalities) <= set(get_args(Modality)):
            raise ValueError(f"modalities are one or both of {get_args(Modality)}; found {list(modalities)}")
        if not 0 <= modality_dropout <= 1:
            raise ValueError(f"modality_dropout is a share from 0 to 1; found {modality_dropout}")
        self.modalities = tuple(name for name in get_args(Modality) if name in modalities)
        self.inputs = frozenset(FIELDS[name] for name in self.modalities)
        self.modality_dropout, self.stream_weight = modality_dropout, stream_weight
        encoders: list[FaceEncoder | AudioEncoder] = []
        if "face" in self.modalities:
            encoders.append(FaceEncoder(face_backbone or FrameBackbone("resnet18"), width))
        if "audio" in self.modalities:
            encoders.append(AudioEncoder(audio_backbone, width))
        # `halves` is what their tensors are called in checkpoints.
        self.halves = nn.ModuleList(
            ModalityBranch(one, width, len(class_names), layers, heads, dropout) for one in encoders
        )

    def forward(self, batch: ClipBatch) -> ClassifierOutput:
        """Faces and spectrograms -> logits, what they are made of, how much each frame counts, and both streams.

        Frames have seen each other before they are weighed: the one that counts most need not show the expression.
        """
        outputs: list[ModalityOutput] = [branch(batch) for branch in self.halves]
        seen = self.seen(torch.stack([one.present for one in outputs], dim=1))  # (B, M)
        logits = torch.stack([one.logits for one in outputs], dim=1)  # (B, M, C)
        return ClassifierOutput(
            torch.where(seen[..., None], logits, 0).sum(dim=1),
            torch.cat([one.feature for one in outputs], dim=1),
            outputs[0].weights if "face" in self.modalities else None,
            streams=self._streams(outputs),
        )

    def seen(self, present: Tensor) -> Tensor:
        """(B, M) which modalities there are -> those that are in the sum; in training one may be hidden."""
        if not self.training or present.shape[1] < 2:
            return present
        count, kinds = present.shape
        drawn = torch.rand(count, device=present.device) < self.modality_dropout
        which = torch.randint(kinds, (count,), device=present.device)
        hidden = F.one_hot(which, kinds).bool() & (drawn & present.all(dim=1))[:, None]
        return present & ~hidden

    def _streams(self, outputs: Sequence[ModalityOutput]) -> tuple[StreamScores, ...]:
        """What each of two modalities says alone, NaN where it is missing."""
        if len(outputs) < 2:
            return ()
        return tuple(
            StreamScores(name, torch.where(one.present[:, None], one.logits, float("nan")))
            for name, one in zip(self.modalities, outputs, strict=True)
        )

    def loss(self, output: ClassifierOutput, batch: ClipBatch) -> Tensor:
        """The cross-entropy, and that of each stream over the samples that it has; see `VideoClassifier.loss`."""
        total = super().loss(output, batch)
        for stream in output.streams:
            there = ~stream.logits.isnan().any(dim=1)
            logits = torch.where(there[:, None], stream.logits, 0)
            losses = F.cross_entropy(
                logits.float(), batch.label, reduction="none", label_smoothing=self.label_smoothing
            )
            total = total + self.stream_weight * (losses * self.weights[batch.label] * there).mean()
        return total
