"""Leaderboards: their rows are the systems that run on a data set, their cells what the runs say."""

import csv
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from data_modules.labels import SEVEN
from data_modules.utils.files import atomic_write
from fer_lightning.cli.main import main
from fer_lightning.cli.tables import leaderboards_with_results
from fer_lightning.evaluation.answers import Answers
from fer_lightning.evaluation.calibration import Calibration, CalibrationEffect
from fer_lightning.evaluation.calibration_file import write_calibration
from fer_lightning.evaluation.predictions import PredictionTable
from fer_lightning.experiments import jobs
from fer_lightning.experiments.request import ExperimentRequest, experiment_names
from fer_lightning.experiments.system import data_names, experiments_folder
from fer_lightning.runs.folder import RunInfo
from fer_lightning.tables.cells import DASH, our_value
from fer_lightning.tables.columns import COLUMNS
from fer_lightning.tables.estimate import Durations
from fer_lightning.tables.leaderboard import leaderboard_names
from fer_lightning.tables.model_costs import ModelCost, write_cost
from fer_lightning.tables.plan import TableRequest, plan, tables_asked
from fer_lightning.tables.readme import current_text
from fer_lightning.tables.results import read_result
from fer_lightning.tables.table import known_tables, read_table, table_names
from tests.predictions import plain_table

WILD = "leaderboard_synthetic_wild"
RIGHT = {"test": (12, 9), "test_last": (8, 9), "test_best": (16, 15), "test_shuffled": (10, 6)}
"""Correct answers of 20 clips in the two trainings: of the chosen, last and best epoch, and with shuffled frames."""
CONFIDENCE = 0.8


def test_each_data_set_has_a_leaderboard_with_all_systems_that_run_on_it():
    """The rows are pairs of the matrix, each of which the tests of the experiments resolve and build."""
    assert leaderboard_names() == [f"leaderboard_{data}" for data in data_names()]
    assert known_tables() == [*table_names(), *leaderboard_names()]
    found = []
    for name in leaderboard_names():
        planned = plan(TableRequest(name, folds=("1",), seeds=(0,)))
        requests = [request for each in planned for request in each.requests]
        assert len(requests) == sum(each.row.system is not None for each in planned)
        assert all((request.name, request.arguments) == ("", ()) for request in requests), "plain runs, shared by all"
        found += [request.experiment for request in requests]
    assert sorted(found) == sorted(experiment_names())


def test_a_leaderboard_is_asked_for_by_name_and_not_among_all_tables_of_papers():
    assert tables_asked("leaderboard_dfew") == ["leaderboard_dfew"]
    assert tables_asked("leaderboard") == leaderboard_names()
    assert not set(tables_asked("all")) & set(leaderboard_names())
    with pytest.raises(FileNotFoundError, match=r"no table 'leaderboard_dfw'; did you mean leaderboard_dfew"):
        read_table("leaderboard_dfw")


def test_published_figures_stand_behind_the_system_that_they_are_of():
    """Wang, Li and Wang, 2026, https://arxiv.org/abs/2609.17130, table 1."""
    names = [row.name for row in read_table("leaderboard_dfew").rows]
    place = names.index("m3dfel")
    assert names[place + 1 : place + 4] == ["m3dfel_official", "m3dfel_identities", "m3dfel_films"]
    rows = [row for row in read_table("leaderboard_dfew").rows if row.is_constant]
    assert sorted(row.published["war"] for row in rows) == [
        *(65.3, 66.8, 67.4, 68.9, 69.25, 69.9),
        *(71.2, 71.25, 71.6, 73.0, 74.43, 76.03),
    ]
    table = read_table("leaderboard_mafw")
    assert (table.data, table.title) == ("mafw", "All systems on mafw")
    assert not any(row.is_constant for row in table.rows)


def test_a_leaderboard_of_licensed_data_says_what_it_waits_for(capsys):
    assert main(["tables", "leaderboard_mafw"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "It waits for whoever has the data" in said
    assert "no results yet: fer reproduce leaderboard_mafw" in said


def predicted(right: int, seed: int, confidence: float = CONFIDENCE) -> PredictionTable:
    """Twenty clips of four people, the first `right` of which are right, all answered with the same confidence."""
    label = np.arange(20) % 7
    chosen = np.where(np.arange(20) < right, label, (label + 1) % 7)
    probabilities = np.where(np.eye(7)[chosen] > 0, confidence, (1 - confidence) / 6)
    table = plain_table(SEVEN, label, probabilities, "test")
    return replace(table, seed=np.full(20, seed))


def finish(request: ExperimentRequest, number: int, seconds: float = 60.0) -> None:
    """Makes the folder of a finished run; `number` says which of the two trainings of `RIGHT` it is."""
    run = request.run
    for name, right in RIGHT.items():
        predicted(right[number], request.seed).write(run.predictions(name))
    accuracies = [right[number] / 20 for right in (RIGHT["test"], RIGHT["test_best"], RIGHT["test_last"])]
    rows = "".join(f"{epoch},{accuracy}\n" for epoch, accuracy in enumerate(accuracies))
    atomic_write(run.watched_curves, f"epoch,watched/war\n{rows}".encode())
    info = RunInfo(
        *("x", "M3DFEL", "made", SEVEN, request.fold, request.seed, "inner", 0, "store", 1234567, 89000, 0.002),
        seconds=seconds,
    )
    run.write_info(info)
    calibration = Calibration(SEVEN, 0, 1.0, "", Answers(np.zeros(0), np.zeros(0, np.bool_)))
    effect = CalibrationEffect.on(calibration, predicted(RIGHT["test"][number], request.seed))
    write_calibration(calibration, {"test": effect}, run)
    atomic_write(run.report, b"report")


@pytest.fixture
def trained(monkeypatch):
    """In the place of trainings; lists the experiments in their order."""
    started: list[str] = []

    def train(requests):
        for request in requests:
            started.append(request.system)
            finish(request, request.seed % 2)
        return []

    monkeypatch.setattr(jobs, "train_all", train)
    return started


def test_the_cells_are_those_that_the_runs_give_by_hand(trained, tmp_path, capsys):
    """Per seed: WAR 12/20, 9/20; last 8/20, 9/20; best 16/20, 15/20; shuffled 10/20, 6/20.

    All clips lie in one bin of confidence 0.8, so that the calibration error is 0.8 minus WAR at a temperature of 1.
    """
    for system in ("lmed", "dtgn"):  # both average five views of a clip
        write_cost(ModelCost(system, "small", "CPU, 9 threads", "32-true", {}, 4, 16, 5, 6, inference_ms=16.0))
    assert main(["reproduce", WILD, "--rows", "lmed", "fan", "--seeds", "0", "1"]) == 0, capsys.readouterr().err
    with (tmp_path / "results" / f"{WILD}.small" / "table.csv").open(newline="") as file:
        rows = {row[""]: row for row in csv.DictReader(file)}
    lmed = rows["lmed"]
    assert (lmed["WAR"], lmed["last epoch"]) == ("0.525 ± 0.106", "0.425 ± 0.035")
    assert lmed["best on test"] == "0.775 ± 0.035"
    assert lmed["inflation"].startswith("0.250 ["), "(16 - 12 + 15 - 9) / 40"
    assert lmed["calibrated ECE"] == "0.275 ± 0.106"
    assert lmed["drop under shuffled frames"] == "0.125 ± 0.035"
    assert (lmed["parameters"], lmed["multiply adds"]) == ("1,234,567", "89,000")
    assert (lmed["clips per second"], rows["fan"]["clips per second"]) == ("50", DASH)
    assert (rows["dtgn"]["parameters"], rows["dtgn"]["multiply adds"]) == ("5", "30")
    assert (lmed["N"], lmed["seeds"]) == ("20", "2")
    folder = tmp_path / "results" / f"{WILD}.small"
    low, high = read_result(folder, "lmed").intervals["uar"]
    assert lmed["95 % of UAR"] == f"[{low:.3f}, {high:.3f}]"
    assert rows["c3d"]["WAR"] == DASH
    notes = (folder / "table.md").read_text()
    assert "forward passes for all views of a clip on CPU, 9 threads, 32-true" in notes
    assert "`fer bench models --size small` measures them" in notes
    assert {"published WAR", "difference", "answered only"} & lmed.keys() == {"answered only"}
    page = (folder / "index.html").read_text()
    assert page.count('aria-sort="none"') >= len(lmed), "every column can be sorted"


def test_the_best_row_comes_first_and_quoted_rows_stay_behind_theirs(trained, tmp_path):
    assert main(["reproduce", "leaderboard_dfew", "--folds", "1", "--rows", "vshnn", "m3dfel", "lmed"]) == 0
    folder = tmp_path / "results" / "leaderboard_dfew"
    path = folder / "m3dfel.json"
    content = json.loads(path.read_text())
    run = content["runs"][0]
    run["confusion"] = [
        [sum(row) if column == true else 0 for column in range(8)] for true, row in enumerate(run["confusion"])
    ]
    path.write_text(json.dumps(content))
    assert main(["tables", "leaderboard_dfew"]) == 0
    with (folder / "table.csv").open(newline="") as file:
        labels = [row[0] for row in csv.reader(file)][1:]
    first = [label.partition(",")[0] for label in labels[:6]]
    assert first == ["m3dfel", "M3DFEL", "M3DFEL", "M3DFEL", "lmed", "vshnn"]


def test_a_readme_shows_leaderboards_as_far_as_they_have_three_seeds(trained):
    marked = "<!-- leaderboards -->\nold\n<!-- end -->\n"
    empty = "<!-- leaderboards -->\n<!-- end -->\n"
    assert current_text(marked) == empty
    assert leaderboards_with_results() == []
    assert main(["reproduce", WILD, "--rows", "lmed", "--seeds", "0", "1"]) == 0
    assert leaderboards_with_results() == [WILD]
    assert current_text(marked) == empty
    assert main(["reproduce", WILD, "--rows", "fan", "--seeds", "0", "1", "2"]) == 0
    text = current_text(marked)
    assert "| fan | 0.5" in text
    assert "lmed" not in text
    overview = current_text(marked.replace("leaderboards", "leaderboard overview"))
    header = next(line for line in overview.splitlines() if line.startswith("|  |"))
    assert header == "|  | WAR | 95 % of WAR | inflation | drop under shuffled frames | parameters | clips per second |"
    (row,) = (line for line in overview.splitlines() if line.startswith("| fan |"))
    whole = next(line for line in text.splitlines() if line.startswith("| fan |"))
    assert row.split(" | ")[:3] == whole.split(" | ")[:3], "the same values, of fewer columns"
    others = len(read_table(WILD).rows) - 1
    assert f'`make reproduce TABLE={WILD} SEEDS="0 1 2"` trains the other {others} of {others + 1} systems.' in text
    assert f"| {WILD}.small |" in current_text("<!-- tables -->\n<!-- end -->\n")


def cost(system: str, step_ms: float) -> None:
    write_cost(ModelCost(system, "small", "CPU", "32-true", {}, 1, 16, 5, 6, inference_ms=1.0, step_ms=step_ms))


def test_in_a_given_time_the_cheapest_rows_come_first_and_the_rest_is_planned(trained, capsys):
    """The length of a run is that of lmed's, a minute, times the ratio of their steps and epochs."""
    for system, step_ms in (("lmed", 1.0), ("fan", 3.0), ("frame_average", 2.0)):
        cost(system, step_ms)
    rows = ["--rows", "fan", "frame_average", "lmed", "--seeds", "0"]
    finish(ExperimentRequest("lmed_synthetic_wild"), 0)
    durations = Durations()
    work = {name: durations.work(ExperimentRequest(f"{name}_synthetic_wild")) for name in ("lmed", "fan")}
    duration = durations.duration(ExperimentRequest("fan_synthetic_wild"))
    assert duration.seconds == pytest.approx(60 * work["fan"] / work["lmed"])
    assert main(["reproduce", WILD, *rows, "--hours", "0"]) == 0
    said = capsys.readouterr().out
    assert not trained
    assert f"{WILD}: 2 runs missing, about" in said.replace("\n", " ")
    enough = durations.duration(ExperimentRequest("frame_average_synthetic_wild")).seconds / 3600 * 1.1
    assert main(["reproduce", WILD, *rows, "--hours", str(enough)]) == 0
    assert trained == ["frame_average"]
    assert f"{WILD}: 1 run missing, about" in capsys.readouterr().out.replace("\n", " ")
    assert main(["reproduce", WILD, *rows, "--hours", "9"]) == 0
    assert trained == ["frame_average", "fan"], "what is finished is kept"


def test_several_tables_share_the_hours(trained, monkeypatch, capsys):
    """A clock that trainings move on: the first table's take an hour and a half of the two."""
    clock, ends, train = [0.0], [], jobs.train_all

    def take_time(requests):
        clock[0] += 5400
        return train(requests)

    def ends_before(end, planned):
        ends.append(end)
        return clock[0] + 3600 < end

    monkeypatch.setattr(jobs, "train_all", take_time)
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    monkeypatch.setattr("fer_lightning.tables.reproduce._ends_before", ends_before)
    monkeypatch.setattr("fer_lightning.cli.reproduce.tables_asked", lambda name: [WILD, "leaderboard_synthetic"])
    rows = ["--rows", "lmed", "--seeds", "0"]
    assert main(["reproduce", "leaderboard", *rows, "--hours", "2"]) == 0, capsys.readouterr().err
    assert ends == [7200, 7200]
    assert trained == ["lmed"]


def test_every_column_can_be_written(trained, tmp_path):
    assert main(["reproduce", WILD, "--rows", "lmed"]) == 0
    result = read_result(tmp_path / "results" / f"{WILD}.small", "lmed")
    assert all(isinstance(our_value(result, column), str) for column in COLUMNS)


def test_the_file_of_leaderboards_is_checked(tmp_path, monkeypatch):
    shutil.copytree(experiments_folder(), tmp_path / "experiments")
    (tmp_path / "experiments" / "leaderboard.yaml").write_text("table: {titel: x}\npublished: {}\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"leaderboard.yaml: expected `table:` with a title"):
        read_table("leaderboard_dfew")
