"""Every experiment's file: read, made and trained for a step, on any data set and in both sizes."""

import inspect
import re
from dataclasses import asdict
from types import SimpleNamespace

import numpy as np
import pytest
import timm
import torch
import yaml

from data_modules.datasets.dataset import VideoDataset
from data_modules.faces.tracker_settings import TrackerSettings
from data_modules.loading.batch import AUDIO_INPUTS, FACE_INPUTS
from fer_lightning.ensemble import Average
from fer_lightning.ensemble.experiment import model_requests, read_ensemble
from fer_lightning.ensemble.training import check_configurations
from fer_lightning.experiments.configuration import read_model
from fer_lightning.experiments.datasets import build_dataset
from fer_lightning.experiments.fit import fit_experiment, weight_files
from fer_lightning.experiments.lightning_cli import FerCLI
from fer_lightning.experiments.request import ExperimentRequest, experiment_names, fits, required_runs
from fer_lightning.experiments.system import (
    ExperimentInfo,
    base_settings,
    data_file,
    data_names,
    experiments_folder,
    is_ensemble,
    system_layers,
    system_names,
)
from fer_lightning.layers.backbones import Pretrained
from fer_lightning.training.callbacks import EpochSeed
from fer_lightning.training.classifier import VideoClassifier
from fer_lightning.training.loading import load_trained
from fer_lightning.training.random_batch import batch_for
from fer_lightning.weights import RANDOM

MADE = (  # with all arguments: what is not stated would stay as the experiment's data set has it
    '{"class_path": "tests.small_runs.MadeFaces", "init_args": {"root": null, "subjects": 4, "tested": 1, '
    '"faces": {"detector": "crop", "size": 48, "margin": 0, "jitter": 0, "every": 1, "landmarks": "none", '
    '"person": "frame", "audio": true}}}'
)


MODELS = tuple(name for name in system_names() if not is_ensemble(name))
ENSEMBLES = tuple(name for name in system_names() if is_ensemble(name))


def on_any_data(system: str) -> str:
    """An experiment of a system: on rendered faces, or on rendered stills."""
    return next(
        name for data in ("synthetic", "synthetic_stills") if fits(ExperimentRequest(name := f"{system}_{data}"))
    )


@pytest.mark.parametrize("system", MODELS)
def test_every_system_can_be_made_at_the_papers_size(system):
    meta = torch.device("meta")  # numbers without memory: some systems have hundreds of millions
    with meta:
        cli = FerCLI(ExperimentRequest(on_any_data(system), size="paper").command_line(), run=False)
    check_made(cli)
    inputs = cli.model.inputs
    if cli.model.optimizer is not None and {"spectrogram", "log_mel"} & inputs:  # whose sizes are not those of crops
        with torch.no_grad():
            logits = cli.model.eval()(batch_for(inputs, cli.datamodule, 1).to(meta)).logits
        assert logits.shape == (1, len(cli.model.class_names))


def check_made(cli: FerCLI) -> None:
    """Checks that model, data and trainer are made for each other."""
    assert isinstance(cli.model, VideoClassifier)
    assert cli.model.class_names == cli.datamodule.class_names
    assert cli.datamodule.inputs == cli.model.inputs
    assert (cli.model.optimizer is not None) == any(p.requires_grad for p in cli.model.parameters())
    config = cli.plain_config()
    assert cli.trainer.max_epochs == config["trainer"]["max_epochs"]
    info = config["experiment"]
    assert info["summary"]
    assert ExperimentInfo(**info)
    needed = {"audio": AUDIO_INPUTS, "landmarks": {"landmarks"}, "person": {"person"}}
    assert {need for need, fields in needed.items() if fields & cli.model.inputs} == {*info["needs"]} - {"motion"}
    assert bool(FACE_INPUTS & cli.model.inputs) == ({*info["needs"]} != {"audio"})


@pytest.mark.parametrize("system", ["ceflnet_c3d", "ceflnet_lstm", "c3d_lstm"])
def test_networks_of_sequences_see_frames_in_the_order_of_time(system):
    """CEFLNet's sub-videos overlap, so that one after another they are not."""
    cli = FerCLI(ExperimentRequest(f"{system}_synthetic").command_line(), run=False)
    for number in (20, 75, 105, 300):
        for generator in (None, torch.Generator().manual_seed(0)):
            found = cli.datamodule.sampler(number, generator)
            assert len(found) == (48 if system == "c3d_lstm" else 35)
            assert (found.diff() >= 0).all(), number


@pytest.mark.parametrize("size", [pytest.param("small", marks=pytest.mark.slow), "paper"])
@pytest.mark.parametrize("system", MODELS)
def test_every_system_resolves_on_every_data_set(system, size):
    """Data sets on which a system's own settings are the same differ in the data alone, and one stands for them."""
    requests = [ExperimentRequest(f"{system}_{data}", size=size) for data in data_names()]
    unlike = {yaml.safe_dump([layer.content for layer in each.layers()]): each for each in requests if fits(each)}
    for request in unlike.values():
        for name in required_runs(read_model(request)):
            needed = ExperimentRequest.from_run_name(name)
            assert fits(needed)
            assert needed.system in MODELS
            assert needed.run.path.parent.name == name, "it is trained where it is looked for"
            assert (needed.size or needed.default_size) == size, f"{request.experiment} starts from {name}"


def test_votes_allow_for_exactly_the_classes_that_their_network_does_not_know():
    """Of all data sets but `own`, whose classes are those of its folders."""
    requests = [ExperimentRequest(f"static_vote_{data}") for data in data_names() if data != "own"]
    lacking = {}
    for request in filter(fits, requests):
        config = read_model(request)
        (started,) = required_runs(config)
        known = build_dataset(ExperimentRequest.from_run_name(started).dataset).class_names
        unknown = sorted({*build_dataset(request.dataset).class_names} - {*known})
        assert sorted(config["model"]["init_args"]["unsupported_classes"]) == unknown, request.dataset
        lacking[request.dataset] = unknown
    assert (lacking["ckplus"], lacking["ravdess"], lacking["dfew"]) == (["contempt"], ["calm"], [])


def test_a_system_is_refused_where_the_data_lacks_what_it_needs():
    with pytest.raises(ValueError, match="ceflnet cannot run on fer2013: it needs videos"):
        ExperimentRequest("ceflnet_fer2013").command_line()
    with pytest.raises(ValueError, match="spectrogram cannot run on dfew: it needs audio"):
        ExperimentRequest("spectrogram_dfew").command_line()
    with pytest.raises(ValueError, match="ceflnet cannot run on ravdess_audio: it needs faces, and it is sound alone"):
        ExperimentRequest("ceflnet_ravdess_audio").command_line()
    with pytest.raises(ValueError, match="stills cannot run on cremad_audio: it needs faces"):
        ExperimentRequest("stills_cremad_audio").command_line()
    names = set(experiment_names())
    assert {"ceflnet_dfew", "stills_dfew", "lmed_dfew", "context_pyramid_mafw", "bimodal_fusion_cremad"} <= names
    assert not {"ceflnet_fer2013", "spectrogram_dfew", "bimodal_fusion_dfew", "av_ravdess_audio"} & names
    heard = {name.removesuffix("_ravdess_audio") for name in names if name.endswith("_ravdess_audio")}
    assert {"opensmile_is09", "opensmile_is10", "spectrogram", "bimodal_audio"} <= heard
    assert not any(name in heard for name in ("static_vote", "context_face", "vgg16", "lmed", "bimodal_fusion"))
    assert len(names) > 500


def test_layers_are_in_the_order_in_which_they_override():
    origins = [layer.origin.rsplit("/", 1)[-1] for layer in system_layers("vshnn_lrmaf", "mmi", "small")]
    expected = ["base", "vshnn", "vshnn_lrmf", "vshnn_lrmaf"]
    assert [origin.removesuffix(".yaml") for origin in origins[:4]] == expected
    assert origins[4:] == ["vshnn_lrmf.yaml, on mmi", "vshnn.yaml, small", "vshnn_lrmf.yaml, small"]
    synthetic = system_layers("context_face", "synthetic_stills")
    assert [layer.origin.rsplit("/", 1)[-1] for layer in synthetic][-1] == "context_face.yaml, small", "by default"
    fusion = read_model(ExperimentRequest("vshnn_lrmaf_mmi", size="small"))["model"]["init_args"]["fusion"]["init_args"]
    assert (fusion["modules"], fusion["width"], fusion["attention"]) == (2, 64, True)
    start = read_model(ExperimentRequest("context_face_rafdb", size="small"))["model"]["init_args"]["start_from"]
    assert start == "run:context_face_affectnet.small"


@pytest.mark.parametrize("system", [name for name in MODELS if name != "static_vote"])  # learns nothing
def test_every_system_trains(system):
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
    request = ExperimentRequest(on_any_data(system), size="small", arguments=(*tiny, *one))
    cli = FerCLI(request.command_line(), run=False)
    check_made(cli)
    cli.datamodule.train_views = min(cli.datamodule.train_views, 1)  # of which all are cached before the first step
    if hasattr(cli.datamodule.sampler, "eval_views"):
        cli.datamodule.sampler.eval_views = 1
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
    batch = next(iter(cli.datamodule.test_dataloader()[0]))  # with `selection: last`, there is nothing to validate on
    with torch.no_grad():
        assert trained(batch).logits.equal(cli.model.eval()(batch).logits)


@pytest.mark.parametrize("data", data_names())
def test_a_data_set_does_not_depend_on_the_system(data):
    systems = [name for name in MODELS if fits(ExperimentRequest(f"{name}_{data}"))]
    plain = "stills" if "stills" in systems else "spectrogram"  # of sound alone
    found = [read_model(ExperimentRequest(f"{name}_{data}"))["data"]["dataset"] for name in (plain, systems[0])]
    assert [each["init_args"]["faces"].pop("tracking") for each in found] == [asdict(TrackerSettings())] * 2
    assert found[0] == found[1] == yaml.safe_load(data_file(data).read_text())  # the file states all else


@pytest.mark.parametrize("data", data_names())
def test_every_data_file_states_every_argument_of_its_class(data):
    content, dataset = yaml.safe_load(data_file(data).read_text()), build_dataset(data)
    assert isinstance(dataset, VideoDataset)
    arguments = inspect.signature(type(dataset)).parameters
    assert content["init_args"].keys() == set(arguments)
    faces = set(inspect.signature(type(dataset.faces)).parameters)
    assert content["init_args"]["faces"].keys() == faces - {"tracking"}, "faces are tracked alike in all data sets"


def test_no_base_file_names_a_model_or_data():
    assert base_settings().keys() == {"trainer"}


def test_fold_seed_data_and_size_reach_the_configuration():
    config = read_model(ExperimentRequest("ceflnet_dfew", "synthetic", "small", fold="3", seed=5))
    assert config["data"]["dataset"]["class_path"].endswith("Synthetic")
    assert config["data"]["dataset"]["init_args"]["fold"] == "3"
    small = yaml.safe_load((experiments_folder() / "systems" / "ceflnet.yaml").read_text())["small"]
    assert config["data"]["size"] == small["data"]["size"] < 224
    assert config["trainer"]["max_epochs"] == small["trainer"]["max_epochs"] < 120
    paper = read_model(ExperimentRequest("ceflnet_dfew"))
    assert (paper["data"]["size"], paper["trainer"]["max_epochs"]) == (224, 120)


def test_the_seed_reaches_data_and_model():
    cli = FerCLI(ExperimentRequest("ceflnet_dfew", "synthetic", "small", seed=5).command_line(), run=False)
    (epochs,) = (callback for callback in cli.trainer.callbacks if isinstance(callback, EpochSeed))
    assert cli.datamodule.seed == epochs.seed == 5


def test_persons_are_found_for_models_that_look_at_them():
    def person(experiment, data=None, *arguments):
        return read_model(ExperimentRequest(experiment, data, arguments=arguments))["data"]["dataset"]["init_args"][
            "faces"
        ]["person"]

    assert (
        person("context_pyramid_synthetic_occluded")
        == person("context_pyramid_synthetic", "synthetic_wild")
        == "annotation"
    )
    assert person("context_spatiotemporal_synthetic", "dfew") == person("context_spatiotemporal_afew") == "insightface"
    assert person("context_pyramid_synthetic", "synthetic", "--data.dataset.faces.person", "frame") == "frame"
    assert person("ceflnet_synthetic", "dfew") == "none"


def test_further_arguments_go_before_files():
    assert (
        read_model(ExperimentRequest("ceflnet_dfew", size="small", arguments=("--data.size", "96")))["data"]["size"]
        == 96
    )


@pytest.mark.parametrize(
    ("request_", "folder"),
    [
        (ExperimentRequest("ceflnet_dfew"), "ceflnet_dfew/1-0"),
        (ExperimentRequest("ceflnet_dfew", fold="3", seed=7), "ceflnet_dfew/3-7"),
        (ExperimentRequest("ceflnet_dfew", size="paper"), "ceflnet_dfew/1-0"),  # its own size anyway
        (ExperimentRequest("ceflnet_dfew", "synthetic", "small"), "ceflnet_synthetic/1-0"),  # its own size anyway
        (ExperimentRequest("ceflnet_dfew", "synthetic", "paper"), "ceflnet_synthetic.paper/1-0"),
        (ExperimentRequest("ceflnet_dfew", name="no_sal"), "ceflnet_dfew.no_sal/1-0"),
    ],
)
def test_every_request_has_a_folder_of_its_own(request_, folder, tmp_path):
    assert request_.run.path == tmp_path / "runs" / folder


def test_a_missing_file_of_weights_ends_a_training_before_its_data_are_prepared(tmp_path):
    request = ExperimentRequest("ceflnet_authors_synthetic", size="paper", arguments=("--trainer.logger", "false"))
    with pytest.raises(FileNotFoundError, match=r"no checkpoint in weights/Resnet18_pytorch\.pth\.tar: expected"):
        fit_experiment(request)
    assert not list(tmp_path.rglob("*.mp4"))


def test_files_of_weights_are_found_and_a_whole_model_takes_their_place():
    backbone = {"class_path": "b", "init_args": {"weights": "w/a.pth", "pixels": "unit"}}
    scene = {"init_args": {"weights": "sports1m"}}
    model = {"class_path": "m", "init_args": {"backbone": backbone, "scene": scene, "start_from": "random"}}
    assert list(weight_files(model)) == ["w/a.pth"]
    model["init_args"]["start_from"] = "run:stills_fer2013.v2"
    assert list(weight_files(model)) == []
    model["init_args"]["start_from"] = "old/best.ckpt"
    assert list(weight_files(model)) == ["old/best.ckpt"]
    model = {"init_args": {"backbone": {"init_args": {"weights": "run:ecnn_stills_sfew.fc1"}}}}
    assert list(weight_files(model)) == []


def test_needed_runs_are_found_wherever_they_are_named():
    config = {"a": [{"weights": "run:x"}, "run:y"], "b": {"c": "run", "d": {"e": "run:z/2-0"}}, "f": 3}
    assert list(required_runs(config)) == ["x", "y", "z/2-0"]
    assert list(required_runs(read_model(ExperimentRequest("ceflnet_dfew", size="small")))) == [
        "stills_synthetic_stills"
    ]
    assert list(required_runs(read_model(ExperimentRequest("ceflnet_dfew")))) == []


@pytest.mark.parametrize(
    ("request_", "needed"),
    [
        (ExperimentRequest("bimodal_vggface_afew"), "bimodal_vggface_frames_afew"),
        (ExperimentRequest("bimodal_resnet18_dfew", fold="3"), "bimodal_resnet18_frames_dfew/3-0"),
        (ExperimentRequest("bimodal_densenet121_dfew", seed=2), "bimodal_densenet121_frames_dfew/1-2"),
        (ExperimentRequest("bimodal_vggface_afew", size="small"), "bimodal_vggface_frames_afew.small"),
        (ExperimentRequest("bimodal_resnet18_synthetic", size="small"), "bimodal_resnet18_frames_synthetic"),
        (ExperimentRequest("bimodal_densenet121_afew", size="small"), "bimodal_densenet121_frames_afew.small"),
        (
            ExperimentRequest(
                "ceflnet_mmi",
                fold="2",
                arguments=("--model.init_args.backbone.init_args.weights", "run:bimodal_vggface_frames_{data}.wide"),
            ),
            "bimodal_vggface_frames_mmi.wide/2-0",
        ),
    ],
)
def test_a_run_on_the_same_clips_is_of_the_same_fold_size_and_seed(request_, needed):
    """In another fold it would have been trained on clips that are reported here."""
    config = read_model(request_)
    assert list(required_runs(config)) == [needed]
    first = ExperimentRequest.from_run_name(needed)
    if not first.name:
        inner = read_model(first)["data"]["dataset"]
        assert inner == config["data"]["dataset"]
        assert (first.size or first.default_size) == (request_.size or request_.default_size)


def test_a_run_that_is_named_can_be_asked_for():
    assert ExperimentRequest.from_run_name("stills_fer2013") == ExperimentRequest("stills_fer2013")
    asked = ExperimentRequest("stills_fer2013", size="small", fold="2", seed=7, name="wide.x")
    assert ExperimentRequest.from_run_name("stills_fer2013.small.wide.x/2-7") == asked
    assert asked.run.path.parts[-2:] == ("stills_fer2013.small.wide.x", "2-7")


@pytest.mark.parametrize("size", ["small", "paper"])
@pytest.mark.parametrize("system", ENSEMBLES)
def test_every_ensemble_can_be_read(system, size):
    made = read_ensemble(ExperimentRequest(f"{system}_synthetic", size=size, fold="2", seed=3))
    assert made.plain["experiment"]["summary"]
    assert len(made.settings.members) > 1
    for entry, request in zip(made.settings.members, made.requests(), strict=True):
        asked = (request.experiment, request.size, request.fold, request.seed, request.name)
        assert asked == (f"{entry.system}_synthetic", size, "2", 3, entry.name)


@pytest.mark.parametrize(
    "system",
    [pytest.param(name, marks=[] if name == "bimodal_fusion" else pytest.mark.slow) for name in ENSEMBLES],
)
def test_the_members_of_every_ensemble_fit_together(system):
    """Every model's whole configuration is read, with the arguments of its variant."""
    check_configurations(read_ensemble(ExperimentRequest(f"{system}_synthetic")))


@pytest.mark.parametrize(
    "system",
    [pytest.param(name, marks=[] if name == "voices_fusion" else pytest.mark.slow) for name in ENSEMBLES],
)
def test_members_fit_together_on_every_data_set(system):
    """Data sets on which the members' own settings are the same differ in the data alone, and one stands for them."""
    requests = [ExperimentRequest(f"{system}_{data}") for data in data_names()]
    unlike = {
        yaml.safe_dump([[layer.content for layer in member.layers()] for member in model_requests(each)]): each
        for each in requests
        if fits(each)
    }
    for request in unlike.values():
        check_configurations(read_ensemble(request))


def test_the_papers_weights_and_methods_can_be_asked_for():
    """As the comments in the files say."""
    weights = ("--name", "paper", "--ensemble.method", "FixedWeights", "--ensemble.method.weights")
    made = read_ensemble(ExperimentRequest("bimodal_fusion_afew", arguments=(*weights[2:], "[.88,.34,.22,.06,.3]")))
    names = [entry.label for entry in made.settings.members]
    assert names == [
        "bimodal_vggface",
        "bimodal_resnet18",
        "bimodal_densenet121",
        "static_vote",
        "bimodal_audio",
    ]
    table = SimpleNamespace(class_names=("a", "b"))
    found = made.settings.method.fit({name: np.full((1, 2), 0.5) for name in names}, table).weights
    assert found == pytest.approx(dict(zip(names, np.array([0.88, 0.34, 0.22, 0.06, 0.3]) / 1.8, strict=True)))
    average = ("--ensemble.method", "Average")
    assert read_ensemble(ExperimentRequest("context_ensemble_afew", arguments=average)).settings.method == Average()
    joint = ("--ensemble.method", "JointFusion", "--ensemble.method.groups", "[[1,2,3],[4,5,6,7,8,9]]")
    made = read_ensemble(ExperimentRequest("context_ensemble_afew", arguments=joint))
    first, second = made.settings.method.named_groups([entry.label for entry in made.settings.members])
    assert {name.split(".")[0] for name in first} == {"context_spatiotemporal"}
    assert {name.split(".")[0] for name in second} == {"context_pyramid"}


def test_unknown_names_are_answered_with_near_ones():
    with pytest.raises(FileNotFoundError, match=r"no data set 'dfw'.*did you mean dfew"):
        ExperimentRequest("ceflnet_dfw").command_line()
    with pytest.raises(FileNotFoundError, match=r"no data set 'syntetic'.*synthetic"):
        ExperimentRequest("ceflnet_dfew", "syntetic").command_line()
    with pytest.raises(FileNotFoundError, match=r"systems: .*ceflnet"):
        ExperimentRequest("qqq").command_line()


PRESETS = sorted((experiments_folder() / "faces").glob("*.yaml"))


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_the_papers_ways_of_making_faces_can_be_asked_for(path):
    stated = yaml.safe_load(path.read_text())
    settings = asdict(build_dataset("dfew", ["--dataset.faces", str(path)]).faces)
    assert {name: settings[name] for name in stated} == stated
    assert asdict(build_dataset("dfew").faces) != settings


def test_the_context_papers_faces_are_as_tight_as_those_that_its_face_model_ends_on():
    settings = build_dataset("afew", ["--dataset.faces", "experiments/faces/context.yaml"]).faces
    last = build_dataset("rafdb").faces
    assert (settings.margin, settings.align) == (last.margin, last.align)
    assert settings.person == "insightface_tracked"


def test_the_other_face_models_have_the_features_and_parameters_that_are_stated():
    text = (experiments_folder() / "systems" / "context_face.yaml").read_text()
    stated = re.findall(r"name: (\w+) +\((\d+); ([\d.]+) M\)", text)
    assert len(stated) == 5
    for name, features, millions in stated:
        with torch.device("meta"):
            network = timm.create_model(name, num_classes=0)
        parameters = sum(parameter.numel() for parameter in network.parameters())
        assert (network.num_features, f"{parameters / 1e6:.1f}") == (int(features), millions)
