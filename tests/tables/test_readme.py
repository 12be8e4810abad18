"""Read-mes show results and nothing else; what is not current is found."""

import csv
import json
import os
import shutil
from pathlib import Path

import pytest

from data_modules.labels import SEVEN
from fer_lightning.cli.main import main
from fer_lightning.experiments.system import experiments_folder
from fer_lightning.tables.readme import current_text, outdated
from tests.tables.test_reproduce import trained as trained_
from tests.tables.test_table import MADE

trained = trained_  # a fixture
REAL = os.environ.get("FER_TEST_REAL", "")
MARKED = "Before.\n<!-- results: made_1.synthetic_wild.small -->\nold\n<!-- end -->\nAfter.\n"


@pytest.fixture
def house(tmp_path, monkeypatch, trained):
    """A copy of the experiments with one table more, whose rows are finished, and a read-me that shows it."""
    shutil.copytree(experiments_folder(), tmp_path / "experiments")
    (tmp_path / "experiments" / "tables" / "made_1.yaml").write_text(MADE)
    readme = tmp_path / "experiments" / "README.md"
    monkeypatch.chdir(tmp_path)
    assert main(["reproduce", "made_1", "--data", "synthetic_wild", "--size", "small"]) == 0
    readme.write_text(MARKED)
    return readme


def test_a_readme_is_made_from_the_results(house, capsys):
    assert main(["tables", "--check"]) == 1
    assert "is not made from the results" in capsys.readouterr().out
    assert main(["tables", "--write"]) == 0
    text = house.read_text()
    assert text.startswith("Before.\n<!-- results")
    assert text.endswith("<!-- end -->\nAfter.\n")
    assert "| plain | 84.17 (101/120) |" in text
    assert "Other [3]" not in text, "rows without results are left to the table's own files"
    assert '`make reproduce TABLE=made_1 DATA=synthetic_wild SEEDS="0"`' in text
    assert "Confirmed: whole minus plain" in text
    assert main(["tables", "--check"]) == 0, capsys.readouterr().out
    assert main(["tables", "--write"]) == 0
    assert house.read_text() == text


def test_a_title_names_data_that_are_not_the_tables_own(house):
    assert "\n**Doe et al., 2020, table 1: What attention adds**\n" in current_text(MARKED)
    assert main(["reproduce", "made_1", "--data", "synthetic", "--size", "small"]) == 0
    elsewhere = current_text(MARKED.replace("synthetic_wild", "synthetic"))
    assert "\n**Doe et al., 2020, table 1: What attention adds, on synthetic**\n" in elsewhere


def test_a_claim_about_results_that_were_deleted_is_left_out(house):
    folder = house.parents[1] / "results" / "made_1.synthetic_wild.small"
    for path in folder.glob("plain.*"):
        path.unlink()
    assert main(["tables", "--write"]) == 0
    assert "| whole |" in house.read_text()
    assert "plain" not in house.read_text()


def test_a_table_of_ones_own_file_is_no_concern_of_the_check(house, tmp_path, capsys):
    (tmp_path / "mine.yaml").write_text(MADE)
    assert main(["reproduce", "mine.yaml"]) == 0
    assert main(["tables", "--write"]) == 0
    assert main(["tables", "--check"]) == 0, capsys.readouterr().err


@pytest.mark.parametrize("name", ["made_1.yaml", "made_1.small.yml", "leaderboard_dfew.yaml"])
def test_a_file_of_ones_own_does_not_overwrite_the_results_of_a_table(house, tmp_path, capsys, name):
    folder = tmp_path / "results" / "made_1.synthetic_wild.small"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    (tmp_path / name).write_text(MADE.replace("84.17", "10.00").replace("101/120", "12/120"))
    assert main(["reproduce", name, "--data", "synthetic_wild", "--size", "small"]) == 2
    assert f"{name} has the name of the table {name.partition('.')[0]}" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert main(["tables", str(tmp_path / "experiments" / "tables" / "made_1.yaml")]) == 0, "its own file"


def test_results_of_another_configuration_are_found(house):
    assert main(["tables", "--write"]) == 0
    assert not list(outdated())
    path = house.parents[1] / "results" / "made_1.synthetic_wild.small" / "whole.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"settings": "another"}))
    (found,) = outdated()
    assert "whole.json is of another configuration" in found


def test_a_readme_that_shows_results_that_are_gone_is_an_error(house, capsys):
    house.write_text(MARKED.replace("made_1", "made_2"))
    assert main(["tables", "--check"]) == 2
    assert "shows the results made_2.synthetic_wild.small, but there are none" in capsys.readouterr().err


def test_the_list_of_tables_names_all(house):
    text = current_text("<!-- tables -->\n<!-- end -->\n")
    assert "| `made_1` | What attention adds | synthetic_wild | 2 of 3 | made_1.synthetic_wild.small |" in text
    assert "| `ceflnet_8` |" in text


def of_real_faces() -> str:
    """What the read-me of the experiments shows of real still faces."""
    text = (experiments_folder() / "README.md").read_text()
    return text.partition("<!-- results: faces_1.small -->")[2].partition("<!-- end -->")[0]


def test_the_inner_split_of_fer2013_is_not_called_a_part_of_its_training_data():
    """It is PublicTest, as in the competition."""
    assert "the epoch chosen on PublicTest" in of_real_faces()
    assert "training data" not in of_real_faces()


@pytest.mark.skipif(not REAL, reason="FER_TEST_REAL names no folder")
def test_it_is_said_over_how_many_pictures_annotators_agree():
    """Those to which two annotators of FER+ gave one of the seven classes; counted here from its table."""
    with (Path(REAL) / "fer2013" / "ferplus_fer2013new.csv").open(newline="") as file:
        votes = [sum(int(row[name]) for name in SEVEN) for row in csv.DictReader(file) if row["Usage"] == "PrivateTest"]
    assert f"{sum(each >= 2 for each in votes)} of the {len(votes)} pictures" in of_real_faces()
