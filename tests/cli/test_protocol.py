import csv
import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, f1_score

from data_modules.utils.files import atomic_write
from fer_lightning.cli.main import main
from fer_lightning.cli.train import parse
from fer_lightning.cli.train import train as train_here
from fer_lightning.evaluation.metrics import METRICS
from fer_lightning.evaluation.predictions import PredictionTable
from fer_lightning.experiments import fit, jobs
from fer_lightning.experiments.request import ExperimentRequest
from fer_lightning.tables import cross_validation as protocol
from tests.fakes import write_dfew
from tests.small_runs import TINY
from tests.tables.test_reproduce import finish
from tests.wandb_files import written_runs


@pytest.fixture
def two_folds(tmp_path):
    """DFEW in small with a second fold, its training and test clips those of the first in other roles."""
    lists = write_dfew(tmp_path / "data", train=28, test=14) / "EmoLabel_DataSplit"
    rows = []
    for split in ("train", "test"):
        with (lists / f"{split}(single-labeled)" / "set_1.csv").open() as file:
            rows += list(csv.reader(file))[1:]
    for split, part in (("test", rows[:14]), ("train", rows[14:])):
        with (lists / f"{split}(single-labeled)" / "set_2.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("video_name", "label"), *part])


@pytest.fixture
def in_this_process(monkeypatch):
    """Trains here what would be trained in processes of its own, and lists it."""
    trained = []

    def train(request, environment):
        if request.fold == "broken":
            return 1
        trained.append((request.fold, request.seed))
        train_here(parse(request.train_arguments()))
        return 0

    monkeypatch.setattr(jobs, "train_in_subprocess", train)
    monkeypatch.setattr(jobs.torch.cuda, "device_count", lambda: 0)
    return trained


def f1(table, average):
    return f1_score(table.emotion, table.predicted, labels=sorted(set(table.emotion)), average=average, zero_division=0)


def weighted(table):
    return f1(table, "weighted")


def macro(table):
    return f1(table, "macro")


def deviation(table):
    return np.std([table.correct[table.emotion == name].mean() for name in set(table.emotion)], ddof=1)


def test_folds_are_trained_once_and_summed_up(two_folds, in_this_process, capsys):
    command = ["cv", "ceflnet_dfew", "--folds", "1", "2", "--seeds", "0", *TINY, "--trainer.max_epochs", "1"]
    assert main(command) == 0
    assert in_this_process == [("1", 0), ("2", 0)]
    folder = ExperimentRequest("ceflnet_dfew").run.path.parent / "cv"
    summary = json.loads((folder / "summary.json").read_text())
    war = [run["war"] for run in summary["runs"]]
    assert [run["clips"] for run in summary["runs"]] == [14, 14]
    assert summary["war_mean"] == pytest.approx(np.mean(war))
    assert summary["war_std"] == pytest.approx(np.std(war, ddof=1))
    assert summary["pooled_war"] == pytest.approx(np.mean(war)), "folds of the same size"
    tables = [
        PredictionTable.read(ExperimentRequest("ceflnet_dfew", fold=fold).run.predictions("test")) for fold in "12"
    ]
    for name, value in (("weighted_f1", weighted), ("macro_f1", macro), ("std_accuracy", deviation)):
        each = [value(table) for table in tables]
        assert [run[name] for run in summary["runs"]] == pytest.approx(each)
        assert (summary[f"{name}_mean"], summary[f"{name}_std"]) == pytest.approx((np.mean(each), np.std(each, ddof=1)))
        assert summary[f"pooled_{name}"] == pytest.approx(value(PredictionTable.concat(tables)))
    assert summary["pooled_macro_f1_interval"][0] <= summary["pooled_macro_f1"]
    assert "pooled_std_accuracy_interval" not in summary
    pooled = PredictionTable.concat(tables)
    expected = confusion_matrix(pooled.emotion, pooled.predicted, labels=[*pooled.class_names, "none"])[:-1]
    assert summary["pooled_confusion"] == expected.tolist()
    with (folder / "confusion.csv").open(newline="") as file:
        assert [[int(n) for n in row[1:]] for row in list(csv.reader(file))[1:]] == expected.tolist()
    for table, run in zip(tables, summary["runs"], strict=True):
        assert np.sum(run["confusion"]) == len(table)
    for name in pooled.class_names:
        each = [table.correct[table.emotion == name].mean() for table in tables]
        values = summary["class_accuracy"][name]
        assert values["pooled"] == pytest.approx(pooled.correct[pooled.emotion == name].mean())
        assert (values["mean"], values["std"]) == pytest.approx((np.mean(each), np.std(each, ddof=1)))
    assert (folder / "confusion.png").read_bytes().startswith(b"\x89PNG")
    for run, table in zip(summary["runs"], tables, strict=True):
        p, label = table.probabilities[~table.missing], table.label[~table.missing]
        assert run["confidence"]["test/nll"] == pytest.approx(-np.log(p[np.arange(len(p)), label]).mean())
        assert "calibration/temperature" not in run["confidence"]  # 4 clips are too few to fit one
    means = [np.mean([run["confidence"][f"test/{name}"] for run in summary["runs"]]) for name in ("ece", "nll")]
    assert [summary["confidence_mean"][f"test/{name}"] for name in ("ece", "nll")] == pytest.approx(means)
    assert summary["confidence_mean"]["test/ece_calibrated"] is None
    said = capsys.readouterr().out
    assert "mean" in said
    line = f"0 of 2 calibrated on their inner splits; ECE {means[0]:.3f}; NLL {means[1]:.3f}"
    assert line in said
    assert main(command) == 0
    assert len(in_this_process) == 2, "what is finished is skipped"
    capsys.readouterr()
    assert main([*command, "--model.init_args.sal", "false"]) == 2, "runs of other settings are not pooled"
    assert "begun with other settings" in capsys.readouterr().err


def test_a_cross_validation_is_a_run_of_wandb(two_folds, in_this_process, offline_wandb, monkeypatch):
    monkeypatch.setattr(fit, "write_report", lambda run: atomic_write(run.report, b"report"))
    command = ["cv", "ceflnet_dfew", "--folds", "1", "2", "--group", "table 5", *TINY, "--trainer.max_epochs", "1"]
    assert main(command) == 0
    runs = [ExperimentRequest("ceflnet_dfew", fold=fold).run for fold in "12"]
    parts = [told for run in runs for told in written_runs(run.path)]
    assert [(told.group, told.job_type) for told in parts] == [("table 5", "train")] * 2
    folder = runs[0].path.parent / "cv"
    (told,) = written_runs(folder)
    assert told.ended
    assert (told.group, told.job_type, told.project) == ("table 5", "cv", "fer_lightning")
    assert set(told.tags) == {"system: ceflnet", "data: dfew", "size: paper", "seed: 0", "selection: inner"}
    assert told.config["uses"] == {
        f"fold {fold}, seed 0": f"model-{part.id}" for fold, part in zip("12", parts, strict=True)
    }
    summary = json.loads((folder / "summary.json").read_text())
    assert told.summary["cv/runs"] == 2
    assert told.summary["pooled/clips"] == 28
    for name in (metric.name for metric in METRICS):
        for key in ("mean", "std"):
            assert told.summary[f"cv/{name}_{key}"] == pytest.approx(summary[f"{name}_{key}"])
        assert told.summary[f"pooled/{name}"] == pytest.approx(summary[f"pooled_{name}"])
        if f"pooled_{name}_interval" in summary:
            ends = [told.summary[f"pooled/{name}_{end}"] for end in ("low", "high")]
            assert ends == pytest.approx(summary[f"pooled_{name}_interval"])
    assert [row["war"] for row in told.table("report/runs")] == pytest.approx([run["war"] for run in summary["runs"]])
    assert sum(value for row in told.table("report/confusion") for value in row.values() if value in range(29)) == 28


def test_accuracy_without_neutral_and_over_answered_clips_is_beside_that_over_all(capsys):
    p = np.full((4, 2), 0.5)
    p[:3] = [[0.9, 0.1], [0.2, 0.8], [0.3, 0.7]]  # anger, neutral, neutral, none
    p[3] = np.nan
    text = np.array
    table = PredictionTable(
        ("anger", "neutral"), text(["a", "b", "c", "d"]), text([""] * 4), text([""] * 4), text(["test"] * 4),
        text(["1"] * 4), np.zeros(4, int), text(["anger", "anger", "neutral", "anger"]), p, np.ones(4),
        text(["", "", "", "no face"]),
    )  # fmt: skip
    request = ExperimentRequest("ecnn_fsa_ckplus_neutral")
    summary = replace(protocol.summarise([table], [request], "inner"), classes_from_stills=("neutral",))
    assert summary.content["pooled_war"] == 0.5
    assert (summary.content["pooled_answered"]["war"], summary.content["pooled_answered"]["clips"]) == (
        pytest.approx(2 / 3),
        3,
    )
    without = summary.content["pooled_without_neutral"]
    assert (without["war"], without["clips"]) == (pytest.approx(1 / 3), 3)
    protocol.print_summary(summary)
    assert "without neutral" in capsys.readouterr().out


@pytest.mark.slow
def test_a_cross_validation_without_wandb_makes_no_run_of_it(two_folds, in_this_process, monkeypatch):
    monkeypatch.setattr(fit, "write_report", lambda run: atomic_write(run.report, b"report"))
    off = ["--trainer.logger", "fer_lightning.CurvesLogger"]
    assert main(["cv", "ceflnet_dfew", "--folds", "1", *TINY, "--trainer.max_epochs", "1", *off]) == 0
    run = ExperimentRequest("ceflnet_dfew").run
    assert not (run.path.parent / "cv" / "wandb_id.txt").exists()
    assert run.curves.exists(), "a logger alone writes into the run's folder, too"


def test_a_run_that_fails_is_named_and_makes_the_status(two_folds, in_this_process, capsys, monkeypatch):
    monkeypatch.setattr(protocol, "prepare_data_and_weights", lambda *_: None)
    assert main(["cv", "ceflnet_dfew", "--folds", "broken", *TINY]) == 1
    assert "fold broken, seed 0 did not finish" in capsys.readouterr().out


@pytest.fixture
def made(monkeypatch):
    """In the place of trainings: made predictions, but of fold 2 with seed 1; lists what is made before, and runs."""
    prepared, trained, broken = [], [], {("2", 1)}

    def train(requests):
        trained.extend((request.fold, request.seed) for request in requests)
        for request in requests:
            if (request.fold, request.seed) not in broken:
                finish(request, 1.0)
        return [request for request in requests if (request.fold, request.seed) in broken]

    monkeypatch.setattr(protocol, "train_all", train)
    monkeypatch.setattr(protocol, "prepare_data_and_weights", lambda _, model: prepared.append(model.run.path.name))
    return SimpleNamespace(prepared=prepared, trained=trained, broken=broken)


def test_a_seed_without_all_folds_is_not_pooled_and_named(made, capsys):
    command = ["cv", "ceflnet_synthetic", "--folds", "1", "2", "--seeds", "0", "1"]
    assert main(command) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "fold 2, seed 1 did not finish" in said
    assert "fold 1, seed 1 is not in the summary: other folds of its seed are missing" in said
    assert "fold 2, seed 1 is not in the summary: it is not finished" in said
    summary = ExperimentRequest("ceflnet_synthetic").run.path.parent / "cv" / "summary.json"
    content = json.loads(summary.read_text())
    assert [(run["fold"], run["seed"]) for run in content["runs"]] == [("1", 0), ("2", 0)]
    assert np.sum(content["pooled_confusion"]) == 112
    made.broken.clear()
    assert main(command) == 0
    assert made.trained[4:] == [("2", 1)]
    assert [(run["fold"], run["seed"]) for run in json.loads(summary.read_text())["runs"]][2:] == [("1", 1), ("2", 1)]


def test_what_a_run_needs_is_made_for_the_first_that_is_missing(made):
    command = ["cv", "ceflnet_synthetic", "--folds", "1", "3"]
    assert main([*command, "--seeds", "2", "5"]) == 0
    assert made.prepared == ["1-2"], "nobody asked for seed 0"
    assert main([*command, "--seeds", "2", "5"]) == 0
    assert main([*command, "--folds", "1", "2", "--seeds", "5"]) == 0
    assert made.prepared == ["1-2", "2-5"], "where nothing is missing, nothing is made"


def test_what_a_run_is_asked_for_with_comes_back():
    request = ExperimentRequest("ceflnet_dfew", "synthetic", "small", "3", 7, "x", ("--trainer.max_epochs", "2"))
    assert parse(request.train_arguments()) == request
    labelled = replace(request, group="table 5", job_type="ablation")
    assert parse(labelled.train_arguments()) == labelled
    assert parse(ExperimentRequest("ceflnet_dfew").train_arguments()) == ExperimentRequest("ceflnet_dfew")
