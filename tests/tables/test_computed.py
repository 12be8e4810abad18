"""Tables that need no training: settings, cost, and numbers of clips."""

from collections import Counter

import pytest

from fer_lightning.cli.main import main
from fer_lightning.experiments.datasets import build_dataset
from fer_lightning.tables.computed import computed_values, setting
from fer_lightning.tables.plan import TableRequest, row_request
from fer_lightning.tables.table import read_table
from tests.fakes import write_afew


def test_cost_is_counted_and_near_the_published_one():
    """Table 8 of CEFLNet's paper: its C3D is that for 487 classes, and pools by rounding down."""
    values = computed_values(TableRequest("ceflnet_8"))
    published = {row.name: row.published for row in read_table("ceflnet_8").rows}
    near = {"ceflnet": (0.02, 0.01), "c3d": (0.03, 0.06), "c3d_lstm": (0.01, 0.05)}
    assert values.keys() == near.keys()
    for name, (parameters, counted) in near.items():
        assert values[name]["parameters"] == pytest.approx(published[name]["parameters"], rel=parameters)
        assert values[name]["multiply_adds"] == pytest.approx(published[name]["multiply_adds"], rel=counted)


def test_settings_are_those_of_the_configuration(capsys):
    values = computed_values(TableRequest("ceflnet_1"))
    table = read_table("ceflnet_1")
    equal = {row.name for row in table.rows if values[row.name]["value"] == row.published["value"]}
    assert len(equal) >= 6, "learning rate, decay, batch, epochs, clips and frames are the paper's"
    assert main(["tables", "ceflnet_1"]) == 0
    assert "torch.optim.Adam" in capsys.readouterr().out


def test_a_setting_that_does_not_exist_is_named():
    request = row_request(read_table("ceflnet_6").row("ceflnet"), "synthetic", "small", "1", 0)
    with pytest.raises(ValueError, match=r"no setting 'model.init_args.depth': there is no 'depth'"):
        setting(request, "model.init_args.depth")


def test_tables_of_results_are_not_computed():
    assert computed_values(TableRequest("ceflnet_6")) == {}


def test_published_numbers_of_clips_are_those_that_the_data_sets_state():
    compared = []
    for row in read_table("context_1").rows:
        split, emotion = row.setting.split(".")
        (count,) = (count for count in build_dataset(row.data).counts if count.split == split)
        stated = dict(count.emotions) | {"total": count.clips}
        if emotion in stated:  # of the two sets of images, the totals alone
            assert row.published["value"] == stated[emotion]
            compared.append(row.data)
    assert Counter(compared) == {"afew": 16, "rafdb": 2, "affectnet": 2}


def test_figures_7_to_9_show_what_table_1_prints():
    printed = {(row.data, row.setting): row.published["value"] for row in read_table("context_1").rows}
    shown = {}
    for number in (7, 8, 9):
        figure = read_table(f"context_figure{number}")
        assert figure.kind == "counts"
        shown |= {(figure.data, row.setting): row.published["value"] for row in figure.rows}
    assert shown == {key: value for key, value in printed.items() if not key[1].endswith("total")}


def test_clips_are_counted_where_the_data_set_is(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FER_DATA", str(tmp_path))
    assert all(value == {} for value in computed_values(TableRequest("context_figure9")).values()), "AFEW is not here"
    write_afew(tmp_path / "afew")  # two clips of each emotion and split
    values = computed_values(TableRequest("context_figure9"))
    assert len(values) == 14
    assert all(value == {"value": 2} for value in values.values())
    assert main(["tables", "context_figure9"]) == 0
    assert "context_figure9" not in capsys.readouterr().err
    totals = computed_values(TableRequest("context_1"))
    assert (totals["afew_training_total"], totals["afew_validation_total"]) == ({"value": 14}, {"value": 14})
    assert totals["rafdb_training_total"] == {}
