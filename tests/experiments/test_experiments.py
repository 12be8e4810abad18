"""Every experiment's file: read, made and trained for a step, on any data set and in both sizes."""

import functools
import inspect
from dataclasses import asdict
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml

from data_modules.datasets.dataset import VideoDataset
from fer_lightning.ensemble import Average
from fer_lightning.ensemble.experiment import model_requests, read_ensemble
from fer_lightning.ensemble.training import ReadCLI, check_configurations
from fer_lightning.experiments.datasets import build_dataset
from fer_lightning.experiments.lightning_cli import FerCLI
from fer_lightning.experiments.request import (
    ExperimentInfo,
    ExperimentRequest,
    data_file,
    data_names,
    ensemble_names,
    experiment_names,
    experiments_folder,
    model_names,
    required_runs,
)
from fer_lightning.layers.backbones import Pretrained
from fer_lightning.runs.folder import read_yaml
from fer_lightning.training.callbacks import EpochSeed
from fer_lightning.training.classifier import VideoClassifier
from fer_lightning.training.loading import load_trained
from fer_lightning.weights import RANDOM

MADE = (  # with all arguments: what is not stated would stay as the experiment's data set has it
    '{"class_path": "tests.small_runs.MadeFaces", "init_args": {"root": null, "subjects": 4, "tested": 1, '
    '"faces": {"detector": "crop", "size": 48, "margin": 0, "jitter": 0, "every": 1, "landmarks": "none", '
    '"person": "frame", "audio": true}}}'
)


MODELS, ENSEMBLES = tuple(model_names()), tuple(ensemble_names())


@functools.cache
def resolved(request: ExperimentRequest) -> dict:
    return ReadCLI(request.command_line(), run=False).plain_config()


@pytest.mark.parametrize("size", ["small", "paper"])
@pytest.mark.parametrize("name", MODELS)
def test_every_experiment_can_be_made_in_both_sizes(name, size):
    with torch.device("meta"):  # numbers without memory: some systems have hundreds of millions
        cli = FerCLI(ExperimentRequest(name, size=size).command_line(), run=False)
    assert isinstance(cli.model, VideoClassifier)
    assert cli.model.class_names == cli.datamodule.class_names
    assert cli.datamodule.inputs == cli.model.inputs
    assert (cli.model.optimizer is not None) == any(p.requires_grad for p in cli.model.parameters())
    config = cli.plain_config()
    assert cli.trainer.max_epochs == config["trainer"]["max_epochs"]
    assert set(required_runs(config)) <= set(MODELS)
    info = config["experiment"]
    assert info["summary"]
    assert ExperimentInfo(**info)


def systems() -> list[str]:
    """One experiment of each system: those on other data sets have the same small size."""
    found: dict[str, str] = {}
    for name in MODELS:
        system, data = name.rsplit("_", 1)
        found[system] = name if data == "synthetic" else found.get(system, name)
    return sorted(found.values())


@pytest.mark.parametrize("name", [name for name in systems() if not name.startswith("static_vote")])  # learns nothing
def test_every_system_trains(name):
    """Two steps at its small size, with a backbone that begins at random, on faces made here."""
    tiny = (
        "--data.dataset",
        MADE,
        "--data.num_workers",
        "0",
        "--data.batch_size",
        "2",
        "--trainer.precision",
        "32-true",
        "--trainer.logger",
        "false",
    )
    one = ("--trainer.max_epochs", "1", "--trainer.limit_train_batches", "2", "--trainer.limit_val_batches", "1")
    request = ExperimentRequest(name, size="small", arguments=(*tiny, *one))
    cli = FerCLI(request.command_line(), run=False)
    cli.datamodule.train_views = min(cli.datamodule.train_views, 1)  # of which all are cached before the first step
    cli.model.start_from = RANDOM
    for module in cli.model.modules():
        if isinstance(module, Pretrained):
            module.weights = RANDOM
    before = {key: value.clone() for key, value in cli.model.named_parameters()}
    cli.trainer.fit(cli.model, cli.datamodule)
    assert cli.trainer.global_step == 2  # of a ResNet whose blocks begin as identities, the second step moves all
    changed = {key for key, value in cli.model.named_parameters() if not value.equal(before[key])}
    still = {key for key, value in cli.model.named_parameters() if value.requires_grad} - changed
    assert not still, f"no gradient reaches {sorted(still)[:5]}"
    trained = load_trained(request.run.path).model
    assert type(trained) is type(cli.model)

    weights = trained.state_dict()
    assert all(value.equal(weights[key]) for key, value in cli.model.state_dict().items() if "metrics" not in key)
    batch = next(iter(cli.datamodule.val_dataloader()))
    with torch.no_grad():
        assert trained(batch).logits.equal(cli.model.eval()(batch).logits)


@functools.cache
def unlike_data() -> tuple[str, ...]:
    """Experiments whose data sets have, together, every argument that could be left over."""
    files = {name: experiments_folder() / ExperimentRequest(name).content()["data"]["dataset"] for name in MODELS}
    arguments = {name: read_yaml(file)["init_args"].keys() for name, file in files.items()}
    found: list[str] = []
    for name in sorted(MODELS, key=lambda name: -len(arguments[name])):
        if arguments[name] - {argument for other in found for argument in arguments[other]}:
            found.append(name)
    return tuple(found)


@pytest.mark.parametrize("data", data_names())
def test_a_data_set_does_not_depend_on_the_experiment(data):
    assert len(unlike_data()) > 2
    found = {name: resolved(ExperimentRequest(name, data))["data"]["dataset"] for name in unlike_data()}
    first, *others = found.values()
    assert all(other == first for other in others), found
    assert first == yaml.safe_load(data_file(data).read_text())  # the file states all there is


@pytest.mark.parametrize("data", data_names())
def test_every_data_file_states_every_argument_of_its_class(data):
    content, dataset = yaml.safe_load(data_file(data).read_text()), build_dataset(data)
    assert isinstance(dataset, VideoDataset)
    arguments = inspect.signature(type(dataset)).parameters
    assert content["init_args"].keys() == set(arguments)
    assert content["init_args"]["faces"].keys() == set(inspect.signature(type(dataset.faces)).parameters)


def test_no_base_file_names_a_model_or_data():
    assert yaml.safe_load((experiments_folder() / "_base.yaml").read_text()).keys() == {"trainer"}


def test_fold_seed_data_and_size_reach_the_configuration():
    config = resolved(ExperimentRequest("ceflnet_dfew", "synthetic", "small", fold="3", seed=5))
    assert config["data"]["dataset"]["class_path"].endswith("Synthetic")
    assert config["data"]["dataset"]["init_args"]["fold"] == "3"
    small = yaml.safe_load((experiments_folder() / "_small" / "CEFLNet.yaml").read_text())
    assert config["data"]["size"] == small["data"]["size"] < 224
    assert config["trainer"]["max_epochs"] == small["trainer"]["max_epochs"] < 120
    paper = resolved(ExperimentRequest("ceflnet_dfew"))
    assert (paper["data"]["size"], paper["trainer"]["max_epochs"]) == (224, 120)


def test_the_seed_reaches_data_and_model():
    cli = FerCLI(ExperimentRequest("ceflnet_dfew", "synthetic", "small", seed=5).command_line(), run=False)
    (epochs,) = (callback for callback in cli.trainer.callbacks if isinstance(callback, EpochSeed))
    assert cli.datamodule.seed == epochs.seed == 5


def test_persons_are_found_for_models_that_look_at_them():
    def person(experiment, data=None, *arguments):
        return resolved(ExperimentRequest(experiment, data, arguments=arguments))["data"]["dataset"]["init_args"][
            "faces"
        ]["person"]

    assert person("context_pyramid_synthetic") == person("context_pyramid_synthetic", "synthetic_wild") == "annotation"
    assert person("context_spatiotemporal_synthetic", "dfew") == person("context_spatiotemporal_afew") == "insightface"
    assert person("context_pyramid_synthetic", "synthetic", "--data.dataset.faces.person", "frame") == "frame"
    assert person("ceflnet_synthetic", "dfew") == "none"


def test_further_arguments_go_before_files():
    assert (
        resolved(ExperimentRequest("ceflnet_dfew", size="small", arguments=("--data.size", "96")))["data"]["size"] == 96
    )


@pytest.mark.parametrize(
    ("request_", "folder"),
    [
        (ExperimentRequest("ceflnet_dfew"), "ceflnet_dfew/1-0"),
        (ExperimentRequest("ceflnet_dfew", fold="3", seed=7), "ceflnet_dfew/3-7"),
        (ExperimentRequest("ceflnet_dfew", size="paper"), "ceflnet_dfew/1-0"),  # its own size anyway
        (ExperimentRequest("ceflnet_dfew", "synthetic", "small"), "ceflnet_dfew.synthetic.small/1-0"),
        (ExperimentRequest("ceflnet_dfew", name="no_sal"), "ceflnet_dfew.no_sal/1-0"),
    ],
)
def test_every_request_has_a_folder_of_its_own(request_, folder, tmp_path):
    assert request_.run.path == tmp_path / "runs" / folder


def test_needed_runs_are_found_wherever_they_are_named():
    config = {"a": [{"weights": "run:x"}, "run:y"], "b": {"c": "run", "d": {"e": "run:z/2-0"}}, "f": 3}
    assert list(required_runs(config)) == ["x", "y", "z/2-0"]
    assert list(required_runs(resolved(ExperimentRequest("ceflnet_dfew", size="small")))) == ["stills_synthetic"]
    assert list(required_runs(resolved(ExperimentRequest("ceflnet_dfew")))) == []


def test_every_experiment_trains_a_model_or_is_made_of_others():
    assert sorted([*MODELS, *ENSEMBLES]) == experiment_names()
    assert {"ceflnet_dfew", "stills_synthetic"} <= set(MODELS)
    assert {"bimodal_audio_afew", "bimodal_fusion_synthetic", "context_ensemble_afew"} <= set(ENSEMBLES)


@pytest.mark.parametrize("size", ["small", "paper"])
@pytest.mark.parametrize("name", ENSEMBLES)
def test_every_ensemble_can_be_read(name, size):
    made = read_ensemble(ExperimentRequest(name, size=size, fold="2", seed=3))
    assert made.plain["experiment"]["summary"]
    assert len(made.settings.members) > 1
    for entry, request in zip(made.settings.members, made.requests(), strict=True):
        asked = (request.experiment, request.size, request.fold, request.seed, request.name)
        assert asked == (entry.run, size, "2", 3, entry.name)


@pytest.mark.parametrize("name", ENSEMBLES)
def test_members_of_every_ensemble_are_on_the_same_data(name):
    members = [entry.run for entry in read_ensemble(ExperimentRequest(name)).settings.members]
    assert set(members) <= set(experiment_names())
    data = [request.content()["data"] for request in model_requests(ExperimentRequest(name))]
    assert len({(each["dataset"], each["selection"]) for each in data}) == 1


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name in ("bimodal_fusion_synthetic",) else pytest.mark.slow) for name in ENSEMBLES],
)
def test_the_members_of_every_ensemble_fit_together(name):
    """Every model's whole configuration is read, with the arguments of its variant."""
    check_configurations(read_ensemble(ExperimentRequest(name)))


def test_the_papers_weights_and_methods_can_be_asked_for():
    """As the comments in the files say."""
    weights = ("--name", "paper", "--ensemble.method", "FixedWeights", "--ensemble.method.weights")
    made = read_ensemble(ExperimentRequest("bimodal_fusion_afew", arguments=(*weights[2:], "[.88,.34,.22,.06,.3]")))
    names = [entry.label for entry in made.settings.members]
    assert names == [
        "bimodal_vggface_afew",
        "bimodal_resnet18_afew",
        "bimodal_densenet121_afew",
        "static_vote_afew",
        "bimodal_audio_afew",
    ]
    table = SimpleNamespace(class_names=("a", "b"))
    found = made.settings.method.fit({name: np.full((1, 2), 0.5) for name in names}, table).weights
    assert found == pytest.approx(dict(zip(names, np.array([0.88, 0.34, 0.22, 0.06, 0.3]) / 1.8, strict=True)))
    assert [entry.published for entry in made.settings.members] == [53.91, 43.34, 49.35, 41.78, 25.59]
    assert made.settings.published == 54.30
    average = ("--ensemble.method", "Average", "--ensemble.published", "57.70")
    assert read_ensemble(ExperimentRequest("context_ensemble_afew", arguments=average)).settings.method == Average()
    joint = ("--ensemble.method", "JointFusion", "--ensemble.method.groups", "[[1,2,3],[4,5,6,7,8,9]]")
    made = read_ensemble(ExperimentRequest("context_ensemble_afew", arguments=joint))
    first, second = made.settings.method.named_groups([entry.label for entry in made.settings.members])
    assert {name.split(".")[0] for name in first} == {"context_spatiotemporal_afew"}
    assert {name.split(".")[0] for name in second} == {"context_pyramid_afew"}


def test_unknown_names_are_answered_with_near_ones():
    with pytest.raises(FileNotFoundError, match=r"no experiment 'ceflnet_dfw'.*did you mean ceflnet_dfew"):
        ExperimentRequest("ceflnet_dfw").command_line()
    with pytest.raises(FileNotFoundError, match=r"no data set 'syntetic'.*synthetic"):
        ExperimentRequest("ceflnet_dfew", "syntetic").command_line()
    with pytest.raises(FileNotFoundError, match=r"there are: .*ceflnet_dfew"):
        ExperimentRequest("qqq").command_line()


PRESETS = sorted((experiments_folder() / "_faces").glob("*.yaml"))


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_the_papers_ways_of_making_faces_can_be_asked_for(path):
    stated = yaml.safe_load(path.read_text())
    settings = asdict(build_dataset("dfew", ["--dataset.faces", str(path)]).faces)
    assert {name: settings[name] for name in stated} == stated
    assert asdict(build_dataset("dfew").faces) != settings
