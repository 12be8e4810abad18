"""What a run says of faces that are not made as its paper made them, or as those of its training."""

from dataclasses import replace

import pytest

from data_modules.faces import network_versions
from data_modules.faces.settings import FaceSettings
from fer_lightning.experiments.configuration import read_model
from fer_lightning.experiments.datasets import build_dataset
from fer_lightning.experiments.faces import difference_to_papers_faces, difference_to_training, faces_as_trained
from fer_lightning.experiments.fit import fit_experiment
from fer_lightning.experiments.request import ExperimentRequest
from tests.small_runs import TINY

PAPER = "experiments/faces/ceflnet.yaml"
ALL = frozenset({"face", "person", "landmarks"})
RENDERED = {"detector": "annotation", "landmarks": "annotation", "person": "annotation"}


@pytest.mark.parametrize(
    ("data", "settings"),
    [
        ("dfew", "detector crop instead of insightface, margin 0.0 instead of 0.25"),
        ("afew", "detector mtcnn instead of insightface, size 256 instead of 224"),
    ],
)
def test_the_faces_of_ceflnets_data_sets_are_not_the_papers(data, settings, monkeypatch, tmp_path):
    monkeypatch.setenv("FER_WEIGHTS", str(tmp_path))  # no network of insightface is there
    name = read_model(ExperimentRequest(f"ceflnet_{data}"))["experiment"]["faces"]
    said = difference_to_papers_faces(name, build_dataset(data).faces)
    assert said == (
        f"The faces are not those of the paper: {settings}, lengthen 0 instead of 105. For the paper's (their networks "
        f"are not installed here; where they are): --data.dataset.faces {PAPER}"
    )
    asked_for = build_dataset(data, ["--dataset.faces", PAPER]).faces
    assert difference_to_papers_faces(name, asked_for) == ""


@pytest.mark.parametrize(
    ("experiment", "difference"),
    [
        ("vshnn_dfew", "detector crop instead of mtcnn, size 224 instead of 256, margin 0.0 instead of 0.25"),
        ("lmed_cremad", ""),
        ("vshnn_lrmf_ravdess", ""),
        ("cnn_gru_afew", ""),
        ("bimodal_densenet121_afew", ""),
        ("bimodal_resnet18_frames_dfew", "detector crop instead of mtcnn, size 224 instead of 256, margin 0.0"),
        ("ecnn_fsa_afew", "size 256 instead of 224, align points instead of eyes"),
        ("ecnn_lstm_afew", "size 256 instead of 224, align points instead of eyes"),
        ("context_pyramid_afew", "size 256 instead of 224, margin 0.25 instead of 0.0, person insightface instead of "),
        ("opensmile_is09_afew", ""),
    ],
)
def test_the_faces_of_the_other_papers_are_named_too(experiment, difference):
    config = read_model(ExperimentRequest(experiment))
    settings = config["data"]["dataset"]["init_args"]["faces"]
    faces = FaceSettings(**{name: value for name, value in settings.items() if name != "tracking"})
    said = difference_to_papers_faces(config["experiment"]["faces"], faces)
    assert said.startswith(f"The faces are not those of the paper: {difference}" if difference else "")
    assert bool(said) is bool(difference)


def test_networks_that_are_here_are_said_to_be(monkeypatch):
    monkeypatch.setattr(network_versions, "find_weights", lambda pack, task: pack)
    monkeypatch.setattr(network_versions, "cached_sha256", lambda path: "5838f7fe")
    said = difference_to_papers_faces("ceflnet", FaceSettings(detector="insightface", size=224))
    assert "paper: lengthen 0 instead of 105. For the paper's (their networks are here)" in said


def test_nothing_is_said_of_rendered_faces_or_without_a_papers():
    faces = FaceSettings(size=64)
    assert difference_to_papers_faces("ceflnet", faces)
    assert difference_to_papers_faces("", faces) == ""
    assert difference_to_papers_faces("ceflnet", replace(faces, detector="annotation")) == ""


def test_a_run_says_so_before_it_is_trained_and_in_its_report(capsys):
    dataset = (
        '{"class_path": "tests.small_runs.MadeFaces", "init_args": {"root": null, "faces": {"detector": "mtcnn", '
        '"size": 48, "margin": 0.25, "align": "points", "jitter": 0, "every": 4, "max_gap": 15, "landmarks": "none", '
        '"person": "none", "lengthen": 0, "audio": false}, "subjects": 4, "tested": 1, "faceless": []}}'
    )
    arguments = ("--data.dataset", dataset, *TINY, "--trainer.max_epochs", "1", "--trainer.logger", "false")
    request = ExperimentRequest("ceflnet_synthetic", size="small", arguments=arguments)
    run = fit_experiment(request)
    printed = capsys.readouterr().out
    said = "The faces are not those of the paper: detector mtcnn instead of insightface, size 32 instead of 224"
    assert printed.index(said) < printed.index("CEFLNet on made")
    assert said in run.report.read_text()
    assert run.read_info().faces.startswith(said)


@pytest.mark.parametrize(
    ("trained", "own", "expected"),
    [
        ({"landmarks": "mesh", "person": "frame"}, {}, ("mesh", "frame")),
        ({"landmarks": "mesh", "person": "insightface_tracked"}, RENDERED, ("mesh", "insightface_tracked")),
        (RENDERED, {"landmarks": "insightface", "person": "frame"}, ("insightface", "frame")),
        (RENDERED, {}, ("mesh", "insightface")),
        (RENDERED, {"detector": "annotation"}, ("annotation", "annotation")),
    ],
)
def test_landmarks_and_persons_are_found_as_in_training_where_that_can_be(trained, own, expected):
    found = faces_as_trained(FaceSettings(**trained), FaceSettings(**own), ALL)
    assert (found.landmarks, found.person) == expected
    assert found.detector == FaceSettings(**own).detector


def test_what_a_model_does_not_see_stays_as_the_data_set_has_it():
    trained, own = FaceSettings(margin=0.5, landmarks="mesh", person="frame"), FaceSettings(audio=False)
    assert faces_as_trained(trained, own, frozenset({"face"})) == FaceSettings(margin=0.5, audio=False)
    assert faces_as_trained(trained, own, frozenset({"spectrogram"})) == own
    assert difference_to_training(trained, own, {"spectrogram"}, "made") == ""
