"""A dashboard is made by its command: which runs it shows, what it sends, and what goes wrong."""

import json
import re
import sys
from pathlib import Path

import pytest
import wandb

from fer_lightning.cli.main import main
from fer_lightning.tables.ablation import from_command_line, write_ablation
from fer_lightning.tables.dashboard import ACCURACIES, COSTS, CURVES, ROW, run_folders
from fer_lightning.tables.plan import TableRequest

GOLDEN = Path(__file__).parents[1] / "fixtures" / "dashboard.json"
IDS = re.compile(r'("(?:__id__|id)": )"[a-z0-9]+"')  # the package draws them


def printed(capsys, *arguments):
    assert main(["dashboard", *arguments, "--dry-run"]) == 0, capsys.readouterr().err
    return IDS.sub(r'\1"ID"', capsys.readouterr().out)


def test_the_dashboard_of_a_table_is_sent_as_ever(capsys):
    """Its private form in wandb-workspaces: `fer dashboard ceflnet_6 --entity us --dry-run` writes the file anew."""
    pytest.importorskip("wandb_workspaces")
    assert json.loads(printed(capsys, "ceflnet_6", "--entity", "us")) == json.loads(GOLDEN.read_text())


def test_the_dashboard_shows_what_runs_send(capsys):
    """Names of values are those of the logger: see `test_wandb_runs.py`."""
    pytest.importorskip("wandb_workspaces")
    text = printed(capsys, "ceflnet_6", "--entity", "us", "--project", "ours")
    sent = json.loads(text)
    assert (sent["entity"], sent["project"], sent["displayName"]) == ("us", "ours", "ceflnet_6")
    panels = [
        panel for section in sent["spec"]["section"]["panelBankConfig"]["sections"] for panel in section["panels"]
    ]
    curves = [panel["config"] for panel in panels if panel["viewType"] == "Run History Line Plot"]
    assert [curve["metrics"] for curve in curves] == [[name] for name in (*CURVES, "train/data_wait")]
    assert {(curve["groupBy"], curve["xAxis"]) for curve in curves} == {("labels.value.row", "epoch")}
    assert ROW == "labels.row"
    scatter = [panel["config"] for panel in panels if panel["viewType"] == "Scatter Plot"]
    assert [each["xAxis"] for each in scatter] == [f"summary:{name}" for name in COSTS]
    assert {each["yAxis"] for each in scatter} == {f"summary:{ACCURACIES[0]}"}
    assert '"report/confusion"' in text


def matches(name, *runs, **asked):
    pattern = re.compile(f"^({'|'.join(run_folders(TableRequest(name, folds=('1',), **asked)))})/")
    return [run for run in runs if pattern.search(run)]


def test_runs_are_those_of_the_rows():
    rendered = ("ceflnet_synthetic_wild.sal/1-0", "ceflnet_synthetic_wildXsal/1-0", "ceflnet_synthetic_wild.no/1-0")
    assert matches("ceflnet_6", *rendered, data="synthetic_wild") == ["ceflnet_synthetic_wild.sal/1-0"]


def test_runs_of_an_experiment_are_those_of_its_variants_too():
    names = ("ceflnet_dfew/1-0", "ceflnet_dfew.no_sal/1-0", "ceflnet_dfew.small.no_sal/2-0", "vshnn_dfew/1-0")
    assert matches("ceflnet_dfew", *names) == list(names[:3])
    assert matches("ceflnet_dfew", *names, size="small") == ["ceflnet_dfew.small.no_sal/2-0"]


def test_runs_of_an_ablation_are_those_of_its_base_too():
    write_ablation(from_command_line("ceflnet_synthetic_wild", ["model.optimizer.lr=[1e-3,5e-4]"], "mine"))
    names = (
        "ceflnet_synthetic_wild/1-0",
        "ceflnet_synthetic_wild.optimizer_lr_0.001/1-0",
        "ceflnet_synthetic_wild.x/1-0",
    )
    assert matches("mine", *names) == list(names[:2])


# What goes wrong


def test_without_a_key_one_message_says_what_to_do(capsys, monkeypatch):
    pytest.importorskip("wandb_workspaces")
    monkeypatch.setattr(wandb, "login", lambda prompt: False)
    assert main(["dashboard", "ceflnet_6"]) == 2
    assert "W&B has no API key on this machine" in capsys.readouterr().err


def test_without_a_network_one_message_says_what_to_do(capsys, monkeypatch):
    workspaces = pytest.importorskip("wandb_workspaces.workspaces")
    saved = []

    def unreachable(self):
        saved.append((self.entity, self.name))
        raise ConnectionError("no route to host")

    monkeypatch.setattr(wandb, "login", lambda prompt: True)
    monkeypatch.setattr(workspaces.Workspace, "save", unreachable)
    assert main(["dashboard", "ceflnet_6", "--entity", "us"]) == 2
    assert "did not take the dashboard (ConnectionError: no route to host)" in capsys.readouterr().err
    assert saved == [("us", "ceflnet_6")]


def test_a_saved_dashboard_is_named(capsys, monkeypatch):
    workspaces = pytest.importorskip("wandb_workspaces.workspaces")
    monkeypatch.setattr(wandb, "login", lambda prompt: True)
    monkeypatch.setattr(wandb, "Api", lambda: type("Api", (), {"default_entity": "ours"}))
    monkeypatch.setattr(workspaces.Workspace, "save", lambda self: self)
    monkeypatch.setattr(workspaces.Workspace, "url", property(lambda self: f"https://wandb.ai/{self.entity}/view"))
    assert main(["dashboard", "ceflnet_dfew"]) == 0
    assert capsys.readouterr().out == "dashboard: https://wandb.ai/ours/view\n"


def test_without_the_package_one_message_says_what_to_install(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
    monkeypatch.setitem(sys.modules, "wandb_workspaces.expr", None)
    monkeypatch.setitem(sys.modules, "wandb_workspaces.workspaces", None)
    assert main(["dashboard", "ceflnet_6", "--dry-run"]) == 2
    assert "pip install 'fer_lightning[dashboards]'" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "similar"), [("ceflnet_66", "ceflnet_6"), ("ceflnet_dfw", " dfew ")])
def test_an_unknown_name_is_one_message(name, similar, capsys):
    assert main(["dashboard", name]) == 2
    said = capsys.readouterr().err
    assert f"no table or ablation {name!r}" in said
    assert similar in said.replace(name, "")
