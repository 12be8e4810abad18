"""The steps and metrics that all systems share, against scikit-learn."""

from dataclasses import replace

import numpy as np
import pytest
import pytorch_lightning as L
import torch
from sklearn.metrics import accuracy_score, recall_score
from torch import nn
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score

from data_modules.labels import SEVEN
from data_modules.sampling import RandomSampler
from fer_lightning import CEFLNet, ClassifierOutput, VideoClassifier
from fer_lightning.evaluation.metrics import METRICS
from fer_lightning.training.split_metrics import SplitMetrics
from tests.models import random_batch, small_backbone
from tests.small_runs import MadeFaces, made_data


def softmax(logits):
    e = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


class FixedLogits(VideoClassifier):
    """Returns fixed logits for each clip and each of its draws, whatever the input."""

    def __init__(self, draws=1, **options):
        super().__init__(SEVEN, lambda parameters: torch.optim.SGD(parameters, lr=0.0), **options)
        self.scale = nn.Parameter(torch.ones(()))
        self.draws, self.seen = draws, 0

    def fixed_logits(self, clip_id, draw):
        """Right for anger and wrong for disgust, since who is in a split depends on scikit-learn's version."""
        subject, emotion = clip_id.split("-")
        true, anger = SEVEN.index(emotion), SEVEN.index("anger")
        waves = 3 * np.sin((int(subject[1:]) + 2) * np.arange(7) + 5 * true + 11 * draw)
        return waves + (7 * np.eye(7)[anger] if emotion in ("anger", "disgust") else np.eye(7)[true])

    def forward(self, batch):
        logits = np.stack([self.fixed_logits(clip, place % self.draws) for place, clip in enumerate(batch.clip_id)])
        self.seen += len(batch)
        return ClassifierOutput(self.scale * torch.from_numpy(logits).float(), torch.from_numpy(logits))


def trainer(epochs=1, **options):
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}
    return L.Trainer(**quiet, enable_model_summary=False, num_sanity_val_steps=0, max_epochs=epochs, **options)


@pytest.mark.parametrize("draws", [1, 3])
def test_metrics_are_scikit_learns_over_averaged_views(draws):
    data = made_data(sampler=RandomSampler(frames=2, eval_views=draws), batch_size=3)
    model = FixedLogits(draws)
    found = trainer(use_distributed_sampler=False).test(model, data, verbose=False)
    found = {name: value for values in found for name, value in values.items()}
    for split, prefix in (("inner", "chosen"), ("test", "test")):
        true, guess, losses = [], [], []
        for clip in data.split(split):
            true.append(clip.label)
            logits = np.stack([model.fixed_logits(clip.record.clip_id, draw) for draw in range(draws)])
            guess.append(int(softmax(logits).mean(axis=0).argmax()) if clip.usable else 7)
            if clip.usable:
                losses.append(-np.log(softmax(logits)[:, clip.label]).mean())
        assert found[f"{prefix}/war"] == pytest.approx(accuracy_score(true, guess))
        recall = recall_score(true, guess, labels=range(7), average="macro", zero_division=0)
        assert found[f"{prefix}/uar"] == pytest.approx(recall)
        assert found[f"{prefix}/loss"] == pytest.approx(np.mean(losses), rel=1e-5)
        assert 0 < accuracy_score(true, guess) < 1
    usable = sum(clip.usable for split in ("inner", "test") for clip in data.split(split))
    assert model.seen == draws * usable
    assert data.without_input("test")


def first_epoch(model: FixedLogits, data):
    """The clips of the first epoch of a training in their order, and the logits of each."""
    sampler = data.train_dataloader().sampler
    sampler.set_epoch(0)  # by now the data module is at the next epoch
    clips = [clip for clip in data.split("train") if clip.usable]
    order = [clips[draw.clip] for draw in sampler]
    return order, np.stack([model.fixed_logits(clip.record.clip_id, 0) for clip in order])


def test_an_epochs_loss_and_accuracy_cover_all_its_samples():
    data, model, run = made_data(batch_size=5), FixedLogits(label_smoothing=0.1), trainer(use_distributed_sampler=False)
    run.fit(model, data)
    order, logits = first_epoch(model, data)
    label = np.array([clip.label for clip in order])
    target = np.eye(7)[label] * 0.9 + 0.1 / 7
    expected = -(target * np.log(softmax(logits))).sum(axis=1).mean()
    assert float(run.callback_metrics["train/loss"]) == pytest.approx(expected, rel=1e-5)
    assert float(run.callback_metrics["train/war"]) == pytest.approx((logits.argmax(axis=1) == label).mean())
    assert {"inner/loss", "inner/war", "inner/uar"} <= run.callback_metrics.keys()


class Voted(MadeFaces):
    """Two thirds of the annotators of every other clip chose anger and one third its emotion."""

    def records(self):
        return [
            replace(record, votes=f"anger=2 {record.emotion}=1") if place % 2 and record.emotion != "anger" else record
            for place, record in enumerate(super().records())
        ]


@pytest.mark.parametrize("share", [0.25, 1.0])
def test_votes_are_part_of_the_target(share):
    data, run = made_data(Voted(), batch_size=5), trainer(use_distributed_sampler=False)
    model = FixedLogits(label_smoothing=0.1, vote_share=share)
    run.fit(model, data)
    order, logits = first_epoch(model, data)
    votes = np.array([([2 / 3] + [0] * 6) if clip.record.votes else [0] * 7 for clip in order])
    rest = np.array([1 / 3 if clip.record.votes else 1 for clip in order])[:, None]
    labels = np.eye(7)[[clip.label for clip in order]]
    target = ((1 - share) * labels + share * (votes + rest * labels)) * 0.9 + 0.1 / 7
    expected = -(target * np.log(softmax(logits))).sum(axis=1).mean()
    assert float(run.callback_metrics["train/loss"]) == pytest.approx(expected, rel=1e-5)
    assert votes.any()


def test_votes_that_do_not_exist_cannot_be_trained_on():
    with pytest.raises(ValueError, match=r"vote_share = 0\.5: the data set has no votes of annotators; set --model"):
        trainer().fit(FixedLogits(vote_share=0.5), made_data(batch_size=5))
    with pytest.raises(ValueError, match=r"vote_share = 1\.5: expected a share"):
        FixedLogits(vote_share=1.5)


def test_predict_clips_averages_draws_and_keeps_first_frames():
    model = CEFLNet(class_names=SEVEN, backbone=small_backbone(), num_clips=7).eval()
    batch = random_batch(4)
    object.__setattr__(batch, "clip_id", ("a", "a", "b", "b"))
    object.__setattr__(batch, "frame_index", torch.arange(4 * 35).view(4, 35))
    with torch.no_grad():
        predictions, loss = model.predict_clips(batch)
        output = model(batch)
    assert predictions.clip_id == ("a", "b")
    probabilities = softmax(output.logits.numpy())
    np.testing.assert_allclose(predictions.probabilities, (probabilities[::2] + probabilities[1::2]) / 2, rtol=1e-5)
    np.testing.assert_allclose(predictions.feature, (output.feature[::2] + output.feature[1::2]) / 2, rtol=1e-5)
    assert torch.equal(predictions.attention, output.attention[::2])
    assert torch.equal(predictions.frame_index, batch.frame_index[::2])
    assert float(loss) == pytest.approx(float(model.loss(output, batch)))


def test_clips_of_unknown_class_are_predicted_without_a_loss():
    model = CEFLNet(class_names=SEVEN, backbone=small_backbone(), num_clips=7).eval()
    batch = random_batch(2)
    batch.label[1] = -1
    with torch.no_grad():
        predictions, loss = model.predict_clips(batch)
    assert len(predictions.clip_id) == 2
    assert float(loss) == 0.0


def test_a_diverged_loss_is_shown():
    metrics = SplitMetrics(3)
    metrics.update(torch.tensor(1.0), torch.eye(3), torch.arange(3))
    metrics.update(torch.tensor(float("nan")), torch.eye(3), torch.arange(3))
    assert metrics.summary()["loss"].isnan()
    metrics.update(torch.tensor(2.0), torch.eye(3), torch.arange(3))
    assert metrics.summary()["loss"] == 2.0  # each summary starts from zero


def test_clips_without_input_are_errors():
    metrics = SplitMetrics(3)
    metrics.update(torch.tensor(1.0), torch.eye(3), torch.arange(3))
    metrics.add_without_input([0, 2])
    found = metrics.summary()
    assert float(found["war"]) == pytest.approx(3 / 5)
    assert float(found["uar"]) == pytest.approx((1 / 2 + 1 + 1 / 2) / 3)
    assert float(found["macro_f1"]) == pytest.approx((2 / 3 + 1 + 2 / 3) / 3)


def test_a_splits_metrics_are_torchmetrics_and_scikit_learns():
    rng = np.random.default_rng(0)
    label = torch.from_numpy(rng.permutation(np.arange(200) % 4))
    probabilities = torch.from_numpy(rng.dirichlet(np.ones(4), 200))
    probabilities[::2] += torch.eye(4)[label[::2]]
    metrics, choice = SplitMetrics(5), probabilities.argmax(dim=1)  # the fifth class neither occurs nor is predicted
    for rows in range(0, 200, 30):
        metrics.update(torch.tensor(1.0), probabilities[rows : rows + 30], label[rows : rows + 30])
    found = metrics.summary()
    assert found.keys() == {"loss", *(metric.name for metric in METRICS)}
    expected = {
        "war": MulticlassAccuracy(5, average="micro"),
        "uar": MulticlassAccuracy(5, average="macro"),
        "weighted_f1": MulticlassF1Score(5, average="weighted"),
        "macro_f1": MulticlassF1Score(5, average="macro"),
    }
    for name, reference in expected.items():
        assert float(found[name]) == pytest.approx(float(reference(choice, label)), abs=1e-6), name
    recalls = recall_score(label, choice, average=None)
    assert float(found["std_accuracy"]) == pytest.approx(np.std(recalls, ddof=1))


@pytest.mark.parametrize("names", [["fear", "anger"], ["anger", "anger", "fear"]])
def test_class_lists_are_unique_and_in_alphabetical_order(names):
    with pytest.raises(ValueError, match="alphabetical order"):
        CEFLNet(class_names=names, backbone=small_backbone())


def test_metrics_are_no_weights():
    assert not [name for name in FixedLogits().state_dict() if "split" in name]


@pytest.mark.parametrize("stage", ["fit", "validate", "test", "predict"])
def test_a_model_refuses_data_that_lack_a_field_it_reads(stage):
    class Measuring(FixedLogits):
        inputs = frozenset({"face", "landmarks"})

    with pytest.raises(ValueError, match=r"Measuring reads face, landmarks, but the data module loads face; set"):
        getattr(trainer(), stage)(Measuring(), datamodule=made_data())
