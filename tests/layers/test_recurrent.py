"""The scene-aware RNN against the paper's gate equations, as plain loops over time in float64."""

import numpy as np
import pytest
import torch
from torch import nn

from fer_lightning.layers import SceneAwareRNN

D, S, H = 6, 5, 4
KINDS = [(cell, connection) for cell in ("gru", "lstm") for connection in "ABC"]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def parameters(layer):
    """Weights of the frame, of the scene (None for type B), of the hidden state, and both biases, by gate."""
    rnn = layer.rnn
    gates = rnn.weight_ih_l0.shape[0] // rnn.hidden_size
    w, u, b, d = (
        np.split(getattr(rnn, name).detach().double().numpy(), gates)
        for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    )
    size = w[0].shape[1] - (0 if layer.connection == "B" else S)
    return [m[:, :size] for m in w], [m[:, size:] for m in w], u, b, d


def plain_lstm(layer, frames, v, h):
    """Equations 3 to 8; torch's order of gates is i, f, g, o."""
    w, w_v, u, b, d = parameters(layer)
    c = np.zeros_like(h)
    for x in frames:
        scene = [m @ v if m.shape[1] else 0 for m in w_v]
        i, f, g, o = (w[n] @ x + u[n] @ h + scene[n] + b[n] + d[n] for n in range(4))
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
    return h


def plain_gru(layer, frames, v, h):
    """Cho et al., as torch has it: r, z, n, with r on the hidden state's part of n."""
    w, w_v, u, b, d = parameters(layer)
    for x in frames:
        scene = [m @ v if m.shape[1] else 0 for m in w_v]
        r, z = (sigmoid(w[n] @ x + u[n] @ h + scene[n] + b[n] + d[n]) for n in range(2))
        n = np.tanh(w[2] @ x + scene[2] + b[2] + r * (u[2] @ h + d[2]))
        h = (1 - z) * n + z * h
    return h


def plain(layer, frames, v):
    """The last hidden state of one clip's real frames."""
    h = np.zeros(H)
    if layer.connection == "B":
        linear = layer.scene_to_hidden
        h = v if linear is None else linear.weight.detach().numpy() @ v + linear.bias.detach().numpy()
    return (plain_lstm if isinstance(layer.rnn, nn.LSTM) else plain_gru)(layer, frames, v, h)


def inputs(clips=6, frames=9, scene=S, seed=0):
    rng = np.random.default_rng(seed)
    mask = rng.random((clips, frames)) < 0.6  # gaps too
    mask[0], mask[1], mask[2] = True, False, False
    mask[2, :4] = True
    return rng.normal(size=(clips, frames, D)), rng.normal(size=(clips, scene)), mask


@pytest.mark.parametrize(("cell", "connection"), KINDS)
@pytest.mark.parametrize("frames", [1, 9])
def test_it_is_the_papers_gates(cell, connection, frames):
    layer = SceneAwareRNN(D, S, H, cell, connection).double()
    x, v, mask = inputs(frames=frames)
    result = layer(torch.tensor(x), torch.tensor(v), torch.tensor(mask)).detach().numpy()
    whole = layer(torch.tensor(x), torch.tensor(v)).detach().numpy()
    assert result.shape == (6, H)
    for clip in range(6):
        assert result[clip] == pytest.approx(plain(layer, x[clip][mask[clip]], v[clip]), abs=1e-12)
        assert whole[clip] == pytest.approx(plain(layer, x[clip], v[clip]), abs=1e-12)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_type_b_begins_with_the_scene_where_the_sizes_agree(cell):
    layer = SceneAwareRNN(D, H, H, cell, "B").double()
    assert layer.scene_to_hidden is None
    x, v, mask = inputs(scene=H)
    result = layer(torch.tensor(x), torch.tensor(v), torch.tensor(mask)).detach().numpy()
    for clip in range(6):
        assert result[clip] == pytest.approx(plain(layer, x[clip][mask[clip]], v[clip]), abs=1e-12)
    assert (result[1] == v[1]).all()  # no frame at all


@pytest.mark.parametrize(("cell", "connection"), KINDS)
def test_padding_and_its_contents_change_nothing(cell, connection):
    layer = SceneAwareRNN(D, S, H, cell, connection)
    x, v, mask = (torch.tensor(value) for value in inputs())
    x, v = x.float(), v.float()
    one = layer(x, v, mask)
    other = layer(torch.where(mask[..., None], x, 77.0), v, mask)
    longer = layer(torch.cat([x, torch.ones(6, 3, D)], dim=1), v, torch.cat([mask, torch.zeros(6, 3).bool()], dim=1))
    assert torch.allclose(one, other, atol=1e-6)
    assert torch.allclose(one, longer, atol=1e-6)


@pytest.mark.parametrize(("cell", "connection"), KINDS)
def test_every_parameter_and_both_inputs_get_a_gradient(cell, connection):
    layer = SceneAwareRNN(D, S, H, cell, connection)
    x, v, mask = inputs()
    x, v = torch.tensor(x, dtype=torch.float32, requires_grad=True), torch.tensor(v, dtype=torch.float32)
    v.requires_grad_()
    layer(x, v, torch.tensor(mask)).square().sum().backward()
    assert all(p.grad.isfinite().all() and p.grad.any() for p in layer.parameters())
    assert ((x.grad != 0).any(dim=2).numpy() == mask).all()
    assert v.grad[0].any()


@pytest.mark.parametrize(("cell", "connection"), KINDS)
def test_one_layer_of_torch_in_one_direction_runs_once(cell, connection, monkeypatch):
    layer = SceneAwareRNN(D, S, H, cell, connection)
    assert isinstance(layer.rnn, nn.LSTM if cell == "lstm" else nn.GRU)
    assert (layer.rnn.num_layers, layer.rnn.bidirectional) == (1, False)
    calls, original = [], layer.rnn.forward
    monkeypatch.setattr(layer.rnn, "forward", lambda *a: (calls.append(a[0].shape), original(*a))[1])
    layer(torch.rand(2, 30, D), torch.rand(2, S))
    assert calls == [(2, 30, D if connection == "B" else D + S)]


def test_type_a_begins_as_two_layers_type_c_as_one():
    scene, hidden = 4, 64
    kinds = {c: SceneAwareRNN(100, scene, hidden, "lstm", c).rnn.weight_ih_l0.detach() for c in "AC"}
    assert kinds["A"][:, 100:].abs().max() == pytest.approx(scene**-0.5, rel=0.05)  # nn.Linear(scene, gates)
    assert kinds["A"][:, :100].abs().max() == pytest.approx(hidden**-0.5, rel=0.05)
    assert kinds["C"].abs().max() == pytest.approx(hidden**-0.5, rel=0.05)


@pytest.mark.parametrize(("cell", "connection"), KINDS)
@pytest.mark.parametrize("dtypes", [(torch.float32, torch.float32), (torch.bfloat16, torch.float32)])
def test_bf16_autocast_stays_near_float32(cell, connection, dtypes):
    if cell == "lstm" and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pytest.skip("oneDNN has no LSTM in bf16 for this processor, on which trainings are in fp32 by default")
    layer = SceneAwareRNN(D, S, H, cell, connection)
    x, v, mask = (torch.tensor(value) for value in inputs())
    exact = layer(x.float(), v.float(), mask)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = layer(x.to(dtypes[0]), v.to(dtypes[1]), mask)
    mixed.sum().backward()
    assert torch.allclose(mixed.float(), exact, atol=0.05)


def test_other_cells_and_connections_are_refused():
    with pytest.raises(ValueError, match="gru or lstm; found 'rnn'"):
        SceneAwareRNN(D, S, H, "rnn")
    with pytest.raises(ValueError, match="A, B or C; found 'D'"):
        SceneAwareRNN(D, S, H, "gru", "D")
