"""The command line: what it understands, and that what a user can mend is one message without a traceback."""

import threading
import tomllib
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace

import pytest
from pytorch_lightning.utilities import rank_zero_only

from data_modules.faces.settings import FaceSettings
from fer_lightning.cli import main as cli
from fer_lightning.cli import train
from fer_lightning.cli.main import main
from fer_lightning.cli.train import parse
from fer_lightning.experiments import fit
from fer_lightning.experiments.fit import prepare_data_and_weights, train_required_run, was_stopped_early
from fer_lightning.experiments.lightning_cli import FerCLI
from fer_lightning.experiments.request import ExperimentRequest
from fer_lightning.experiments.resume import refuse_other_settings, result_settings, run_lock
from fer_lightning.runs.folder import RunFolder
from tests.fakes import write_dfew
from tests.small_runs import TINY, experiment


def test_help_lists_every_command(capsys):
    assert main(["--help"]) == 0
    said = capsys.readouterr().out
    assert all(f"  {name} " in said for name in cli.COMMANDS)
    assert main([]) == 0


def test_the_version_is_that_of_the_project(capsys):
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"fer_lightning {project['version']}\n"


def test_an_unknown_command_is_named(capsys):
    assert main(["trian"]) == 2
    assert "no command 'trian'" in capsys.readouterr().err


def test_every_command_of_the_list_exists():
    from importlib import import_module

    modules = [import_module(f"fer_lightning.cli.{name}") for name, _ in cli.COMMANDS.values()]
    missing = [module for module in modules if not callable(getattr(module, "main", 0))]
    assert not missing


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["train", "ceflnet_dfe"], ["no data set 'dfe'", "did you mean dfew"]),
        (["train", "ceflnet_dfew", "--data", "dfw"], ["no data set 'dfw'", "dfew"]),
        (experiment("--model.init_args.slal", "false"), ["slal", "CEFLNet"]),
        (experiment("--data.batchsize", "3"), ["batchsize"]),
        (experiment("--trainer.max_epochs", "many"), ["max_epochs", "many"]),
        (experiment("--data.selection", "best"), ["selection", "best_on_test"]),
        (experiment(), ["looked for EmoLabel_DataSplit", "dfew-dataset.github.io", "DATA=synthetic SIZE=small"]),
    ],
)
def test_what_a_user_can_mend_is_one_message(capsys, arguments, parts):
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert "fer train: " in said
    assert "Traceback" not in said
    for part in parts:
        assert part in said


def test_a_fold_that_does_not_exist_is_one_message(tmp_path, capsys):
    write_dfew(tmp_path / "data", train=7, test=7)
    assert main(experiment("--fold", "9")) == 2
    assert "set_9.csv" in capsys.readouterr().err


def test_fer_fit_is_lightnings_and_as_strict(capsys):
    assert main(["fit", "--model", "CEFLNet", "--data.sizze", "3"]) == 2
    assert "sizze" in capsys.readouterr().err


def test_the_request_of_a_command_line():
    found = parse(["ceflnet_dfew", "--data", "", "--size", "small", "--fold", "2", "--seed", "4", "--data.size", "32"])
    assert found == ExperimentRequest("ceflnet_dfew", None, "small", "2", 4, "", ("--data.size", "32"))


def test_ctrl_c_says_how_to_go_on(monkeypatch, capsys):
    def stop(request):
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "train", stop)
    assert main(["train", "ceflnet_dfew"]) == 130
    assert "the same command resumes" in capsys.readouterr().err


def test_ctrl_c_promises_nothing_where_a_command_begins_anew(tmp_path, monkeypatch, capsys):
    def stop(request):
        raise KeyboardInterrupt

    monkeypatch.setattr("fer_lightning.predict.run.predict", stop)
    video = tmp_path / "a.mp4"
    video.touch()
    assert main(["predict", str(video), "--checkpoint", str(tmp_path)]) == 130
    said = capsys.readouterr().err
    assert "starts from the beginning" in said
    assert "resumes" not in said


def test_settings_are_what_decides_a_result():
    config = {
        "trainer": {"max_epochs": 3, "devices": 2, "logger": [{"a": 1}], "default_root_dir": "x"},
        "data": {"num_workers": 3, "size": 32, "dataset": {"init_args": {"root": "y", "fold": "1"}}},
        "model": {"init_args": {"layers": [1, 2], "none": None, "empty": {}}},
    }
    assert dict(result_settings(config)) == {
        "trainer.max_epochs": 3,
        "data.size": 32,
        "data.dataset.init_args.fold": "1",
        "model.init_args.layers": [1, 2],
        "model.init_args.none": None,
        "model.init_args.empty": {},
    }


def test_settings_may_change_before_the_first_checkpoint():
    run = ExperimentRequest("ceflnet_dfew").run
    run.path.mkdir(parents=True)
    run.config.write_text("data: {size: 32}\n")
    refuse_other_settings(run, {"data": {"size": 64}})
    run.checkpoints.mkdir()
    (run.checkpoints / "last.ckpt").touch()
    refuse_other_settings(run, {"data": {"size": 32}})
    with pytest.raises(ValueError, match=r"data\.size: 32 there, 64 now"):
        refuse_other_settings(run, {"data": {"size": 64}})


def hold_lock(run, connection):
    with run_lock(run):
        connection.send("has it")
        connection.recv()


def test_a_run_is_trained_by_one_process_at_a_time(tmp_path, capsys):
    run, order = RunFolder(tmp_path / "some" / "1-0"), list[str]()
    context = get_context("fork")  # a new interpreter would import PyTorch first
    here, there = context.Pipe()
    other = context.Process(target=hold_lock, args=(run, there))
    other.start()
    assert here.recv() == "has it"
    let_go = threading.Timer(1.0, lambda: (order.append("other"), here.send("let go")))
    let_go.start()
    with run_lock(run):
        order.append("this")
    other.join()
    assert other.exitcode == 0
    assert order == ["other", "this"]
    assert "is being trained by another process; waiting" in capsys.readouterr().out
    with run_lock(run):
        assert "waiting" not in capsys.readouterr().out


def test_a_run_finished_by_another_process_is_not_trained_again(monkeypatch):
    found = iter([False, True])
    monkeypatch.setattr(fit, "FerCLI", lambda *arguments, **options: None)
    monkeypatch.setattr(fit, "is_finished", lambda run, cli: next(found))
    monkeypatch.setattr(fit, "prepare_data_and_weights", lambda *_: None)
    monkeypatch.setattr(fit, "fit_and_test", lambda cli, request: pytest.fail("trained twice"))
    fit.fit_experiment(ExperimentRequest("ceflnet_synthetic"))


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ({}, False),
        ({"EarlyStopping": {"wait_count": 2, "patience": 3, "stopped_epoch": 0}, "other": {"best": 1}}, False),
        ({"EarlyStopping": {"wait_count": 3, "patience": 3, "stopped_epoch": 0}}, True),
        ({"EarlyStopping": {"wait_count": 0, "patience": 3, "stopped_epoch": 7}}, True),
    ],
)
def test_whether_a_training_was_stopped_early(states, expected):
    assert was_stopped_early({"callbacks": states}) is expected
    assert not was_stopped_early({})


def test_required_runs_are_trained_once_in_their_own_process(monkeypatch, capsys):
    started = []
    monkeypatch.setattr(fit.subprocess, "run", lambda command, check, env: started.append((command[1:], check)))
    needed = ExperimentRequest("stills_synthetic_stills")
    train_required_run(needed)
    asked = ["stills_synthetic_stills", "--fold", "1", "--seed", "0"]
    assert started == [(["-m", "fer_lightning", "train", *asked], True)]
    needed.run.report.parent.mkdir(parents=True)
    needed.run.report.touch()
    train_required_run(needed)
    assert len(started) == 1


def test_only_the_first_process_of_a_training_makes_ready(tmp_path, monkeypatch):
    prepared = []
    needy = SimpleNamespace(
        datamodule=SimpleNamespace(
            prepare_data=lambda: prepared.append("data"), dataset=SimpleNamespace(faces=FaceSettings())
        ),
        own_config=SimpleNamespace(experiment=SimpleNamespace(faces="")),
        plain_config=lambda: {
            "model": {"weights": "run:stills_synthetic_stills"},
            "trainer": {"default_root_dir": str(tmp_path / "needy" / "1-0")},
        },
    )
    monkeypatch.setattr(fit.ShapeCheck, "check", lambda self, name, config: prepared.append(f"shapes of {name}"))
    monkeypatch.setattr(fit, "train_required_run", prepared.append)
    request, first = ExperimentRequest("ceflnet_synthetic"), ExperimentRequest("stills_synthetic_stills")
    prepare_data_and_weights(needy, request)
    assert prepared == ["shapes of needy", "data", first]
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    prepare_data_and_weights(needy, request)
    assert len(prepared) == 3


def test_a_terminal_that_is_none_gets_lines(capsys):
    command_line = ExperimentRequest("ceflnet_dfew", arguments=TINY).command_line()
    assert not FerCLI(command_line, run=False).trainer.progress_bar_callback
