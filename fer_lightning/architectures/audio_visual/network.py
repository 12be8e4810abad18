"""An audio-visual network that is trained end to end and accepts clips without a face or without audio.

[our choice] It is not from one of the papers. Bi-modality fusion (Li et al., 2019) trains its networks separately and
adds their scores. Here face frames are the tokens of one transformer and segments of the spectrogram those of another,
and the probabilities of both are multiplied (product of experts; Hinton, 2002). If face and voice are independent given
the emotion and all emotions are equally frequent, the log probability given both is, up to a constant, the sum of those
given each. A missing modality then adds nothing. This requires well-calibrated experts, so training sometimes hides one
modality (modality dropout; Neverova et al., 2016) and also trains each on its own.

With `cross_layers` a third expert judges clips that have both: tokens of each modality attend to those of the other, as
in HiCMAE (Sun et al., 2024). HiCMAE's last layer reads both encoders' means and both means behind the fusion, side by
side; a linear layer over parts that stand side by side is the sum of one over each, so its logits are the sum here,
too. [our choice] Each part has a norm of its own, and only the last layer of the encoders is read.

Hinton (2002), "Training Products of Experts by Minimizing Contrastive Divergence", Neural Computation 14, 1771-1800,
https://doi.org/10.1162/089976602760128018

Neverova et al. (2016), "ModDrop: Adaptive Multi-Modal Gesture Recognition", TPAMI 38, 1692-1706,
https://arxiv.org/abs/1501.00102

Sun et al. (2024), "HiCMAE: Hierarchical Contrastive Masked Autoencoder for Self-Supervised Audio-Visual Emotion
Recognition", Information Fusion 108, 102382, https://arxiv.org/abs/2401.05698
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data_modules.loading.batch import ClipBatch
from data_modules.loading.datamodule import VideoDataModule
from fer_lightning.architectures.audio_visual.cross_modal import CrossModalFusion
from fer_lightning.architectures.audio_visual.tokens import AudioEncoder, FaceEncoder, Tokens
from fer_lightning.architectures.log_mel_cnn import LogMelFrames
from fer_lightning.evaluation.outputs import ClassifierOutput, StreamScores
from fer_lightning.layers.backbones import FrameBackbone
from fer_lightning.layers.masking import masked_softmax
from fer_lightning.layers.video_transformer import VideoTransformer
from fer_lightning.training.classifier import VideoClassifier

Modality = Literal["face", "audio"]


class Pooling(nn.Module):
    """Attention pooling of tokens."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.score = nn.Linear(width, 1, bias=False)  # a softmax cancels a bias

    def forward(self, tokens: Tokens) -> tuple[Tensor, Tensor]:
        """Return the weighted mean of the tokens (B, W) and their weights (B, N), which are 0 without real tokens."""
        weights = masked_softmax(self.score(tokens.values)[..., 0], tokens.mask)
        return (weights.to(tokens.values.dtype)[:, None] @ tokens.values)[:, 0], weights


@dataclass(frozen=True)
class ModalityOutput:
    """Output of one modality's branch for B samples. Logits and feature are 0 for samples without the modality."""

    logits: Tensor  # (B, C)
    feature: Tensor  # (B, W)
    weights: Tensor  # (B, N) attention weights of the tokens
    present: Tensor  # (B,) bool, true for samples with the modality


class ModalityBranch(nn.Module):
    """Classifier of one modality: a transformer over its tokens, attention pooling and a linear layer.

    Args:
        encoder: Encoder of the modality, whose tokens have length `width`.
        width: Length W of the tokens.
        num_classes: Number of classes C.
        layers: Layers of the transformer, each with LayerNorm first.
        heads: Heads of its attention.
        dropout: Dropout rate in the transformer and before the last layer.
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

    def encode(self, batch: ClipBatch) -> Tokens:
        """Relate the tokens of each sample to each other."""
        tokens: Tokens = self.encoder(batch)
        return Tokens(self.transformer(tokens.values, src_key_padding_mask=tokens.padding), tokens.mask)

    def forward(self, tokens: Tokens) -> ModalityOutput:
        """Classify the modality of each sample by its tokens."""
        present = tokens.present
        pooled, weights = self.pooling(tokens)
        feature = self.norm(pooled)
        logits = self.score(self.dropout(feature))
        logits, feature = (torch.where(present[:, None], x, 0) for x in (logits, feature))
        return ModalityOutput(logits, feature, weights, present)


class AudioVisual(VideoClassifier):
    """A classifier of faces and audio that are trained together. If a clip lacks one of them, the other decides.

    Its logits are the sum of both branches' logits, which it also reports as streams, and with `cross_layers` of those
    of their fusion for clips with both.

    Example:
        >>> from fer_lightning import AudioVisual, FrameBackbone, random_batch
        >>> model = AudioVisual(("anger", "joy"), FrameBackbone("resnet10t"), width=32).eval()
        >>> model(random_batch(model.inputs, size=64)).logits.shape
        torch.Size([2, 2])

    Args:
        class_names: Emotion names in alphabetical order.
        face_backbone: Backbone of the face frames, or of their tubelets. None is a random ResNet-18.
        audio_backbone: Backbone of the spectrogram, a timm network whose last map has rows and columns, or a vision
            transformer; or of log-mel energies. None is `SpectralFilters`, which suits small data sets.
        modalities: `face`, `audio`, or both. With one, the network has only that branch.
        width: Length W of the tokens.
        layers: Layers of each branch's transformer.
        heads: Heads of its attention.
        dropout: Dropout rate in the transformers and before the last layers.
        modality_dropout: Fraction of the training samples with both modalities for which one is left out of the sum.
        stream_weight: Weight of each branch's own loss. If the loss of the sum dominates, a branch learns only what the
            other has not memorised, and is worse than if it were trained alone.
        cross_layers: Layers of attention from each modality to the other, 2 in HiCMAE; 0 for none.
        training: Optimiser, schedule and loss, see `VideoClassifier`.

    Raises:
        ValueError: There is no modality, an unknown one or one twice; `modality_dropout` is not from 0 to 1; or there
            are `cross_layers`, but a single modality.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        face_backbone: FrameBackbone | VideoTransformer | None = None,
        audio_backbone: FrameBackbone | LogMelFrames | None = None,
        modalities: Sequence[Modality] = ("face", "audio"),
        width: int = 256,
        layers: int = 2,
        heads: int = 4,
        dropout: float = 0.1,
        modality_dropout: float = 0.3,
        stream_weight: float = 2.0,
        cross_layers: int = 0,
        **training: Any,
    ) -> None:
        super().__init__(class_names, **training)
        if not modalities or len(set(modalities)) < len(modalities) or not set(modalities) <= set(get_args(Modality)):
            raise ValueError(f"modalities are one or both of {get_args(Modality)}; found {list(modalities)}")
        if not 0 <= modality_dropout <= 1:
            raise ValueError(f"modality_dropout is a share from 0 to 1; found {modality_dropout}")
        if cross_layers and len(modalities) < 2:
            raise ValueError(
                f"cross_layers = {cross_layers}: {modalities[0]} alone has nothing to attend to; set it to 0"
            )
        self.modalities = tuple(name for name in get_args(Modality) if name in modalities)
        self.modality_dropout, self.stream_weight = modality_dropout, stream_weight
        encoders: list[FaceEncoder | AudioEncoder] = []
        if "face" in self.modalities:
            encoders.append(FaceEncoder(face_backbone or FrameBackbone("resnet18"), width))
        if "audio" in self.modalities:
            encoders.append(AudioEncoder(audio_backbone, width))
        self.inputs = frozenset(encoder.field for encoder in encoders)
        # Checkpoints contain the name `halves`.
        self.halves = nn.ModuleList(
            ModalityBranch(encoder, width, len(class_names), layers, heads, dropout) for encoder in encoders
        )
        self.cross = CrossModalFusion(width, len(class_names), cross_layers, heads, dropout) if cross_layers else None

    def fit_statistics(self, data: VideoDataModule) -> None:
        """Measure the bands of log-mel energies, where the audio is these."""
        for module in self.modules():
            if isinstance(module, LogMelFrames):
                module.fit_statistics(data)

    def forward(self, batch: ClipBatch) -> ClassifierOutput:
        """Classify faces and audio.

        The frames' attention weights are those of the pooling, after the transformer has mixed the frames. The frame
        with the largest weight need not show the expression.
        """
        tokens = [branch.encode(batch) for branch in self.halves]  # type: ignore[operator]
        outputs: list[ModalityOutput] = [branch(each) for branch, each in zip(self.halves, tokens, strict=True)]
        visible = self.visible_modalities(torch.stack([output.present for output in outputs], dim=1))  # (B, M)
        logits = torch.stack([output.logits for output in outputs], dim=1)  # (B, M, C)
        total, features = torch.where(visible[..., None], logits, 0).sum(dim=1), [output.feature for output in outputs]
        if self.cross:
            both = visible.all(dim=1, keepdim=True)
            joint, feature = (torch.where(both, each, 0) for each in self.cross(*tokens))
            total, features = total + joint, [*features, feature]
        return ClassifierOutput(
            total,
            torch.cat(features, dim=1),
            outputs[0].weights if "face" in self.modalities else None,
            streams=self._streams(outputs),
        )

    def visible_modalities(self, present: Tensor) -> Tensor:
        """Apply modality dropout: (B, M) modalities that are present -> (B, M) those in the sum.

        In training, one of two present modalities may be dropped.
        """
        if not self.training or present.shape[1] < 2:
            return present
        batch_size, modalities = present.shape
        is_drawn = torch.rand(batch_size, device=present.device) < self.modality_dropout
        index = torch.randint(modalities, (batch_size,), device=present.device)
        dropped = F.one_hot(index, modalities).bool() & (is_drawn & present.all(dim=1))[:, None]
        return present & ~dropped

    def _streams(self, outputs: Sequence[ModalityOutput]) -> tuple[StreamScores, ...]:
        """Return the scores of each of two modalities, NaN for samples without it."""
        if len(outputs) < 2:
            return ()
        return tuple(
            StreamScores(name, torch.where(output.present[:, None], output.logits, float("nan")))
            for name, output in zip(self.modalities, outputs, strict=True)
        )

    def loss(self, output: ClassifierOutput, batch: ClipBatch) -> Tensor:
        """Add the cross-entropy of each stream over the samples with its modality to `VideoClassifier.loss`."""
        total = super().loss(output, batch)
        for stream in output.streams:
            present = ~stream.logits.isnan().any(dim=1)
            logits = torch.where(present[:, None], stream.logits, 0)
            total = total + self.stream_weight * (self.sample_losses(logits, batch) * present).mean()
        return total
