"""Experiments that are made of others: reading them, training what is missing, fusing, saying that it is done."""

import json
import re
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

from data_modules.labels import SEVEN
from data_modules.utils.files import atomic_file
from fer_lightning.cli.main import main
from fer_lightning.cli.train import parse
from fer_lightning.cli.train import train as train_here
from fer_lightning.ensemble import FixedWeights, average, result, training, weighted_sum
from fer_lightning.ensemble.experiment import may_change_results, read_ensemble, split_arguments
from fer_lightning.evaluation.predictions import PredictionTable
from fer_lightning.experiments import fit, jobs, resume
from fer_lightning.experiments.request import ExperimentRequest
from fer_lightning.experiments.system import experiments_folder
from fer_lightning.runs.ensemble_record import Record
from fer_lightning.runs.folder import RunInfo
from fer_lightning.tables import cross_validation as protocol
from tests.ensemble.test_ensemble import made_table
from tests.wandb_files import written_runs

MADE = """
class_path: tests.small_runs.MadeFaces
init_args:
  root: null
  fold: "1"
  subjects: 6
  tested: 2
  faceless: [s0-anger, s4-fear]
  faces: {detector: crop, size: 48, margin: 0, jitter: 0, every: 1, landmarks: none, person: none, audio: false}
"""
TINY = {"max_epochs": 1, "precision": "32-true", "accelerator": "cpu", "devices": 1}
SUMS = "fer_lightning.ensemble"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Experiments of this test's own: two small systems, on points and on the middle frame."""
    ours, made = experiments_folder().absolute(), tmp_path / "experiments"
    (made / "systems").mkdir(parents=True)
    (made / "data").mkdir()
    shutil.copy(ours / "base.yaml", made)
    (made / "data" / "made.yaml").write_text(MADE)
    (made / "data" / "other.yaml").write_text(MADE.replace("tested: 2", "tested: 1"))
    shutil.copy(ours / "data" / "dfew.yaml", made / "data")
    shutil.copytree(ours / "faces", made / "faces")
    for name, source in (("points", "lmed"), ("frame", "middle_frame")):
        content = yaml.safe_load((ours / "systems" / f"{source}.yaml").read_text())
        content["trainer"] |= TINY
        content["data"] |= {"num_workers": 0, "inner_share": 0.5}
        content["experiment"]["size"] = "small"
        if name == "frame":
            content["small"]["model"]["init_args"]["start_from"] = "random"
        (made / "systems" / f"{name}.yaml").write_text(yaml.safe_dump(content))
    monkeypatch.chdir(tmp_path)
    return made


def write(folder, name, members=("points", "frame"), method=None, **further):
    """An ensemble's file."""
    method = method or {"class_path": f"{SUMS}.SearchedWeights", "init_args": {"step": 0.1}}
    ensemble = {"members": list(members), "method": method, **further}
    content = {"experiment": {"summary": f"{name} of others", "size": "small"}, "ensemble": ensemble}
    (folder / "systems" / f"{name}.yaml").write_text(yaml.safe_dump(content))
    return ExperimentRequest(f"{name}_made")


def page(run):
    """In the place of a report, whose figures take longer than these trainings."""
    with atomic_file(run.report) as temporary:
        temporary.write_text("report")
    return run.report


@pytest.fixture
def apart(monkeypatch):
    """Trains in this process what would be trained in one of its own, and lists it; without members' reports."""
    started = []

    def train_member(request):
        started.append(request.run.path.parent.name)
        train_here(request)
        return 0

    monkeypatch.setattr(training, "train_in_subprocess", train_member)
    monkeypatch.setattr(fit, "write_report", page)
    return started


@pytest.fixture
def made_apart(monkeypatch):
    """In the place of trainings of models: made tables, later ones better; a `deaf` one has no answer for clip 3."""
    started = []

    def train_made(request, environment=None):
        if request.is_ensemble:
            train_here(request)
            return 0
        run, strength = request.run, 1.0 + len(started) / 2
        started.append(f"{run.path.parent.name}/{run.path.name}")
        none = (3,) if "deaf" in request.name else ()
        made_table("test", strength, request.seed, none=none, fold=request.fold).write(run.predictions("test"))
        made_table("inner", strength, request.seed, fold=request.fold).write(run.predictions("inner"))
        info = RunInfo("made", "Model", "made", SEVEN, request.fold, request.seed, "inner", 3, "store", 10)
        run.write_info(info)
        page(run)
        return 0

    monkeypatch.setattr(training, "train_in_subprocess", train_made)
    monkeypatch.setattr(jobs, "train_in_subprocess", train_made)
    monkeypatch.setattr(protocol, "prepare_data_and_weights", lambda *_: None)
    monkeypatch.setattr(jobs.torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(result, "write_report", page)
    return started


def tables_of(request, split="test"):
    return PredictionTable.read(request.run.predictions(split))


# Reading


def by(name, **arguments):
    """An ensemble of `points` by a method."""
    return {"members": ["points"], "method": {"class_path": f"{SUMS}.{name}", "init_args": arguments}}


@pytest.mark.parametrize(
    ("ensemble", "message"),
    [
        ({"membrs": ["points"]}, "membrs.*did you mean members"),
        ({"members": [{"system": "points", "publshed": 3}]}, "publshed.*did you mean published"),
        (by("Avrage"), "Avrage.*did you mean Average"),
        (by("SearchedWeights", stp=1), "stp.*did you mean step"),
        (by("FixedWeights", weights=[1, 2]), "2 weights for 1 member:"),
        (by("JointFusion", groups=[["x"]]), "no member 'x'"),
        ({"members": []}, "expected names of systems"),
        ({"members": ["points", "points"]}, "points is listed twice"),
        ({"members": [{"system": "points", "arguments": ["--data.size", "32"]}]}, "no `name`"),
        ({"members": ["points"], "selection": "last"}, "selection"),
    ],
)
def test_what_does_not_fit_fails_at_once(folder, ensemble, message, capsys, made_apart):
    content = {"experiment": {"summary": "both", "size": "small"}, "ensemble": ensemble}
    (folder / "systems" / "both.yaml").write_text(yaml.safe_dump(content))
    assert main(["train", "both_made"]) == 2
    said = capsys.readouterr().err.replace("\n", " ")
    assert "Traceback" not in said
    assert re.search(message, said), said
    assert not made_apart


def test_a_wrong_argument_of_an_ensemble_gets_a_suggestion(folder, capsys, made_apart):
    weights = {"class_path": f"{SUMS}.FixedWeights", "init_args": {"weights": {"frame": 1, "points": 2}}}
    write(folder, "both", method=weights)
    assert main(["train", "both_made", "--ensemble.selections", "inner"]) == 2
    message = capsys.readouterr().err
    assert "--ensemble.selections" in message
    assert "did you mean selection or BestSelection?" in message.replace("\n", " "), (
        "names of members are not mistaken for options"
    )
    assert not made_apart


def test_members_that_do_not_fit_are_named_before_training(folder, capsys, made_apart):
    write(folder, "both", ["points", "pionts"])
    assert main(["train", "both_made"]) == 2
    assert "no experiment 'pionts_made'" in capsys.readouterr().err
    write(
        folder, "both", ["points", {"system": "frame", "name": "odd", "arguments": ["--model.init_args.dropuot", "0"]}]
    )
    assert main(["train", "both_made"]) == 2
    assert "frame_made: " in (said := capsys.readouterr().err)
    assert "dropuot" in said
    write(folder, "both", ["points", {"system": "frame", "name": "x", "arguments": ["--data.inner_share", "0.3"]}])
    assert main(["train", "both_made"]) == 2
    assert "inner_share is 0.3" in capsys.readouterr().err
    further = ["--data.dataset.init_args.subjects", "7"]
    write(folder, "both", ["points", {"system": "frame", "name": "x", "arguments": further}])
    assert main(["train", "both_made"]) == 2
    assert "members of an ensemble share their data, but subjects is 7" in capsys.readouterr().err
    write(folder, "both")
    assert main(["train", "both_made", "--data.selection", "last"]) == 2
    assert "a search on the inner split takes members with --data.selection inner" in capsys.readouterr().err
    write(folder, "round", ["points", "ring"])
    write(folder, "ring", ["round"])
    assert main(["train", "ring_made"]) == 2
    assert "ring_made > round_made > ring_made: an ensemble cannot be a part of itself" in capsys.readouterr().err
    assert not made_apart


def test_lightnings_own_commands_do_not_take_ensembles(folder):
    with pytest.raises(ValueError, match="an ensemble of experiments"):
        write(folder, "both").command_line()
    (folder / "systems" / "none.yaml").write_text("experiment: {summary: none}\n")
    with pytest.raises(ValueError, match=r"expected a system with `model:`, or one with `ensemble:`"):
        ExperimentRequest("none_made").layers()


def test_arguments_go_to_the_ensemble_or_to_its_members():
    given = ["--ensemble.method", "Average", "--trainer.devices", "2", "--ensemble.selection=inner", "--data.size", "3"]
    own, further = split_arguments(given)
    assert own == ["--ensemble.method", "Average", "--ensemble.selection=inner"]
    assert further == ["--trainer.devices", "2", "--data.size", "3"]
    assert may_change_results(further)
    assert not may_change_results(["--trainer.devices", "2", "--data.num_workers=3"])
    assert not may_change_results([])


def test_what_is_asked_of_members(folder):
    write(folder, "both", ["points", {"system": "frame", "name": "wide", "arguments": ["--data.size", "32"]}])
    asked = ExperimentRequest(
        "both_made", "other", fold="2", seed=3, name="x", arguments=("--ensemble.method", "Average")
    )
    first, second = read_ensemble(asked).requests()
    group = "both_other"
    assert first == ExperimentRequest("points_other", size="small", fold="2", seed=3, group=group)
    wide = ExperimentRequest("frame_other", None, "small", "2", 3, "wide", ("--data.size", "32"), group)
    assert second == wide
    labelled = read_ensemble(replace(asked, group="table 5", job_type="ablation")).requests()
    assert {(request.group, request.job_type) for request in labelled} == {("table 5", "ablation")}
    told = replace(asked, arguments=("--trainer.max_epochs", "2"))
    assert [request.name for request in read_ensemble(told).requests()] == ["x", "wide.x"], "they differ, so do folders"
    assert read_ensemble(told).requests()[1].arguments == ("--data.size", "32", "--trainer.max_epochs", "2")
    elsewhere = replace(asked, arguments=("--trainer.devices", "2"))
    assert [request.name for request in read_ensemble(elsewhere).requests()] == ["", "wide"]


# Training


@pytest.mark.slow
def test_an_ensemble_is_a_run_of_wandb_in_the_group_of_its_members(folder, apart, offline_wandb, monkeypatch, tmp_path):
    monkeypatch.setattr(result, "write_report", page)
    request = write(folder, "both")
    assert main(["train", "both_made"]) == 0
    members = {name: ExperimentRequest(name).run for name in ("points_made", "frame_made")}
    parts = {name: told for name, run in members.items() for told in written_runs(run.path)}
    assert {(told.group, told.job_type) for told in parts.values()} == {("both_made", "train")}
    (told,) = written_runs(request.run.path)
    assert told.ended
    assert (told.group, told.job_type) == ("both_made", "ensemble")
    assert set(told.tags) == {"system: both", "data: made", "size: small", "fold: 1", "seed: 0", "selection: inner"}
    assert told.config["uses"] == {name.removesuffix("_made"): f"model-{part.id}" for name, part in parts.items()}
    assert told.artifacts[f"model-{told.id}"]["files"] == ["ensemble.json"]
    table = PredictionTable.read(request.run.predictions("test"))
    assert told.summary["test/war"] == pytest.approx(table.correct.mean())
    assert told.summary["test/war_low"] <= told.summary["test/war"] <= told.summary["test/war_high"]
    war = [PredictionTable.read(run.predictions("test")).correct.mean() for run in members.values()]
    assert told.summary["members/war_mean"] == pytest.approx(np.mean(war))
    assert told.summary["members/war_std"] == pytest.approx(np.std(war, ddof=1))
    assert [row["war"] for row in told.table("report/members")] == pytest.approx(war)
    assert len(told.table("report/confusion")) == len(SEVEN)

    runs, out = [str(run.path) for run in members.values()], tmp_path / "runs" / "average" / "1-0"
    assert main(["ensemble", *runs, "--out", str(out)]) == 0
    (told,) = written_runs(out)
    assert (told.group, told.job_type) == ("both_made", "ensemble")
    assert {"system: average", "data: made", "fold: 1"} <= set(told.tags)


def test_one_command_trains_what_is_missing_and_makes_it_one(folder, apart, capsys):
    request = write(folder, "both", [{"system": "points", "published": 42.56}, "frame"], published=54.3)
    run, parts = request.run, [ExperimentRequest("points_made"), ExperimentRequest("frame_made")]
    train_here(parts[0])
    assert main(["train", "both_made"]) == 0, capsys.readouterr().err
    assert apart == ["frame_made"], "points is finished"
    said = capsys.readouterr().out
    assert "42.56" in said
    assert "54.30" in said
    assert "confusion matrix of the ensemble" in said
    table = tables_of(request)
    shares = {part.name: part.weight for part in Record.read(run).parts}
    p = {part.system: tables_of(part).probabilities for part in parts}
    np.testing.assert_allclose(table.probabilities, weighted_sum(p, shares), atol=1e-11)
    assert table.missing.tolist() == [clip == "s0-anger" for clip in table.clip_id.tolist()]
    assert set(tables_of(request, "inner").split.tolist()) == {"inner"}
    info = run.read_info()
    assert (info.experiment, info.model, info.dataset, info.selection) == ("both_made", "WeightedSum", "made", "inner")
    page = run.report.read_text()
    assert all(text in page for text in ("42.56", "54.30", "points alone", "fusion", "Confusion matrix", "left out in"))
    config = yaml.safe_load(run.config.read_text())
    assert config["ensemble"]["method"]["init_args"] == {"step": 0.1}
    assert main(["train", "both_made"]) == 0
    assert "runs/both_made/1-0 is finished" in capsys.readouterr().out
    assert main(["train", "both_made", "--ensemble.method", "Average"]) == 2, "one folder, one configuration"
    assert "begun with other settings" in capsys.readouterr().err
    assert main(["train", "both_made", "--name", "mean", "--ensemble.method", "Average"]) == 0
    assert apart == ["frame_made"], "the same members"
    np.testing.assert_array_equal(tables_of(ExperimentRequest("both_made", name="mean")).probabilities, average(p))
    assert main(["report", str(run.path)]) == 0
    assert "points alone" in run.report.read_text()


def test_all_seeds_and_folds_of_an_ensemble(folder, made_apart, capsys):
    write(folder, "both", method={"class_path": f"{SUMS}.Average"})
    command = ["cv", "both_made", "--folds", "1", "--seeds", "0", "1"]
    assert main(command) == 0, capsys.readouterr().err
    assert made_apart == ["points_made/1-0", "frame_made/1-0", "points_made/1-1", "frame_made/1-1"]
    summary = json.loads((ExperimentRequest("both_made").run.path.parent / "cv" / "summary.json").read_text())
    assert [(run["seed"], run["clips"]) for run in summary["runs"]] == [(0, 56), (1, 56)]
    assert main(command) == 0
    assert len(made_apart) == 4
    assert main([*command, "--ensemble.method", "BestSelection"]) == 2
    assert "begun with other settings" in capsys.readouterr().err


def test_members_may_be_ensembles(folder, made_apart, capsys):
    """`audio` is an ensemble of one that is deaf to a clip: that clip is left to the other one."""
    deaf = {"system": "points", "name": "deaf", "arguments": ["--data.size", "32"]}
    write(folder, "audio", [deaf])
    request = write(folder, "both", ["audio", {"system": "frame", "published": 53.91}])
    assert main(["train", "both_made"]) == 0, capsys.readouterr().err
    assert made_apart == ["points_made.deaf/1-0", "frame_made/1-0"]
    said = capsys.readouterr().out
    assert "audio: left out in 1 of 56 clips" in said
    table, whole = tables_of(ExperimentRequest("frame_made")), tables_of(request)
    assert not whole.missing.any()
    np.testing.assert_allclose(whole.probabilities[3], table.probabilities[3], atol=1e-11)
    assert tables_of(ExperimentRequest("audio_made")).missing.tolist() == [row == 3 for row in range(56)]


def test_a_member_that_does_not_finish_is_named(folder, capsys, monkeypatch):
    write(folder, "both")
    monkeypatch.setattr(training, "train_in_subprocess", lambda request: 1)
    assert main(["train", "both_made"]) == 2
    assert "points_made/1-0 did not finish" in capsys.readouterr().err
    assert not ExperimentRequest("both_made").run.path.exists()


def test_an_ensemble_is_made_again_where_a_member_was(folder, made_apart, tmp_path, capsys):
    request = write(folder, "both", method={"class_path": f"{SUMS}.Average"})
    train_here(request)
    first = tables_of(request).probabilities
    made_table("test", 3.0, 77).write(ExperimentRequest("points_made").run.predictions("test"))
    train_here(request)
    assert not np.array_equal(tables_of(request).probabilities, first)
    assert made_apart == ["points_made/1-0", "frame_made/1-0"]
    capsys.readouterr()
    shutil.rmtree(ExperimentRequest("points_made").run.path)
    train_here(request)
    assert "is finished" in capsys.readouterr().out, "what is no longer there is not trained again"


def train_again(name):
    made_table("test", 3.0, 77).write(ExperimentRequest(name).run.predictions("test"))


TABLE = """
{title: x, paper: x, place: x, link: x, protocol: x, data: made, columns: [war], rows: [
  {name: points, system: points}, {name: frame, system: frame}, {name: both, system: both}]}
"""


@pytest.mark.parametrize("table", [True, False])
def test_tables_and_cross_validations_make_an_ensemble_again_where_a_member_was(
    folder, made_apart, tmp_path, capsys, table
):
    request = write(folder, "both", method={"class_path": f"{SUMS}.Average"})
    (tmp_path / "mine.yaml").write_text(TABLE)
    watch = ["--no-best-on-test"] * table
    command = ["reproduce", str(tmp_path / "mine.yaml"), *watch] if table else ["cv", "both_made"]
    assert main([*command, "--folds", "1"]) == 0, capsys.readouterr().err
    first = tables_of(request).probabilities
    train_again("points_made")
    assert main([*command, "--folds", "1"]) == 0, capsys.readouterr().err
    changed = tables_of(request).probabilities
    assert not np.array_equal(changed, first)
    parts = [tables_of(ExperimentRequest(name)).probabilities for name in ("points_made", "frame_made")]
    np.testing.assert_allclose(changed, average(dict(enumerate(parts))), atol=1e-9)
    result = tmp_path / "results" / "mine.small" / "both.json"
    summary = request.run.path.parent / "cv" / "summary.json"
    correct = tables_of(request).correct.mean()
    runs = json.loads((result if table else summary).read_text())["runs"]
    assert (runs[0]["metrics"] if table else runs[0])["war"] == pytest.approx(correct)


def test_an_ensemble_of_ensembles_is_made_again_where_a_member_of_one_was(folder, made_apart, capsys):
    average_of = {"class_path": f"{SUMS}.Average"}
    write(folder, "inner_one", method=average_of)
    request = write(folder, "outer", ["inner_one", "frame"], method=average_of)
    assert main(["train", "outer_made"]) == 0, capsys.readouterr().err
    first = tables_of(request).probabilities
    train_again("points_made")
    assert main(["cv", "outer_made", "--folds", "1"]) == 0, capsys.readouterr().err
    assert not np.array_equal(tables_of(request).probabilities, first)


def test_a_search_on_what_is_reported_says_so(folder, made_apart, capsys):
    write(folder, "both")
    assert main(["train", "both_made", "--ensemble.selection", "best_on_test"]) == 0
    said = capsys.readouterr().out
    assert "the ensemble was chosen on these very clips" in said
    assert ExperimentRequest("both_made").run.read_info().selection == "best_on_test"


def test_weights_by_place_are_those_by_name():
    p = {"b": np.array([[0.2, 0.8]]), "a": np.array([[1.0, 0.0]])}
    table = made_table("test", 1.0, 0)
    by_place, by_name = FixedWeights([0.88, 0.34]), FixedWeights({"a": 0.34, "b": 0.88})
    assert by_place.fit(p, table).weights == by_name.fit(p, table).weights
    np.testing.assert_allclose(by_place.fit(p, table).predict(p), [[0.4229508, 0.5770492]], atol=1e-6)
    with pytest.raises(ValueError, match="expected one for each"):
        by_name.check_members(["a", "c"])


def test_members_are_trained_by_the_same_command(monkeypatch):
    started = []
    monkeypatch.setattr(
        resume.subprocess,
        "run",
        lambda command, env, check: started.append((command[1:], env["HERE"])) or SimpleNamespace(returncode=3),
    )
    request = ExperimentRequest("points_made", "made", "small", "2", 5, "x", ("--data.size", "32"))
    assert resume.train_in_subprocess(request, {"HERE": "yes"}) == 3
    ((command, environment),) = started
    assert command[:3] == ["-m", "fer_lightning", "train"]
    assert parse(command[3:]) == request
    assert environment == "yes"
