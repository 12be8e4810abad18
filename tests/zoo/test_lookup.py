"""Models by name: zoo.yaml, runs of the same name, and names that do not exist."""

import logging
import shutil
from pathlib import Path

import pytest

import fer_lightning
from fer_lightning import Recogniser
from fer_lightning.cli.main import main
from fer_lightning.cli.predict import parse
from fer_lightning.evaluation.predictions import PredictionTable
from fer_lightning.paths import runs_root
from fer_lightning.zoo import entries
from fer_lightning.zoo.lookup import find_model
from tests.fakes import write_dfew

FACES = Path(fer_lightning.__file__).parent / "zoo" / "faces.safetensors"


@pytest.fixture(autouse=True)
def working_folder(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def test_a_name_of_the_zoo_is_known_wherever_a_model_is_named():
    Path("a.mp4").touch()
    assert parse(["a.mp4", "--checkpoint", "faces"])[0].checkpoint == FACES
    assert Recogniser("faces").label.sha256 == (entries.zoo()["faces"].sha256,)
    model = fer_lightning.load("faces")
    assert type(model).__name__ == "ImageClassifier"
    assert not model.training


def test_a_model_of_the_zoo_is_evaluated_and_nothing_is_written_beside_it(tmp_path, capsys):
    write_dfew(tmp_path / "data", train=14, test=14)
    before = sorted(FACES.parent.iterdir())
    assert main(["test", "--checkpoint", "faces", "--data", "dfew", "--workers", "0"]) == 0
    assert len(PredictionTable.read(Path("faces-on-dfew-1.csv"))) == 14
    assert "prediction table: faces-on-dfew-1.csv" in capsys.readouterr().out
    assert sorted(FACES.parent.iterdir()) == before


@pytest.mark.parametrize("file", ["checkpoints/last.ckpt", "1-0/checkpoints/best.ckpt", "1-0/ensemble.json"])
def test_a_run_of_that_name_is_taken_and_named(caplog, file):
    made = runs_root() / "faces" / file
    made.parent.mkdir(parents=True)
    made.touch()
    with caplog.at_level(logging.WARNING):
        assert find_model("faces") == runs_root() / "faces"
    assert f"faces is the run {runs_root() / 'faces'} here, not the model of that name" in caplog.text


def test_a_folder_of_that_name_that_is_no_run_is_not_taken(caplog):
    Path("faces", "talk").mkdir(parents=True)  # where `fer faces` writes
    Path("faces", "talk", "faces.csv").touch()
    assert find_model("faces") == FACES
    assert find_model(Path("faces")) == Path("faces")
    assert caplog.text == ""


@pytest.mark.parametrize("name", ["face", "nothing-like-it"])
def test_a_name_that_does_not_exist_is_answered_with_those_of_the_zoo(name, capsys):
    Path("a.mp4").touch()
    for command in (["predict", "a.mp4"], ["test", "--data", "dfew"]):
        assert main([*command, "--checkpoint", name]) == 2
        said = capsys.readouterr().err
        assert f"no run or checkpoint {name}: looked for" in said
        assert "models that come by name (fer pull --list): faces" in said


@pytest.mark.parametrize("content", ["- faces", "faces: {file: faces.safetensors}", "faces: {file: [}"])
def test_a_damaged_zoo_is_named(monkeypatch, tmp_path, content):
    monkeypatch.setattr(entries, "ZOO", tmp_path / "zoo.yaml")
    with pytest.raises(FileNotFoundError, match="install the suite again"):
        find_model("faces")
    entries.ZOO.write_text(content)
    with pytest.raises(ValueError, match=r"zoo.yaml (is damaged|cannot be read)"):
        find_model("faces")


def test_an_entry_whose_file_has_another_content_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(entries, "ZOO", shutil.copy(entries.ZOO, tmp_path / "zoo.yaml"))
    (tmp_path / "faces.safetensors").write_bytes(b"other")
    with pytest.raises(ValueError, match="it is damaged or was replaced"):
        fer_lightning.load("faces")
