"""Mixup against its definition, in a batch and in a training."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from fer_lightning.training.mixup import mix
from tests.models import random_batch
from tests.small_runs import made_data
from tests.training.test_classifier import FixedLogits, first_epoch, softmax, trainer


def test_a_sample_is_the_mixture_of_two_and_has_the_labels_of_both():
    """Sample i is of brightness 10 i and label i, so that a mixture shows what was mixed, and how much of it."""
    batch = random_batch(8, frames=2)
    face = (10 * torch.arange(8)).view(8, 1, 1, 1, 1).expand_as(batch.face).to(torch.uint8)
    batch = replace(batch, face=face, label=torch.arange(8), votes=torch.eye(8))
    torch.manual_seed(0)
    shares = set()
    for _ in range(5):
        mixed = mix(batch, 0.4)
        share = float(mixed.share)
        shares.add(share)
        assert 0.5 <= share <= 1
        assert mixed.first.label.tolist() == list(range(8))
        assert sorted(mixed.second.label.tolist()) == list(range(8)), "each sample is mixed in once"
        assert mixed.second.votes.argmax(1).tolist() == mixed.second.label.tolist()
        assert mixed.second.face is mixed.first.face
        assert mixed.first.face.dtype == torch.uint8
        wanted = 10 * (share * mixed.first.label + (1 - share) * mixed.second.label)
        difference = mixed.first.face.float() - wanted.view(8, 1, 1, 1, 1)
        assert difference.abs().max() <= 0.51, "rounded to whole levels"
    assert len(shares) == 5
    assert torch.equal(batch.face, face), "the batch itself stays"


def test_the_loss_is_that_of_both_labels_by_their_shares(monkeypatch):
    """A model whose logits do not depend on the images: the loss of an epoch follows from labels and shares alone."""
    seen = []

    def recorded(batch, alpha):
        seen.append(mix(batch, alpha))
        return seen[-1]

    monkeypatch.setattr("fer_lightning.training.classifier.mix", recorded)
    data, model = made_data(batch_size=5), FixedLogits(mixup=0.4)
    run = trainer(use_distributed_sampler=False)
    run.fit(model, data)
    order, logits = first_epoch(model, data)
    label = np.array([clip.label for clip in order])
    assert [int(each) for mixed in seen for each in mixed.first.label] == label.tolist()
    other = np.array([int(each) for mixed in seen for each in mixed.second.label])
    share = np.repeat([float(mixed.share) for mixed in seen], 5)
    target = share[:, None] * np.eye(7)[label] + (1 - share)[:, None] * np.eye(7)[other]
    losses = -(target * np.log(softmax(logits))).sum(axis=1)
    assert float(run.callback_metrics["train/loss"]) == pytest.approx(losses.mean(), rel=1e-5)


def test_a_negative_alpha_is_refused():
    with pytest.raises(ValueError, match=r"mixup = -1: expected alpha"):
        FixedLogits(mixup=-1)


def test_inputs_that_are_no_images_are_refused():
    class Landmarks(FixedLogits):
        inputs = frozenset({"face", "landmarks"})

    model = Landmarks(mixup=0.2)
    data = made_data(inputs=model.inputs)
    with pytest.raises(ValueError, match=r"Landmarks reads face, landmarks; expected images alone \(face, person\)"):
        trainer().fit(model, data)


def test_cached_features_are_refused():
    with pytest.raises(ValueError, match="features are cached"):
        mix(replace(random_batch(2), features=torch.zeros(2, 1, 4)), 0.2)
