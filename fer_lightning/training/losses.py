"""Losses beside the cross-entropy that every model can be trained with."""

import torch.nn.functional as F
from torch import Tensor


def intensity_aware_losses(logits: Tensor, label: Tensor) -> Tensor:
    """Intensity-aware loss of each sample: (B, C), (B,) -> (B,) in float32.

    It is -log(e^{x_t} / (e^{x_t} + e^{x_max})), where x_t is the logit of the label and x_max is the highest other one.
    Faces of low intensity are confused with one class above all, such as neutral, and the loss looks at that one alone.

    Li et al. (2023), "Intensity-Aware Loss for Dynamic Facial Expression Recognition in the Wild", AAAI 2023,
    https://arxiv.org/abs/2208.10335
    """
    scores = logits.float()
    is_label = F.one_hot(label, scores.shape[1]).bool()
    highest_other = scores.masked_fill(is_label, float("-inf")).amax(dim=1)
    return F.softplus(highest_other - scores[is_label])
