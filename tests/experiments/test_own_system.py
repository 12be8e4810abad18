"""A system in a file of the working folder, beside those of the suite."""

from pathlib import Path

import pytest
import yaml

from fer_lightning.cli import train
from fer_lightning.cli.main import main
from fer_lightning.experiments.request import ExperimentRequest
from fer_lightning.experiments.system import system_names

OWN = """
extends: ceflnet
model: {init_args: {sal: false}}
on: {cremad: {data: {batch_size: 3}}}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text(OWN)
    return tmp_path


def resolved(capsys, *arguments: str) -> dict:
    with pytest.raises(SystemExit) as stop:
        main(["train", *arguments, "--print_config"])
    assert not stop.value.code
    return yaml.safe_load(capsys.readouterr().out)


def test_a_file_is_a_system_by_its_name(folder, capsys):
    config = resolved(capsys, "mine.yaml", "--data", "cremad")
    assert config["model"]["class_path"] == "fer_lightning.CEFLNet"
    assert not config["model"]["init_args"]["sal"]
    assert config["data"]["batch_size"] == 3
    assert config["trainer"]["default_root_dir"].endswith("runs/mine_cremad/1-0")
    assert resolved(capsys, "mine_cremad") == config
    assert train.parse(["./mine.yaml", "--data", "dfew"]).experiment == "mine_dfew"


def test_others_find_it_by_name(folder):
    request = ExperimentRequest.from_run_name("mine_dfew.small.wide/2-1")
    assert (request.system, request.size, request.name, request.fold, request.seed) == ("mine", "small", "wide", "2", 1)
    Path("yours.yaml").write_text("extends: mine\nsmall: {}\n")
    assert "./mine.yaml" in [f"./{layer.origin}" for layer in ExperimentRequest("yours_dfew").layers()]
    assert not {"mine", "yours"} & set(system_names()), "lists and leaderboards are of the suite's systems"


def test_what_does_not_do_is_refused(folder, capsys):
    Path("ceflnet.yaml").write_text(OWN)
    Path("my net.yaml").write_text(OWN)
    Path("mine.yml").write_text(OWN)
    Path("sub").mkdir()
    Path("sub/mine.yaml").write_text(OWN)
    Path("nothing.yaml").write_text("extends: nosuch\n")
    expected = {
        "mine.yaml": "mine.yaml is a system; name a data set too, such as --data synthetic",
        "mine.yml --data dfew": f"expected a file NAME.yaml in the working folder, {folder}",
        "sub/mine.yaml --data dfew": f"expected a file NAME.yaml in the working folder, {folder}",
        "ceflnet.yaml --data dfew": "would be the system 'ceflnet'",
        "my net.yaml --data dfew": "would be the system 'my net'",
        "nothing.yaml --data dfew": "no system 'nosuch'",
        "mine.yaml --data dfw": "no data set 'dfw'",
        "mien.yaml --data dfew": f"looked for {folder}/mien.yaml; the working folder holds ceflnet.yaml, mine.yaml, my",
    }
    for line, message in expected.items():
        name, _, data = line.partition(" --data ")
        assert main(["train", name, *(("--data", data) if data else ())]) == 2
        assert message in capsys.readouterr().err, line
