"""C3D and C3D-LSTM against their layers written plainly, and their costs against CEFLNet's table 8."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import nn

from data_modules.labels import SEVEN
from fer_lightning import C3DLSTM, C3DClassifier, ClipBackbone
from fer_lightning.layers.c3d import STAGES
from fer_lightning.training.cost import count_parameters, multiply_adds
from tests.models import Case, random_batch

SIX = SEVEN[:4] + SEVEN[5:]
CONVOLUTIONS = [units for stage in STAGES for _, units in stage]


def backbone(frozen: bool = False) -> ClipBackbone:
    return ClipBackbone("c3d", width=1 / 32, size=32, frozen=frozen)


def c3d(frozen: bool = False) -> C3DClassifier:
    return C3DClassifier(SEVEN, backbone(frozen), hidden=16, dropout=0.0)


def c3d_lstm(lstm: tuple[int, ...] = (8,), clip_frames: int = 3, frozen: bool = False) -> C3DLSTM:
    return C3DLSTM(SEVEN, backbone(frozen), 16, lstm, clip_frames, dropout=0.0)


CONTRACT_CASES = {
    "C3DClassifier": Case(c3d, any_length=False),
    "C3DClassifier of frozen convolutions": Case(lambda: c3d(True), freezes=True, any_length=False),
    "C3DLSTM": Case(c3d_lstm, any_length=False),
    "C3DLSTM of two": Case(lambda: c3d_lstm((8, 6), 2), any_length=False),
    "C3DLSTM of frozen convolutions": Case(lambda: c3d_lstm(frozen=True), freezes=True, any_length=False),
}


def relu_layer(layer, x):
    return (x @ layer.weight.T + layer.bias).clamp_min(0)


# The networks, written plainly


def test_c3d_is_convolutions_and_three_layers():
    model, batch = c3d().eval(), random_batch(2, 8)
    features = model.backbone(batch.face, batch.mask)
    fc7 = relu_layer(model.fc7, relu_layer(model.fc6, features))
    output = model(batch)
    assert torch.allclose(output.feature, fc7, atol=1e-6)
    assert torch.allclose(output.logits, fc7 @ model.fc8.weight.T + model.fc8.bias, atol=1e-6)


def test_c3d_lstm_reads_fc6_clip_by_clip():
    """A clip of which one frame is real counts; one without a real frame is skipped."""
    mask = torch.ones(1, 12, dtype=torch.bool)
    mask[0, 3:6], mask[0, 7:9] = False, False
    model, batch = c3d_lstm().eval(), random_batch(1, 12, mask=mask)
    lstm = model.lstm.layers[0]
    hidden = cell = torch.zeros(8)
    for clip in (0, 2, 3):
        frames = slice(3 * clip, 3 * clip + 3)
        x = relu_layer(model.fc6, model.backbone(batch.face[:, frames], mask[:, frames])[0])
        gates = lstm.weight_ih_l0 @ x + lstm.bias_ih_l0 + lstm.weight_hh_l0 @ hidden + lstm.bias_hh_l0
        enter, forget, value, leave = gates.chunk(4)
        cell = forget.sigmoid() * cell + enter.sigmoid() * value.tanh()
        hidden = leave.sigmoid() * cell.tanh()
    output = model(batch)
    assert torch.allclose(output.feature[0], hidden, atol=1e-6)
    assert torch.allclose(output.logits[0], model.score.weight @ hidden + model.score.bias, atol=1e-6)


def test_the_order_of_clips_matters_to_the_lstm():
    model, batch = c3d_lstm().eval(), random_batch(2, 6)
    turned = replace(batch, face=batch.face.unflatten(1, (2, 3)).flip(1).flatten(1, 2))
    assert (model(batch).feature - model(turned).feature).abs().max() > 1e-5


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="at least one LSTM in `lstm`"):
        c3d_lstm(())
    with pytest.raises(ValueError, match=r"clips of 3 frames; found 7 frames, .* frames to 21"):
        c3d_lstm()(random_batch(2, 7))


def test_the_hidden_layers_begin_as_those_of_the_network():
    """He's initialisation: torch's default loses the signal over ten layers without BatchNorm."""
    for model in (c3d(), c3d_lstm()):
        assert not model.fc6.bias.any()
        assert model.fc6.weight.std().item() == pytest.approx((2 / model.fc6.in_features) ** 0.5, rel=0.1)


# Costs


def test_c3d_has_the_parameters_of_table_8():
    convolutions = sum(27 * inputs * units + units for inputs, units in pairwise([3, *CONVOLUTIONS]))
    layers = 8192 * 4096 + 4096 + 4096 * 4096 + 4096
    with torch.device("meta"):
        assert count_parameters(C3DClassifier([f"sport {place:03}" for place in range(487)])) == 79_991_015
        assert count_parameters(C3DClassifier(SIX)) == convolutions + layers + 4096 * 6 + 6 == 78_020_358


def test_c3d_lstm_has_nearly_the_parameters_of_table_8():
    with torch.device("meta"):
        parameters = count_parameters(C3DLSTM(SIX))
    assert parameters == 27_655_936 + (8192 + 1) * 4096 + 4 * 2000 * (4096 + 2000 + 2) + 2001 * 6
    assert parameters == pytest.approx(110.24e6, rel=0.01)


def test_table_8_counts_c3d_on_35_frames_of_224_pixels():
    """Pooling rounds down, fc6 sees the last map as 8 rows of 8192, and biases, ReLU and pooling are counted."""
    frames, side, channels, multiplied, further = 35, 224, 3, 0, 0
    for number, stage in enumerate(STAGES):
        for _, units in stage:
            values = units * frames * side**2
            multiplied += 27 * channels * values
            further += 2 * values  # bias and ReLU
            channels = units
        further += values  # pooling
        frames = frames // 2 if number else frames
        side = (side + 2 * (number == 4)) // 2  # the last map is padded
    rows = channels * frames * side**2 / 8192
    layers = rows * (8192 * 4096 + 4096 * 4096 + 4096 * 487)
    assert rows == 8
    assert (multiplied + layers + further) / 1e9 == pytest.approx(326.41, abs=0.005)


@pytest.mark.parametrize(
    ("make", "frames", "side", "published", "share"),
    [
        (C3DClassifier, 35, 224, 326.41e9, 1.057),  # pooling rounds up here, as in the original
        (C3DLSTM, 7 * 16, 112, 282.26e9, 0.957),  # seven clips of 16 frames
    ],
)
def test_multiply_adds_are_near_those_of_table_8(make, frames, side, published, share):
    with torch.device("meta"):
        model = make(SIX, ClipBackbone("c3d", frozen=False, size=side)).eval()
    batch = random_batch(1, frames, side).to(torch.device("meta"))
    assert multiply_adds(model, batch) / published == pytest.approx(share, abs=5e-4)


def test_the_default_backbones_are_trained():
    with torch.device("meta"):
        for model in (C3DClassifier(SEVEN), C3DLSTM(SEVEN)):
            assert all(parameter.requires_grad for parameter in model.parameters())
            assert isinstance(model.backbone.network, nn.Sequential)
