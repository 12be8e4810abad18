"""A table is made by its command: what is trained, what is left, what the claims come to."""

import csv
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from scipy.stats import t

from data_modules.labels import SEVEN
from data_modules.manifest import VideoRecord, write_manifest
from data_modules.utils.files import atomic_write
from fer_lightning.cli.main import main
from fer_lightning.evaluation.bootstrap import bootstrap
from fer_lightning.evaluation.comparison import difference_over_seeds, paired_difference
from fer_lightning.evaluation.confidence import AURC, confidence_scores
from fer_lightning.evaluation.metrics import MACRO_F1, METRICS, STD_ACCURACY, UAR, WAR, scores
from fer_lightning.evaluation.predictions import PredictionTable
from fer_lightning.experiments import jobs
from fer_lightning.runs.folder import RunInfo
from fer_lightning.tables.collect import is_of_today, row_settings
from fer_lightning.tables.files import read_stored
from fer_lightning.tables.grid import _difference
from fer_lightning.tables.plan import TableRequest, plan
from fer_lightning.tables.reproduce import write_row
from fer_lightning.tables.results import read_predictions, read_result
from fer_lightning.tables.table import Row
from fer_lightning.tables.verdicts import Verdict, read_verdicts
from tests.ensemble.test_ensemble import made_table
from tests.tables.test_table import MADE

STRENGTH = {"plain": 0.5, "": 2.0}


@pytest.fixture
def table(tmp_path):
    (tmp_path / "mine.yaml").write_text(MADE)
    return str(tmp_path / "mine.yaml")


@pytest.fixture
def trained(monkeypatch):
    """In the place of trainings: made predictions, better ones for the row without arguments; lists the runs."""
    started = []

    def train(requests):
        failed = []
        for request in requests:
            started.append("/".join(request.run.path.parts[-2:]))
            if request.name == "broken":
                failed.append(request)
                continue
            finish(request, STRENGTH.get(request.name, 1.0))
        return failed

    monkeypatch.setattr(jobs, "train_all", train)
    return started


def finish(request, strength, none=(3,)):
    run = request.run
    clips = "test" if request.fold == "1" else f"test {request.fold}"
    made_table(clips, strength, 100 * request.seed + int(request.fold), none=none).write(run.predictions("test"))
    table = PredictionTable.read(run.predictions("test"))
    object.__setattr__(table, "seed", np.full(len(table), request.seed))
    table.write(run.predictions("test"))
    curves = "epoch,step,inner/war,train/loss\n0,1,0.25,\n0,1,,1.5\n1,2,0.5,\n1,2,,1.25\n"
    atomic_write(run.curves, curves.encode())
    info = RunInfo("x", "CEFLNet", "made", SEVEN, request.fold, request.seed, "inner", 3, "store", 10, 1000, 0.002)
    run.write_info(info)
    atomic_write(run.report, b"report")


def test_one_command_trains_what_is_missing_and_writes_the_table(table, trained, tmp_path, capsys):
    arguments = ["reproduce", table, "--seeds", "0", "1"]
    assert main(arguments) == 0, capsys.readouterr().err
    runs = ["ceflnet_synthetic_wild.plain/1-0", "ceflnet_synthetic_wild.plain/1-1"]
    assert trained == [*runs, "ceflnet_synthetic_wild/1-0", "ceflnet_synthetic_wild/1-1"]
    folder = tmp_path / "results" / "mine.small"
    assert {path.name for path in folder.iterdir()} == {
        *("plain.json", "plain.predictions.csv.gz", "whole.json", "whole.predictions.csv.gz", "claims.json"),
        *("table.md", "table.csv", "table.tex", "index.html"),
    }
    said = capsys.readouterr().out
    assert "Confirmed: whole minus plain" in said.replace("\n", " ")
    assert "cannot be compared with the published ones" in said.replace("\n", " ")
    assert main(arguments) == 0
    assert len(trained) == 4, "what is finished is not trained again"
    assert main([*arguments, "--rows", "whole", "--seeds", "0", "1", "2"]) == 0
    assert trained[4:] == ["ceflnet_synthetic_wild/1-2"]
    assert read_result(folder, "whole").seeds == (0, 1, 2)
    assert read_result(folder, "plain").seeds == (0, 1), "rows that were not asked for stay"


def test_results_are_those_of_the_runs(table, trained, tmp_path):
    assert main(["reproduce", table, "--seeds", "0", "1"]) == 0
    folder = tmp_path / "results" / "mine.small"
    asked = TableRequest(table, seeds=(0, 1))
    (planned,) = (each for each in plan(asked) if each.row.name == "whole")
    tables = [PredictionTable.read(request.run.predictions("test")) for request in planned.requests]
    result = read_result(folder, "whole")
    assert (result.table, result.row, result.experiment, result.size) == (
        "mine",
        "whole",
        "ceflnet_synthetic_wild",
        "small",
    )
    assert [(run.clips, run.answered) for run in result.runs] == [(56, 55)] * 2
    for run, each in zip(result.runs, tables, strict=True):
        assert all(run.metrics[metric.name] == scores(each)[metric] for metric in METRICS)
        hits = (each.choice == each.label)[~each.missing]
        assert run.answered_metrics["war"] == pytest.approx(hits.mean())
        assert np.array(run.confusion).sum() == 56
        assert run.curves == {"inner/war": (0.25, 0.5), "train/loss": (1.5, 1.25)}
        assert (run.parameters, run.multiply_adds, run.ms_per_clip) == (10, 1000, 2.0)
    assert result.by_seed("war") == [scores(each)[WAR] for each in tables]
    assert (result.clips, result.answered, result.unit, result.clusters) == (56, 55, "subject", 8)
    pooled = PredictionTable.concat(tables)
    expected = bootstrap(pooled)
    assert result.interval(UAR.name) == expected[UAR]
    kept = read_predictions(folder, "whole")
    np.testing.assert_array_equal(kept.probabilities, pooled.probabilities)


def test_values_are_those_of_all_folds_together(table, trained, tmp_path):
    """A fold without a class, as small data sets have them, takes nothing from that class's accuracy."""
    assert main(["reproduce", table, "--rows", "whole", "--folds", "1", "2"]) == 0
    path = tmp_path / "results" / "mine.small" / "whole.json"
    content = json.loads(path.read_text())
    right, wrong = [[0] * 8 for _ in range(7)], [[0] * 8 for _ in range(7)]
    right[0][0], right[1][1], right[1][7] = 8, 2, 1
    wrong[0][0], wrong[0][1] = 1, 3
    content["runs"][0]["confusion"], content["runs"][1]["confusion"] = right, wrong
    path.write_text(json.dumps(content))
    result = read_result(path.parent, "whole")
    assert result.by_seed("recall.anger") == [9 / 12]
    assert result.by_seed("recall.disgust") == [2 / 3]
    assert result.by_seed("uar") == [pytest.approx((9 / 12 + 2 / 3) / 2)]
    assert result.by_seed("uar", answered=True) == [pytest.approx((9 / 12 + 2 / 2) / 2)]
    assert result.by_seed("war") == [pytest.approx(11 / 15)]
    assert result.by_seed("recall.fear") == result.by_seed("recall.contempt") == []


def test_a_seed_without_all_folds_is_left_out_and_folds_that_are_missing_are_named(table, trained, tmp_path):
    folder = tmp_path / "results" / "mine.small"
    assert main(["reproduce", table, "--rows", "whole", "--folds", "1", "2"]) == 0
    assert main(["reproduce", table, "--rows", "whole", "--folds", "1", "--seeds", "1"]) == 0
    assert main(["reproduce", table, "--rows", "whole", "--folds", "1", "2", "--seeds", "0"]) == 0
    asked = TableRequest(table, seeds=(0, 1), folds=("1", "2"), rows=("whole",))
    (planned,) = (each for each in plan(asked) if each.row.name == "whole")
    write_row(asked, planned)
    result = read_result(folder, "whole")
    assert (result.seeds, result.folds) == ((0,), ("1", "2")), "seed 1 has one fold of two"
    assert main(["tables", table, "--size", "small"]) == 0
    assert "- Fold 1, 2 of 4 alone." in (folder / "table.md").read_text()
    content = json.loads((folder / "whole.json").read_text())
    (folder / "plain.json").write_text(json.dumps(content | {"row": "plain", "runs": content["runs"][:1]}))
    Path(table).write_text(MADE.replace("- name: plain\n", "- name: plain\n    label: CNN\n"))
    assert main(["tables", table, "--size", "small"]) == 0
    assert "- Fold 1 of 4 alone (CNN); fold 1, 2 of 4 alone (whole)." in (folder / "table.md").read_text()


def test_a_difference_is_in_the_unit_of_the_published_value():
    rows = [Row("a", published={"silhouette": 0.17}), Row("b", published={"war": 70.0})]
    values = {"silhouette": [0.109], "war": [0.65]}
    result = SimpleNamespace(by_seed=values.__getitem__)
    assert _difference(rows[0], result, "silhouette") == "-0.06"
    assert _difference(rows[1], result, "war") == "-5.00"


def test_rows_over_other_people_or_seeds_say_so(table, trained, tmp_path):
    assert main(["reproduce", table, "--rows", "whole", "--seeds", "0", "1"]) == 0
    assert main(["reproduce", table, "--rows", "plain", "--seeds", "0"]) == 0
    text = (tmp_path / "results" / "mine.small" / "table.md").read_text()
    assert "95 % bootstrap intervals over 8 subjects (plain), 8 subjects and 2 seeds (whole)." in text


def test_a_claim_that_is_not_tested_says_why(table, trained, tmp_path):
    assert main(["reproduce", table]) == 0
    (tmp_path / "results" / "mine.small" / "claims.json").unlink()
    assert main(["tables", table, "--size", "small"]) == 0
    text = (tmp_path / "results" / "mine.small" / "table.md").read_text()
    assert "Not tested: `fer reproduce` tests it where the runs of both rows are." in text


def test_accuracy_without_classes_of_still_frames_is_beside_that_over_all(table, trained, tmp_path):
    assert main(["reproduce", table]) == 0
    (planned,) = (each for each in plan(TableRequest(table)) if each.row.name == "whole")
    (request,) = planned.requests
    request.run.write_info(replace(request.run.read_info(), classes_from_stills=("neutral",)))
    assert main(["reproduce", table]) == 0
    tested = PredictionTable.read(request.run.predictions("test"))
    others = tested.emotion != "neutral"
    said = f"WAR without neutral, which is of still frames, is {tested.correct[others].mean():.3f} (N = {others.sum()})"
    text = (tmp_path / "results" / "mine.small" / "table.md").read_text()
    assert text.count("which is of still frames") == 1
    assert said in text


def test_the_table_is_written_in_every_form(table, trained, tmp_path):
    note = "As `plain_x`, <b> and 5 % of it."
    Path(table).write_text(MADE.replace("protocol: one split", f'protocol: one split\nnote: "{note}"'))
    assert main(["reproduce", table]) == 0
    folder = tmp_path / "results" / "mine.small"
    stored = read_stored(TableRequest(table), folder)
    with (folder / "table.csv").open(newline="") as file:
        header, *rows = list(csv.reader(file))
    assert header[:3] == ["", "published WAR", "published UAR"]
    assert "difference" not in header, "rendered faces are not compared with published values"
    war = stored.results["plain"].by_seed("war")[0]
    by_label = {row[0]: dict(zip(header, row, strict=True)) for row in rows}
    assert by_label["Other [3]"]["published WAR"] == "50.00 (1/2)"
    assert by_label["Other [3]"]["ours WAR"] == "–"
    assert by_label["plain"]["published WAR"] == "84.17 (101/120)"
    assert by_label["plain"]["ours WAR"] == f"{war:.3f}"
    assert by_label["whole"]["published WAR"] == "85.00 ± 1.5"
    assert (by_label["whole"]["N"], by_label["whole"]["seeds"]) == ("56", "1")
    markdown = (folder / "table.md").read_text()
    assert markdown.count("\n| ") == 5
    assert "**Doe et al., 2020, table 1: What attention adds**" in markdown
    assert f"- {note}\n" in markdown
    latex = (folder / "table.tex").read_text()
    assert r"As \texttt{plain\_x}, <b> and 5 \% of it." in latex
    assert r"85.00 $\pm$ 1.5" in latex
    assert latex.count(r"\\") == 4
    page = (folder / "index.html").read_text()
    assert "<li>As <code>plain_x</code>, &lt;b&gt; and 5 % of it.</li>" in page
    content = json.loads(re.search(r"const content = (.*);\n", page).group(1))
    assert [row["label"] for row in content["rows"]] == ["plain", "whole"]
    assert content["rows"][0]["curves"][0]["values"]["inner/war"] == [0.25, 0.5]
    assert "http://" not in page.replace("http://www.w3.org/2000/svg", "")


def test_on_real_data_the_difference_stands_and_predictions_stay_here(tmp_path, trained, monkeypatch):
    (tmp_path / "mine.yaml").write_text(MADE.replace("synthetic_wild", "afew"))
    assert main(["reproduce", str(tmp_path / "mine.yaml"), "--folds", "1"]) == 0
    folder = tmp_path / "results" / "mine"
    assert not list(folder.glob("*.gz")), "they hold the labels of the clips"
    with (folder / "table.csv").open(newline="") as file:
        whole = list(csv.DictReader(file))[2]
    war = read_result(folder, "whole").by_seed("war")[0]
    assert float(whole["difference"]) == pytest.approx(100 * war - 85, abs=0.006)
    assert json.loads((folder / "claims.json").read_text())[0]["row"] == "whole"
    assert "plain: the published accuracy is of 120 clips, ours of 56." in (folder / "table.md").read_text()


def test_what_papers_report_stands_beside_if_the_split_was_watched(table, trained, tmp_path):
    assert main(["reproduce", table]) == 0
    folder = tmp_path / "results" / "mine.small"
    with (folder / "table.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert "best on test" not in rows[0], "the runs did not watch it"
    request = plan(TableRequest(table, watch=False))[2].requests[0]
    assert request.arguments[-2:] == ("--data.watch_test", "false")
    request = plan(TableRequest(table))[2].requests[0]
    assert "--data.watch_test" not in request.arguments, "every training watches"
    chosen = PredictionTable.read(request.run.predictions("test"))
    for name in ("test_last", "test_best"):
        chosen.write(request.run.predictions(name))
    atomic_write(request.run.watched_curves, b"epoch,watched/war\n0,0.75\n1,0.5\n")
    assert main(["reproduce", table]) == 0
    with (folder / "table.csv").open(newline="") as file:
        _, plain, whole = list(csv.DictReader(file))
    assert (whole["best on test"], whole["last epoch"]) == ("0.750", "0.500")
    assert whole["inflation"].startswith("0.000 [")
    assert (plain["best on test"], plain["last epoch"], plain["inflation"]) == ("–", "–", "–")


def test_annotators_stand_beside_if_the_data_have_votes(table, trained, tmp_path):
    """Two clips of one row have votes: of the first, 3 of 4 annotators agree with most others, of the second all."""
    assert main(["reproduce", table]) == 0
    folder = tmp_path / "results" / "mine.small"
    with (folder / "table.csv").open(newline="") as file:
        assert "single annotator" not in next(csv.reader(file)), "rendered clips have no votes"
    (planned,) = (each for each in plan(TableRequest(table)) if each.row.name == "whole")
    (request,) = planned.requests
    first, second, *_ = PredictionTable.read(request.run.predictions("test")).clip_id.tolist()
    votes = {first: "anger=3 fear=1", second: "sadness=5"}
    write_manifest(request.run.clips, [VideoRecord(clip, clip, "anger", votes=votes[clip]) for clip in votes])
    assert main(["reproduce", table]) == 0
    with (folder / "table.csv").open(newline="") as file:
        _, plain, whole = list(csv.DictReader(file))
    assert (plain["single annotator"], whole["single annotator"]) == ("–", "0.875")


def test_a_run_that_does_not_finish_is_named_and_makes_the_status(tmp_path, trained, capsys):
    content = yaml.safe_load(MADE)
    content["rows"][1]["variant"] = "broken"
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(content))
    assert main(["reproduce", str(tmp_path / "mine.yaml")]) == 1
    assert "ceflnet_synthetic_wild.broken/1-0 did not finish" in capsys.readouterr().out
    assert read_result(tmp_path / "results" / "mine.small", "whole") is not None, "the other rows go on"


def test_a_row_without_all_folds_of_the_other_is_not_compared_with_it(table, trained, tmp_path, monkeypatch, capsys):
    def without_a_fold(requests, train=jobs.train_all):
        lost = [request for request in requests if (request.name, request.fold) == ("plain", "2")]
        return lost + train([request for request in requests if request not in lost])

    monkeypatch.setattr(jobs, "train_all", without_a_fold)
    assert main(["reproduce", table, "--folds", "1", "2"]) == 1
    assert "ceflnet_synthetic_wild.plain/2-0 did not finish" in capsys.readouterr().out
    folder = tmp_path / "results" / "mine.small"
    said = "Attention adds to the plain network. Not tested: the rows are of other folds (1, 2 and 1)."
    assert said in (folder / "table.md").read_text()
    assert {path.suffix for path in folder.glob("table.*")} == {".md", ".csv", ".tex"}
    assert said in (folder / "index.html").read_text()
    assert not read_verdicts(folder)


def test_a_row_of_other_seeds_is_not_compared(table, trained, tmp_path, capsys):
    assert main(["reproduce", table, "--rows", "plain", "--seeds", "0", "1"]) == 0
    assert main(["reproduce", table, "--rows", "whole", "--seeds", "2"]) == 0, capsys.readouterr().err
    text = (tmp_path / "results" / "mine.small" / "table.md").read_text()
    assert "Not tested: the rows have no seed in common (2 and 0, 1)." in text


def test_variants_come_first_with_the_seed_of_the_row(tmp_path, trained):
    content = yaml.safe_load(MADE)
    wide = {"experiment": "stills_synthetic_stills", "name": "wide", "arguments": ["--data.size", "48"]}
    start = {
        "experiment": "stills_synthetic_stills",
        "name": "chain",
        "arguments": ["--model.init_args.start_from", "run:stills_synthetic_stills.wide"],
    }
    weights = "--model.init_args.backbone.init_args.weights"
    content["rows"][2] |= {"requires": [wide, start], "arguments": [weights, "run:stills_synthetic_stills.chain"]}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(content))
    assert main(["reproduce", str(tmp_path / "mine.yaml"), "--rows", "whole", "--seeds", "2"]) == 0
    assert trained == [
        "stills_synthetic_stills.wide/1-2",
        "stills_synthetic_stills.chain/1-2",
        "ceflnet_synthetic_wild.whole/1-2",
    ]
    (planned,) = (
        each for each in plan(TableRequest(str(tmp_path / "mine.yaml"), seeds=(2,), rows=("whole",))) if each.requests
    )
    arguments = planned.requests[0].command_line()
    assert arguments[arguments.index(weights) + 1] == "run:stills_synthetic_stills.chain/1-2"


def test_a_dry_run_trains_nothing_and_says_what_it_would(table, trained, capsys):
    assert main(["reproduce", table, "--seeds", "0", "1", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert not trained
    assert "mine.yaml: 4 runs missing, time unknown on one device" in said.replace("\n", "")
    assert "constant" in said
    finished = plan(TableRequest(table))[2].requests[0]
    finish(finished, 1.0)
    facts = finished.run.path / "run.json"
    facts.write_text(facts.read_text().replace('"seconds": 0.0', '"seconds": 7200.0'))
    assert main(["reproduce", table, "--seeds", "0", "1", "--dry-run"]) == 0
    assert "3 runs missing, about 6.0 h, 2 of unknown length on one device" in capsys.readouterr().out.replace("\n", "")


def test_the_time_of_a_row_may_be_that_of_its_results(table, trained, tmp_path, capsys):
    assert main(["reproduce", table]) == 0
    shutil.rmtree(tmp_path / "runs")
    for path in (tmp_path / "results" / "mine.small").glob("*.json"):
        path.write_text(path.read_text().replace('"seconds": 0.0', '"seconds": 7200.0'))
    capsys.readouterr()
    assert main(["reproduce", table, "--seeds", "0", "1", "--dry-run"]) == 0
    assert "4 runs missing, about 8.0 h, 2 of unknown length on one device" in capsys.readouterr().out.replace("\n", "")


def test_settings_are_kept_without_what_differs_between_a_rows_runs(table):
    first, second = (plan(TableRequest(table, seeds=(0, 3), folds=("1", "2")))[2].requests[i] for i in (0, 3))
    assert (first.fold, first.seed) != (second.fold, second.seed)
    assert row_settings(first) == row_settings(second)
    assert row_settings(plan(TableRequest(table))[1].requests[0]) != row_settings(first)
    assert "trainer" in row_settings(first)
    assert not {"default_root_dir", "logger", "devices"} & row_settings(first)["trainer"].keys()


def test_results_from_before_an_argument_are_of_today_if_it_has_its_default(table, trained, tmp_path):
    assert main(["reproduce", table]) == 0
    folder, planned = tmp_path / "results" / "mine.small", plan(TableRequest(table))[2]
    result = read_result(folder, "whole")
    assert is_of_today(result, planned)
    del result.settings["model"]["init_args"]["label_smoothing"]  # as if the class had not had it
    assert is_of_today(result, planned)
    (request,) = planned.requests
    smoothed = replace(request, arguments=(*request.arguments, "--model.init_args.label_smoothing", "0.1"))
    assert not is_of_today(result, replace(planned, requests=(smoothed,)))
    result.settings["model"]["init_args"]["vote_share"] = 0.5
    assert not is_of_today(result, planned)


@pytest.mark.parametrize("text", ["", "{}", '{"runs": 3}', "[1]"])
def test_half_written_results_are_named(table, trained, tmp_path, capsys, text):
    assert main(["reproduce", table]) == 0
    path = tmp_path / "results" / "mine.small" / "whole.json"
    path.write_text(text)
    assert main(["tables", table, "--size", "small"]) == 2
    assert f"{path} is damaged" in capsys.readouterr().err


def test_the_list_of_tables_counts_rows_and_results(capsys):
    assert main(["tables"]) == 0
    said = capsys.readouterr().out
    assert "ceflnet_6" in said
    assert "bu4dfe (not here)" in said
    assert main(["experiments"]) == 0
    published = capsys.readouterr().out.partition("Published")[2]
    (line,) = (line for line in published.splitlines() if line.split()[:1] == ["ceflnet"])
    assert [name.strip(",") for name in line.split()[1:]] == ["afew", "bu4dfe", "dfew", "mmi"]
    assert main(["tables", "ceflnet_6"]) == 0
    said = capsys.readouterr().out
    assert "85.33" in said
    assert "no results yet: fer reproduce ceflnet_6" in said


@pytest.mark.parametrize(
    ("options", "to_run", "lacking"), [((), "16", "resnext3d"), (("--data", "synthetic_wild"), "25", "")]
)
def test_the_list_of_tables_says_what_can_be_run_at_its_size(options, to_run, lacking, capsys):
    """At the paper's size, seven rows of VSHNN's table 2 need a file that cannot be fetched, two rendered videos."""
    assert main(["tables", *options]) == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("│ vshnn_2 "))
    cells = [cell.strip() for cell in line.strip("│").split("│")]
    assert cells[3:6] == ["25", to_run, "0"]
    assert (cells[6][:9], bool(cells[6])) == (lacking, bool(lacking))


@pytest.mark.parametrize(
    ("pattern", "systems", "published", "data"),
    [
        ("vshnn_lr", ["vshnn_lrmaf", "vshnn_lrmf"], {"vshnn_lrmaf", "vshnn_lrmf"}, None),
        ("vshnn_*af", ["vshnn_lrmaf"], {"vshnn_lrmaf"}, None),
        ("mmi", None, {"ceflnet"}, ["mmi"]),
    ],
)
def test_experiments_are_listed_by_a_pattern(pattern, systems, published, data, capsys):
    assert main(["experiments", pattern]) == 0
    said = capsys.readouterr().out
    parts = {part.split(" ")[0].strip(";:"): part.splitlines() for part in said.split("\n\n")}
    found = {name: [line.split()[0] for line in lines[1:]] for name, lines in parts.items()}
    assert found.get("Systems") == systems
    assert published <= set(found["Published"])
    assert ("Data" in parts) == (data is not None)
    if data:
        assert parts["Data"][0].split()[2:] == data
        assert all("mmi" in line for line in parts["Published"][1:])


def test_a_pattern_that_nothing_has_is_answered_with_a_similar_name(capsys):
    assert main(["experiments", "ceflnett"]) == 2
    assert "no system and no data set has 'ceflnett' in its name; did you mean ceflnet?" in capsys.readouterr().err


# Claims


def of_seed(strength, seed, data_seed=None):
    table = made_table("test", strength, seed if data_seed is None else data_seed)
    object.__setattr__(table, "seed", np.full(len(table), seed))
    return table


def test_with_one_seed_the_difference_is_the_paired_one():
    first, second = of_seed(2.0, 0), of_seed(0.5, 0)
    expected = paired_difference(first, second)
    found = difference_over_seeds(first, second, WAR)
    assert found.value == expected[WAR].value
    assert found.interval == expected[WAR].interval
    assert (found.seeds, found.unit, found.clusters) == ((0,), "subject", 8)


def test_seeds_on_other_clips_are_not_averaged():
    """As of a seed whose other folds are still trained."""
    halves = [replace_rows(of_seed(2.0, 0), slice(None)), replace_rows(of_seed(2.0, 1), slice(28))]
    with pytest.raises(ValueError, match="the seeds 0 and 1 are tested on other clips"):
        difference_over_seeds(PredictionTable.concat(halves), PredictionTable.concat(halves), WAR)


def replace_rows(table, rows):
    return table.select(np.arange(len(table))[rows])


def test_intervals_of_seeds_are_around_the_mean_of_their_values():
    """Seeds that each prefer another class: the F1 of all their predictions together is another number."""
    tables = []
    for seed in range(3):
        table = of_seed(1.0, seed)
        p = table.probabilities.copy()
        p[:, seed] += 0.5
        tables.append(replace(table, probabilities=p / p.sum(axis=1, keepdims=True)))
    mean = np.mean([scores(table)[MACRO_F1] for table in tables])
    interval = bootstrap(PredictionTable.concat(tables))[MACRO_F1]
    assert interval.low < mean < interval.high
    assert (interval.low + interval.high) / 2 == pytest.approx(mean, abs=0.005)
    assert scores(PredictionTable.concat(tables))[MACRO_F1] > mean + 0.03


def test_measures_of_confidence_count_clips_with_a_prediction(table, trained, tmp_path):
    """As do their intervals: a fold without predictions for most of its clips counts less."""
    assert main(["reproduce", table]) == 0
    result = read_result(tmp_path / "results" / "mine.small", "whole")
    (run,) = result.runs
    first = replace(run, clips=200, answered=200, outputs={"nll": 0.4, "silhouette": 0.2})
    second = replace(run, fold="2", clips=200, answered=50, outputs={"nll": 0.9, "silhouette": 0.4})
    both = replace(result, runs=(first, second))
    assert both.by_seed("nll") == pytest.approx([(0.4 * 200 + 0.9 * 50) / 250])
    assert both.by_seed("silhouette") == pytest.approx([0.3])


def test_over_seeds_people_and_trainings_are_drawn():
    """A bootstrap in plain loops, of people and of pairs of trainings, made as wide as by analysis of variance.

    The advantages (S, K) in the trainings for the people are crossed: the variance of their mean is (MS of trainings +
    MS of people) / (S K) where trainings vary more than both together, with Satterthwaite's degrees of freedom of
    (MS of trainings + MS of people - MS of both) / (S K), at least those of the trainings.
    """
    seeds = (0, 1, 2)
    first = PredictionTable.concat([of_seed(1.0 + 0.5 * seed, seed) for seed in seeds])
    second = PredictionTable.concat([of_seed(0.5, seed, 10 + seed) for seed in seeds])
    found = difference_over_seeds(first, second, WAR)
    right = {
        (seed, person): [
            (table.correct & (table.seed == seed) & (table.subject == person)).sum() for table in (first, second)
        ]
        for seed in seeds
        for person in np.unique(first.subject)
    }
    by_seed = [sum(a - b for (s, _), (a, b) in right.items() if s == seed) / 56 for seed in seeds]
    assert found.by_seed == pytest.approx(tuple(by_seed))
    assert found.value == pytest.approx(np.mean(by_seed))
    generator, people = np.random.default_rng(5), np.unique(first.subject)
    draws = []
    for _ in range(2000):
        drawn = generator.choice(people, len(people))
        trainings = generator.choice(seeds, len(seeds))
        draws.append(np.mean([sum(np.subtract(*right[s, p]) for p in drawn) / 56 for s in trainings]))
    cells = np.array([[np.subtract(*right[seed, person]) / 7 for person in people] for seed in seeds])
    (s, k), mean = cells.shape, cells.mean()
    rest = cells - cells.mean(axis=0) - cells.mean(axis=1, keepdims=True) + mean
    squares = (
        k * cells.mean(axis=1).var(ddof=1),
        s * cells.mean(axis=0).var(ddof=1),
        (rest**2).sum() / (s - 1) / (k - 1),
    )
    assert squares[0] > squares[2], "the trainings differ"
    variance = (squares[0] + squares[1]) / (s * k)
    freedom = (max(squares[0], squares[0] + squares[1] - squares[2]) / (s * k)) ** 2 / sum(
        (each / (s * k)) ** 2 / count for each, count in zip(squares, (s - 1, k - 1, (s - 1) * (k - 1)), strict=True)
    )
    freedom = max(freedom, s - 1)
    stretch = t.ppf(0.975, freedom) * np.sqrt(variance) / (1.96 * np.std(draws))
    low, high = mean + stretch * (np.quantile(draws, [0.025, 0.975]) - np.mean(draws))
    assert found.interval.low == pytest.approx(low, abs=0.03)
    assert found.interval.high == pytest.approx(high, abs=0.03)
    assert found.p_value == pytest.approx(2 * t.sf(mean / np.sqrt(variance), freedom), rel=0.2)
    alone = difference_over_seeds(first.select(first.seed == 2), second, WAR)
    assert alone.seeds == (2,), "only seeds of both count"
    with pytest.raises(ValueError, match="no seed in common"):
        difference_over_seeds(first.select(first.seed == 2), second.select(second.seed == 1), WAR)


@pytest.mark.parametrize(
    ("low", "high", "metric", "outcome"),
    [
        (0.01, 0.2, WAR, "confirmed"),
        (-0.01, 0.2, WAR, "undecided"),
        (-0.2, -0.01, WAR, "refuted"),
        (-0.2, -0.01, STD_ACCURACY, "confirmed"),
        (float("nan"), float("nan"), WAR, "undecided"),
    ],
)
def test_a_claim_is_decided_by_its_interval(low, high, metric, outcome):
    verdict = Verdict("a", "b", "A is better.", metric.name, 0.1, low, high, 3, "subject", 40, 280)
    assert verdict.outcome == outcome
    assert "40 subjects and 3 seeds, N = 280" in verdict.sentence({"a": "A", "b": "B"})


def test_several_claims_share_one_chance_of_an_error(tmp_path, trained):
    """Holm's correction by hand: the smallest p-value counts as often as there are claims."""
    content = yaml.safe_load(MADE)
    claim = content["claims"][0]
    content["claims"] = [claim, claim | {"row": claim["over"], "over": claim["row"]}]
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(content))
    assert main(["reproduce", str(tmp_path / "mine.yaml"), "--seeds", "0", "1"]) == 0
    first, second = read_verdicts(tmp_path / "results" / "mine.small")
    assert first.p_value == pytest.approx(second.p_value)
    assert first.adjusted == pytest.approx(min(1, 2 * first.p_value))
    assert first.tests == 2
    assert f"p = {first.adjusted:.2g}, adjusted for 2 comparisons" in first.sentence({"plain": "A", "whole": "B"})
    assert replace(first, low=0.01, high=0.2, adjusted=0.06).outcome == "undecided"
    assert replace(first, low=0.01, high=0.2, adjusted=0.04).outcome == "confirmed"


@pytest.fixture
def two_claims(tmp_path, trained):
    """A table of real data, whose predictions are not kept, with three rows and two claims; all runs are finished."""
    content = yaml.safe_load(MADE.replace("synthetic_wild", "afew"))
    content["rows"].append({"name": "small", "system": "ceflnet", "arguments": ["--model.init_args.lrl", "false"]})
    content["claims"].append({"row": "small", "over": "plain", "text": "Attention is the more important part."})
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(content))
    command = ["reproduce", str(tmp_path / "mine.yaml"), "--folds", "1"]
    assert main([*command, "--seeds", "0", "1"]) == 0
    return command, tmp_path / "results" / "mine"


def test_claims_are_those_of_all_rows_whichever_were_asked_for(two_claims):
    command, folder = two_claims
    before = read_verdicts(folder)
    assert [(each.row, each.seeds, each.tests) for each in before] == [("whole", 2, 2), ("small", 2, 2)]
    assert main([*command, "--seeds", "0", "1", "--rows", "whole"]) == 0
    assert read_verdicts(folder) == before
    assert main([*command, "--seeds", "0", "--rows", "whole"]) == 0
    first, second = read_verdicts(folder)
    assert (first.seeds, second.seeds) == (1, 2), "the other rows' results are of both seeds"
    assert (first.tests, second.tests) == (2, 2)
    assert second.p_value == before[1].p_value


def test_verdicts_of_rows_that_are_not_here_stay_as_long_as_their_results_do(two_claims, tmp_path):
    command, folder = two_claims
    before = read_verdicts(folder)
    shutil.rmtree(tmp_path / "runs")
    assert main([*command, "--seeds", "0", "1", "--rows", "whole"]) == 0
    assert read_verdicts(folder) == before, "trained again with the same result"
    assert main([*command, "--seeds", "2", "--rows", "whole"]) == 0
    (left,) = read_verdicts(folder)
    assert (left.row, left.tests, left.adjusted) == ("small", 1, before[1].p_value)
    text = (folder / "table.md").read_text()
    assert "Attention adds to the plain network. Not tested: the rows have no seed in common (2 and 0, 1)." in text
    assert main([*command, "--seeds", "3", "--rows", "small"]) == 0
    assert not (folder / "claims.json").exists()


def test_runs_that_a_rows_results_are_not_of_decide_nothing(two_claims):
    """The results of `plain` are of other runs than those of this machine, such as a colleague's."""
    command, folder = two_claims
    content = json.loads((folder / "plain.json").read_text())
    for run in content["runs"]:
        run["confusion"] = np.diag([8] * 7).tolist()
        run["confusion"] = [[*row, 0] for row in run["confusion"]]
    (folder / "plain.json").write_text(json.dumps(content))
    assert main([*command, "--seeds", "0", "1", "--rows", "whole"]) == 0
    assert not read_verdicts(folder)


def test_verdicts_on_rows_that_a_table_has_no_longer_are_passed_over(two_claims, tmp_path, capsys):
    command, folder = two_claims
    content = yaml.safe_load((tmp_path / "mine.yaml").read_text())
    content["rows"], content["claims"] = content["rows"][:3], content["claims"][:1]
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(content))
    assert main(["tables", command[1]]) == 0, capsys.readouterr().err
    assert main([*command, "--seeds", "0", "1"]) == 0, capsys.readouterr().err
    assert [each.row for each in read_verdicts(folder)] == ["whole"]


def test_confidence_may_be_columns_of_a_table(tmp_path, trained):
    content = yaml.safe_load(MADE)
    content["columns"] += ["brier", "aurc"]
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(content))
    assert main(["reproduce", str(tmp_path / "mine.yaml")]) == 0
    folder = tmp_path / "results" / "mine.small"
    with (folder / "table.csv").open(newline="") as file:
        whole = list(csv.DictReader(file))[2]
    (planned,) = (each for each in plan(TableRequest(str(tmp_path / "mine.yaml"))) if each.row.name == "whole")
    tested = PredictionTable.read(planned.requests[0].run.predictions("test"))
    found = confidence_scores(tested)
    p = tested.probabilities[~tested.missing]
    truth = np.eye(7)[tested.label[~tested.missing]]
    assert whole["Brier score"] == f"{((p - truth) ** 2).sum(axis=1).mean():.3f} {found.intervals['brier']:.3f}"
    assert whole["AURC"] == found.written(AURC)
