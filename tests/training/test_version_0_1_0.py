"""Checkpoints of version 0.1.0 load, whatever was renamed since, and their models say what they said.

The files in `tests/fixtures/version_0_1_0` were written by that version: the configuration of a checkpoint, names and
shapes of its weights, and the logits that its model gave for the weights and the batch that are made here by formula.
"""

import json
import zlib
from pathlib import Path

import pytest
import torch
import yaml
from torch import Tensor

from data_modules.loading.batch import ClipBatch
from fer_lightning.experiments.lightning_cli import FerCLI
from fer_lightning.experiments.request import ExperimentRequest
from fer_lightning.experiments.resume import refuse_other_settings
from fer_lightning.runs.folder import RunFolder
from fer_lightning.runs.version_0_1_0 import upgrade_checkpoint, upgrade_configuration
from fer_lightning.training.checkpoints import AtomicCheckpointIO
from fer_lightning.training.loading import load_trained
from fer_lightning.weights import load_fitting_weights

FIXTURES = Path(__file__).parents[1] / "fixtures" / "version_0_1_0"
CHECKPOINTS = sorted(path.stem for path in FIXTURES.glob("*.json"))
DESCRIPTORS = {"is09": 384, "is10": 1582}


def weight(name: str, shape: list[int], dtype: str, content: dict) -> Tensor:
    """A weight of that name: its values depend on the name alone."""
    if not getattr(torch, dtype).is_floating_point:
        return torch.tensor(content["integers"][name], dtype=getattr(torch, dtype)).view(shape)
    if name.endswith((".scale", ".shift")):  # that version's note of the backbone's pixels: those of ImageNet
        return torch.full(shape, float(name.endswith("scale")))
    values = torch.randn(shape, generator=torch.Generator().manual_seed(zlib.crc32(name.encode())))
    if name.endswith(("running_var", "deviation", "high")):
        return values.abs() + 0.5
    if len(shape) > 1:
        return values * (1.6 / max(1, values[0].numel())) ** 0.5
    return 1 + 0.1 * values if name.endswith("weight") else 0.1 * values


def batch_of(content: dict) -> ClipBatch:
    """Two clips of noise; the second has no audio."""
    inputs, frames, size = set(content["inputs"]), content["frames"], content["size"]
    generator = torch.Generator().manual_seed(0)

    def noise(*shape: int) -> Tensor:
        return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)

    face, person = (noise(2, frames, 3, size, size) for _ in range(2))
    spectrogram = noise(2, 3, size, size)
    landmarks = torch.rand(2, frames, 68, 3, generator=generator) * size
    functionals = (content["configuration"]["data"]["sound"] or {}).get("functionals", "is09")
    descriptor = torch.randn(2, DESCRIPTORS[functionals], generator=generator)
    mask = torch.ones(2, frames, dtype=torch.bool)
    mask[1, frames - 1 :] = frames == 1
    for silent in (spectrogram, descriptor):
        silent[1] = 0
    for crops in (face, person):
        crops[~mask] = 0
    fields = {"face": face, "person": person, "landmarks": landmarks, "spectrogram": spectrogram}
    fields = {name: value for name, value in {**fields, "descriptor": descriptor}.items() if name in inputs}
    if inputs & {"spectrogram", "descriptor"}:
        fields["present"] = torch.tensor([[True, True], [True, False]])
    return ClipBatch(("a", "b"), torch.arange(2), mask, torch.arange(frames).expand(2, frames), **fields)


@pytest.fixture(params=CHECKPOINTS)
def content(request) -> dict:
    return json.loads((FIXTURES / f"{request.param}.json").read_text())


@pytest.fixture
def checkpoint(content, tmp_path) -> Path:
    state = {key: weight(key, shape, dtype, content) for key, (shape, dtype) in content["state"].items()}
    own = {"class_names": content["class_names"], "configuration": content["configuration"]}
    path = tmp_path / "checkpoints" / "best.ckpt"
    path.parent.mkdir()
    torch.save({"state_dict": state, "fer_lightning": own, "epoch": 0, "global_step": 0}, path)
    return path


def test_a_checkpoint_loads_and_gives_the_same_logits(content, checkpoint):
    model = load_trained(checkpoint).model
    with torch.no_grad():
        logits = model(batch_of(content)).logits
    torch.testing.assert_close(logits, torch.tensor(content["logits"]), rtol=1e-3, atol=1e-4)


def test_a_training_goes_on_from_it_or_begins_with_its_weights(content, checkpoint):
    model = load_trained(checkpoint).model
    state = AtomicCheckpointIO().load_checkpoint(checkpoint)["state_dict"]
    # a backbone reads what that version noted of its pixels when it loads its weights
    noted = {name for name in state if name.endswith((".scale", ".shift"))}
    pixels = {name for name in model.state_dict() if ".conversion." in name}
    assert state.keys() - noted == model.state_dict().keys() - pixels
    parameters = [name for name, _ in model.named_parameters()]
    assert [name for name in state if name in parameters] == parameters  # an optimiser's state knows them by place
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for name in before.keys() - pixels:
        model.state_dict()[name].zero_()
    assert load_fitting_weights(model, str(checkpoint)) == []
    assert all(value.equal(before[name]) for name, value in model.state_dict().items())


def test_a_runs_settings_are_read_under_todays_names(tmp_path):
    content = json.loads((FIXTURES / "av_synthetic.json").read_text())
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(content["configuration"]))
    found = RunFolder(tmp_path).read_config()
    assert found["model"]["init_args"]["modalities"] == ["face", "audio"]
    assert "sound_backbone" not in found["model"]["init_args"]
    assert found["data"]["audio"] == content["configuration"]["data"]["sound"]
    assert found["data"]["train_views"] == content["configuration"]["data"]["variants"]
    assert found["data"]["sampler"]["init_args"] == {"frames": 16, "eval_views": 1}
    assert found["data"]["dataset"]["init_args"]["faces"]["audio"] is True
    assert found["data"]["dataset"]["class_path"] == "data_modules.datasets.synthetic.Synthetic"
    assert upgrade_configuration(found) == found


def test_a_run_of_that_version_may_go_on(tmp_path):
    """With the settings that today's experiment file gives, name by name."""
    content = json.loads((FIXTURES / "ceflnet_synthetic.json").read_text())
    run = RunFolder(tmp_path)
    run.checkpoints.mkdir()
    (run.checkpoints / "last.ckpt").write_bytes(b"")
    run.config.write_text(yaml.safe_dump(content["configuration"]))
    today = FerCLI(ExperimentRequest("ceflnet_synthetic", size="small").command_line(), run=False).plain_config()
    refuse_other_settings(run, {name: today[name] for name in content["configuration"]})
    today["model"]["init_args"]["form"] = "authors"  # that version had no such argument, and its model is the default
    with pytest.raises(ValueError, match=r"model\.init_args\.form: paper there, authors now"):
        refuse_other_settings(run, {name: today[name] for name in content["configuration"]})
    today["model"]["init_args"]["form"] = "paper"
    today["data"]["size"] += 1
    with pytest.raises(ValueError, match=r"data\.size: 64 there, 65 now"):
        refuse_other_settings(run, {name: today[name] for name in content["configuration"]})


def test_there_are_checkpoints_of_every_paper():
    models = {
        json.loads((FIXTURES / f"{name}.json").read_text())["configuration"]["model"]["class_path"]
        for name in CHECKPOINTS
    }
    papers = {"CEFLNet", "VSHNN", "ContextTemporalPyramid", "CNNBiLSTM", "ECNNFSA", "AudioVisual"}
    assert papers <= {path.rsplit(".", 1)[-1] for path in models}


def vshnn(**arguments) -> dict:
    return {"data": {"size": 64}, "model": {"class_path": "fer_lightning.VSHNN", "init_args": arguments}}


OLD = {"descriptor": "lmed", "modules": 2, "landmark_width": 64, "frames": 8, "alpha": 0.6, "rank": 3}
NETWORK = {"descriptor": "lmed", "modules": 2, "width": 64, "frames": 8}


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("none", None),
        ("ic", ("IntermediateConcatenation", {"descriptor": "lmed", "frames": 8})),
        ("ws", ("WeightedSum", {"alpha": 0.6, **NETWORK})),
        ("lrmf", ("LowRankMultiModalFusion", {"rank": 3, "attention": False, **NETWORK})),
        ("lrmaf", ("LowRankMultiModalFusion", {"rank": 3, "attention": True, **NETWORK})),
    ],
)
def test_a_fusion_that_was_a_word_is_a_class(word, expected):
    old = vshnn(hidden=16, fusion=word, **OLD)
    kept = json.dumps(old)
    new = expected and {"class_path": f"fer_lightning.{expected[0]}", "init_args": expected[1]}
    assert upgrade_configuration(old) == vshnn(hidden=16, fusion=new)
    assert json.dumps(old) == kept  # the function changes nothing that it is given


def test_what_is_not_of_version_0_1_0_stays_as_it_is():
    fusion = {"class_path": "fer_lightning.WeightedSum", "init_args": {"alpha": 0.5}}
    others = {"model": {"class_path": "fer_lightning.LandmarkMLP", "init_args": {"descriptor": "lmed", "frames": 4}}}
    for configuration in (vshnn(fusion=fusion), others, {"ensemble": {}}):
        assert upgrade_configuration(configuration) == configuration
    own = {"fer_lightning": {"configuration": others}, "state_dict": {"late.net.weight": 1}}
    for content in (own, {"state_dict": {"late.net.weight": 1}}, {"late.net.weight": 1}):
        assert upgrade_checkpoint(content) == content


def test_a_fusion_that_never_was_is_refused():
    with pytest.raises(ValueError, match=r"one of none, ic, ws, lrmf, lrmaf in version 0.1.0; found 'sum'"):
        upgrade_configuration(vshnn(fusion="sum"))
