"""Overrides: full names of settings, values, and what a variant is called."""

import functools
import subprocess

import pytest

from fer_lightning.cli.train import parse
from fer_lightning.ensemble.training import resolved
from fer_lightning.experiments import fit
from fer_lightning.experiments.overrides import (
    Override,
    full_key,
    is_own,
    parse_arguments,
    parse_value,
    variant_name,
)
from fer_lightning.experiments.request import ExperimentRequest
from fer_lightning.runs.folder import RunFolder
from fer_lightning.training.wandb_logger import _run_id

EXPERIMENT = "ceflnet_synthetic_wild"


@functools.cache
def config(experiment=EXPERIMENT):
    return resolved(ExperimentRequest(experiment))


@pytest.mark.parametrize(
    ("key", "full"),
    [
        ("model.sal", "model.init_args.sal"),
        ("model.init_args.sal", "model.init_args.sal"),
        ("model.backbone.name", "model.init_args.backbone.init_args.name"),
        ("model.backbone.class_path", "model.init_args.backbone.class_path"),
        ("model.optimizer.lr", "model.init_args.optimizer.init_args.lr"),
        ("data.sampler.clips", "data.sampler.init_args.clips"),
        ("data.batch_size", "data.batch_size"),
        ("trainer.max_epochs", "trainer.max_epochs"),
        ("data.audio.rate", "data.audio.rate"),  # nothing is set there: the parser knows
    ],
)
def test_short_keys_stand_for_full_ones(key, full):
    assert full_key(config(), key) == full


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("model.sall", r"no setting 'model\.sall'; did you mean model\.sal"),
        ("model.init_args.sall", r"no setting 'model\.init_args\.sall'; did you mean model\.sal"),
        ("mod.sal", r"did you mean .*model\.sal"),
        ("trainer.maxepochs", r"did you mean trainer\.max_epochs"),
        ("model.backbone.width.depth", r"no setting 'model\.backbone\.width\.depth'"),
        ("model.sal.depth", r"no setting 'model\.sal\.depth'"),
        ("model.num_clips", r"model\.num_clips cannot be set: .* data\.sampler\.clips"),
        ("seed_everything", "--seeds names the seeds"),
        ("data.dataset.init_args.fold", "--folds names the folds"),
    ],
)
def test_a_key_that_cannot_be_set_is_named(key, message):
    with pytest.raises(ValueError, match=message):
        full_key(config(), key)


@pytest.mark.parametrize(
    ("text", "value", "written"),
    [
        ("true", True, "true"),
        ("False", False, "false"),
        ("7", 7, "7"),
        ("1e-4", 1e-4, "0.0001"),
        ("null", None, "null"),
        ("resnet50", "resnet50", "resnet50"),
        ("run:a_b", "run:a_b", "run:a_b"),
        ("[1, 2e3]", [1, 2000.0], "[1, 2000.0]"),
    ],
)
def test_values_are_read_as_yaml(text, value, written):
    override = Override("model.init_args.x", parse_value(text))
    assert (override.value, type(override.value)) == (value, type(value))
    assert override.arguments == ("--model.init_args.x", written)


def test_a_value_that_is_no_yaml_is_named():
    with pytest.raises(ValueError, match=r"'\[true' cannot be read"):
        parse_value("[true")


def test_a_variant_is_named_after_what_differs_in_any_order():
    arguments = ["--model.sal", "False", "--data.sampler.clips", "1", "--model.lrl", "true"]
    overrides = parse_arguments(config(), arguments)
    assert [is_own(config(), each) for each in overrides] == [False, False, True]
    assert variant_name(overrides[:2]) == variant_name(overrides[1::-1]) == "sampler_clips_1-sal_false"
    assert variant_name([Override("model.init_args.channels", [32, 64])]) == "channels_32_64"
    assert not is_own(config(), Override("model.init_args.heads", True)), "true is not 1"
    assert not is_own(config(), Override("model.init_args.other", 1))


def test_train_makes_the_name_of_the_settings():
    request = parse([EXPERIMENT, "--name", "auto", "--seed=2", "--model.init_args.sal=False", "--model.lrl=true"])
    assert request.run.path.name == "1-2"
    assert request.name == "sal_false"
    assert request.arguments == ("--model.init_args.sal", "False", "--model.lrl", "true")
    assert resolved(request)["model"]["init_args"]["sal"] is False
    assert parse([EXPERIMENT, "--name", "auto", "--model.sal=true"]).name == "", "the experiment itself"
    with pytest.raises(ValueError, match=r"expected settings with values .* found --model\.sal$"):
        parse([EXPERIMENT, "--name", "auto", "--model.sal"])


def test_a_run_of_a_sweep_has_the_sweeps_id_and_what_it_starts_from_has_not(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_RUN_ID", "abc")
    assert _run_id(RunFolder(tmp_path / "alone")) != "abc"
    monkeypatch.setenv("WANDB_SWEEP_ID", "sweep")
    assert _run_id(RunFolder(tmp_path / "swept")) == "abc"
    started = []
    monkeypatch.setattr(subprocess, "run", lambda command, env, **_: started.append(env))
    fit.train_required_run(ExperimentRequest("stills_synthetic_stills"))
    assert not {"WANDB_SWEEP_ID", "WANDB_RUN_ID"} & started[0].keys()
    assert "PATH" in started[0]


def test_a_configuration_is_read_again_where_a_file_has_changed(tmp_path):
    """It is kept otherwise, and what a caller does with it is the caller's own affair."""
    file = tmp_path / "mine.yaml"
    request = ExperimentRequest("ceflnet_dfew", arguments=("--config", str(file)))
    file.write_text("data: {size: 48}\n")
    first = resolved(request)
    assert first["data"]["size"] == 48
    first["data"]["size"] = 7
    assert resolved(request)["data"]["size"] == 48
    file.write_text("data: {size: 64}\n")
    assert resolved(request)["data"]["size"] == 64
