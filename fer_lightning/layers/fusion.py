"""Low-rank fusion of two modalities, with or without attention.

Lee et al. (2020), "Visual Scene-Aware Hybrid and Multi-Modal Feature Aggregation for Facial Expression Recognition",
Sensors 20, 5184, https://doi.org/10.3390/s20185184

Liu et al. (2018), "Efficient Low-rank Multimodal Fusion with Modality-Specific Factors", ACL 2018,
https://arxiv.org/abs/1806.00064
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LowRankFusion(nn.Module):
    """LRMAF (Lee et al., 2020, section 4.2.3); without attention, LRMF (Liu et al., 2018).

    A 1 is appended to each vector, so that their outer product contains both vectors as well as all products. A weight
    tensor maps this outer product to the output. It is a sum of `rank` outer products itself (equation 20), so that
    neither tensor needs to be built: o = Σ_i (w_vid_i z'_vid) ∘ (w_lmk_i z'_lmk). Equation 21 as printed multiplies the
    two sums instead, which would have rank 1 for any γ.

    Args:
        video_size: Length V of the video's vector, in the paper its scores.
        landmark_size: Length L of the landmarks' vector.
        output_size: Length O of the result, in the paper the number of classes.
        rank: Rank γ, 4 by default [our choice].
        attention: Multiply each vector, including its 1, by σ(FC(z)) first (equations 18 and 19).
    """

    def __init__(
        self, video_size: int, landmark_size: int, output_size: int, rank: int = 4, attention: bool = True
    ) -> None:
        super().__init__()
        self.video_factor = nn.Parameter(torch.empty(rank, video_size + 1, output_size))
        self.landmark_factor = nn.Parameter(torch.empty(rank, landmark_size + 1, output_size))
        self.video_attention = nn.Linear(video_size + 1, video_size + 1) if attention else None
        self.landmark_attention = nn.Linear(landmark_size + 1, landmark_size + 1) if attention else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise the factors so that inputs of variance 1 give outputs of variance 1 [our choice]."""
        for factor in (self.video_factor, self.landmark_factor):
            rank, size, _ = factor.shape
            nn.init.normal_(factor, std=(size * rank**0.5) ** -0.5)

    def forward(self, video: Tensor, landmark: Tensor) -> Tensor:
        """Fuse both vectors: (B, V), (B, L) -> (B, O)."""
        video = _append_one(video, self.video_attention)  # z'_vid, (B, V + 1)
        landmark = _append_one(landmark, self.landmark_attention)  # z'_lmk, (B, L + 1)
        video = torch.einsum("bd,rdo->bro", video, self.video_factor)
        landmark = torch.einsum("bd,rdo->bro", landmark, self.landmark_factor)
        return (video * landmark).sum(dim=1)


def _append_one(z: Tensor, attention: nn.Module | None) -> Tensor:
    """Append a 1 and apply the attention, if any: (B, D) -> (B, D + 1)."""
    z = F.pad(z, (0, 1), value=1.0)
    return z if attention is None else z * attention(z).sigmoid()
