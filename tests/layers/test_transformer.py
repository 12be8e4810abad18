"""The transformer's encoder against its equations, written plainly in NumPy."""

import numpy as np
import pytest
import torch

from fer_lightning.layers import MultiHeadAttention, TransformerBlock
from fer_lightning.training.cost import count_parameters
from tests.plain_transformer import numbers, plain_attention, plain_block

SIZE, HEADS, HIDDEN = 12, 3, 20


@pytest.fixture
def tokens():
    rng = np.random.default_rng(0)
    visible = rng.random((4, 7)) < 0.6
    visible[:, 2], visible[0] = True, True
    return rng.normal(size=(4, 7, SIZE)), visible


@pytest.mark.parametrize("output", [True, False])
def test_attention_is_that_of_each_head(tokens, output):
    torch.manual_seed(0)
    x, visible = tokens
    layer = MultiHeadAttention(SIZE, HEADS, output).double()
    found = layer(torch.tensor(x), torch.tensor(visible)).detach().numpy()
    for clip in range(4):
        wanted = plain_attention(numbers(layer), x[clip], visible[clip], HEADS)
        assert found[clip] == pytest.approx(wanted, abs=1e-12)
    everything = layer(torch.tensor(x)).detach().numpy()
    assert everything[0] == pytest.approx(found[0], abs=1e-12)
    assert np.abs(everything[1] - found[1]).max() > 1e-3


def test_a_block_is_attention_and_two_layers_beside_the_tokens(tokens):
    torch.manual_seed(0)
    x, visible = tokens
    block = TransformerBlock(SIZE, HEADS, HIDDEN).double()
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    found = block(torch.tensor(x), torch.tensor(visible)).detach().numpy()
    for clip in range(4):
        assert found[clip] == pytest.approx(plain_block(numbers(block), x[clip], visible[clip], HEADS), abs=1e-10)


def test_parameters_are_those_counted_by_hand():
    attention = 3 * SIZE**2 + SIZE**2 + SIZE
    assert count_parameters(MultiHeadAttention(SIZE, HEADS)) == attention
    assert count_parameters(MultiHeadAttention(SIZE, HEADS, output=False)) == 3 * SIZE**2
    mlp = SIZE * HIDDEN + HIDDEN + HIDDEN * SIZE + SIZE
    assert count_parameters(TransformerBlock(SIZE, HEADS, HIDDEN)) == attention + mlp + 4 * SIZE


def test_heads_divide_the_length():
    with pytest.raises(ValueError, match="5 heads do not divide tokens of length 12; expected a divisor of 12"):
        MultiHeadAttention(SIZE, 5)
