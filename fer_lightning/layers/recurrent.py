"""Recurrent networks over the frames of a clip."""

from typing import Literal, get_args

import torch
from torch import Tensor, nn

Cell = Literal["gru", "lstm"]
Connection = Literal["A", "B", "C"]


class SceneAwareRNN(nn.Module):
    """SARNN (VSHNN, section 3.5): one layer, one direction, that knows the scene beside the frames.

    Type A adds W_v v to every gate (equations 3 to 6), type B begins with h_0 = v (equation 10), type C feeds [x_n, v]
    (equations 11 to 14). A and C are the same functions, since W_x x + W_v v = [W_x, W_v][x, v]: both are the layer of
    `nn.LSTM` or `nn.GRU` over the joined input, and differ in how W_v begins.

    Not stated in the paper, our choice: c_0 = 0; where scene and hidden state differ in size, type B has a linear layer
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
        if mask is not None:  # real frames first, in their order; what comes after them changes nothing before
            order = mask.byte().sort(dim=1, stable=True, descending=True).indices
            x = x.gather(1, order[..., None].expand_as(x))
        hidden = x.new_zeros(len(x), self.rnn.hidden_size)
        if self.connection == "B":
            hidden = (self.scene_to_hidden(scene) if self.scene_to_hidden else scene).to(x.dtype)
        else:
            x = torch.cat([x, scene.to(x.dtype)[:, None].expand(-1, x.shape[1], -1)], dim=2)
        states = self._run(x, hidden)  # (B, N, H)
        if mask is None:
            return states[:, -1]
        count = mask.sum(dim=1)  # (B,)
        last = states[torch.arange(len(x), device=x.device), (count - 1).clamp_min(0)]
        return torch.where(count[:, None] > 0, last, hidden)

    def _run(self, x: Tensor, hidden: Tensor) -> Tensor:
        """Hidden states of all frames. (B, N, D), (B, H) -> (B, N, H)."""
        first = hidden[None].contiguous()  # (1, B, H)
        if isinstance(self.rnn, nn.LSTM):
            states, _ = self.rnn(x, (first, torch.zeros_like(first)))
        else:
            states, _ = self.rnn(x, first)
        return states  # type: ignore[no-any-return]
