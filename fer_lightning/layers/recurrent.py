"""Recurrent networks over the frames of a clip.

`SceneAwareRNN` (section 3.5):
Lee et al. (2020), "Visual Scene-Aware Hybrid and Multi-Modal Feature Aggregation for Facial Expression Recognition",
Sensors 20, 5184, https://doi.org/10.3390/s20185184

`SummedBiLSTM` (section 2, equations 1 to 3):
Li et al. (2019), "Bi-modality Fusion for Emotion Recognition in the Wild", ICMI 2019,
https://doi.org/10.1145/3340555.3355719
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from fer_lightning.layers.frames import frames_at, last_real, real_first

Cell = Literal["gru", "lstm"]
Connection = Literal["A", "B", "C"]


class SceneAwareRNN(nn.Module):
    """SARNN (Lee et al., 2020, section 3.5): one layer, one direction, that knows the scene beside the frames.

    Type A adds W_v v to every gate (equations 3 to 6), type B begins with h_0 = v (equation 10), type C feeds [x_n, v]
    (equations 11 to 14). A and C are the same functions, since W_x x + W_v v = [W_x, W_v][x, v]: both are the layer of
    `nn.LSTM` or `nn.GRU` over the joined input, and differ in how W_v begins.

    [our choice] c_0 = 0; where scene and hidden state differ in size, type B has a linear layer
    between them; A's W_v begins as a layer of its own over v would, C's as a part of the layer over [x, v].

    Args:
        input_size: D, features of a frame.
        scene_size: S, of the scene feature.
        hidden_size: H, of the hidden state.
        cell: `gru` or `lstm`.
        connection: type A, B or C.

    Raises:
        ValueError: no such cell or connection.
    """

    def __init__(
        self, input_size: int, scene_size: int, hidden_size: int, cell: Cell = "gru", connection: Connection = "B"
    ) -> None:
        super().__init__()
        if cell not in get_args(Cell):
            raise ValueError(f"the cell is gru or lstm; found {cell!r}")
        if connection not in get_args(Connection):
            raise ValueError(f"the connection is A, B or C; found {connection!r}")
        self.connection = connection
        size = input_size if connection == "B" else input_size + scene_size
        self.rnn = (nn.LSTM if cell == "lstm" else nn.GRU)(size, hidden_size, batch_first=True)
        same = connection != "B" or scene_size == hidden_size  # h_0 = v
        self.scene_to_hidden = None if same else nn.Linear(scene_size, hidden_size)
        if connection == "A":
            bound = scene_size**-0.5  # as nn.Linear(scene_size, gates)
            assert isinstance(self.rnn.weight_ih_l0, Tensor)
            nn.init.uniform_(self.rnn.weight_ih_l0.data[:, input_size:], -bound, bound)

    def forward(self, x: Tensor, scene: Tensor, mask: Tensor | None = None) -> Tensor:
        """The last real frame's hidden state; where no frame is real, the one it begins with.

        Args:
            x: (B, N, D) features of frames.
            scene: (B, S).
            mask: (B, N) bool, true where a frame is real; the network sees these alone, one after another.

        Returns:
            (B, H).
        """
        if mask is not None:
            x = frames_at(x, real_first(mask))  # what comes after real frames changes nothing before
        hidden = x.new_zeros(len(x), self.rnn.hidden_size)
        if self.connection == "B":
            hidden = (self.scene_to_hidden(scene) if self.scene_to_hidden else scene).to(x.dtype)
        else:
            x = torch.cat([x, scene.to(x.dtype)[:, None].expand(-1, x.shape[1], -1)], dim=2)
        states = self._run(x, hidden)  # (B, N, H)
        if mask is None:
            return states[:, -1]
        return last_real(states, mask, otherwise=hidden)

    def _run(self, x: Tensor, hidden: Tensor) -> Tensor:
        """Hidden states of all frames. (B, N, D), (B, H) -> (B, N, H)."""
        first = hidden[None].contiguous()  # (1, B, H)
        if isinstance(self.rnn, nn.LSTM):
            states, _ = self.rnn(x, (first, torch.zeros_like(first)))
        else:
            states, _ = self.rnn(x, first)
        return states  # type: ignore[no-any-return]


class LSTMStack(nn.Module):
    """LSTMs of any sizes, one over the states of the other: (B, n, D) -> the last real frame's state (B, H)."""

    def __init__(self, size: int, hidden: Sequence[int]) -> None:
        super().__init__()
        sizes = [size, *hidden]
        self.layers = nn.ModuleList(nn.LSTM(before, after, batch_first=True) for before, after in pairwise(sizes))

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        """(B, n, D), (B, n) -> (B, H); zeros where no frame is real."""
        states = frames_at(frames, real_first(mask))  # what comes after real frames changes nothing before
        for layer in self.layers:
            states, _ = layer(states)
        return last_real(states, mask, torch.zeros_like(states[:, 0]))


class SummedBiLSTM(nn.Module):
    """Bi-modality fusion's Bi-LSTM (section 2, equation 3): h_t = h_t^f + h_t^b, both read at the same frame t.

    The paper's index T - t counts the reversed sequence, in which frame t stands there. [our choice] Between layers the
    directions are joined, as usual; they are summed behind the last one.

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
        # A clip without any real frame has one of zeros, as no sequence may be empty.
        order = real_first(mask)  # (B, T)
        x = frames_at(x.masked_fill(~mask[..., None], 0), order)
        count = mask.sum(dim=1).clamp_min(1).cpu()  # torch wants the lengths there
        packed, _ = self.rnn(pack_padded_sequence(x, count, batch_first=True, enforce_sorted=False))
        states, _ = pad_packed_sequence(packed, batch_first=True, total_length=x.shape[1])
        summed = self._summed(states)  # (B, T, H)
        return frames_at(summed, order.argsort(dim=1)).masked_fill(~mask[..., None], 0)

    def _summed(self, states: Tensor) -> Tensor:
        """(B, T, 2 H) -> (B, T, H)."""
        return torch.stack(states.chunk(2, dim=2)).sum(dim=0)
