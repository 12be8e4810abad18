"""The moving average of the weights, in real trainings."""

import pytest
import pytorch_lightning as L
import torch
from pytorch_lightning.callbacks import ModelCheckpoint

from fer_lightning import AveragedWeights
from tests.gpu.test_on_device import close, model, trainer
from tests.small_runs import made_data

CPU = torch.device("cpu")
DECAY = 0.8


class PlainAverage(L.Callback):
    """The average written plainly: it begins with the weights after the first step."""

    def __init__(self):
        self.average, self.evaluated, self.updates = {}, [], 0

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        for name, value in pl_module.named_parameters():
            average = self.average.get(name, value.detach())
            self.average[name] = DECAY * average + (1 - DECAY) * value.detach()
        self.updates += 1
        self.last = {name: value.detach().clone() for name, value in pl_module.named_parameters()}

    def on_validation_batch_end(self, trainer, pl_module, outputs, batch, batch_idx, dataloader_idx=0):
        self.evaluated.append({name: value.detach().clone() for name, value in pl_module.named_parameters()})


def run(folder, epochs, *callbacks, resumed=None):
    network, kept = model(), ModelCheckpoint(folder, "kept", save_top_k=-1, enable_version_counter=False)
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
    network.on_test_start = lambda: tested.update({name: w.detach().clone() for name, w in network.named_parameters()})
    fitted.test(network, made_data(), ckpt_path=tmp_path / "kept.ckpt", verbose=False)
    equal(tested, plain.average)


def test_a_resumed_training_ends_where_an_unbroken_one_does(tmp_path):
    _, unbroken = run(tmp_path / "unbroken", 2)
    run(tmp_path / "broken", 1)
    _, resumed = run(tmp_path / "broken", 2, resumed=tmp_path / "broken" / "kept.ckpt")
    close(resumed, unbroken, 1e-4)


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_a_decay_that_averages_nothing_is_refused(decay):
    with pytest.raises(ValueError, match="expected a number from 0 to below 1"):
        AveragedWeights(decay)
