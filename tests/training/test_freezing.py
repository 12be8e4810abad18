"""What `VideoClassifier.freeze` was given stays as it is through a real training; everything else learns."""

import copy

import pytest
import pytorch_lightning as L
import torch
from torch import nn

from data_modules.labels import SEVEN
from data_modules.loading.batch import ClipBatch
from fer_lightning.evaluation.outputs import ClassifierOutput, FrozenFeatures
from fer_lightning.training.classifier import VideoClassifier
from tests.small_runs import made_data


def block(channels: int, features: int) -> nn.Sequential:
    """A block whose output changes with its mode: BatchNorm and dropout."""
    return nn.Sequential(nn.Conv2d(channels, features, 3, stride=4), nn.BatchNorm2d(features), nn.Dropout(0.5))


class FineTuned(VideoClassifier):
    """A network of two blocks of which the first one is frozen; notes what it sees in training."""

    def __init__(self, frozen: bool = True) -> None:
        super().__init__(SEVEN, self.create_optimizer)
        self.network = nn.ModuleDict({"first": block(3, 4), "last": block(4, 8)})
        if frozen:
            self.freeze(self.network["first"])
        self.head = nn.Linear(8, 7)
        self.modes: set[tuple[str, bool, bool]] = set()
        self.gradients: set[tuple[str, bool]] = set()

    def create_optimizer(self, parameters):
        self.optimised = list(parameters)
        return torch.optim.SGD(self.optimised, lr=0.1, weight_decay=0.1)

    def forward_frozen(self, batch: ClipBatch):
        maps = self.network["first"](batch.face.flatten(0, 1) / 255)
        return FrozenFeatures(maps.flatten(1).unflatten(0, batch.mask.shape))

    def forward(self, batch: ClipBatch):
        frames = self.frozen_features(batch).frames
        maps = self.network["last"](frames.unflatten(-1, (4, 8, 8)).flatten(0, 1))
        feature = maps.mean((-2, -1)).unflatten(0, batch.mask.shape).mean(1)
        return ClassifierOutput(self.head(feature), feature)

    def on_train_batch_start(self, batch, batch_idx):
        self.modes |= {(name, module.training, self.current_epoch > 0) for name, module in self.named_modules()}

    def on_before_optimizer_step(self, optimizer):
        self.gradients |= {(name, parameter.grad is not None) for name, parameter in self.named_parameters()}


def fitted(frozen: bool = True) -> tuple[FineTuned, dict[str, torch.Tensor]]:
    """The model after two epochs, each with a validation, and the tensors that it began with."""
    torch.manual_seed(0)
    model = FineTuned(frozen)
    before = copy.deepcopy(model.state_dict())
    trainer = L.Trainer(
        max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False
    )
    trainer.fit(model, made_data())
    assert trainer.global_step > 2
    return model, before


@pytest.mark.filterwarnings("ignore:Found .* module.* in eval mode")  # they are meant to be
def test_frozen_modules_stay_in_evaluation_mode_unchanged():
    model, before = fitted()
    assert {later for name, _, later in model.modes if name == "network.first.1"} == {False, True}  # after a validation
    for name, training, _ in model.modes:
        if not name.startswith("split_metrics"):
            assert training == (not name.startswith("network.first")), name
    moved = {name for name, value in model.state_dict().items() if not value.equal(before[name])}
    norm = {f"network.last.1.{name}" for name in ("running_mean", "running_var", "num_batches_tracked")}
    learnt = {
        f"{module}.{name}" for module in ("network.last.0", "network.last.1", "head") for name in ("weight", "bias")
    }
    assert {name for name in moved if not name.startswith("split_metrics")} == norm | learnt


@pytest.mark.filterwarnings("ignore:Found .* module.* in eval mode")
def test_only_trained_parameters_reach_the_optimiser():
    model, _ = fitted()
    learning = [name for name, _ in model.named_parameters() if name.startswith(("network.last.", "head."))]
    assert len(learning) == 6
    named = dict(model.named_parameters())
    assert [id(parameter) for parameter in model.optimised] == [id(named[name]) for name in learning]
    assert model.gradients == {(name, name in learning) for name in named}


def test_a_model_that_freezes_nothing_trains_all_of_it():
    model, before = fitted(frozen=False)
    assert model.frozen_parts() == []
    assert len(model.optimised) == len(list(model.parameters()))
    assert model.gradients == {(name, True) for name, _ in model.named_parameters()}
    assert not torch.equal(model.state_dict()["network.first.1.running_mean"], before["network.first.1.running_mean"])


def test_frozen_modules_have_one_name_and_stay_frozen_in_copies():
    model = FineTuned()
    assert set(model.state_dict()) == set(FineTuned(frozen=False).state_dict())
    other = copy.deepcopy(model).train()
    assert other.frozen_parts() == [other.network["first"]]
    assert not other.network["first"][1].training


def test_a_class_that_freezes_has_to_say_what_that_computes():
    model = VideoClassifier(SEVEN)
    batch = next(iter(made_data().train_dataloader()))
    with pytest.raises(
        NotImplementedError, match="VideoClassifier freezes modules, but does not define forward_frozen"
    ):
        model.frozen_features(batch)


def test_freezing_without_modules_freezes_the_whole_model():
    model = FineTuned()
    assert model.freeze() is model
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert not any(module.training for module in model.modules())
    assert model.frozen_parts() == [model.network["first"]]
