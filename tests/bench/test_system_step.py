"""The step of any system, and that of its networks alone on what they really see."""

import pytest
import torch
from timm.models.resnet import ResNet

from fer_lightning.bench.system_step import (
    FIRST,
    VARIANTS,
    NetworksAlone,
    NothingTrainedError,
    Variant,
    build,
    make_optimizer,
    measure,
    trained_systems,
)
from fer_lightning.cli.main import main

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("system", "shapes", "trained"),
    [
        ("ceflnet", [(70, 3, 64, 64)], [True]),  # two clips of 7 x 5 frames
        ("former_dfer", [(32, 3, 64, 64)], [True]),  # which runs the parts of its network, not the whole
        ("vshnn", [(32, 3, 64, 64), (2, 3, 16, 64, 64)], [False, False]),  # the face's and the scene's, both frozen
        ("lmed", [], []),
    ],
)
def test_the_networks_alone_see_what_they_see_in_a_step(system, shapes, trained):
    model, batch = build(system, "small", CPU, clips=2)
    alone = NetworksAlone.of(model, batch)
    assert [tuple(images.shape) for _, images in alone.inputs] == shapes
    assert [any(weight.requires_grad for weight in network.parameters()) for network, _ in alone.inputs] == trained


def test_a_step_of_the_networks_alone_leaves_the_model_as_it_is():
    model, batch = build("frame_average", "small", CPU, clips=2)
    alone = NetworksAlone.of(model, batch)
    ((network, _),) = alone.inputs
    assert isinstance(network, ResNet)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    alone.step(model, "32-true")()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_step_is_measured_with_what_follows_from_it():
    step = measure("ceflnet", "small", CPU, Variant("fp32", "32-true", channels_last=False), clips=2, repeats=1)
    assert (step.system, step.variant, step.precision, step.clips, step.frames) == ("ceflnet", "fp32", "32-true", 2, 35)
    assert step.mebibytes is None, "nothing is known of a processor's"
    assert step.clips_per_second == pytest.approx(2000 / step.milliseconds)
    assert step.share == pytest.approx(step.milliseconds / step.backbone_milliseconds)
    assert 0.5 < step.share < 10


def test_a_fused_optimiser_takes_the_same_step():
    weights = []
    for fused in (False, True):
        torch.manual_seed(0)
        model, batch = build("lmed", "small", CPU, clips=4)
        torch.manual_seed(0)
        model.loss(model(batch), batch).backward()
        optimizer = make_optimizer(model, "lmed", fused)
        assert all(bool(group.get("fused")) == fused for group in optimizer.param_groups)
        optimizer.step()
        weights.append(torch.cat([weight.detach().flatten() for weight in model.parameters()]))
    torch.testing.assert_close(*weights)


def test_every_system_is_listed_one_of_each_paper_first_and_one_without_a_step_says_so():
    systems = trained_systems()
    assert tuple(systems[:6]) == FIRST
    assert len(systems) == len(set(systems)) > 40
    assert "context_ensemble" not in systems
    model, _ = build("lmed_svm", "small", CPU, clips=1)
    with pytest.raises(NothingTrainedError, match="lmed_svm has no training step"):
        make_optimizer(model, "lmed_svm")


def test_the_command_prints_a_row_of_each_system_and_names_what_has_none(capsys):
    assert main(["bench", "step", "lmed", "lmed_svm", "--small", "--device", "cpu", "--batch", "2", "--quick"]) == 0
    said = capsys.readouterr().out
    assert "2 x 16" in said
    assert "lmed_svm, default: lmed_svm has no training step" in said


def test_names_are_checked_before_anything_is_measured(capsys):
    assert main(["bench", "step", "ceflnt"]) == 2
    assert "ceflnet" in capsys.readouterr().err
    assert main(["bench", "store", "ceflnet"]) == 2
    assert "expected `fer bench step SYSTEM ...`" in capsys.readouterr().err
    assert [variant.name for variant in VARIANTS] == [
        *("default", "fp32", "bf16", "not channels last"),
        *("fused optimiser", "torch.compile"),
    ]
