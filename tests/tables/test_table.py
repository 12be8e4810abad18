"""Tables as data: what a file may say, and that every table of the papers can be run."""

import functools

import pytest
import yaml

from data_modules.manifest import SPLITS
from fer_lightning.ensemble.experiment import model_requests
from fer_lightning.ensemble.training import resolved
from fer_lightning.experiments.datasets import build_dataset
from fer_lightning.experiments.request import ExperimentRequest, fits, required_runs
from fer_lightning.experiments.shapes import ShapeCheck
from fer_lightning.tables.plan import TableRequest, plan, row_request, run_name, tables_asked
from fer_lightning.tables.reproduce import check
from fer_lightning.tables.table import PaperTable, parse_table, read_table, table_names

MADE = """
title: What attention adds
paper: Doe et al., 2020
place: table 1
link: https://example.org/1
data: synthetic_wild
protocol: one split
columns: [war, uar]
rows:
  - {name: other, label: "Other [3]", published: {war: 50.0}, decoded: 1/2}
  - name: plain
    system: ceflnet
    arguments: [--model.init_args.sal, "false"]
    published: {war: 84.17}
    decoded: 101/120
  - {name: whole, system: ceflnet, published: {war: 85.0, uar: 80.5}, deviation: {war: 1.5}}
claims:
  - {row: whole, over: plain, text: Attention adds to the plain network.}
"""


def made(change=lambda content: None) -> dict:
    content = yaml.safe_load(MADE)
    change(content)
    return content


def test_figures_of_other_papers_are_not_those_of_score_fusion():
    """Chen et al., 2023: 38.81 is the challenge's baseline, 41.57 another paper's CNN-LSTM, 94.6 is score fusion."""
    tables = {name: read_table(name) for name in table_names() if name.startswith("ecnn_")}
    rows = [(name, row) for name, table in tables.items() for row in table.rows]
    assert {name for name, row in rows if row.published.get("war") == 38.81} == {"ecnn_3", "ecnn_7", "ecnn_9"}
    assert all(row.is_constant for _, row in rows if row.published.get("war") == 38.81)
    assert [row.label for _, row in rows if row.published.get("war") == 41.57] == ["CNN-LSTM [30] (end-to-end)"]
    fused = [(name, row.published["war"]) for name, row in rows if "scores" in row.arguments]
    assert fused == [("ecnn_4", 94.6)]


def test_a_table_is_read_as_it_is_written():
    table = parse_table(made(), "made")
    assert [row.name for row in table.rows] == ["other", "plain", "whole"]
    assert table.row("plain").arguments == ("--model.init_args.sal", "false")
    assert table.row("whole").published == {"war": 85.0, "uar": 80.5}
    assert (table.row("other").is_constant, table.row("whole").is_constant) == (True, False)
    assert (table.claims[0].row, table.claims[0].column, table.kind) == ("whole", "war", "results")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.update(rowz=[]), "no key 'rowz', did you mean rows"),
        (lambda t: t["rows"][1].update(systm="x"), "no key 'systm', did you mean system"),
        (lambda t: t["rows"][1].update(system="cefl"), "no system 'cefl'; did you mean ceflnet"),
        (lambda t: t["rows"][1].update(decoded="100/120"), r"100/120 is 83.33 %, published is 84.17"),
        (lambda t: t["rows"][1].update(decoded="many"), "expected `decoded: k/N`"),
        (lambda t: t["rows"][1].update(published={"wra": 3}), "no column 'wra'; did you mean war"),
        (lambda t: t["rows"][1].update(published={"weighted_f1": 3}, decoded=""), "weighted_f1, which is no column"),
        (lambda t: t["rows"][1].update(name="whole"), "rows listed twice: whole"),
        (lambda t: t["rows"][0].update(arguments=["--a", "b"]), "arguments but no system"),
        (lambda t: t["rows"][0].update(tested_on="dfew"), "tested on dfew but has no system"),
        (lambda t: t["rows"][1].update(tested_on="dfwe"), "no data set 'dfwe'; did you mean dfew"),
        (lambda t: t["claims"][0].update(over="plane"), "row 'plane'; did you mean plain"),
        (lambda t: t["claims"][0].update(column="wer"), "column 'wer'; did you mean war"),
        (lambda t: t.update(rows=[], claims=[]), "a table has rows"),
        (lambda t: t.update(kind="plot"), "kind: Input should be 'results'"),
        (lambda t: t["rows"][1].pop("name"), "rows 2 name: Field required"),
        (lambda t: t["rows"][1].update(arguments=["--a", 1]), "rows 2 arguments 2: Input should be a valid string"),
        (lambda t: t["rows"][1].update(point={"axes": "x"}), "rows 2 point: no key 'axes', did you mean axis"),
    ],
)
def test_what_a_table_must_not_say_is_named(change, message):
    with pytest.raises(ValueError, match=message) as error:
        parse_table(made(change), "made.yaml")
    assert str(error.value).startswith("made.yaml: ")


def test_names_of_tables_and_rows_are_suggested(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no table 'ceflnet_66'; did you mean ceflnet_6"):
        read_table("ceflnet_66")
    with pytest.raises(ValueError, match=r"no row 'sall'; did you mean sal"):
        TableRequest("ceflnet_6", rows=("sall",)).read()
    (tmp_path / "mine.yaml").write_text(MADE)
    assert isinstance(read_table(str(tmp_path / "mine.yaml")), PaperTable)
    (tmp_path / "mine.yaml").write_text("just text")
    with pytest.raises(ValueError, match=r"mine.yaml"):
        read_table(str(tmp_path / "mine.yaml"))


def test_a_name_stands_for_one_table_or_for_those_of_a_paper():
    assert tables_asked("ceflnet_6") == ["ceflnet_6"]
    assert tables_asked("all") == table_names()
    assert "ceflnet_6" in tables_asked("ceflnet")
    assert all(name.startswith("ceflnet_") for name in tables_asked("ceflnet"))


# The papers' own tables


@functools.cache
def hashed(request: ExperimentRequest) -> dict:
    return resolved(request)


SHAPES = ShapeCheck(hashed)


@pytest.mark.parametrize("data", [None, pytest.param("synthetic_wild", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", table_names())
def test_every_row_of_every_table_resolves(name, data):
    """At paper size on its own data and at small size on rendered faces: settings, data and weights that fit."""
    table = read_table(name)
    assert table.link.startswith("https://")
    asked = TableRequest(name, data, "small" if data else "paper", folds=("1",))
    seen: list[ExperimentRequest] = []
    for planned in plan(asked):
        row, own = planned.row, planned.data
        if table.kind == "results" and row.runs_at(asked.size):
            run = row_request(row, own, asked.size, "1", 0)
            assert planned.requests or (data and run in seen), "it is run, or the same as an earlier row"
            seen.append(run)
        else:
            assert not planned.requests
        if row.runs_at(asked.size):
            request = row_request(row, own, asked.size, "1", 0)
            assert fits(request)
            config = hashed(request)
            variants = {run_name(each): each for each in planned.required}
            for needed in map(ExperimentRequest.from_run_name, required_runs(config)):
                assert not needed.name or run_name(needed) in variants or table.kind != "results"
                assert not data or needed.dataset.startswith("synthetic")
            for each in (*planned.required, request):
                for model in model_requests(each):
                    SHAPES.check(run_name(model), hashed(model), variants)
        if table.kind == "counts":
            split, emotion = row.setting.split(".")
            assert split in SPLITS
            assert emotion in (*build_dataset(own).class_names, "total")
        elif row.setting:
            place = hashed(row_request(row, own, "paper", "1", 0))
            for key in row.setting.split("."):
                place = place[key]


def test_a_variant_that_is_not_required_is_named(tmp_path):
    content = made(lambda t: t["rows"][2].update(arguments=["--model.init_args.start_from", "run:ceflnet_dfew.wide"]))
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(content))

    with pytest.raises(
        ValueError, match=r"row whole: run:ceflnet_synthetic_wild.wide is a variant that `requires:` does not list"
    ):
        check([row for row in plan(TableRequest(str(tmp_path / "mine.yaml"))) if row.requests])
