"""M3DFEL against a plain reference of its modules, and its parameters counted by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from data_modules.labels import SEVEN
from fer_lightning import M3DFEL, ClipBackbone
from fer_lightning.architectures.m3dfel import DynamicMultiInstanceNormalization, InstanceAggregation
from fer_lightning.training.cost import count_parameters
from tests.models import Case, random_batch
from tests.plain_transformer import numbers, plain_attention

FRAMES = 6


def small(frozen: bool = False, instance_length: int = 2, heads: int = 2, **options) -> M3DFEL:
    backbone = ClipBackbone("resnet3d", depth=10, width=1 / 16, size=32, frozen=frozen)
    return M3DFEL(SEVEN, backbone, FRAMES, instance_length, 6, 1, heads, **options)


WITHOUT_STEPS = frozenset(f"aggregation.lstm.rnn.weight_hh_l0{end}" for end in ("", "_reverse"))  # of one instance
CONTRACT_CASES = {
    "M3DFEL": Case(small, any_length=False),
    "M3DFEL of one instance": Case(lambda: small(instance_length=6), any_length=False, unmoved=WITHOUT_STEPS),
    "M3DFEL without attention": Case(lambda: small(heads=0), any_length=False),
    "M3DFEL with LayerNorm": Case(lambda: small(dynamic=False), any_length=False),
    "M3DFEL of frozen convolutions": Case(lambda: small(frozen=True), freezes=True, any_length=False),
}


def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


def plain_dmin(state, bag, prefix=""):
    """For one bag (N, D): a mixture of each feature's statistics over its instances, and of all values'."""
    own_mean, own_variance = bag.mean(axis=0), bag.var(axis=0, ddof=1)
    mean = own_mean.mean()
    variance = (own_variance + own_mean**2).mean() - mean**2
    means, variances = softmax(state[f"{prefix}mean_mixture"]), softmax(state[f"{prefix}variance_mixture"])
    centre = means[0] * own_mean + means[1] * mean
    spread = variances[0] * own_variance + variances[1] * variance
    return (bag - centre) / np.sqrt(spread + 1e-5) * state[f"{prefix}weight"] + state[f"{prefix}bias"]


@pytest.fixture
def bags():
    """Of whose instances some are real."""
    rng = np.random.default_rng(0)
    mask = np.array([[True] * 5, [False, True, True, False, True], [True, False, True, False, False]])
    return 2 * rng.normal(size=(3, 5, 8)) + 1, mask


def random_parameters(module: nn.Module) -> nn.Module:
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.5)
    return module


def test_the_normalisation_mixes_both_statistics(bags):
    torch.manual_seed(0)
    x, mask = bags
    layer = random_parameters(DynamicMultiInstanceNormalization(8))
    found = layer(torch.tensor(x), torch.tensor(mask)).detach().numpy()
    for bag in range(3):
        wanted = plain_dmin(numbers(layer), x[bag][mask[bag]])
        assert found[bag][mask[bag]] == pytest.approx(wanted, abs=1e-4)


def test_a_bag_of_one_instance_or_none_stays_finite():
    layer = DynamicMultiInstanceNormalization(8)
    mask = torch.tensor([[False, True], [False, False]])
    x = torch.randn(2, 2, 8, requires_grad=True)
    found = layer(x, mask)
    (found * mask[..., None]).sum().backward()
    assert found.isfinite().all()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("heads", [2, 0])
def test_the_aggregation_is_its_steps(bags, heads):
    """A Bi-LSTM over the real instances, its states gated, and a convolution over features across instances."""
    torch.manual_seed(0)
    x, mask = bags
    module = random_parameters(InstanceAggregation(8, 5, 4, 2, heads, dynamic=True))
    found = module(torch.tensor(x).float(), torch.tensor(mask)).detach().numpy()
    state = numbers(module)
    for bag in range(3):
        real = torch.tensor(x[bag][mask[bag]]).float()
        states = module.lstm.rnn(real[None])[0][0].detach().double().numpy()  # (real, 8)
        if heads:
            attended = plain_attention(state, states, np.ones(len(states), bool), heads, "attention.")
            states = states / (1 + np.exp(-plain_dmin(state, attended, "norm.")))
        rows = np.zeros((5, 8))
        rows[mask[bag]] = states
        padded = np.pad(rows, ((0, 0), (1, 1)))
        kernel = state["merge.weight"][0]  # (5, 3)
        wanted = [(kernel * padded[:, place : place + 3]).sum() + state["merge.bias"][0] for place in range(8)]
        assert found[bag] == pytest.approx(np.array(wanted), abs=1e-4)


def test_instances_are_successive_frames():
    """The convolutions of an instance see its frames alone."""
    torch.manual_seed(0)
    model, batch = small().eval(), random_batch(1, FRAMES)
    before = model.forward_frozen(batch).clip.view(3, -1)
    face = batch.face.clone()
    face[:, 2:4] = 255 - face[:, 2:4]
    after = model.forward_frozen(replace(batch, face=face)).clip.view(3, -1)
    assert [bool((a != b).any()) for a, b in zip(before, after, strict=True)] == [False, True, False]
    torch.testing.assert_close(before[1], model.backbone(batch.face[:, 2:4])[0])


def test_frames_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="6 frames cannot be cut into instances of 4; set `instance_length`"):
        small(instance_length=4)
    with pytest.raises(ValueError, match="clips of 6 frames into instances; found 8: set the model's `frames`"):
        small()(random_batch(1, 8))


def test_parameters_are_those_counted_by_hand():
    r3d18 = 33_371_472 - 513 * 400  # torchvision's R3D_18 without its last layer
    lstm = 2 * sum(4 * 512 * (inputs + 512 + 2) for inputs in (512, 1024))
    aggregation = lstm + 3 * 1024**2 + 2 * 1024 + 4 + (4 * 3 + 1)
    with torch.device("meta"):
        model = M3DFEL(SEVEN)
    assert count_parameters(model) == r3d18 + aggregation + 1025 * 7
    assert count_parameters(model.aggregation) == aggregation
    assert not model.backbone.frozen
