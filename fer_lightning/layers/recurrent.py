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

from fer_lightning.layers.frames import gather_frames, last_real_frame, real_frames_first

Cell = Literal["gru", "lstm"]
Connection = Literal["A", "B", "C"]


class SceneAwareRNN(nn.Module):
    """SARNN (Lee et al., 2020, section 3.5): a one-layer LSTM or GRU that also sees the scene feature v.

    Type A adds W_v v to each gate (equations 3 to 6), type B starts from h_0 = v (equation 10), and type C has the
    input [x_n, v] (equations 11 to 14). A and C compute the same functions, since `W_x x + W_v v = [W_x, W_v][x, v]`.
    Both are an `nn.LSTM` or `nn.GRU` over the concatenated input, and differ in the initialisation of W_v.

    [our choice] c_0 = 0. If scene feature and hidden state have different lengths, type B has a linear layer between
    them. W_v is initialised as a separate layer over v in type A, and as a part of the layer over [x, v] in type C.

    Args:
        input_size: Length D of a frame's feature.
        scene_size: Length S of the scene feature.
        hidden_size: Units H of the hidden state.
        cell: `gru` or `lstm`.
        connection: Type of the connection, A, B or C.

    Raises:
        ValueError: The cell or the connection is unknown.
    """

    def __init__(
        self, input_size: int, scene_size: int, hidden_size: int, cell: Cell = "gru", connection: Connection = "B"
    ) -> None:
        super().__init__()
        if cell not in get_args(Cell):
            raise ValueError(f"expected the cell gru or lstm; found {cell!r}")
        if connection not in get_args(Connection):
            raise ValueError(f"expected the connection A, B or C; found {connection!r}")
        self.connection = connection
        size = input_size if connection == "B" else input_size + scene_size
        self.rnn = (nn.LSTM if cell == "lstm" else nn.GRU)(size, hidden_size, batch_first=True)
        needs_layer = connection == "B" and scene_size != hidden_size
        self.scene_to_hidden = nn.Linear(scene_size, hidden_size) if needs_layer else None
        if connection == "A":
            bound = scene_size**-0.5  # as in nn.Linear(scene_size, gates)
            assert isinstance(self.rnn.weight_ih_l0, Tensor)
            nn.init.uniform_(self.rnn.weight_ih_l0.data[:, input_size:], -bound, bound)

    def forward(self, x: Tensor, scene: Tensor, mask: Tensor | None = None) -> Tensor:
        """Compute the hidden state at the last real frame.

        Args:
            x: Features of the frames, (B, N, D).
            scene: Scene features v, (B, S).
            mask: (B, N) bool, true for real frames; None if all are real. The network skips padded frames.

        Returns:
            (B, H); the initial hidden state for clips without real frames.
        """
        if mask is not None:
            x = gather_frames(x, real_frames_first(mask))  # padding behind the real frames does not affect their states
        hidden = x.new_zeros(len(x), self.rnn.hidden_size)
        if self.connection == "B":
            hidden = (self.scene_to_hidden(scene) if self.scene_to_hidden else scene).to(x.dtype)
        else:
            x = torch.cat([x, scene.to(x.dtype)[:, None].expand(-1, x.shape[1], -1)], dim=2)
        states = self._run(x, hidden)  # (B, N, H)
        if mask is None:
            return states[:, -1]
        return last_real_frame(states, mask, default=hidden)

    def _run(self, x: Tensor, hidden: Tensor) -> Tensor:
        """Compute the hidden states of all frames from the initial one: (B, N, D), (B, H) -> (B, N, H)."""
        initial = hidden[None].contiguous()  # (1, B, H)
        if isinstance(self.rnn, nn.LSTM):
            states, _ = self.rnn(x, (initial, torch.zeros_like(initial)))
        else:
            states, _ = self.rnn(x, initial)
        return states  # type: ignore[no-any-return]


def run_lstm(x: Tensor, initial: Tensor, weights: Sequence[Tensor], training: bool = False) -> Tensor:
    """Run one layer of an LSTM in one direction, as `nn.LSTM` does, whose own checks fix lengths in an export.

    Args:
        x: Inputs, (B, N, D).
        initial: Initial hidden and cell state, (1, B, H).
        weights: See `nn.LSTM.all_weights`.
        training: Whether gradients are computed.

    Returns:
        States, (B, N, H).
    """
    return torch.lstm(x, (initial, initial), tuple(weights), True, 1, 0.0, training, False, True)[0]


class LSTMStack(nn.Module):
    """Stacked LSTMs of different sizes.

    Args:
        size: Length D of a frame's feature.
        hidden: Units of each LSTM, from the first to the last.
    """

    def __init__(self, size: int, hidden: Sequence[int]) -> None:
        super().__init__()
        sizes = [size, *hidden]
        self.layers = nn.ModuleList(nn.LSTM(inputs, units, batch_first=True) for inputs, units in pairwise(sizes))

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        """Compute the last LSTM's state at the last real frame.

        Args:
            frames: Features of the frames, (B, n, D).
            mask: (B, n) bool, true for real frames.

        Returns:
            (B, H); 0 for clips without real frames.
        """
        order = real_frames_first(mask)
        states = gather_frames(frames, order)  # padding behind real frames does not affect their states
        padding = ~mask.gather(1, order)[..., None]
        for layer in self.layers:
            assert isinstance(layer, nn.LSTM)
            initial = states.new_zeros(1, len(states), layer.hidden_size)
            states = run_lstm(states, initial, layer.all_weights[0], layer.training)
            states = states.masked_fill(padding, 0)  # without it, an exported second LSTM takes one number of frames
        return last_real_frame(states, mask, torch.zeros_like(states[:, 0]))


class BiLSTM(nn.Module):
    """A Bi-LSTM that skips padded frames in both directions.

    Args:
        input_size: Length D of a frame's feature.
        hidden_size: Units H of each layer and direction.
        num_layers: Number of layers.
    """

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 2) -> None:
        super().__init__()
        self.rnn = nn.LSTM(input_size, hidden_size, num_layers, batch_first=True, bidirectional=True)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Compute the states of all frames, forward and backward.

        Args:
            x: Features of the frames, (B, T, D).
            mask: (B, T) bool, true for real frames; None if all are real.

        Returns:
            (B, T, 2 H); 0 for padded frames.
        """
        if mask is None:
            return self.rnn(x)[0]  # type: ignore[no-any-return]
        # A packed sequence must not be empty: a clip without real frames is one frame of zeros.
        order = real_frames_first(mask)  # (B, T)
        x = gather_frames(x.masked_fill(~mask[..., None], 0), order)
        count = mask.sum(dim=1).clamp_min(1)
        states = (self._run_unpacked if torch.compiler.is_exporting() else self._run_packed)(x, count)
        return gather_frames(states, order.argsort(dim=1)).masked_fill(~mask[..., None], 0)

    def _run_packed(self, x: Tensor, count: Tensor) -> Tensor:
        """Compute the states of the first frames of each clip: (B, T, D), (B,) -> (B, T, 2 H)."""
        lengths = count.cpu()  # torch requires them there
        packed, _ = self.rnn(pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False))
        return pad_packed_sequence(packed, batch_first=True, total_length=x.shape[1])[0]

    def _run_unpacked(self, x: Tensor, count: Tensor) -> Tensor:
        """Compute the same without a packed sequence, of which ONNX has no equal; states behind `count` are arbitrary.

        Each direction of each layer is an LSTM of its own. The one backwards reads the first frames in reverse order,
        so that padding is behind them there, too.
        """
        place = torch.arange(x.shape[1], device=x.device)
        backwards = torch.where(place < count[:, None], count[:, None] - 1 - place, place)  # (B, T), its own inverse
        initial = x.new_zeros(1, len(x), self.rnn.hidden_size)
        for forward, backward in zip(self.rnn.all_weights[::2], self.rnn.all_weights[1::2], strict=True):
            ahead = run_lstm(x, initial, forward)
            behind = run_lstm(gather_frames(x, backwards), initial, backward)
            x = torch.cat([ahead, gather_frames(behind, backwards)], dim=2)
        return x


class SummedBiLSTM(BiLSTM):
    """Bi-LSTM whose directions are summed (Li et al., 2019, section 2, equation 3): h_t = h_t^f + h_t^b.

    Both states are those at the same frame t. The paper's index T - t counts in the reversed sequence, where it is the
    same frame. [our choice] Between layers the directions are concatenated, as usual; only those of the last layer are
    summed.
    """

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Compute the summed states of all frames: see `BiLSTM`, but (B, T, H)."""
        return torch.stack(super().forward(x, mask).chunk(2, dim=2)).sum(dim=0)
