"""Other commands are killed within their writing: the same command goes on, and leaves what it leaves unkilled."""

import os
from pathlib import Path

import pytest

from fer_lightning.cli.train import parse
from fer_lightning.cli.train import train as train_here
from fer_lightning.experiments import jobs
from tests.experiments.test_experiments import MADE
from tests.faults.killed import RESULTS, refuse_other_results
from tests.tables.test_reproduce import table, trained  # noqa: F401 - fixtures
from tests.training.test_resuming import TINY, no_report  # noqa: F401 - a fixture
from tests.videos import numbered_frame, write_video

pytestmark = pytest.mark.slow


@pytest.fixture
def videos(tmp_path):
    """Four videos in folders of two emotions."""
    root = tmp_path / "videos"
    for number in range(4):
        place = root / ("fear", "anger")[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        write_video(place / f"{number}.mp4", [numbered_frame(number + i) for i in range(3)])
    return root


def test_faces_that_were_killed_are_those_that_were_not(videos, tmp_path):
    options = ["--detector", "crop", "--size", "64", "--workers", "0", "--out", str(tmp_path / "out")]
    refuse_other_results(["faces", str(videos / "fear"), str(videos / "anger"), *options], tmp_path / "out", tmp_path)


@pytest.mark.slow
def test_a_store_that_was_killed_is_one_that_was_not(videos, tmp_path, monkeypatch):
    monkeypatch.setenv("FER_STORE", str(tmp_path / "store"))
    options = [
        "--root",
        str(videos),
        "--dataset.faces.detector",
        "crop",
        "--dataset.made_folds",
        "2",
        "--workers",
        "0",
    ]
    refuse_other_results(["data", "prepare", "own", *options], tmp_path / "store", tmp_path)


@pytest.mark.slow
def test_a_table_that_was_killed_is_one_that_was_not(table, trained, tmp_path):  # noqa: F811
    """The trainings are made up; what is written of them is not."""
    refuse_other_results(
        ["reproduce", table, "--seeds", "0", "1"], tmp_path / "results", tmp_path, ("*.csv", "*.md", "*.json")
    )


@pytest.fixture
def here(no_report, monkeypatch):  # noqa: F811
    """Trains in the command's own process what would be trained in one of its own."""
    monkeypatch.setattr(
        jobs, "train_in_subprocess", lambda request, _: train_here(parse(request.train_arguments())) and 0
    )
    monkeypatch.setattr(jobs.torch.cuda, "device_count", lambda: 0)


@pytest.mark.slow
def test_a_cross_validation_that_was_killed_is_one_that_was_not(here, tmp_path):
    options = ["--data.dataset", MADE, *TINY[2:], "--trainer.max_epochs", "2"]
    refuse_other_results(
        ["cv", "lmed_synthetic", "--folds", "1", "--seeds", "0", "1", *options],
        Path(os.environ["FER_RUNS"]),
        tmp_path,
        RESULTS,
    )
