"""HiCMAE's cross-modal fusion: tokens of each modality attend to those of the other.

Sun et al. (2024), "HiCMAE: Hierarchical Contrastive Masked Autoencoder for Self-Supervised Audio-Visual Emotion
Recognition", Information Fusion 108, 102382, https://arxiv.org/abs/2401.05698; files named here are those of its code,
https://github.com/sunlicai/HiCMAE (MIT).
"""

import torch
from torch import Tensor, nn

from fer_lightning.architectures.audio_visual.tokens import Tokens
from fer_lightning.layers.masking import masked_mean


class CrossModalBlock(nn.Module):
    """Attention to the other modality, to one's own, and two linear layers, each behind a norm and beside a residual.

    Args:
        width: Length W of the tokens.
        heads: Heads of both attentions.
        dropout: Dropout rate.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.norm, self.context_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.cross = nn.MultiheadAttention(width, heads, dropout, batch_first=True)
        self.own = nn.TransformerEncoderLayer(
            width, heads, 4 * width, dropout, activation="gelu", batch_first=True, norm_first=True
        )

    def forward(self, tokens: Tokens, other: Tokens) -> Tokens:
        """Relate tokens (B, N, W) to those of the other modality (B, M, W) and to each other."""
        context = self.context_norm(other.values)
        found = self.cross(
            self.norm(tokens.values), context, context, key_padding_mask=other.padding, need_weights=False
        )[0]
        return Tokens(self.own(tokens.values + found, src_key_padding_mask=tokens.padding), tokens.mask)


class CrossModalFusion(nn.Module):
    """Blocks of both modalities side by side, the means of their tokens, and a linear layer (modeling_finetune_av.py).

    Args:
        width: Length W of the tokens.
        num_classes: Number of classes C.
        layers: Blocks of each modality.
        heads: Heads of their attention.
        dropout: Dropout rate in them and before the last layer.
    """

    def __init__(self, width: int, num_classes: int, layers: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.face = nn.ModuleList(CrossModalBlock(width, heads, dropout) for _ in range(layers))
        self.audio = nn.ModuleList(CrossModalBlock(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(2 * width)
        self.dropout = nn.Dropout(dropout)
        self.score = nn.Linear(2 * width, num_classes)

    def forward(self, face: Tokens, audio: Tokens) -> tuple[Tensor, Tensor]:
        """Return logits (B, C) and features (B, 2 W), finite but without meaning for clips without one modality."""
        for seeing, hearing in zip(self.face, self.audio, strict=True):
            face, audio = seeing(face, audio), hearing(audio, face)
        means = [masked_mean(tokens.values, tokens.mask) for tokens in (face, audio)]
        feature = self.norm(torch.cat(means, dim=1))
        return self.score(self.dropout(feature)), feature
