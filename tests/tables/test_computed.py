"""Tables that need no training: settings and cost."""

import pytest

from fer_lightning.cli.main import main
from fer_lightning.tables.computed import computed_values, setting
from fer_lightning.tables.plan import TableRequest, row_request
from fer_lightning.tables.table import read_table


def test_cost_is_counted_and_near_the_published_one():
    """CEFLNet has 12.83 M parameters and 63.80 G multiply-adds in table 8 of its paper."""
    values = computed_values(TableRequest("ceflnet_8"))
    assert values["ceflnet"]["parameters"] == pytest.approx(12.83e6, rel=0.02)
    assert values["ceflnet"]["multiply_adds"] == pytest.approx(63.80e9, rel=0.01)
    assert "c3d" not in values, "it cannot be run"


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
