"""Tables that need no training: settings and cost."""

import pytest

from fer_lightning.cli.main import main
from fer_lightning.tables.computed import computed_values, setting
from fer_lightning.tables.plan import TableRequest, row_request
from fer_lightning.tables.table import read_table


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
