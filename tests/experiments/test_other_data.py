"""`fer test --checkpoint` through the command: a run on its own data set is the run itself, and faces are cut alike."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from data_modules.datasets import SyntheticStills
from data_modules.manifest import read_manifest, write_manifest
from data_modules.utils.files import atomic_write
from fer_lightning.cli.main import main
from fer_lightning.evaluation.metrics import WAR, scores
from fer_lightning.evaluation.predictions import PredictionTable
from fer_lightning.experiments import fit, other_data
from fer_lightning.experiments.other_data import overlap_faults
from fer_lightning.experiments.request import data_class
from fer_lightning.runs.folder import RunFolder
from fer_lightning.tables import plan as module
from fer_lightning.tables import reproduce
from fer_lightning.tables.collect import is_of_today
from fer_lightning.tables.plan import PlannedRow, TableRequest, plan
from fer_lightning.tables.results import read_result
from fer_lightning.tables.table import PaperTable, Row
from fer_lightning.weights import ENTRY
from tests.fakes import write_dfew
from tests.small_runs import experiment

FACES = ("--data.dataset.init_args.faces.lengthen", "16", "--data.dataset.init_args.faces.margin", "0.6")
STILLS = ("--data", "synthetic_stills", "--dataset.images", "28", "--dataset.subjects", "4", "--workers", "0")


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A folder with DFEW in small, of which fold 2 tests clips that fold 1 trains on, and a finished run of fold 2."""
    folder = tmp_path_factory.mktemp("trained")
    labels = write_dfew(folder / "data", train=28, test=14) / "EmoLabel_DataSplit"
    rows = [row for path in sorted(labels.rglob("set_1.csv")) for row in csv.reader(path.open())][1:]
    rows = sorted(row for row in rows if row[0].isdecimal())
    for split, clips in (("test", rows[:14]), ("train", rows[14:])):
        path = labels / f"{split}(single-labeled)" / "set_2.csv"
        path.write_text("".join(",".join(row) + "\n" for row in [("video_name", "label"), *clips]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FER_DATA", str(folder / "data"))
        patch.setenv("FER_RUNS", str(folder / "runs"))
        patch.setattr(fit, "write_report", lambda run: atomic_write(run.report, b"report"))
        assert main(experiment("--trainer.max_epochs", "1", "--fold", "2", *FACES)) == 0
    return folder


@pytest.fixture
def run(trained, tmp_path, monkeypatch) -> RunFolder:
    """A copy of the run."""
    shutil.copytree(trained / "runs", tmp_path / "runs")
    monkeypatch.setenv("FER_DATA", str(trained / "data"))
    return RunFolder(tmp_path / "runs" / "ceflnet_dfew" / "2-0")


def evaluated(run: RunFolder, *arguments: str) -> RunFolder:
    """The folder of an evaluation."""
    assert main(["test", "--checkpoint", str(run.path), "--out", str(run.path / "on" / "it.csv"), *arguments]) == 0
    return RunFolder(run.path / "on" / "it")


def faces_of(run: RunFolder) -> dict[str, object]:
    """The settings that are noted in the store of an evaluation."""
    return json.loads(Path(run.read_info().store, "settings.json").read_text())


def test_a_run_on_its_own_data_set_is_the_run_itself(run, capsys):
    """Its clips are lengthened, which the data set's file does not ask for."""
    found = evaluated(run, "--data", "dfew", "--workers", "0")
    own, again = (PredictionTable.read(each.predictions("test")) for each in (run, found))
    assert again.clip_id.tolist() == own.clip_id.tolist()
    np.testing.assert_allclose(again.probabilities, own.probabilities, atol=1e-6)
    assert found.read_info().store == run.read_info().store
    assert found.read_info().fold == "2"
    assert found.read_info().split_faults == ()
    assert "The faces are not those" not in capsys.readouterr().out


def test_a_run_is_evaluated_in_its_own_precision(run, monkeypatch):
    """As on a machine with units for bf16, whose results differ."""
    monkeypatch.setattr(other_data, "fastest_precision", lambda: "bf16-mixed")
    found = evaluated(run, "--data", "dfew", "--workers", "0")
    own, again = (PredictionTable.read(each.predictions("test")) for each in (run, found))
    np.testing.assert_allclose(again.probabilities, own.probabilities, atol=1e-6)


def test_clips_of_the_training_are_named_where_they_are_evaluated(run, capsys):
    """Both folds have 14 clips that the other one does not train on; of fold 1's tested clips, this run saw all."""
    found = evaluated(run, "--data", "dfew", "--workers", "0", "--fold", "1")
    fault = (
        "dfew: the evaluated split shares 14 clips with what the model was trained or chosen on (00029, 00030, 00031 "
        "and 11 more): accuracy is too high. The run's own fold is 2"
    )
    assert fault in capsys.readouterr().out
    assert found.read_info().split_faults == (fault,)
    page = found.report.read_text()
    assert page.index("trained or chosen on") < page.index("<h2")
    assert found.predictions("test").is_file()


def test_a_row_of_a_table_is_tested_on_another_data_set(run, tmp_path, monkeypatch):
    """Its results are those of `fer test` there, the run's own split is not looked at, and each seed counts."""
    monkeypatch.setenv("FER_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("FER_RESULTS", str(tmp_path / "results"))
    monkeypatch.setattr(module, "same_people", lambda data, other: False)
    folder = run.path.parent.rename(run.path.parent.with_name("ceflnet_dfew.elsewhere"))
    again = RunFolder(shutil.copytree(folder / "2-0", folder / "2-1"))
    settings = again.read_config()
    settings["seed_everything"] = 1
    for path in again.checkpoints.iterdir():
        content = torch.load(path, weights_only=True)
        content[ENTRY]["configuration"]["seed_everything"] = 1
        torch.save(content, path)
    again.config.write_text(yaml.safe_dump(settings))
    _, _, *arguments = experiment("--trainer.max_epochs", "1", *FACES)
    row = {"name": "elsewhere", "system": "ceflnet", "tested_on": "dfew", "arguments": arguments}
    about = {"title": "Elsewhere", "paper": "Doe et al., 2020", "place": "table 1", "link": "https://example.org/1"}
    table = {**about, "data": "dfew", "protocol": "another fold", "columns": ["war"], "rows": [row]}
    (tmp_path / "mine.yaml").write_text(json.dumps(table))
    command = ["reproduce", str(tmp_path / "mine.yaml"), "--folds", "2", "1", "--seeds", "0", "1"]
    assert main(command) == 0
    own = PredictionTable.read(RunFolder(folder / "2-0").predictions("test"))
    tested = [
        PredictionTable.read(RunFolder(folder / f"2-{seed}").tested_on("dfew", "1").predictions("test"))
        for seed in (0, 1)
    ]
    assert [set(table.seed) for table in tested] == [{0}, {1}]
    assert not set(tested[0].clip_id) & set(own.clip_id), "fold 1 tests what fold 2 trains on"
    result = read_result(tmp_path / "results" / "mine", "elsewhere")
    assert [run.metrics["war"] for run in result.runs] == [scores(table)[WAR] for table in tested]
    assert [(run.fold, run.seed) for run in result.runs] == [("2", 0), ("2", 1)], "not fold 1 for the same clips again"
    assert result.runs[0].selection == RunFolder(folder / "2-0").read_info().selection, "how training chose the epoch"
    assert (result.tested_on, result.clips) == ("dfew", len(tested[0]))
    page = (tmp_path / "results" / "mine" / "table.md").read_text()
    assert "Fold 2 of 5 alone" in page, "as they are the same people"
    monkeypatch.setattr(reproduce, "subprocess", None)  # it is not tested again
    assert main(command) == 0
    planned = plan(TableRequest(str(tmp_path / "mine.yaml"), folds=("2",)))[0]
    assert is_of_today(result, planned)
    assert not is_of_today(result, replace(planned, row=replace(planned.row, tested_on="ferv39k")))


def test_a_test_that_fails_makes_the_status(run, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("FER_RUNS", str(tmp_path / "runs"))
    planned = plan(TableRequest("faces_1", None, "small", rows=("rendered_only",)))[3]
    shutil.copytree(run.path, planned.requests[0].run.path)
    assert reproduce.evaluate_row(planned) == list(planned.requests), "the data are not here"
    assert "fer2013" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"system": "context_ensemble", "data": "dfew", "tested_on": "ferv39k"}, "ensembles are not tested on other"),
        ({"system": "lmed", "data": "dfew", "tested_on": "own"}, "fewer than two classes in common"),
    ],
)
def test_rows_that_cannot_be_tested_are_refused_before_they_are_trained(row, message, monkeypatch):
    kind = data_class("own")
    monkeypatch.setattr(kind, "class_names", ("anger", "boredom"))
    planned = plan_of(row)
    with pytest.raises(ValueError, match=message):
        reproduce.refuse_untestable(planned)


def plan_of(row: dict[str, str]) -> PlannedRow:
    """A row that is tested on another data set, in small, of seeds 0 and 1 and folds 2 and 3."""
    settings = Row(name="it", **{key: value for key, value in row.items() if key != "data"})
    table = PaperTable("t", "p", "1", "https://example.org", row["data"], "none", ("war",), (settings,))
    return plan(TableRequest("made", None, "small", (0, 1), ("2", "3"), ablation=table))[0]


def test_a_model_is_tested_on_its_own_fold_of_the_same_people():
    of_others = plan_of({"system": "ceflnet", "data": "dfew", "tested_on": "ferv39k"})
    assert [(each.fold, each.seed) for each in of_others.requests] == [("2", 0), ("2", 1)]
    assert of_others.tested(of_others.requests[0]).path.name == "ferv39k-1"
    same = plan_of({"system": "log_mel_cnn", "data": "ravdess_audio", "tested_on": "ravdess"})
    assert [same.tested(each).path.name for each in same.requests] == ["ravdess-2", "ravdess-3"] * 2


def test_a_row_on_data_that_are_not_here_says_so_before_it_is_trained(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FER_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("FER_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("FER_RESULTS", str(tmp_path / "results"))
    asked = ["reproduce", "faces_1", "--size", "small", "--rows", "rendered_only"]
    assert main(asked) == 1
    said = capsys.readouterr().out
    assert "row rendered_only is not run: fer2013" in said
    assert "stills_synthetic_stills.grey/1-0 did not finish" in said
    assert not (tmp_path / "runs").exists()
    assert not any(planned.requests for planned in plan(TableRequest("faces_1", rows=("rendered_only",)))), (
        "FER2013's size"
    )
    elsewhere = plan(TableRequest("faces_1", "synthetic_stills", "small", rows=("rendered_only",)))
    assert not any(planned.requests for planned in elsewhere), "it is about FER2013"


def test_people_of_another_data_set_with_the_same_people_are_named(run, tmp_path, monkeypatch, capsys):
    """As of RAVDESS's videos for a model of its sound alone; its fold is that of the run, too."""
    monkeypatch.setenv("FER_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(SyntheticStills, "split_name", "dfew", raising=False)
    write_manifest(run.clips, [replace(each, subject="p001") for each in read_manifest(run.clips)])
    found = evaluated(run, *STILLS)
    assert found.read_info().fold == "2", "which tests p001"
    fault = "synthetic_stills: the evaluated split shares 1 person with what the model was trained or chosen on (p001)"
    assert fault in capsys.readouterr().out
    faces = faces_of(found)
    assert (faces["detector"], faces["jitter"]) == ("annotation", 0.03), "those of the data set"


def test_people_and_films_of_the_training_are_named_too(run):
    records = read_manifest(run.clips)
    kept = [replace(each, clip_id=f"old-{each.clip_id}", subject="Ann", group="Vertigo") for each in records]
    write_manifest(run.clips, kept)
    tests = [each for each in records if each.split == "test"]
    tests = [replace(tests[0], subject="Ann"), replace(tests[1], group="Vertigo"), replace(tests[2], subject="Bob")]
    said = overlap_faults(tests, run, "dfew", "2")
    assert [fault.split(":")[1] for fault in said] == [
        " the evaluated split shares 1 person with what the model was trained or chosen on (Ann)",
        " the evaluated split shares 1 film with what the model was trained or chosen on (Vertigo)",
    ]


def test_faces_of_another_data_set_are_cut_as_in_training(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FER_DATA", str(tmp_path / "data"))
    faces = faces_of(evaluated(run, *STILLS))
    assert (faces["margin"], faces["size"], faces["lengthen"]) == (0.6, 32, 16)
    assert (faces["detector"], faces["jitter"]) == ("annotation", 0.03), "those of the data set"
    assert "The faces are not those" not in capsys.readouterr().out
    stated = evaluated(run, *STILLS, "--dataset.faces.margin", "0.1", "--dataset.faces.size=48")
    faces = faces_of(stated)
    assert (faces["margin"], faces["size"], faces["lengthen"]) == (0.1, 48, 16)
    difference = "The faces are not those of the training: margin 0.1 instead of 0.6, size 48 instead of 32"
    assert difference in capsys.readouterr().out
    assert stated.read_info().split_faults[0] == difference


def test_margins_of_faces_that_are_cropped_already_are_told(run, tmp_path, monkeypatch, capsys):
    """The same clips in another folder are another data set: its crops are as its authors made them."""
    shutil.copytree(Path(run.read_info().store).parents[1] / "dfew", tmp_path / "others")
    found = evaluated(run, "--data", "dfew", "--root", str(tmp_path / "others"), "--workers", "0")
    faces = faces_of(found)
    assert (faces["margin"], faces["size"], faces["lengthen"]) == (0.0, 32, 16)
    difference = "The faces are not those of the training: margin 0.0 instead of 0.6; those of dfew are cropped already"
    assert difference in capsys.readouterr().out
    assert difference in found.read_info().split_faults
    assert difference in found.report.read_text()


def test_a_misspelt_option_of_the_data_set_is_refused(run, capsys):
    assert main(["test", "--checkpoint", str(run.path), "--data", "dfew", "--dataset.faces.margn", "0.1"]) == 2
    assert "faces.margn" in capsys.readouterr().err
