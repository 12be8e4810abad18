"""The weights that every system begins with are really in its model: those of runs, and the names of timm's."""

import functools

import pytest
import timm
import torch

from data_modules.labels import SEVEN
from fer_lightning import VideoClassifier
from fer_lightning.experiments.configuration import read_model
from fer_lightning.experiments.lightning_cli import FerCLI
from fer_lightning.experiments.request import ExperimentRequest, required_runs
from fer_lightning.experiments.shapes import build_without_memory
from fer_lightning.layers.backbones import Pretrained
from fer_lightning.paths import RUN
from fer_lightning.weights import RANDOM
from tests.experiments.test_experiments import MODELS, on_any_data

QUIET = ("--trainer.logger", "false")
CREATE, LOAD = timm.create_model, torch.nn.Module.load_state_dict


@functools.cache
def trained_content(name: str) -> dict:
    """What a run's checkpoint would hold, with values that no initialisation makes."""
    model = FerCLI([*ExperimentRequest.from_run_name(name).command_line(), *QUIET], run=False).model
    generator = torch.Generator().manual_seed(len(name))
    content = {"epoch": 0, "global_step": 0}
    state = dict(model.state_dict())
    learnt = {key for key, value in state.items() if value.is_floating_point() and ".conversion." not in key}
    content["state_dict"] = {
        key: torch.rand(value.shape, generator=generator) + 0.5 if key in learnt else value
        for key, value in state.items()
    }
    model.on_save_checkpoint(content)
    return content


def write_run(name: str) -> dict[str, torch.Tensor]:
    """Writes the checkpoint of a run and returns its tensors."""
    folder = ExperimentRequest.from_run_name(name).run.checkpoints
    folder.mkdir(parents=True)
    torch.save(trained_content(name), folder / "best.ckpt")
    return trained_content(name)["state_dict"]


def arrived(part: torch.nn.Module, trained: dict[str, torch.Tensor]) -> tuple[set[str], set[str]]:
    """Names of a part's tensors that are those of a checkpoint, and of all that it should have from there."""
    own = {key: value for key, value in part.state_dict().items() if ".conversion." not in f".{key}"}
    places = {key: [f"backbone.{key}", f"scene.{key}", key, key.replace("score.", "head.1.")] for key in own}
    there = {key: [trained[name] for name in names if name in trained] for key, names in places.items()}
    equal = {key for key, found in there.items() if any(value.equal(own[key]) for value in found)}
    inside = {key for key in own if key.startswith("network.") and "low_rank_" not in key}  # those begin as nothing
    return equal, {key for key, found in there.items() if found} | inside


@pytest.mark.parametrize("system", MODELS)
def test_every_small_system_begins_with_the_runs_that_it_names(system):
    cli = FerCLI([*ExperimentRequest(on_any_data(system), size="small").command_line(), *QUIET], run=False)
    model, names = cli.model, list(dict.fromkeys(required_runs(cli.plain_config()["model"])))
    trained = {RUN + name: write_run(name) for name in names}
    assert isinstance(model, VideoClassifier)
    model.trainer = cli.trainer
    model.begin_training()
    if model.start_from != RANDOM:
        whole = trained.pop(model.start_from)
        own = {key: value for key, value in model.state_dict().items() if "metrics" not in key}
        other = {key for key, value in own.items() if not value.equal(whole[key])}
        assert other <= {"head.1.weight", "head.1.bias"}
        return
    parts = [part for part in model.modules() if isinstance(part, Pretrained)]
    assert {part.source for part in parts} - {RANDOM} == trained.keys(), "at small size nothing is downloaded"
    for part in parts:
        if part.source != RANDOM:
            equal, expected = arrived(part, trained[part.source])
            assert expected
            assert equal == expected


@pytest.mark.parametrize("system", MODELS)
def test_timms_names_fit_every_system_at_the_papers_size(system, monkeypatch):
    """All but the download: what timm publishes has the names and shapes of its own network, here without memory."""
    created, loaded = [], []

    def create(name, pretrained=False, **options):
        created.append(pretrained)
        with torch.device("meta"):
            return CREATE(name, **options)

    def load(module, state, **options):
        loaded.append(type(module).__name__)
        return LOAD(module, state, **options)

    model = build_without_memory(read_model(ExperimentRequest(on_any_data(system), size="paper")), SEVEN)
    monkeypatch.setattr(timm, "create_model", create)
    monkeypatch.setattr(torch.nn.Module, "load_state_dict", load)
    parts = [part for part in model.modules() if isinstance(part, Pretrained) and part.source == "timm"]
    for part in parts:
        part.load_weights()
    assert created == [True] * len(parts)
    assert len(loaded) == len(parts)
