"""The costs of systems: what is measured, kept, and measured again."""

import json

import pytest
import torch

from data_modules.loading.batch import ClipBatch
from fer_lightning.bench import models
from fer_lightning.bench.system_step import NothingTrainedError, build
from fer_lightning.cli.main import main
from fer_lightning.experiments.system import system_names
from fer_lightning.tables.model_costs import FORMAT, ModelCost, comparable, costs_file, read_costs, write_cost

OPTIONS = ["--size", "small", "--device", "cpu", "--quick"]


def bench(*systems: str) -> int | None:
    return main(["bench", "models", *systems, *OPTIONS])


def test_the_command_measures_a_system_and_keeps_what_it_has_measured(capsys, monkeypatch):
    assert bench("lmed") == 0
    content = json.loads(costs_file().read_text())
    (cost,) = content["costs"]
    assert content["format"] == FORMAT
    assert (cost["system"], cost["size"], cost["clips"], cost["frames"]) == ("lmed", "small", 2, 16)
    assert cost["device"].startswith("CPU, ")
    assert torch.__version__.startswith(cost["versions"]["torch"])
    model, _ = build("lmed", "small", torch.device("cpu"), clips=1)
    assert cost["parameters"] == sum(parameter.numel() for parameter in model.parameters())
    linear = [part for part in model.modules() if isinstance(part, torch.nn.Linear)]
    assert cost["multiply_adds"] >= sum(part.in_features * part.out_features for part in linear) > 0
    assert cost["step_ms"] > 0 < cost["inference_ms"]
    assert cost["step_mebibytes"] is None, "nothing is known of a processor's"
    assert f"{2000 / cost['inference_ms']:.1f}" in capsys.readouterr().out

    measured = []

    def counted(name, *_):
        measured.append(name)
        return ModelCost(name, "small", "none", "32-true")

    monkeypatch.setattr(models, "model_cost", counted)
    assert bench("lmed") == 0
    assert measured == [], "it is known of this device and these versions"
    assert bench("lmed", "--again") == 0
    monkeypatch.setattr(models, "versions", lambda: {"torch": "another"})
    assert bench("lmed") == 0
    assert measured == ["lmed", "lmed"]
    assert bench() == 0
    assert set(measured) == set(system_names()), "without names, every system"


def test_what_cannot_be_measured_says_why_and_stops_no_other(capsys, monkeypatch):
    def broken(system, *arguments):
        if system == "fan":
            raise RuntimeError("no kernel\nfor this")
        return build(system, *arguments)

    monkeypatch.setattr(models, "build", broken)
    assert bench("fan", "context_ensemble", "lmed_svm") == 0
    costs = {cost.system: cost for cost in read_costs()}
    assert costs["fan"].problem == "RuntimeError: no kernel"
    assert costs["context_ensemble"].problem == "it combines other systems, which are measured"
    assert costs["fan"].views_per_second is costs["context_ensemble"].views_per_second is None
    assert "is not fitted" in costs["lmed_svm"].problem
    assert "fan: RuntimeError: no kernel" in capsys.readouterr().out


def test_a_system_of_which_nothing_is_trained_has_an_inference_alone(monkeypatch):
    def without_step(system, *_, **__):
        raise NothingTrainedError(f"{system} has no training step")

    monkeypatch.setattr(models, "measure_step", without_step)
    cost = models.model_cost("lmed", "small", torch.device("cpu"), repeats=1)
    assert (cost.step_ms, cost.problem) == (None, "lmed has no training step")
    assert cost.inference_ms > 0


def test_a_batch_that_does_not_fit_is_halved(monkeypatch):
    tried = []

    def full(model, batch: ClipBatch, *_):
        tried.append(len(batch))
        if len(batch) > 2:
            raise torch.OutOfMemoryError("full")
        return 0.5

    monkeypatch.setattr(models, "seconds_per_view", full)
    cost = models.model_cost("lmed", "small", torch.device("cpu"), clips=9, repeats=1)
    assert tried == [9, 4, 2]
    assert (cost.clips, cost.inference_ms, cost.views_per_second) == (2, 1000, 2)


def test_costs_are_compared_on_the_device_that_measured_most():
    def cost(system, device, size="small", inference_ms=10.0):
        return ModelCost(system, size, device, "32-true", clips=4, inference_ms=inference_ms)

    costs = [cost("a", "slow"), cost("b", "slow"), cost("c", "slow", inference_ms=None), cost("a", "fast", "paper")]
    for each in [*costs, cost("a", "fast"), cost("a", "fast", inference_ms=8.0)]:
        write_cost(each)
    assert len(read_costs()) == 5, "one of each system, size and device"
    compared = comparable(read_costs(), "small")
    assert {system: each.device for system, each in compared.items()} == {"a": "slow", "b": "slow"}
    assert comparable(read_costs(), "paper")["a"].views_per_second == pytest.approx(400)
    costs_file().write_text("{}")
    with pytest.raises(ValueError, match=r"model_costs.json is damaged"):
        read_costs()
