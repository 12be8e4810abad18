"""Weights of another shape are refused before anything is trained."""

import pytest
import torch
import yaml

from fer_lightning.cli.main import main
from fer_lightning.ensemble.experiment import read_ensemble
from fer_lightning.ensemble.training import check_configurations
from fer_lightning.experiments import fit, jobs
from fer_lightning.experiments.configuration import read_model
from fer_lightning.experiments.request import ExperimentRequest
from fer_lightning.experiments.shapes import ShapeCheck, build_without_memory
from fer_lightning.tables.plan import TableRequest, plan
from fer_lightning.tables.reproduce import check

WEIGHTS = "--model.init_args.backbone.init_args.weights"
OUTPUT = ("--model.init_args.backbone.init_args.output", "2048")
BRANCH = ("--model.init_args.backbone.init_args.branch_layers", "1")
NO_BRANCH = (BRANCH[0], "0")
START = "--model.init_args.start_from"

TABLE = """
title: What the branch adds
paper: Doe et al., 2020
place: table 1
link: https://example.org/1
data: afew
protocol: one split
columns: [war]
rows:
  - {name: plain, system: ecnn_lstm, arguments: [ARGUMENTS], published: {war: 50.0}}
"""


@pytest.fixture
def table(tmp_path):
    def write(*arguments, requires=()):
        content = yaml.safe_load(TABLE)
        content["rows"][0] |= {"arguments": list(arguments), "requires": list(requires)}
        (tmp_path / "mine.yaml").write_text(yaml.safe_dump(content))
        return str(tmp_path / "mine.yaml")

    return write


def problem(name, *arguments, size="paper", variants=()):
    """What is wrong with an experiment's weights; empty if they fit."""
    request = ExperimentRequest(name, size=size, arguments=arguments)
    try:
        named = {each.run.path.parent.name: each for each in variants}
        ShapeCheck().check("mine", read_model(request), named)
    except ValueError as error:
        return str(error)
    return ""


def test_a_row_whose_weights_have_another_shape_is_refused_before_anything_trains(table, monkeypatch, capsys):
    monkeypatch.setattr(jobs, "train_all", lambda requests: pytest.fail("trained"))
    for arguments, tensor in [
        (OUTPUT, r"added.3.0.bias ((2048,) expected, none found)"),
        (BRANCH, "branch_connected.0.0.bias ((1024,) expected, none found)"),
    ]:
        name = table(WEIGHTS, "run:ecnn_stills_sfew", *arguments)
        for options in ([], ["--dry-run"]):
            assert main(["reproduce", name, *options]) == 2
            said = capsys.readouterr().err
            assert "row plain: ecnn_lstm_afew.plain starts from the weights of run:ecnn_stills_sfew" in said
            assert tensor in said
            assert "Nothing was trained; give both experiments the same arguments" in said


def test_a_variant_is_built_with_its_own_arguments(table):
    variant = {"experiment": "ecnn_stills_fer2013", "name": "wide", "arguments": list(OUTPUT)}
    fitting = table(WEIGHTS, "run:ecnn_stills_fer2013.wide", *OUTPUT, *NO_BRANCH, requires=[variant])
    check(plan(TableRequest(fitting, seeds=(0, 1))))
    other = table(WEIGHTS, "run:ecnn_stills_fer2013.wide", *OUTPUT, *BRANCH, requires=[variant])
    with pytest.raises(ValueError, match=r"the weights of run:ecnn_stills_fer2013.wide, .*\(1024,\) expected"):
        check(plan(TableRequest(other)))


def test_what_a_named_run_starts_from_is_checked_too():
    variant = ExperimentRequest("ecnn_stills_sfew", name="wide", arguments=(*OUTPUT, START, "run:ecnn_stills_fer2013"))
    said = problem("ecnn_lstm_afew", WEIGHTS, "run:ecnn_stills_sfew.wide", *OUTPUT, variants=[variant])
    assert said.startswith("ecnn_stills_sfew.wide starts from the weights of run:ecnn_stills_fer2013")
    assert "not a checkpoint of the same model" in said


def test_a_network_with_further_layers_is_refused():
    """Their weights would be left out without a word."""
    wide = ExperimentRequest("ecnn_stills_fer2013", name="wide", arguments=OUTPUT)
    said = problem("ecnn_lstm_afew", WEIGHTS, "run:ecnn_stills_fer2013.wide", *NO_BRANCH, variants=[wide])
    assert "do not fit EnhancedVGG: that network has 2 tensors more, such as added.3.0.bias, added.3.0.weight" in said


def test_a_whole_model_may_have_other_classes_but_no_other_layers():
    assert not problem("ecnn_stills_sfew", START, "run:ecnn_stills_affectnet"), "7 and 8 classes"
    assert "head.1.weight" in problem("ecnn_stills_sfew", START, "run:ecnn_stills_fer2013", *OUTPUT)
    assert "missing in it" in problem("ecnn_stills_sfew", START, "run:vgg16_fer2013")


def test_each_kind_of_backbone_decides_by_its_own_rule():
    scene = "--model.init_args.scene.init_args"
    assert not problem("vshnn_synthetic_wild", size="small")
    said = problem("vshnn_synthetic_wild", f"{scene}.width", "0.5", size="small")
    assert "run:c3d_synthetic_pretraining" in said
    assert "state the network, depth, cardinality and width" in said
    said = problem("context_pyramid_synthetic_wild", "--model.init_args.face_classes", "[anger, fear]", size="small")
    assert "run:stills_synthetic_stills was trained on anger, disgust" in said


def test_a_finished_run_is_judged_by_its_checkpoint():
    request = ExperimentRequest("stills_synthetic_stills", name="other")
    named = ("ceflnet_synthetic_wild", WEIGHTS, "run:stills_synthetic_stills.other")
    assert not problem(*named, size="small"), "of a variant that is not there nothing is known"
    model = build_without_memory(read_model(request), ("anger", "fear"))
    state = {key: torch.zeros(value.shape, dtype=value.dtype) for key, value in model.state_dict().items()}
    request.run.checkpoints.mkdir(parents=True)
    torch.save({"state_dict": state, "fer_lightning": {}}, request.run.checkpoints / "last.ckpt")
    request.run.report.parent.mkdir()
    request.run.report.touch()
    assert not problem(*named, size="small")
    assert "layer1.0.bn1.bias ((16,) expected, (32,) found)" in problem(
        *named, "--model.init_args.backbone.init_args.channels", "[16,16,16,16]", size="small"
    )


def test_fer_train_and_ensembles_check_shapes_before_they_train_anything(monkeypatch, capsys):
    monkeypatch.setattr(fit.subprocess, "run", lambda *command, **options: pytest.fail("trained"))
    said = ["ecnn_lstm_synthetic.x", "run:ecnn_stills_synthetic_stills"]
    assert main(["train", "ecnn_lstm_synthetic", "--size", "small", "--name", "x", *OUTPUT]) == 2
    assert "{} starts from the weights of {}".format(*said) in capsys.readouterr().err
    wrong = ("--model.init_args.backbone.init_args.channels", "[16,16,16,16]")
    ensemble = read_ensemble(ExperimentRequest("context_ensemble_synthetic_wild", size="small", arguments=wrong))
    with pytest.raises(ValueError, match="starts from the weights of run:stills_synthetic_stills"):
        check_configurations(ensemble)


def test_models_are_built_without_memory():
    model = build_without_memory(read_model(ExperimentRequest("vshnn_afew", size="paper")), ("anger", "fear"))
    assert {value.device.type for value in model.parameters()} == {"meta"}
    assert sum(value.numel() for value in model.parameters()) > 3e8


@pytest.mark.parametrize("size", ["small", "paper"])
@pytest.mark.parametrize("stream", ["vggface", "resnet18", "densenet121"])
def test_the_visual_streams_fit_the_networks_of_their_first_step(stream, size):
    name = f"bimodal_{stream}_afew"
    assert problem(name, size=size) == ""
    assert "bimodal_" in problem(name, "--model.init_args.backbone.init_args.hidden", "96", size=size)
