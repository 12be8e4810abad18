"""The losses against their equations, and that every model can be trained with them."""

import math

import numpy as np
import pytest
import torch

from fer_lightning.training.losses import intensity_aware_losses
from tests.small_runs import made_data
from tests.training.test_classifier import FixedLogits, first_epoch, softmax, trainer


def plain_intensity_aware(logits, label):
    """-log P_t, where P_t = e^{x_t} / (e^{x_t} + e^{x_max}) and x_max is the highest of the other logits."""
    others = [value for place, value in enumerate(logits) if place != label]
    return -math.log(math.exp(logits[label]) / (math.exp(logits[label]) + math.exp(max(others))))


def test_the_intensity_aware_loss_is_its_equation():
    rng = np.random.default_rng(0)
    logits, label = 3 * rng.normal(size=(50, 7)), rng.integers(0, 7, 50)
    found = intensity_aware_losses(torch.tensor(logits), torch.tensor(label))
    assert found.dtype == torch.float32
    wanted = [plain_intensity_aware(row, place) for row, place in zip(logits, label, strict=True)]
    assert found.tolist() == pytest.approx(wanted, rel=1e-5)
    assert {int(row.argmax()) == place for row, place in zip(logits, label, strict=True)} == {True, False}


def test_its_gradient_moves_the_label_and_the_highest_other_class_alone():
    logits = torch.tensor([[1.0, 4.0, 2.0, -1.0], [5.0, 1.0, 0.0, 4.0]], requires_grad=True)
    intensity_aware_losses(logits, torch.tensor([2, 0])).sum().backward()
    share = [1 / (1 + math.exp(-2)), 1 / (1 + math.exp(1))]  # of the other class
    wanted = [[0, share[0], -share[0], 0], [-share[1], 0, 0, share[1]]]
    assert logits.grad.flatten().tolist() == pytest.approx([value for row in wanted for value in row], abs=1e-6)


def test_it_stays_finite_for_any_logits():
    logits = torch.tensor([[1e4, -1e4, 0.0], [-1e4, 1e4, 0.0]], dtype=torch.bfloat16, requires_grad=True)
    found = intensity_aware_losses(logits, torch.tensor([0, 0]))
    assert found.tolist() == pytest.approx([0, 2e4], rel=1e-2)
    found.sum().backward()
    assert logits.grad.isfinite().all()


def test_it_is_added_to_the_cross_entropy_of_a_training():
    data, model = made_data(batch_size=5), FixedLogits(label_smoothing=0.1, intensity_aware=0.3, class_weights=True)
    run = trainer(use_distributed_sampler=False)
    run.fit(model, data)
    order, logits = first_epoch(model, data)
    label = np.array([clip.label for clip in order])
    target = np.eye(7)[label] * 0.9 + 0.1 / 7
    losses = -(target * np.log(softmax(logits))).sum(axis=1)
    losses += 0.3 * np.array([plain_intensity_aware(row, place) for row, place in zip(logits, label, strict=True)])
    clips = [clip for clip in data.split("train") if clip.usable]
    counts = np.bincount([clip.label for clip in clips], minlength=7)
    weights = len(clips) / (7 * counts[label])
    assert float(run.callback_metrics["train/loss"]) == pytest.approx((losses * weights).mean(), rel=1e-5)


def test_a_negative_weight_is_refused():
    with pytest.raises(ValueError, match=r"intensity_aware = -0\.1: expected the weight of a loss, 0 or more"):
        FixedLogits(intensity_aware=-0.1)
