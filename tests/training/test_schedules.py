"""The schedules against their closed forms."""

import math

import pytest
import torch

from fer_lightning import DampedCosine, WarmupCosine


def rates(epochs, warmup, lr=0.4):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)
    schedule = WarmupCosine(optimizer, epochs, warmup)
    found = []
    for _ in range(epochs):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found, optimizer.param_groups[0]["lr"]


@pytest.mark.parametrize(("epochs", "warmup"), [(12, 4), (5, 0), (2, 1)])
def test_warmup_and_cosine_are_their_closed_forms(epochs, warmup):
    found, after = rates(epochs, warmup)
    for epoch, rate in enumerate(found):
        if epoch < warmup:
            expected = 0.4 * (epoch + 1) / (warmup + 1)
        else:
            expected = 0.4 * math.cos(math.pi / 2 * (epoch - warmup) / (epochs - warmup)) ** 2
        assert rate == pytest.approx(expected)
    assert found[warmup] == pytest.approx(0.4)  # the highest
    assert after == pytest.approx(0.0, abs=1e-12)


def test_no_epoch_has_no_rate():
    assert min(rates(10, 3)[0]) > 0.0


@pytest.mark.parametrize(("epochs", "warmup"), [(5, 5), (5, 7), (5, -1), (0, 0)])
def test_a_warmup_that_does_not_fit_is_refused(epochs, warmup):
    with pytest.raises(ValueError, match=f"found a warm-up of {warmup} in {epochs} epochs"):
        rates(epochs, warmup)


def test_a_resumed_schedule_has_the_rates_of_an_unbroken_one():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.4)
    first = WarmupCosine(optimizer, 6, 2)
    for _ in range(3):
        optimizer.step()
        first.step()
    later = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.4)
    second = WarmupCosine(later, 6, 2)
    second.load_state_dict(first.state_dict())
    later.load_state_dict(optimizer.state_dict())
    later.step()
    second.step()
    assert later.param_groups[0]["lr"] == pytest.approx(rates(6, 2)[0][4])


def damped_rates(period, warmup, epochs):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = DampedCosine(optimizer, period, warmup)
    found = []
    for _ in range(epochs):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


def test_a_damped_cosine_is_torchs_two_schedules_in_one():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    warmup = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=0.1, total_iters=9)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=160)
    found = damped_rates(160, 10, 120)
    for epoch in range(120):
        assert found[epoch] == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-6), epoch
        optimizer.step()
        warmup.step()
        cosine.step()
    assert [found[epoch] for epoch in (60, 100, 119)] == pytest.approx([0.691, 0.309, 0.153], abs=5e-4)


def test_a_damped_cosine_stays_at_zero_after_its_period():
    assert damped_rates(4, 0, 7) == pytest.approx([1, 0.8536, 0.5, 0.1464, 0, 0, 0], abs=1e-4)


def test_a_warmup_longer_than_the_cosine_is_refused():
    with pytest.raises(ValueError, match="found a warm-up of 4 in 4 epochs"):
        damped_rates(4, 4, 1)
