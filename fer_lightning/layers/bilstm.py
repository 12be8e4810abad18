"""A bidirectional LSTM whose directions are summed, over clips of which some frames are padding."""

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


class SummedBiLSTM(nn.Module):
    """Bi-modality fusion's Bi-LSTM (section 2, equation 3): h_t = h_t^f + h_t^b, both read at the same frame t.

    The paper's index T - t counts the reversed sequence, in which frame t stands there. Not stated in the paper, our
    choice: between layers the directions are joined, as usual; they are summed behind the last one.

    Args:
        input_size: D, features of a frame.
        hidden_size: H, of every layer and direction.
        num_layers: one over the other.
    """

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 2) -> None:
        super().__init__()
        self.rnn = nn.LSTM(input_size, hidden_size, num_layers, batch_first=True, bidirectional=True)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """The states of all frames.

        Args:
            x: (B, T, D) features of frames.
            mask: (B, T) bool, true where a frame is real; the network sees these alone, one after another, from the
                first to the last and from the last to the first.

        Returns:
            (B, T, H); zeros where a frame is not real.
        """
        if mask is None:
            return self._summed(self.rnn(x)[0])
        # Real frames first, in their order. A clip without any has one frame of zeros, as no sequence may be empty.
        order = mask.byte().sort(dim=1, stable=True, descending=True).indices  # (B, T)
        x = x.masked_fill(~mask[..., None], 0).gather(1, order[..., None].expand_as(x))
        count = mask.sum(dim=1).clamp_min(1).cpu()  # torch wants the lengths there
        packed, _ = self.rnn(pack_padded_sequence(x, count, batch_first=True, enforce_sorted=False))
        states, _ = pad_packed_sequence(packed, batch_first=True, total_length=x.shape[1])
        summed = self._summed(states)  # (B, T, H)
        back = order.argsort(dim=1)[..., None].expand_as(summed)
        return summed.gather(1, back).masked_fill(~mask[..., None], 0)

    def _summed(self, states: Tensor) -> Tensor:
        """(B, T, 2 H) -> (B, T, H)."""
        return torch.stack(states.chunk(2, dim=2)).sum(dim=0)
