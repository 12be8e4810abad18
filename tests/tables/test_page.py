"""The page of a table draws the paper's figure: what its points are."""

import json
import re

import pytest
import yaml

from fer_lightning.cli.main import main
from fer_lightning.tables.results import read_result
from fer_lightning.tables.table import read_table
from tests.tables.test_reproduce import trained as trained_

trained = trained_  # a fixture
SWEEP = """
title: Numbers of clips
paper: Doe et al., 2020
place: figure 8
link: https://example.org/1
data: afew
protocol: one split
columns: [war]
rows:
  - {name: one, system: ceflnet, data: afew, arguments: [--data.sampler.init_args.clips, "1"],
     point: {axis: clips, at: 1, line: AFEW}}
  - {name: seven, system: ceflnet, data: afew, published: {war: 53.98}, point: {axis: clips, at: 7, line: AFEW}}
  - {name: five, system: ceflnet, data: afew, point: {axis: frames, at: 5, line: AFEW}}
  - {name: seven_dfew, system: ceflnet, data: dfew, point: {axis: clips, at: 7, line: DFEW}}
"""


@pytest.fixture
def table(tmp_path):
    (tmp_path / "sweep.yaml").write_text(SWEEP)
    return str(tmp_path / "sweep.yaml")


def drawn(folder):
    page = (folder / "index.html").read_text()
    assert "The paper's figure" in page
    return json.loads(re.search(r"const content = (.*);\n", page).group(1))["figures"]


def test_rows_are_points_of_lines_with_intervals_and_published_values(table, trained, tmp_path):
    assert main(["reproduce", table, "--folds", "1", "--rows", "one", "seven", "five"]) == 0
    folder = tmp_path / "results" / "sweep"
    clips, frames = drawn(folder)
    assert (clips["axis"], [line["name"] for line in clips["lines"]]) == ("clips", ["AFEW", "DFEW"])
    one, seven = clips["lines"][0]["points"]
    kept = {name: read_result(folder, name) for name in ("one", "seven", "five")}
    assert one == {
        "at": 1,
        "ours": pytest.approx(kept["one"].runs[0].metrics["war"]),
        "interval": list(kept["one"].intervals["war"]),
        "published": None,
    }
    assert seven["published"] == pytest.approx(0.5398)
    assert clips["lines"][1]["points"] == [{"at": 7, "ours": None, "interval": [], "published": None}]
    (five,) = frames["lines"][0]["points"]
    assert five["ours"] == pytest.approx(kept["five"].runs[0].metrics["war"])


def test_on_rendered_faces_the_data_sets_are_one_line_without_published_values(table, trained, tmp_path):
    """Rows that differ in their data set alone are one row there, and so are seven clips and five frames."""
    assert main(["reproduce", table, "--data", "synthetic_wild"]) == 0
    assert len(trained) == 2
    clips, frames = drawn(tmp_path / "results" / "sweep.synthetic_wild.small")
    for figure, places in ((clips, [1, 7]), (frames, [5])):
        (line,) = figure["lines"]
        assert line["name"] == "synthetic_wild"
        assert [point["at"] for point in line["points"]] == places
        assert all(point["ours"] is not None and point["published"] is None for point in line["points"])


def test_a_misspelt_place_is_refused(table, tmp_path, capsys):
    content = yaml.safe_load(SWEEP)
    content["rows"][0]["point"] = {"axis": "clips", "at": "many", "line": "AFEW"}
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(content))
    assert main(["reproduce", table]) == 2
    assert "sweep.yaml" in capsys.readouterr().err


def test_the_papers_sweeps_have_a_place_for_every_row():
    for name, axes in (
        ("ceflnet_figure8", {"number of clips": [1, 3, 5, 7, 9], "frames of each clip": [2, 5, 10, 15]}),
        ("vshnn_figure10", {"standard deviation of the noise": [0, 0.5, 1, 1.5, 2, 2.5, 3]}),
        ("context_figure14", {"number of the model": [*range(1, 13)]}),
    ):
        points = [row.point for row in read_table(name).rows]
        assert {axis: sorted({p.at for p in points if p.axis == axis}) for axis in axes} == axes
        assert {p.axis for p in points} == axes.keys()
