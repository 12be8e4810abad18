"""Low-rank fusion of two modalities, with attention and without.

Lee et al. (2020), "Visual Scene-Aware Hybrid and Multi-Modal Feature Aggregation for Facial Expression Recognition",
Sensors 20, 5184, https://doi.org/10.3390/s20185184

Liu et al. (2018), "Efficient Low-rank Multimodal Fusion with Modality-Specific Factors", ACL 2018,
https://arxiv.org/abs/1806.00064
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LowRankFusion(nn.Module):
    """LRMAF (Lee et al., 2020, section 4.2.3); without attention LRMF (Liu et al., 2018).

    Both vectors get a 1 appended, so that their outer product holds each of them alone beside all products. A weight
    tensor over that outer product maps it to the output; it is a sum of `rank` outer products itself (equation 20),
    with which neither tensor is ever built: o = Σ_i (w_vid_i z'_vid) ∘ (w_lmk_i z'_lmk). Equation 21 as printed
    multiplies the two sums, which would be rank 1 whatever the rank.

    Args:
        video_size: of the video's vector, its scores in the paper.
        landmark_size: of the landmarks' vector.
        output_size: of the result, the number of classes in the paper.
        rank: γ, 4 [our choice].
        attention: multiply each vector, its 1 included, by σ(FC(z)) first (equations 18 and 19).
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
        """Factors with which inputs of variance 1 give outputs of variance 1 [our choice]."""
        for factor in (self.video_factor, self.landmark_factor):
            rank, size, _ = factor.shape
            nn.init.normal_(factor, std=(size * rank**0.5) ** -0.5)

    def forward(self, video: Tensor, landmark: Tensor) -> Tensor:
        """(B, V), (B, L) -> (B, O)."""
        video = _attended(video, self.video_attention)  # z', (B, V + 1)
        landmark = _attended(landmark, self.landmark_attention)
        by_video = torch.einsum("bd,rdo->bro", video, self.video_factor)
        by_landmark = torch.einsum("bd,rdo->bro", landmark, self.landmark_factor)
        return (by_video * by_landmark).sum(dim=1)


def _attended(z: Tensor, attention: nn.Module | None) -> Tensor:
    """The vector with a 1 appended, weighed by its own attention. (B, D) -> (B, D + 1)."""
    z = F.pad(z, (0, 1), value=1.0)
    return z if attention is None else z * attention(z).sigmoid()
