"""The tables of the guide to scaling are made of what was measured and of what is assumed, and say which is which."""

import json

import pytest

from fer_lightning.bench.system_step import build
from fer_lightning.tables.gpu_table import FORMAT as GPU
from fer_lightning.tables.gpu_table import results_file
from fer_lightning.tables.run_time import Machine, Training
from fer_lightning.tables.scaling_page import (
    FORMAT,
    PAPERS,
    PaperModel,
    gpu_steps_table,
    measured_table,
    papers_table,
)
from fer_lightning.training.cost import count_parameters


def measured(devices, *rows):
    names = ("processes", "clips", "clips_per_second")
    content = {"format": FORMAT, "hardware": "CPU", "devices": devices, "experiment": "ceflnet_synthetic", "size": 64}
    return json.dumps(content | {"rows": [dict(zip(names, row, strict=True)) for row in rows]})


def cells(text):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]


def test_two_processes_are_foretold_from_one(tmp_path):
    path = tmp_path / "scaling.json"
    # one process: 0.2 s, and 0.1 s a clip; so two on a core of their own take 0.6 s for 8 clips, on one core 1.2 s
    alone = ((1, 8, 8 / 1.0), (1, 4, 4 / 0.6))
    path.write_text(measured(2, *alone, (2, 8, 12.0)))
    *_, two = cells(measured_table(path))
    assert two == ["2", "8", "12.00", "13.33", "0.90"]
    path.write_text(measured(1, *alone, (2, 8, 6.0)))
    *_, two = cells(measured_table(path))
    assert two == ["2", "8", "6.00", "6.67", "0.90"]


def test_a_file_of_another_format_is_refused(tmp_path):
    path = tmp_path / "scaling.json"
    assert measured_table(path).startswith("Empty: `fer bench scaling")
    path.write_text("{}")
    with pytest.raises(ValueError, match="has the format None"):
        measured_table(path)


def test_a_model_of_many_weights_is_bound_by_its_gradients():
    machine = Machine(speed=1e12, frames=1e9, link=1e9, network=1e9, disk=1e9)
    wide = PaperModel("wide", Training(1e9, 10**8, 10**8, 1, 8, 800, 0, 1))
    deep = PaperModel("deep", Training(1e12, 10**5, 10**5, 1, 8, 800, 0, 1))
    heads, _, *rows = cells(papers_table((wide, deep), machine))
    assert heads[0] == "system"
    # 24 ms of computing by 8, and 0.7 s to send 400 MB nearly twice
    assert rows[0][0] == "`wide`"
    assert rows[0][-1] == "exchange"
    assert rows[0][7] == f"{0.024 / (8 * (0.003 + 0.7)):.0%}"
    assert rows[1][-1] == "computing"
    assert rows[1][7] == "100%"
    assert rows[1][8] == "", "a batch of 8 cannot be divided among 16"


@pytest.mark.parametrize("model", PAPERS, ids=lambda model: model.system)
def test_the_papers_models_have_the_size_that_is_stated(model):
    import torch

    built, batch = build(model.system, "paper", torch.device("meta"), 1)
    trained = sum(weight.numel() for weight in built.parameters() if weight.requires_grad)
    assert (count_parameters(built), trained) == (model.training.parameters, model.training.trained)
    assert batch.mask.shape[1] == model.training.frames


def test_a_step_on_a_gpu_stands_beside_the_assumed_one(tmp_path):
    machine = Machine(speed=1e12, frames=1e9, link=1e9, network=1e9, disk=1e9)
    made = PaperModel("made", Training(1e10, 10, 10, 16, 8, 800, 0, 1))  # 0.24 s by the model
    assert gpu_steps_table((made,), machine).startswith("Empty: `make check-gpu`")
    row = {"system": "made", "clips": 8, "frames": 16, "milliseconds": 120.0}
    rows = [row, {"system": "other", "error": "out of memory"}]
    content = {"format": GPU, "device": {"type": "cuda", "name": "A Card"}, "parts": [{"name": "steps", "rows": rows}]}
    results_file().parent.mkdir(parents=True)
    results_file().write_text(json.dumps(content))
    heads, _, line = cells(gpu_steps_table((made, PAPERS[0]), machine))
    assert heads[2] == "ms on A Card"
    assert line == ["`made`", "8", "120", "240", "2e12"]
    row["clips"] = 4  # of another batch than the model's
    results_file().write_text(json.dumps(content))
    assert len(cells(gpu_steps_table((made,), machine))) == 2
