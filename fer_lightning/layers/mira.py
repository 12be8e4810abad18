"""MiRA: attention over the tokens of a video, weighed by how much its moments tell.

Yoon et al. (2026), "Reweighting Framewise Attention in Video Transformers for Facial Expression Understanding" (MiRA),
ECCV 2026, https://arxiv.org/abs/2606.30611; constants of https://github.com/ysrinria/MiRA (Apache-2.0).
"""

import torch
from torch import Tensor


@torch.no_grad()
def frame_bias(key: Tensor, times: int, temperature: float = 0.17) -> Tensor:
    """MiRA: what is added to the scores of each key, so that telling moments are attended to more (`flashLite` mode).

    A moment tells much if its keys have a large share of the energy, and if few of them have it. [our choice] The
    statistics are a clip's own (`instance` there), so that its answer does not depend on the clips beside it.

    Args:
        key: Keys (B, heads, N, d); those of a moment follow each other.
        times: Number T of moments.
        temperature: Of the softmax over the moments; 0.22 for ViT-H.

    Returns:
        (B, 1, 1, N), logarithms of factors from 0.7 to 1.4.
    """
    energy = key.float().square().mean(dim=(1, 3)).reshape(len(key), times, -1).clamp_min(1e-12)  # (B, T, N / T)
    total = energy.sum(dim=2)
    share = energy / total[..., None]
    entropy = -(share * share.log()).sum(dim=2)
    telling = 0.5 * total / total.sum(dim=1, keepdim=True) + 0.5 / (entropy + 1e-6)  # (B, T)
    spread = telling.std(dim=1, keepdim=True, correction=0).clamp_min(1e-6)
    standard = (telling - telling.mean(dim=1, keepdim=True)) / spread
    marginal = 0.9 * (temperature * standard).softmax(dim=1) + 0.1 / times
    factor = (times * marginal).clamp(0.7, 1.4)
    return factor.log().repeat_interleave(energy.shape[2], dim=1)[:, None, None]
