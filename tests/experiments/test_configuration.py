"""Reading configurations, of which all share a parser."""

from dataclasses import replace

import pytest

from fer_lightning.experiments.configuration import read_model
from fer_lightning.experiments.request import ExperimentRequest


def test_readings_leave_nothing_to_those_after_them():
    """Neither what an earlier one sets nor that it fails, nor the arguments of another class."""
    request = ExperimentRequest("ceflnet_synthetic")
    first = read_model(request)
    without = read_model(replace(request, arguments=("--model.init_args.sal", "false")))
    with pytest.raises(ValueError, match="salt"):
        read_model(replace(request, arguments=("--model.init_args.salt", "false")))
    assert read_model(ExperimentRequest("lmed_ckplus"))["model"]["class_path"].endswith("LandmarkMLP")
    again = read_model(replace(request, seed=7))
    assert first["model"]["init_args"].pop("sal") is True
    assert without["model"]["init_args"].pop("sal") is False
    assert without == first
    assert again["model"]["init_args"].pop("sal") is True
    assert again["model"]["init_args"].keys() == first["model"]["init_args"].keys()
    assert again["seed_everything"] == 7
    assert again["data"]["dataset"] == first["data"]["dataset"]
