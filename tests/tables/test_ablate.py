"""An ablation of one's own: from one line or a file to trainings, differences, and a sweep for W&B's agents."""

import csv
import json

import pytest
import yaml
from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

from fer_lightning.cli.ablate import main as ablate
from fer_lightning.cli.main import main
from fer_lightning.cli.train import parse
from fer_lightning.evaluation.comparison import difference_over_seeds
from fer_lightning.evaluation.metrics import WAR
from fer_lightning.evaluation.predictions import PredictionTable
from fer_lightning.experiments import jobs
from fer_lightning.experiments.labels import labels_of
from fer_lightning.experiments.request import ExperimentRequest
from fer_lightning.tables.results import table_folders
from tests.tables.test_reproduce import finish

EXPERIMENT = "ceflnet_synthetic_wild"
GRID = ["ablate", EXPERIMENT, "--grid", "model.sal=[true,false]", "data.sampler.clips=[1,7]", "--name", "mine"]
ROWS = ["base", "sampler_clips_1", "sampler_clips_1-sal_false", "sal_false"]
STRENGTH = {"": 1.5, "sal_false": 0.5}


@pytest.fixture
def trained(monkeypatch):
    """In the place of trainings: made predictions; lists the requests."""
    started = []

    def train(requests):
        started.extend(requests)
        for request in requests:
            finish(request, STRENGTH.get(request.name, 1.0))
        return []

    monkeypatch.setattr(jobs, "train_all", train)
    return started


def folders(requests):
    return ["/".join(request.run.path.parts[-2:]) for request in requests]


def test_one_line_trains_every_combination_and_compares_it_with_the_base(trained, tmp_path, capsys):
    assert main([*GRID, "--seeds", "0", "1"]) == 0, capsys.readouterr().err
    variants = ["", *(f".{row}" for row in ROWS[1:])]
    assert folders(trained) == [f"{EXPERIMENT}{variant}/1-{seed}" for variant in variants for seed in (0, 1)]
    assert {labels_of(request).group for request in trained} == {"mine"}
    assert {labels_of(request).job_type for request in trained} == {"ablation"}
    assert trained[-1].arguments == ("--model.init_args.sal", "false")
    folder = tmp_path / "results" / "ablations" / "mine.small"
    assert {path.name for path in folder.iterdir()} == {
        *(f"{row}{ending}" for row in ROWS for ending in (".json", ".predictions.csv.gz")),
        *("claims.json", "table.md", "table.csv", "table.tex", "index.html", "sweep.yaml"),
    }
    said = " ".join(capsys.readouterr().out.split())
    assert "Worse: sal false, sampler_clips 7 minus sal true, sampler_clips 7 is -" in said
    assert "published" not in said
    with (folder / "table.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    expected = difference_over_seeds(predictions("sal_false"), predictions(""), WAR)
    text = f"{expected.value:+.3f} [{expected.interval.low:+.3f}, {expected.interval.high:+.3f}]"
    assert rows[3]["difference to the base, WAR"] == text
    assert rows[0]["difference to the base, WAR"] == "base"
    assert [rows[3][key] for key in ("", "answered", "N", "seeds")] == [
        "sal false, sampler_clips 7",
        "55 of 56",
        "56",
        "2",
    ]
    assert "Differences to the base" in (folder / "index.html").read_text()
    assert "sal false" in (folder / "table.tex").read_text()
    assert not table_folders(), "the papers' tables are elsewhere"
    assert len(trained) == 8
    assert main(["ablate", "mine", "--seeds", "0", "1", "2", "--rows", "base", "sal_false"]) == 0
    assert folders(trained[8:]) == [f"{EXPERIMENT}/1-2", f"{EXPERIMENT}.sal_false/1-2"], "by its name, further seeds"


def predictions(variant):
    runs = [ExperimentRequest(EXPERIMENT, seed=seed, name=variant).run for seed in (0, 1)]
    return PredictionTable.concat([PredictionTable.read(run.predictions("test")) for run in runs])


def test_differences_are_plain_ones_of_the_two_accuracies(trained, tmp_path):
    assert main([*GRID, "--seeds", "0", "1"]) == 0
    claims = json.loads((tmp_path / "results" / "ablations" / "mine.small" / "claims.json").read_text())
    assert [(claim["row"], claim["over"], claim["seeds"]) for claim in claims] == [(row, "base", 2) for row in ROWS[1:]]
    hits = {name: (table := predictions(name)).correct.sum() / len(table) for name in ("", "sal_false")}
    assert claims[-1]["difference"] == pytest.approx(hits["sal_false"] - hits[""])
    assert claims[-1]["low"] < claims[-1]["difference"] < claims[-1]["high"]


def test_the_first_values_are_the_base_if_the_experiments_own_are_not_among_them(trained, tmp_path):
    assert main(["ablate", EXPERIMENT, "--grid", "model.heads=[2,1]", "model.sal=[false,true]"]) == 0
    name = f"{EXPERIMENT}-heads-sal"
    claims = json.loads((tmp_path / "results" / "ablations" / f"{name}.small" / "claims.json").read_text())
    assert {claim["over"] for claim in claims} == {"heads_2"}
    assert [claim["row"] for claim in claims] == ["heads_2-sal_false", "heads_1-sal_false", "heads_1"]


FILE = f"""
experiment: {EXPERIMENT}
title: What attention adds
grid:
  model.sal: [true, false]
rows:
  - {{name: plain, label: neither, arguments: [--model.sal, "false", --model.lrl, "false"], note: Both are off.}}
  - {{name: stills, system: middle_frame}}
columns: [war, macro_f1]
"""


def test_a_file_adds_rows_of_its_own(trained, tmp_path, capsys):
    path = tmp_path / "attention.yaml"
    path.write_text(FILE)
    assert main(["ablate", str(path), "--dry-run"]) == 0, capsys.readouterr().err
    said = capsys.readouterr().out
    assert not trained
    assert not (tmp_path / "results").exists()
    assert "attention: 4 runs missing" in said
    assert main(["ablate", str(path)]) == 0
    runs = [EXPERIMENT, f"{EXPERIMENT}.sal_false", f"{EXPERIMENT}.plain", "middle_frame_synthetic_wild"]
    assert folders(trained) == [f"{run}/1-0" for run in runs]
    text = (tmp_path / "results" / "ablations" / "attention.small" / "table.md").read_text()
    assert "**What attention adds**" in text
    assert "- neither: Both are off." in text
    assert "| neither |" in text
    assert "| WAR | macro F1 | 95 % of WAR | difference to the base, WAR |" in text
    kept = yaml.safe_load((tmp_path / "results" / "ablations" / "attention.yaml").read_text())
    assert kept["rows"][0]["label"] == "neither"
    assert main(["ablate", "attention"]) == 0
    assert len(trained) == 4, "the kept file is the same ablation"


# What cannot be an ablation


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--grid", "model.sall=[true]"], "no setting 'model.sall'; did you mean model.sal"),
        (["--grid", "model.num_clips=[1,7]"], "vary data.sampler.clips"),
        (["--grid", "model.sal=[]"], "no values for model.sal"),
        (["--grid", "model.sal"], "expected a setting with values such as model.sal=[true,false], found 'model.sal'"),
        (["--grid", "model.sal="], "found 'model.sal='"),
        (["--grid", "model.sal=[true"], "'[true' cannot be read as a value"),
        (["--grid", "model.sal=[maybe]"], "row sal_maybe: "),
        (["--grid", "model.sal=[false,false]"], "rows listed twice: sal_false"),
        (["--grid", "model.sal=[true]", "model.sal=[false]"], "model.sal is stated twice"),
        (["--grid", "model.sal=[true]", "model.init_args.sal=[false]"], "model.init_args.sal is stated twice"),
        (["--grid", "model.sal=[true]", "--name", "ceflnet_6"], "ceflnet_6 is the name of a paper's table"),
        (["--grid", "model.sal=[true]", "--name", "a/b"], "expected a name of letters"),
        (["--grid", "model.sal=[true,false]", "--rows", "sal_flase"], "did you mean sal_false"),
        ([], "needs --grid"),
    ],
)
def test_bad_settings_are_one_message_and_leave_nothing(arguments, message, trained, tmp_path, capsys):
    assert main(["ablate", EXPERIMENT, *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not trained
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (FILE.replace("experiment:", "base:"), "names the experiment that it changes"),
        ("just text", "names the experiment that it changes"),
        (FILE.replace(EXPERIMENT, "cefnet_synthetic_wild"), "did you mean ceflnet_synthetic_wild"),
        (FILE.replace("grid:", "grd:"), "no key 'grd', did you mean grid"),
        (FILE.replace("label:", "labl:"), "no key 'labl', did you mean label"),
        (f"experiment: {EXPERIMENT}", "rows or a grid"),
        (FILE.replace("name: plain", "name: sal_false"), "rows listed twice: sal_false"),
        (FILE.replace("macro_f1", "marco_f1"), "no column 'marco_f1'; did you mean macro_f1"),
        (FILE.replace("name: plain", "name: base"), "rows listed twice: base"),
        (FILE.replace("[war, macro_f1]", "[uar]"), "`columns` need war"),
        (FILE.replace("note: Both", "tested_on: dfew, note: Both"), "no published value"),
        (FILE.replace("note: Both", "published: {war: 50.0}, note: Both"), "no published value"),
    ],
)
def test_bad_files_are_one_message(text, message, trained, tmp_path, capsys):
    path = tmp_path / "attention.yaml"
    path.write_text(text)
    assert main(["ablate", str(path)]) == 2
    assert message in capsys.readouterr().err
    assert not trained


def test_a_file_that_is_missing_or_has_two_grids_is_one_message(tmp_path, capsys):
    assert main(["ablate", str(tmp_path / "other.yaml")]) == 2
    assert "no file" in capsys.readouterr().err
    (tmp_path / "attention.yaml").write_text(FILE)
    assert main(["ablate", str(tmp_path / "attention.yaml"), "--grid", "model.sal=[true]"]) == 2
    assert "has its own grid" in capsys.readouterr().err


def test_a_name_belongs_to_one_ablation(trained, tmp_path, capsys):
    (tmp_path / "attention.yaml").write_text(FILE)
    assert main(["ablate", str(tmp_path / "attention.yaml")]) == 0
    assert main(["ablate", "vshnn_synthetic_wild", "--grid", "data.size=[32]", "--name", "attention"]) == 2
    assert f"is another ablation, of {EXPERIMENT}; choose another name" in capsys.readouterr().err
    (tmp_path / "attention.yaml").write_text(FILE.replace("--model.lrl", "--model.eian"))
    assert main(["ablate", str(tmp_path / "attention.yaml")]) == 2
    assert "with other settings in row plain" in capsys.readouterr().err
    assert main(["ablate", str(tmp_path / "attention.yaml"), "--name", "other", "--dry-run"]) == 0


# The sweep


def test_the_runs_of_a_sweep_are_those_of_the_rows(trained, tmp_path, monkeypatch):
    grid = ["model.sal=[true,false]", "model.optimizer.lr=[1e-5,5e-4]", "model.backbone.pixels=[null,imagenet]"]
    assert ablate(["ablate", EXPERIMENT, "--name", "mine", "--seeds", "0", "1", "--grid", *grid]) == 0
    path = tmp_path / "results" / "ablations" / "mine.small" / "sweep.yaml"
    sweep = yaml.safe_load(path.read_text())
    assert (sweep["method"], sweep["metric"]) == ("grid", {"name": "chosen/war", "goal": "maximize"})
    parameters = {name: told["values"] for name, told in sweep["parameters"].items()}
    assert parameters["model.init_args.backbone.init_args.pixels"] == ["null", "imagenet"]
    found = []
    for number in range(2**3 * 2):
        values = {}
        for name, told in reversed(parameters.items()):
            number, choice = divmod(number, len(told))
            values[name] = {"value": told[choice]}
        found.append(started_by_agent(sweep["command"], values))
    assert sorted(folders(found)) == sorted(folders(trained))
    assert {(request.group, request.job_type) for request in found} == {("mine", "ablation")}


def started_by_agent(sweep_command, values):
    """What W&B's agent starts for some values: its own functions fill in the command."""
    filled = create_sweep_command_args({"args": values})
    line = []
    for part in create_sweep_command(list(sweep_command)):
        line += filled[part[2:-1]] if part == "${args}" else [part]
    assert line[:3] == ["${env}", "fer", "train"]
    return parse(line[3:])
