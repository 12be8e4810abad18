"""The views of each clip in a batch: consecutive samples whose outputs are averaged."""

from collections.abc import Sequence

import torch
from torch import Tensor

from fer_lightning.evaluation.outputs import StreamScores


class ClipViews:
    """Groups the B samples of a batch by their M clips; the views of a clip are consecutive samples.

    Args:
        clip_ids: the name of each sample's clip, B of them.
        device: the device of the tensors that are averaged.
    """

    def __init__(self, clip_ids: Sequence[str], device: torch.device) -> None:
        self.first = [index for index, clip in enumerate(clip_ids) if index == 0 or clip_ids[index - 1] != clip]
        """The index of each clip's first sample."""
        counts = torch.tensor([*self.first, len(clip_ids)]).diff()  # (M,)
        self._clip_of = torch.arange(len(counts)).repeat_interleave(counts).to(device)  # (B,)
        self._counts = counts[:, None].to(device)  # (M, 1)

    def mean(self, values: Tensor) -> Tensor:
        """Averages the samples of each clip: (B, D) -> (M, D)."""
        return values.new_zeros(len(self.first), values.shape[1]).index_add_(0, self._clip_of, values) / self._counts

    def probabilities(self, logits: Tensor) -> Tensor:
        """Returns the mean of the softmax over the views of each clip: (B, C) -> (M, C)."""
        return self.mean(logits.float().softmax(dim=-1))

    def stream_probabilities(self, streams: Sequence[StreamScores]) -> Tensor:
        """Returns (M, S, C) probabilities of S streams, averaged over the views in which the stream has input."""
        means = []
        for stream in streams:
            probabilities = stream.logits.float().softmax(dim=-1)
            valid = ~probabilities.isnan().any(dim=1, keepdim=True)  # (B, 1)
            total = self.mean(torch.where(valid, probabilities, 0))
            means.append(total / self.mean(valid.float()))  # 0 / 0 = NaN: the stream has input in no view
        return torch.stack(means, dim=1)
