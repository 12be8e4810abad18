"""What is said of errors: those that a user can mend are one message and status 2, all others keep their traceback."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as L
import torch
import wandb
from safetensors import SafetensorError
from safetensors.torch import load
from torch.utils.data import DataLoader

from data_modules.labels import SEVEN
from data_modules.utils.files import HOPELESS
from fer_lightning.cli import compare
from fer_lightning.cli.errors import ADVICE, REPORT, remedy
from fer_lightning.cli.main import main
from fer_lightning.experiments.request import ExperimentRequest
from fer_lightning.layers.pixels import _triple, get_convention
from fer_lightning.runs.folder import RunFolder, RunInfo
from tests.cli.test_compare import write_run
from tests.fakes import write_dfew
from tests.small_runs import experiment


def a_run(folder: Path) -> RunFolder:
    """A run with its table and `run.json`, marked as finished."""
    run = RunFolder(folder)
    write_run(folder, 63)
    run.write_info(RunInfo("made", "CEFLNet", "dfew", SEVEN, "1", 0, "inner", 3, "store", 10))
    run.report.parent.mkdir()
    run.report.touch()
    return run


def said_of(arguments: list[str], capsys) -> str:
    """What a command says of what a user can mend."""
    capsys.readouterr()
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"fer {arguments[0]}: ")
    assert "Traceback" not in said
    return said


@pytest.mark.parametrize("number", ADVICE, ids=errno.errorcode.get)
def test_system_errors_are_one_message_with_file_and_advice(tmp_path, monkeypatch, capsys, number):
    run = a_run(tmp_path / "made" / "1-0")

    def broken(path, *_, **options):
        raise OSError(number, os.strerror(number), str(path.parent))

    monkeypatch.setattr(Path, "touch", broken)  # which creates the temporary file of each atomic write
    said = said_of(["report", str(run.path)], capsys)
    assert str(run.path) in said
    if number in HOPELESS:  # told by those who write files
        assert f"cannot write to {run.path}" in said
        assert os.strerror(number).lower() in said
        assert "Free space, change the permissions or choose another folder" in said
        assert "FER_RUNS" in said
    else:
        assert os.strerror(number) in said
        assert ADVICE[number] in said


def test_a_full_disk_in_a_process_that_loads_is_told_as_one(capsys, monkeypatch):
    class Full(torch.utils.data.Dataset):
        def __len__(self):
            return 1

        def __getitem__(self, place):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/shm/x")

    monkeypatch.setattr(compare, "main", lambda _: list(DataLoader(Full(), num_workers=1)))
    said = said_of(["compare"], capsys)
    assert "No space left on device: '/shm/x'; free some space" in said
    assert len(said.splitlines()) == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_one_message(tmp_path, capsys):
    run = a_run(tmp_path / "made" / "1-0")
    run.report.parent.chmod(0o555)
    assert "Permission denied" in said_of(["report", str(run.path)], capsys)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'"text"', b"{}", b'{"class_names": 3}', b"\xff\xfe"])
def test_a_damaged_run_json_is_named(tmp_path, capsys, content):
    run = a_run(tmp_path / "made" / "1-0")
    (run.path / "run.json").write_bytes(content)
    said = said_of(["compare", str(run.path), str(run.path)], capsys)
    assert f"{run.path / 'run.json'} is damaged" in said
    assert "fer train" in said


def test_a_run_json_of_a_later_version_is_named(tmp_path, capsys):
    run = a_run(tmp_path / "made" / "1-0")
    values = json.loads((run.path / "run.json").read_text())
    (run.path / "run.json").write_text(json.dumps(values | {"colour": "blue"}))
    assert "another version" in said_of(["compare", str(run.path), str(run.path)], capsys)


@pytest.mark.parametrize(("old", "new"), [(",1,0,", f",1,{'9' * 30},"), ("p_fear", "p_anger"), ("c1-3", "c1-3\0")])
def test_a_damaged_table_is_named(tmp_path, capsys, old, new):
    table = a_run(tmp_path / "made" / "1-0").predictions("test")
    assert old in table.read_text()
    table.write_text(table.read_text().replace(old, new))
    assert str(table) in said_of(["compare", *[str(tmp_path / "made" / "1-0")] * 2], capsys)


def test_a_table_that_was_cut_is_refused(tmp_path, capsys):
    run = a_run(tmp_path / "made" / "1-0")
    table = run.predictions("test")
    table.write_text("".join(table.read_text().splitlines(keepends=True)[:-10]))
    assert f"{table} has 60 rows, expected '70'" in said_of(["compare", str(run.path), str(run.path)], capsys)


@pytest.mark.parametrize("content", ["data: [", "- 3", "", "\t:"])
def test_a_damaged_configuration_of_a_begun_run_is_named(capsys, content):
    run = ExperimentRequest("ceflnet_dfew").run
    run.checkpoints.mkdir(parents=True)
    (run.checkpoints / "last.ckpt").touch()
    run.config.write_text(content)
    assert str(run.config) in said_of(experiment(), capsys)


@pytest.mark.parametrize("content", ["step,loss\n3,1\n4\n", "loss\n3\n", "step,loss\nthree,1\n"])
def test_damaged_curves_of_a_begun_run_are_named(tmp_path, capsys, content):
    write_dfew(tmp_path / "data", train=14, test=7)
    run = ExperimentRequest("ceflnet_dfew").run
    run.path.mkdir(parents=True)
    run.curves.write_text(content)
    assert f"{run.curves}, line {len(content.splitlines())} is damaged" in said_of(experiment(), capsys)


def test_an_experiment_that_is_no_yaml_is_named(tmp_path, monkeypatch, capsys):
    for name in ("base", "systems/mine", "data/made"):
        file = tmp_path / "experiments" / f"{name}.yaml"
        file.parent.mkdir(exist_ok=True, parents=True)
        file.write_text("model: [")
    monkeypatch.chdir(tmp_path)
    said = said_of(["train", "mine_made"], capsys)
    assert "mine.yaml" in said
    assert "line 2" in said  # where the file ends inside the list


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("--trainer.devices", "0"), ["devices", "--trainer.accelerator"]),
        (("--trainer.accelerator", "tpu"), ["torch_xla", "install"]),
        (("--trainer.strategy", "nosuch"), ["strategy", "nosuch"]),
    ],
)
def test_a_machine_that_lacks_what_is_asked_for_is_one_message(capsys, arguments, parts):
    said = said_of(experiment(*arguments), capsys)
    assert all(part in said for part in parts)


def test_a_failed_training_of_a_required_run_is_one_message(monkeypatch, capsys):
    def fails(arguments):
        subprocess.run([sys.executable, "-c", "raise SystemExit(2)"], check=True)

    monkeypatch.setattr(compare, "main", fails)
    said = said_of(["compare"], capsys)
    assert "did not finish (status 2); see its messages above" in said


@pytest.mark.parametrize(
    ("error", "part"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "--trainer.accumulate_grad_batches 2"),
        (wandb.errors.UsageError("No API key configured"), "WANDB_MODE=offline"),
        (RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534"), "is the disk full"),
    ],
)
def test_errors_of_libraries_say_what_to_do(monkeypatch, capsys, error, part):
    def fails(arguments):
        raise error

    monkeypatch.setattr(compare, "main", fails)
    said = said_of(["compare"], capsys)
    assert str(error) in said
    assert part in said


def test_a_damaged_safetensors_file_is_one_message():
    with pytest.raises(SafetensorError) as caught:
        load(b"no such file")
    assert "damaged" in (remedy(caught.value) or "")


@pytest.mark.parametrize("error", [RuntimeError("bug"), KeyError("bug"), OSError("bug"), ModuleNotFoundError("bug")])
def test_what_nobody_expected_is_raised(monkeypatch, error):
    if isinstance(error, ModuleNotFoundError):
        error.name = "fer_lightning.nothing"

    def fails(arguments):
        raise error

    monkeypatch.setattr(compare, "main", fails)
    with pytest.raises(type(error), match="bug"):
        main(["compare"])


@pytest.mark.parametrize(
    ("fails", "message"),
    [
        (lambda: np.stack([]), "need at least one array"),  # raised by another package
        (lambda: _triple(torch.zeros(2)), "not enough values to unpack"),  # by the interpreter, in a line of this suite
    ],
)
def test_values_that_a_bug_handed_on_are_not_the_users_errors(monkeypatch, fails, message):
    monkeypatch.setattr(compare, "main", lambda arguments: fails())
    with pytest.raises(ValueError, match=message) as caught:
        main(["compare"])
    assert caught.value.__notes__ == [REPORT]


@pytest.mark.parametrize(
    "fails",
    [
        lambda: get_convention("nosuch"),
        lambda: L.Trainer(accelerator="nosuch"),
        lambda: list(DataLoader([torch.zeros(2), torch.zeros(3)], collate_fn=refuse, num_workers=1)),
    ],
    ids=["raise", "setting", "worker"],
)
def test_values_that_are_refused_are_one_message(monkeypatch, capsys, fails):
    monkeypatch.setattr(compare, "main", lambda arguments: fails())
    capsys.readouterr()
    assert main(["compare"]) == 2
    assert "nosuch" in capsys.readouterr().err


def refuse(items):
    """What a worker process raises for an item that a user can mend."""
    get_convention("nosuch")


def test_unexpected_errors_keep_their_traceback_and_a_note():
    program = (
        "from fer_lightning.cli import compare, main as cli\n"
        "compare.main = lambda arguments: 1 / 0\n"
        "raise SystemExit(cli.main(['compare']))"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert found.returncode == 1
    lines = found.stderr.splitlines()
    assert lines[0].startswith("Traceback")
    assert lines[-2] == "ZeroDivisionError: division by zero"
    assert "report" in lines[-1]


def test_the_exit_statuses_are_stated(capsys):
    assert main(["--help"]) == 0
    said = capsys.readouterr().out
    assert all(f" {status} " in said for status in (0, 1, 130))
    assert "2 an error that you can fix" in said


@pytest.mark.parametrize("weights", ["random", "nowhere.ckpt"])
def test_a_start_that_fails_leaves_nothing_behind(tmp_path, monkeypatch, capsys, weights):
    """Without a data set, and with one but without the weights that are asked for."""
    monkeypatch.setenv("FER_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("FER_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("FER_RUNS", str(tmp_path / "runs"))
    if weights != "random":
        write_dfew(tmp_path / "data", train=14, test=7)
    backbone = ("--model.init_args.backbone.init_args.weights", weights)
    said_of(["train", "ceflnet_dfew", "--size", "small", *backbone], capsys)
    assert list((tmp_path / "runs").glob("*")) == []
    assert [path for path in (tmp_path / "store").glob("*") if path.suffix != ".lock"] == []
