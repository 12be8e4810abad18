"""Faces and voice in one network, trained end to end, either of which may be missing.

It stands beside the papers: bi-modality fusion (Li et al., ICMI 2019) trains its networks apart and adds their scores.
Here frames of the face and stretches of the spectrogram are tokens of one transformer. In training one of the two is
hidden from it now and then (modality dropout; Neverova et al., ModDrop, TPAMI 2016), and each has a head of its own, so
that neither encoder rests while the other one does the work.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data_modules.batch import ClipBatch
from fer_lightning.architectures.spectrogram_cnn import has
from fer_lightning.classifier import VideoClassifier
from fer_lightning.layers.backbones import FrameBackbone
from fer_lightning.layers.masking import masked_softmax
from fer_lightning.outputs import ClassifierOutput, StreamScores

Modality = Literal["face", "sound"]
FIELDS: dict[Modality, str] = {"face": "face", "sound": "spectrogram"}


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
        self.kind = nn.Parameter(torch.zeros(width))  # of the modality

    def forward(self, features: Tensor, mask: Tensor) -> Tokens:
        """(B, N, D), (B, N) -> N tokens."""
        values = self.project(self.norm(features)) + self.kind
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
        return self.tokens(self.backbone(batch.face), batch.mask & has("face", batch)[:, None])  # type: ignore[no-any-return]


class SoundEncoder(nn.Module):
    """Spectrograms (B, 3, S, S) -> a token for every column of the backbone's last map, averaged over frequencies."""

    def __init__(self, backbone: FrameBackbone, width: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.backbone.network.reset_classifier(0, "")  # the map as it is: columns are moments
        self.tokens = Tokeniser(backbone.num_features, width)

    def forward(self, batch: ClipBatch) -> Tokens:
        """Of clips that have sound."""
        assert batch.spectrogram is not None
        heard = has("sound", batch)
        pictures = torch.where(heard[:, None, None, None], batch.spectrogram, 0)
        maps = self.backbone.network(pictures.contiguous(memory_format=self.backbone.memory_format))  # (B, D, h, w)
        features = maps.mean(dim=2).transpose(1, 2)  # (B, w, D)
        return self.tokens(features, heard[:, None].expand(-1, features.shape[1]))  # type: ignore[no-any-return]


class Pooling(nn.Module):
    """Attention over tokens: (B, N, W), (B, N) -> (B, W), and the weights (B, N); zeros where there are none."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.score = nn.Linear(width, 1, bias=False)  # a softmax does not see what is added to all

    def forward(self, tokens: Tokens) -> tuple[Tensor, Tensor]:
        """A weighted mean, and how much each token counts in it."""
        weights = masked_softmax(self.score(tokens.values)[..., 0], tokens.mask)
        return (weights.to(tokens.values.dtype)[:, None] @ tokens.values)[:, 0], weights


class Head(nn.Module):
    """Tokens -> (B, C): pooled by attention, LayerNorm, dropout, linear."""

    def __init__(self, width: int, num_classes: int, dropout: float) -> None:
        super().__init__()
        self.pooling = Pooling(width)
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)
        self.score = nn.Linear(width, num_classes)

    def forward(self, tokens: Tokens) -> tuple[Tensor, Tensor, Tensor]:
        """Logits (B, C), what they are made of (B, W), and how much each token counts in it (B, N)."""
        pooled, weights = self.pooling(tokens)
        feature = self.norm(pooled)
        return self.score(self.dropout(feature)), feature, weights


class JointTransformer(nn.Module):
    """All modalities' tokens attend to each other; a learned one stands for a modality that is missing or hidden.

    Args:
        width: of the tokens.
        modalities: number of them.
        layers: of the transformer, LayerNorm first.
        heads: of its attention.
        dropout: within it.
    """

    def __init__(self, width: int, modalities: int, layers: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.missing = nn.Parameter(0.02 * torch.randn(modalities, width)) if modalities > 1 else None
        layer = nn.TransformerEncoderLayer(
            width, heads, 2 * width, dropout, activation="gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)

    def forward(self, tokens: Sequence[Tokens], seen: Tensor) -> Tokens:
        """The tokens of M modalities and (B, M), which of them to look at -> those of all, one after the other."""
        if self.missing is not None:
            tokens = [_replaced(*one) for one in zip(tokens, seen.unbind(dim=1), self.missing, strict=True)]
        values = torch.cat([one.values for one in tokens], dim=1)
        mask = torch.cat([one.mask for one in tokens], dim=1)
        hidden = ~mask & mask.any(dim=1, keepdim=True)  # where there is nothing at all, all is looked at, for nothing
        return Tokens(self.layers(values, src_key_padding_mask=hidden), mask)


def _replaced(tokens: Tokens, seen: Tensor, missing: Tensor) -> Tokens:
    """Tokens, of samples where they are not `seen` (B,) one that says so (W,)."""
    first = torch.arange(tokens.mask.shape[1], device=seen.device) == 0
    return Tokens(
        torch.where(seen[:, None, None], tokens.values, missing.to(tokens.values.dtype)),
        torch.where(seen[:, None], tokens.mask, first),
    )


class AudioVisual(VideoClassifier):
    """Faces and voice, trained together; of a clip that lacks one of them it says what the other tells.

    Its streams are what each half says alone, by the head behind its own encoder.

    Args:
        class_names: emotion names in alphabetical order.
        face_backbone: of the frames; ResNet-18 at random where None.
        sound_backbone: of the spectrogram, one of timm's whose last map has rows and columns; likewise.
        modalities: what it looks at: `face`, `sound`, or both; one alone is the same network without the other half.
        width: of the tokens.
        layers: of the transformer.
        heads: of its attention.
        dropout: of the transformer and the heads.
        modality_dropout: share of the training samples with both of which the transformer sees one alone.
        stream_weight: of the loss of each half's own head.
        training: optimiser, schedule and loss, see `VideoClassifier`.

    Raises:
        ValueError: no modality, or an unknown one; or a share that is not from 0 to 1.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        face_backbone: FrameBackbone | None = None,
        sound_backbone: FrameBackbone | None = None,
        modalities: Sequence[Modality] = ("face", "sound"),
        width: int = 256,
        layers: int = 2,
        heads: int = 4,
        dropout: float = 0.1,
        modality_dropout: float = 0.3,
        stream_weight: float = 0.5,
        **training: Any,
    ) -> None:
        super().__init__(class_names, **training)
        if not modalities or len(set(modalities)) < len(modalities) or not set(modalities) <= set(get_args(Modality)):
            raise ValueError(f"modalities are one or both of {get_args(Modality)}; found {list(modalities)}")
        if not 0 <= modality_dropout <= 1:
            raise ValueError(f"modality_dropout is a share from 0 to 1; found {modality_dropout}")
        self.modalities = tuple(sorted(modalities))
        self.inputs = frozenset(FIELDS[name] for name in self.modalities)
        self.modality_dropout, self.stream_weight = modality_dropout, stream_weight
        self.encoders = nn.ModuleList()
        if "face" in self.modalities:
            self.encoders.append(FaceEncoder(face_backbone or FrameBackbone("resnet18"), width))
        if "sound" in self.modalities:
            self.encoders.append(SoundEncoder(sound_backbone or FrameBackbone("resnet18"), width))
        self.transformer = JointTransformer(width, len(self.modalities), layers, heads, dropout)
        self.head = Head(width, len(class_names), dropout)
        alone = self.modalities if len(self.modalities) > 1 else ()
        self.stream_heads = nn.ModuleList(Head(width, len(class_names), dropout) for _ in alone)

    def forward(self, batch: ClipBatch) -> ClassifierOutput:
        """Faces and spectrograms -> logits, what they are made of, how much each frame counts, and both streams."""
        tokens = [encoder(batch) for encoder in self.encoders]
        present = torch.stack([one.present for one in tokens], dim=1)  # (B, M)
        joint = self.transformer(tokens, self.seen(present))
        logits, feature, weights = self.head(joint)
        there = present.any(dim=1, keepdim=True)
        logits, feature = torch.where(there, logits, 0), torch.where(there, feature, 0)
        attention = None
        if "face" in self.modalities:
            frames = batch.mask.shape[1]
            attention = weights[:, :frames] * tokens[0].mask
        return ClassifierOutput(logits, feature, attention, streams=self._streams(tokens))

    def seen(self, present: Tensor) -> Tensor:
        """(B, M) which modalities there are -> those that the transformer sees; in training one may be hidden."""
        if not self.training or present.shape[1] < 2:
            return present
        count, kinds = present.shape
        drawn = torch.rand(count, device=present.device) < self.modality_dropout
        which = torch.randint(kinds, (count,), device=present.device)
        hidden = F.one_hot(which, kinds).bool() & (drawn & present.all(dim=1))[:, None]
        return present & ~hidden

    def _streams(self, tokens: Sequence[Tokens]) -> tuple[StreamScores, ...]:
        """What each modality says alone, NaN where it is missing."""
        streams = []
        for name, one, head in zip(self.modalities, tokens, self.stream_heads, strict=False):
            logits = head(one)[0]
            streams.append(StreamScores(name, torch.where(one.present[:, None], logits, float("nan"))))
        return tuple(streams)

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
