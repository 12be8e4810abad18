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
from fer_lightning.experiments.request import Request
from fer_lightning.experiments.resume import refuse_other_settings
from fer_lightning.runs.folder import RunFolder
from fer_lightning.runs.old_settings import current_settings
from fer_lightning.training.loading import load_trained

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
    """Two clips of noise; the second has no sound."""
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


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_checkpoint_loads_and_gives_the_same_logits(name, tmp_path):
    content = json.loads((FIXTURES / f"{name}.json").read_text())
    state = {key: weight(key, shape, dtype, content) for key, (shape, dtype) in content["state"].items()}
    own = {"class_names": content["class_names"], "configuration": content["configuration"]}
    path = tmp_path / "checkpoints" / "best.ckpt"
    path.parent.mkdir()
    torch.save({"state_dict": state, "fer_lightning": own, "epoch": 0, "global_step": 0}, path)
    model = load_trained(tmp_path).model
    with torch.no_grad():
        logits = model(batch_of(content)).logits
    torch.testing.assert_close(logits, torch.tensor(content["logits"]), rtol=1e-3, atol=1e-4)


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
    assert current_settings(found) == found


def test_a_run_of_that_version_may_go_on(tmp_path):
    """With the settings that today's experiment file gives, name by name."""
    content = json.loads((FIXTURES / "ceflnet_synthetic.json").read_text())
    run = RunFolder(tmp_path)
    run.checkpoints.mkdir()
    (run.checkpoints / "last.ckpt").write_bytes(b"")
    run.config.write_text(yaml.safe_dump(content["configuration"]))
    today = FerCLI(Request("ceflnet_synthetic", size="small").command_line(), run=False).plain_config()
    refuse_other_settings(run, {name: today[name] for name in content["configuration"]})
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
