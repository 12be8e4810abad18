"""The folder of a data set is named by `--root` in every command that reads one, and by nothing else."""

import json

import numpy as np
import pytest

from data_modules.datasets import Own
from fer_lightning.cli import fit
from fer_lightning.cli.main import main
from fer_lightning.cli.train import parse
from tests.videos import write_video

EARLIER = ("--dataset.root", "--data.dataset.root")
FULL = "--data.dataset.init_args.root"


@pytest.fixture
def clips(tmp_path):
    """A data set of one's own: two emotions with two clips each."""
    frames = [np.full((48, 48, 3), 20 * number, np.uint8) for number in range(4)]
    for emotion in ("anger", "fear"):
        (tmp_path / "mine" / emotion).mkdir(parents=True)
        for number in range(2):
            write_video(tmp_path / "mine" / emotion / f"{number}.mp4", frames)
    return tmp_path / "mine"


def root_of(arguments) -> str:
    """The folder in a request's arguments for Lightning."""
    (place,) = (place for place, each in enumerate(arguments) if each == FULL)
    return arguments[place + 1]


@pytest.mark.parametrize("command", ["train", "cv"])
@pytest.mark.parametrize("spelling", ["--root", "--dataset.root", "--data.dataset.root", FULL])
def test_trainings_take_it_and_earlier_spellings(command, spelling, monkeypatch, capsys, tmp_path):
    asked = []
    monkeypatch.setattr("fer_lightning.cli.train.train", asked.append)
    monkeypatch.setattr("fer_lightning.tables.cross_validation.cross_validate", lambda *each: asked.append(each[0]))
    main([command, "ceflnet_own", spelling, str(tmp_path), "--trainer.max_epochs", "1"])
    (request,) = asked
    assert root_of(request.arguments) == str(tmp_path)
    assert request.arguments[-2:] == ("--trainer.max_epochs", "1")
    told = f"{spelling} is --root now, and will be removed\n" * (spelling in EARLIER)
    assert capsys.readouterr().err == told


def test_one_folder_is_expected(tmp_path, capsys):
    (tmp_path / "file").touch()
    for others, reason in (
        (
            ["--root", "a", "--data.dataset.root=b"],
            "--data.dataset.root names the folder of the data set a second time",
        ),
        (["--root", str(tmp_path / "file")], "is a file; expected the folder"),
        (["--rot", "a"], "did you mean --root?"),
    ):
        assert main(["train", "ceflnet_own", *others]) == 2
        assert reason in capsys.readouterr().err


def test_lightnings_own_commands_take_it(monkeypatch):
    given = []
    monkeypatch.setattr("fer_lightning.experiments.lightning_cli.FerCLI", given.append)
    fit.main(["fit", "ceflnet_own", "--root", "mine", "--trainer.max_epochs", "1"])
    assert root_of(given[0]) == "mine"
    assert given[0][-2:] == ["--trainer.max_epochs", "1"]


def test_data_commands_take_it(clips, tmp_path, monkeypatch, capsys):
    """The same clips are counted, prepared and written into a table."""
    monkeypatch.setenv("FER_STORE", str(tmp_path / "store"))
    crops = ("--dataset.init_args.faces.detector", "crop", "--dataset.init_args.made_folds", "2")
    assert main(["data", "doctor", "own", "--root", str(clips), "--json", "--workers", "0", *crops]) in (0, 1)
    assert json.loads(capsys.readouterr().out)["root"] == str(clips)
    assert main(["data", "prepare", "own", "--root", str(clips), "--workers", "0", *crops]) == 0
    assert "4" in capsys.readouterr().out
    folds = (*crops, "--out", str(tmp_path / "folds.csv"))
    assert main(["data", "folds", "own", f"--dataset.root={clips}", *folds]) == 0
    assert len((tmp_path / "folds.csv").read_text().splitlines()) == 5


def test_an_evaluation_takes_it(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("fer_lightning.experiments.other_data.evaluate_on_other_data", asked.append)
    checkpoint = tmp_path / "a.ckpt"
    checkpoint.touch()
    main(["test", "--checkpoint", str(checkpoint), "--data", "own", "--root", str(tmp_path)])
    assert asked[0].root == str(tmp_path)


@pytest.mark.parametrize("command", [("reproduce", "ceflnet_6"), ("ablate", "ceflnet_own")])
def test_tables_say_how_several_folders_are_named(command, capsys):
    assert main([*command, "--root", "a"]) == 2
    assert "--root: rows may be of several data sets; name the folder that holds them all by FER_DATA" in (
        capsys.readouterr().err
    )


def test_a_data_set_that_is_missing_names_it(tmp_path, capsys):
    assert main(["data", "prepare", "dfew", "--root", str(tmp_path / "nowhere")]) == 2
    assert "or give --root FOLDER" in capsys.readouterr().err


def test_the_folder_reaches_the_data_set():
    assert root_of(parse(["ceflnet_own", "--root", "mine"]).arguments) == "mine"
    assert str(Own(root="mine").folder) == "mine"
