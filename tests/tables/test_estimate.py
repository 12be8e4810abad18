"""How long a table may take: what the estimate is made of, in hours that are computed by hand."""

import shutil

import pytest
import yaml

from fer_lightning.cli.main import main
from fer_lightning.experiments.request import ExperimentRequest
from fer_lightning.tables.estimate import clips_of
from fer_lightning.tables.model_costs import ModelCost, write_cost
from tests.fakes import write_sfew
from tests.tables.test_leaderboard import WILD, finish
from tests.tables.test_leaderboard import trained as trained_

trained = trained_  # a fixture
LAB, WILD_CLIPS = 84 * 7, 160 * 7  # people and emotions of the rendered videos; every fourth person is reported on
EPOCHS = 20  # of lmed at small size
HOUR = 3600.0


def plan_of(capsys, *arguments):
    assert main(["reproduce", *arguments, "--dry-run"]) == 0, capsys.readouterr().err
    return " ".join(capsys.readouterr().out.split())


def cost(system, step_ms, inference_ms=0.004):
    write_cost(ModelCost(system, "small", "CPU, 9 threads", "32-true", {}, 4, 16, 5, 6, inference_ms, step_ms))


def test_steps_that_were_measured_are_taken_on_all_clips_of_all_epochs(capsys):
    """A step of 4 clips takes 480 s and their forward pass 80 s."""
    cost("lmed", 480e3, 80e3)
    hours = EPOCHS * (WILD_CLIPS * 3 / 4 * 120 + WILD_CLIPS / 4 * 20) / HOUR
    said = plan_of(capsys, WILD, "--rows", "lmed", "--seeds", "0", "1")
    assert f"2 runs missing, about {2 * hours:.1f} h on one device" in said
    assert "The time of 2 runs is that of steps measured on CPU, 9 threads, 32-true, without" in said
    assert "not known" not in said


def test_what_runs_start_from_and_combine_counts_once(capsys):
    """fan and frame_average start from the same stills; fan has 8 epochs at small size."""
    cost("fan", 4 * HOUR * 1e3 / (8 * WILD_CLIPS * 3 / 4))
    said = plan_of(capsys, WILD, "--rows", "fan", "frame_average")
    assert "2 runs missing, about 1.0 h, 2 of unknown length on one device" in said
    assert "The time of 2 runs is not known; fer bench models frame_average stills --size small measures" in said
    said = plan_of(capsys, WILD, "--rows", "context_ensemble")  # nine members, and two networks that they start from
    systems = "context_pyramid context_scene context_spatiotemporal stills"
    assert f"The time of 11 runs is not known; fer bench models {systems} --size small measures" in said


def test_a_system_takes_longer_on_more_clips_and_in_more_epochs(capsys):
    finish(ExperimentRequest("lmed_synthetic"), 0, seconds=HOUR)
    said = plan_of(capsys, "leaderboard_afew", "--rows", "lmed", "--size", "small")
    assert f"1 run missing, about {773 / (LAB * 3 / 4):.1f} h on" in said
    assert "The time of 1 run is that of finished runs of the same system, by clips and epochs." in said
    finish(ExperimentRequest("lmed_afew", size="small", name="other"), 0, seconds=7 * HOUR)
    said = plan_of(capsys, "leaderboard_afew", "--rows", "lmed", "--size", "small")
    assert "1 run missing, about 7.0 h on" in said
    assert "finished runs of the same experiment." in said


def test_results_that_were_kept_say_how_long_their_runs_took(trained, tmp_path, capsys):
    assert main(["reproduce", WILD, "--rows", "lmed"]) == 0
    shutil.rmtree(tmp_path / "runs")
    path = tmp_path / "results" / f"{WILD}.small" / "lmed.json"
    path.write_text(path.read_text().replace('"seconds": 60.0', '"seconds": 18000.0'))
    row = {"name": "mine", "system": "lmed", "published": {"war": 50.0}}
    stated = dict.fromkeys(("title", "paper", "place", "link", "protocol"), "x")
    other = {**stated, "data": "synthetic_wild", "columns": ["war"], "rows": [row]}
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(other))
    capsys.readouterr()
    said = plan_of(capsys, str(tmp_path / "other.yaml"))
    assert "1 run missing, about 5.0 h on one device" in said
    assert "The time of 1 run is that of kept results of the same row." in said
    path.write_text(path.read_text().replace('"seconds": 18000.0', '"seconds": 0.0'))
    assert "1 run missing, time unknown on one device" in plan_of(capsys, str(tmp_path / "other.yaml"))


@pytest.mark.parametrize(
    ("data", "clips"),
    [
        ("afew", (773, 383)),
        ("dfew", (11697 - 11697 // 5, 11697 // 5)),
        ("fer2013", (28709 + 3589, 3589)),
        ("synthetic_stills", (3600, 400)),
        ("sfew", None),
    ],
)
def test_the_clips_of_a_fold_are_those_of_a_complete_copy(data, clips):
    assert clips_of(data) == clips


def test_clips_that_are_not_published_are_those_of_the_copy_here(tmp_path):
    write_sfew(tmp_path / "data", train=4, test=1)  # images of each of seven emotions
    assert clips_of("sfew") == (28, 7)
