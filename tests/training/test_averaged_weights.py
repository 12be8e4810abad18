"""The moving average of the weights, in real trainings."""

import pytest
import pytorch_lightning as L
import torch
from pytorch_lightning.callbacks import ModelCheckpoint

from data_modules.sampling import SegmentSampler
from fer_lightning import AveragedWeights
from fer_lightning.architectures.vshnn.fusion import ALPHAS
from tests.architectures.test_vshnn import sgd, small_vshnn
from tests.gpu.test_on_device import close, model, trainer
from tests.small_runs import made_data

CPU = torch.device("cpu")
DECAY = 0.8


def averaged(network):
    """Parameters, and the statistics of BatchNorm by their names in torch."""
    statistics = ((name, value) for name, value in network.named_buffers() if "running_" in name)
    return {name: value.detach().clone() for name, value in (*network.named_parameters(), *statistics)}


class PlainAverage(L.Callback):
    """The average written plainly: it begins with the weights after the first step."""

    def __init__(self):
        self.average, self.evaluated, self.updates = {}, [], 0

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.last = averaged(pl_module)
        for name, value in self.last.items():
            self.average[name] = DECAY * self.average.get(name, value) + (1 - DECAY) * value
        self.updates += 1

    def on_validation_batch_end(self, trainer, pl_module, outputs, batch, batch_idx, dataloader_idx=0):
        self.evaluated.append(averaged(pl_module))


def run(folder, epochs, *callbacks, resumed=None, weighted=False):
    network, kept = model(), ModelCheckpoint(folder, "kept", save_top_k=-1, enable_version_counter=False)
    network.class_weights = weighted
    fitted = trainer(CPU, folder, epochs, AveragedWeights(DECAY), *callbacks, kept)
    fitted.fit(network, made_data(), ckpt_path=resumed)
    return fitted, network


def equal(found, expected):
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value.detach(), rtol=1e-4, atol=1e-6, msg=name)


def test_epochs_checkpoints_and_tests_have_the_average_and_training_has_the_weights(tmp_path):
    plain = PlainAverage()
    fitted, network = run(tmp_path, 2, plain)
    assert plain.updates > 2
    equal(plain.evaluated[-1], plain.average)
    content = torch.load(tmp_path / "kept.ckpt", weights_only=False)
    equal(content["state_dict"], plain.average)
    equal(content["current_model_state"], plain.last)
    assert any((plain.last[name] - value).abs().max() > 1e-4 for name, value in plain.average.items())
    tested = {}
    network.on_test_start = lambda: tested.update(averaged(network))
    fitted.test(network, made_data(), ckpt_path=tmp_path / "kept.ckpt", verbose=False)
    equal(tested, plain.average)


def test_a_resumed_training_ends_where_an_unbroken_one_does(tmp_path):
    _, unbroken = run(tmp_path / "unbroken", 2)
    run(tmp_path / "broken", 1)
    _, resumed = run(tmp_path / "broken", 2, resumed=tmp_path / "broken" / "kept.ckpt")
    close(resumed, unbroken, 1e-4)


def test_counts_are_not_averaged(tmp_path):
    plain = PlainAverage()
    run(tmp_path, 2, plain)
    content = torch.load(tmp_path / "kept.ckpt", weights_only=False)
    for state in (content["state_dict"], content["current_model_state"]):
        counts = {int(value) for name, value in state.items() if name.endswith("num_batches_tracked")}
        assert counts == {plain.updates}


class ClassWeights(L.Callback):
    """Keeps the class weights with which each epoch is evaluated."""

    def __init__(self):
        self.seen = []

    def on_validation_batch_end(self, trainer, pl_module, outputs, batch, batch_idx, dataloader_idx=0):
        self.seen.append(pl_module.weights.tolist())


def test_class_weights_are_those_of_the_data_before_and_after_resuming(tmp_path):
    """Of each class there are as many clips, but of one of them one has no face."""
    clips, seen = [clip for clip in made_data().split("train") if clip.usable], ClassWeights()
    counts = [sum(clip.label == label for clip in clips) for label in range(7)]
    assert len(set(counts)) > 1
    _, unbroken = run(tmp_path, 1, seen, weighted=True)
    _, resumed = run(tmp_path, 2, seen, resumed=tmp_path / "kept.ckpt", weighted=True)
    for weights in (*seen.seen, unbroken.weights.tolist(), resumed.weights.tolist()):
        assert weights == pytest.approx([len(clips) / (7 * count) for count in counts])


def test_a_fusions_weight_that_an_epoch_has_found_is_kept_and_tested(tmp_path, monkeypatch):
    """The search finds another weight in each epoch, by counts that are made up."""
    found = iter([2, 9])
    network = small_vshnn("ws", optimizer=sgd)
    monkeypatch.setattr(network.fusion.counts, "compute", lambda: torch.tensor(next(found)))
    kept = ModelCheckpoint(tmp_path, "{epoch}", save_top_k=-1)
    options = {"num_sanity_val_steps": 0, "limit_train_batches": 2}
    fitted = trainer(CPU, tmp_path, 2, AveragedWeights(0.999), kept, **options)
    data = made_data(sampler=SegmentSampler(8), inputs=network.inputs)
    fitted.fit(network, data)
    assert float(network.fusion.alpha) == pytest.approx(ALPHAS[9])
    for epoch, place in enumerate((2, 9)):
        path, tested = tmp_path / f"epoch={epoch}.ckpt", []
        state = torch.load(path, weights_only=False)["state_dict"]
        assert float(state["fusion.alpha"]) == pytest.approx(ALPHAS[place])
        network.on_test_start = lambda tested=tested: tested.append(float(network.fusion.alpha))
        fitted.test(network, data, ckpt_path=path, verbose=False)
        assert tested == [pytest.approx(ALPHAS[place])]


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_a_decay_that_averages_nothing_is_refused(decay):
    with pytest.raises(ValueError, match="expected a number from 0 to below 1"):
        AveragedWeights(decay)
