"""A model in one file says what its run says, and its card gives the run's figures."""

import hashlib
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import yaml
from safetensors import safe_open
from sklearn.metrics import accuracy_score, precision_score, recall_score

import fer_lightning
from data_modules.audio.settings import AudioSettings
from data_modules.datasets import FER2013
from data_modules.labels import SEVEN
from data_modules.loading.batch import MODALITIES
from fer_lightning import LogMelCNN, OpenSmileSVM, VideoClassifier
from fer_lightning.cli.main import main
from fer_lightning.evaluation.calibration_file import read_calibration
from fer_lightning.evaluation.predictions import PredictionTable
from fer_lightning.export.card import model_card
from fer_lightning.export.model_file import write_model_file
from fer_lightning.export.onnx_file import write_onnx_file
from fer_lightning.predict.confidence import confidence_of
from fer_lightning.report.model_label import label_of
from fer_lightning.report.summary import OPTIMISTIC
from fer_lightning.runs.folder import RunFolder
from fer_lightning.training.loading import load_trained
from fer_lightning.zoo import entries
from tests.export.test_onnx import needs_exporter, with_dataset
from tests.models import random_batch
from tests.predict.test_predict import write_checkpoint


def test_the_file_answers_as_the_run_does(exported):
    run, file = exported
    whole, half = load_trained(run), load_trained(file)
    batch = random_batch(8, frames=1, size=64)
    with torch.no_grad():
        expected, found = (trained.model(batch).logits.softmax(-1) for trained in (whole, half))
    torch.testing.assert_close(found, expected, atol=5e-3, rtol=0)
    assert (half.faces, half.sampler, half.size, half.augmentation, half.class_names) == (
        whole.faces,
        whole.sampler,
        64,
        whole.augmentation,
        SEVEN,
    )
    assert half.augmentation.eval_flip
    assert half.dataset is FER2013


def test_the_file_has_half_precision_and_nothing_of_this_machine(exported, tmp_path):
    run, file = exported
    with safe_open(file, "pt") as content:
        tensors = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118
        entry = json.loads(content.metadata()["fer_lightning"])
    assert {t.dtype for name, t in tensors.items() if t.numel() > 1000} == {torch.float16}
    assert tensors["backbone.network.bn1.running_var"].dtype == torch.float32
    assert tensors["backbone.conversion.mean"].dtype == torch.float32
    assert entry["class_names"] == list(SEVEN)
    assert not {"optimizer", "scheduler"} & entry["configuration"]["model"]["init_args"].keys()
    assert str(run.parents[2]) not in json.dumps(entry)
    assert main(["export", str(run), str(tmp_path / "full.safetensors"), "--full"]) == 0
    with safe_open(tmp_path / "full.safetensors", "pt") as content:
        assert content.get_tensor("backbone.network.layer4.0.conv1.weight").dtype == torch.float32


def machine_of_voices(run: Path, wide: torch.Tensor) -> Path:
    """A checkpoint of a support vector machine, fitted to descriptors of 1582 values, with their widths."""
    torch.manual_seed(0)
    model = OpenSmileSVM(SEVEN)
    vectors, labels = wide * (torch.randn(70, 1582) + 1), torch.arange(70) % 7
    model.machine.fit(vectors, labels, [f"s{place // 7}" for place in range(70)])
    return write_voices(run, model, {}, {"functionals": "is10"})


def write_voices(run: Path, model: VideoClassifier, arguments: dict[str, int], audio: dict[str, object]) -> Path:
    """A checkpoint of a model of sound alone."""
    faces = {"class_path": "data_modules.datasets.RAVDESSAudio", "init_args": {"faces": {"detector": "none"}}}
    sampler = {"class_path": "data_modules.sampling.SegmentSampler", "init_args": {"frames": 1}}
    configuration = {
        "model": {"class_path": f"fer_lightning.{type(model).__name__}", "init_args": arguments},
        "data": {"dataset": faces, "sampler": sampler, "size": 32, "augmentation": None, "audio": audio},
    }
    own = {"class_names": list(SEVEN), "configuration": configuration}
    path = run / "checkpoints" / "last.ckpt"
    path.parent.mkdir(parents=True)
    torch.save({"state_dict": model.state_dict(), "epoch": 0, "fer_lightning": own}, path)
    return run


def test_what_is_fitted_keeps_its_precision(tmp_path):
    """Functionals have very different ranges: frequencies in hertz, shares, counts of samples."""
    wide = 10 ** torch.linspace(-9, 6, 1582)
    run, file = machine_of_voices(tmp_path / "run", wide), tmp_path / "voices.safetensors"
    write_model_file(run, file)
    whole, written = load_trained(run).model, load_trained(file).model
    for name, value in whole.state_dict().items():
        assert torch.equal(written.state_dict()[name], value), name
    batch = fer_lightning.random_batch(whole.inputs, clips=8, audio=AudioSettings(functionals="is10"))
    batch.descriptor.mul_(wide)
    assert torch.equal(written(batch).logits, whole(batch).logits)


@needs_exporter
def test_a_machine_of_1582_functionals_can_be_an_onnx_file(tmp_path):
    wide = 10 ** torch.linspace(-3, 3, 1582)
    run, file = machine_of_voices(tmp_path / "run", wide), tmp_path / "voices.onnx"
    write_onnx_file(run, file)
    whole, written = load_trained(run).model, load_trained(file).model
    batch = fer_lightning.random_batch(whole.inputs, clips=8, audio=AudioSettings(functionals="is10"), seed=3)
    batch = replace(batch, descriptor=wide * batch.descriptor, present=torch.ones(8, len(MODALITIES), dtype=torch.bool))
    expected = whole(batch).logits
    assert expected.std(dim=0).min() > 0
    torch.testing.assert_close(written(batch).logits, expected, atol=1e-4, rtol=1e-4)


@needs_exporter
def test_a_network_of_other_bands_can_be_an_onnx_file(tmp_path):
    audio = AudioSettings(window=0.064, hop=0.032, bands=64)
    run, file = write_voices(tmp_path / "run", LogMelCNN(SEVEN, 64), {"bands": 64}, vars(audio)), tmp_path / "a.onnx"
    write_onnx_file(run, file)
    whole, written = load_trained(run).model, load_trained(file).model
    batch = fer_lightning.random_batch(whole.inputs, frames=30, audio=audio)
    batch = replace(batch, present=torch.ones(2, len(MODALITIES), dtype=torch.bool))
    torch.testing.assert_close(written(batch).logits, whole(batch).logits, atol=1e-4, rtol=1e-4)


def test_weights_that_half_precision_cannot_hold_keep_theirs(tmp_path):
    run, file = with_dataset(write_checkpoint(tmp_path / "run")), tmp_path / "model.safetensors"
    path = run / "checkpoints" / "last.ckpt"
    content = torch.load(path, weights_only=True)
    weights = content["state_dict"]
    names = [name for name, value in weights.items() if name.endswith("conv1.weight") and value.numel() > 1000]
    weights[names[0]][0, 0, 0, 0] = 1e6
    weights[names[1]] *= 1e-7
    torch.save(content, path)
    write_model_file(run, file)
    written = load_trained(file).model.state_dict()
    for name, value in weights.items():
        if value.is_floating_point():
            assert (written[name] - value).norm() <= 1e-3 * value.norm(), name
    with safe_open(file, "pt") as stored:
        assert {stored.get_tensor(name).dtype for name in names[2:]} == {torch.float16}


def test_a_file_of_pytorch_holds_the_same(exported, tmp_path):
    run, file = exported
    assert main(["export", str(run), str(tmp_path / "faces.pt")]) == 0
    content = torch.load(tmp_path / "faces.pt", weights_only=True)
    with safe_open(file, "pt") as other:
        assert content["fer_lightning"] == json.loads(other.metadata()["fer_lightning"])
        assert content["state_dict"].keys() == set(other.keys())
    batch = random_batch(2, frames=1, size=64)
    one, two = load_trained(file), load_trained(tmp_path / "faces.pt")
    with torch.no_grad():
        torch.testing.assert_close(two.model(batch).logits, one.model(batch).logits, atol=0, rtol=0)
    assert label_of(two.models).result == label_of(one.models).result
    assert two.calibration.temperature == one.calibration.temperature
    assert (tmp_path / "faces.md").read_text().startswith("# faces\n")


def test_the_card_has_the_figures_of_the_reported_split(exported):
    run, file = exported
    text, table = file.with_suffix(".md").read_text(), PredictionTable.read(run / "predictions" / "test.csv")
    true, guess = table.label, table.probabilities.argmax(axis=1)
    assert f"| WAR (accuracy) | {accuracy_score(true, guess):.3f} |" in text
    recalls = recall_score(true, guess, average=None, labels=range(7))
    precisions = precision_score(true, guess, average=None, labels=range(7), zero_division=0)
    for name, recall, precision in zip(SEVEN, recalls, precisions, strict=True):
        assert re.search(rf"\| {name} \| 1 \| {recall:.3f} \| {precision:.3f} \|", text)
    assert f"SHA-256 is `{hashlib.sha256(file.read_bytes()).hexdigest()}`" in text
    parameters = sum(p.numel() for p in load_trained(run).model.parameters())
    for part in (f"{parameters:,} parameters", "real faces", "Kaggle", "fold 1, seed 0", "drawings", "7 clips"):
        assert part in text
    assert np.isfinite(table.probabilities).all()


def test_the_card_of_a_model_of_voices_says_nothing_of_faces(exported, tmp_path):
    run, file = exported
    shutil.copytree(run, tmp_path / "run")
    info = json.loads((run / "run.json").read_text())
    (tmp_path / "run" / "run.json").write_text(json.dumps(info | {"dataset": "ravdess_audio"}))
    text = model_card(RunFolder(tmp_path / "run"), file)
    assert "Trained on ravdess_audio, real voices; licence of the data: CC BY-NC-SA" in text
    assert "face" not in text.split("## What it cannot do")[1]
    assert "faces that look far up" in model_card(RunFolder(run), file)


def changed(run: Path, folder: Path, **facts: object) -> RunFolder:
    """A copy of a run whose `run.json` says something else."""
    shutil.copytree(run, folder)
    info = json.loads((run / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(info | facts))
    return RunFolder(folder)


def section(card: str, title: str) -> str:
    return card.split(f"## {title}")[1].split("\n## ")[0]


def test_the_card_says_how_the_epoch_was_chosen(exported, tmp_path):
    """`last` has predictions for training clips where those of an inner split are, `best_on_test` the reported."""
    run, file = exported
    cards = {
        selection: model_card(changed(run, tmp_path / selection, selection=selection, epoch=4), file)
        for selection in ("inner", "last", "best_on_test")
    }
    lines = {name: re.findall("- Epoch .*", section(card, "Where it comes from")) for name, card in cards.items()}
    assert lines == {
        "inner": ["- Epoch 5, chosen by `selection: inner` on 35 clips of the inner split."],
        "last": ["- Epoch 5, the last epoch; nothing was chosen."],
        "best_on_test": [f"- Epoch 5; {OPTIMISTIC}"],
    }
    assert "chosen on the very split that is reported here. Expect lower values" in OPTIMISTIC


def test_a_label_says_that_the_epoch_was_chosen_on_the_reported_split(exported, tmp_path):
    run, file = exported
    optimistic = changed(run, tmp_path / "run", selection="best_on_test")
    write_model_file(optimistic.path, tmp_path / "taken.safetensors")
    own = label_of(load_trained(file).models)
    for path in (optimistic.path, tmp_path / "taken.safetensors"):
        label = label_of(load_trained(path).models)
        assert label.result == f"{own.result}; {OPTIMISTIC.removesuffix('.')}"
        assert ".." not in label.summary


def test_the_result_of_the_run_is_told_from_that_of_another_epoch(exported, tmp_path):
    run, _ = exported
    run = changed(run, tmp_path / "run")
    checkpoint = run.checkpoints / "last.ckpt"
    shutil.copy(run.checkpoints / "best.ckpt", checkpoint)
    assert label_of(load_trained(checkpoint).models).result == label_of(load_trained(run.path).models).result
    content = torch.load(checkpoint, weights_only=True)
    torch.save(content | {"epoch": content["epoch"] + 3}, checkpoint)
    write_model_file(checkpoint, tmp_path / "last.safetensors")
    epoch, own = content["epoch"] + 1, label_of(load_trained(run.path).models).result
    for path in (checkpoint, tmp_path / "last.safetensors"):
        result = label_of(load_trained(path).models).result
        assert result == f"{own} (of epoch {epoch}, which the run chose; these are the weights of epoch {epoch + 3})"


def test_the_card_names_what_makes_the_result_misleading(exported, tmp_path):
    run, file = exported
    fault = (
        "fer2013: the reported split shares 12 films with clips that are trained or chosen on: accuracy is too high."
    )
    card = model_card(changed(run, tmp_path / "run", split_faults=[fault]), file)
    assert f"- {fault}" in section(card, "How good it is").splitlines()


def test_the_card_names_the_weights_that_the_model_began_with(exported, tmp_path):
    run, file = exported
    copy = changed(run, tmp_path / "run")

    def began(**model: object) -> list[str]:
        config = yaml.safe_load((run / "config.yaml").read_text())
        config["model"]["init_args"] |= model
        copy.config.write_text(yaml.safe_dump(config))
        return re.findall("- Began .*", section(model_card(copy, file), "Where it comes from"))

    assert began() == ["- Began without trained weights."]
    face = {"class_path": "fer_lightning.FrameBackbone", "init_args": {"name": "resnet18", "weights": "timm"}}
    scene = {"class_path": "fer_lightning.PooledVGG", "init_args": {"weights": "/home/me/vgg.pth"}}
    weights = "run:vshnn_afew, timm (resnet18), vgg.pth"
    found = began(backbone=face, scene=scene, video_weights="run:vshnn_afew")
    assert found == [f"- Began with the weights {weights}."]
    whole = began(backbone=face, start_from="run:former_dfer_dfew")
    assert whole == ["- Began with the weights run:former_dfer_dfew."], "which take the place of all others"


def test_the_card_of_a_model_with_a_name_says_the_name(exported):
    run, _ = exported
    card = model_card(RunFolder(run), Path(entries.__file__).with_name("faces.safetensors"))
    assert card.startswith("# faces\n")
    assert "`fer predict FILE --checkpoint faces`." in card


def test_the_label_of_the_file_is_that_of_the_run(exported):
    """Against scikit-learn and hashlib; only the files differ."""
    run, file = exported
    table = PredictionTable.read(run / "predictions" / "test.csv")
    labels = [label_of(load_trained(path).models) for path in (run, file)]
    for label, path in zip(labels, (run / "checkpoints" / "best.ckpt", file), strict=True):
        assert (label.dataset, label.world) == ("fer2013", "real faces")
        assert f"WAR {accuracy_score(table.label, table.probabilities.argmax(axis=1)):.3f}" in label.result
        assert "N = 7 clips" in label.result
        assert label.sha256 == (hashlib.sha256(path.read_bytes()).hexdigest(),)
        assert label.commit == RunFolder(run).read_info().commit
        assert set(FER2013.limits) < set(label.limits)
        assert "not validated on other people, cameras and settings than those of fer2013" in label.summary
    assert labels[0].result == labels[1].result


def test_the_temperature_of_the_run_goes_with_the_file(exported):
    run, file = exported
    known, found = read_calibration(run / "calibration.json"), load_trained(file).calibration
    assert found.temperature == known.temperature is not None
    assert found.inner.confidence.tolist() == known.inner.confidence.tolist()
    confidence = confidence_of(load_trained(file), calibrated=True, risk=None)
    assert confidence == confidence_of(load_trained(run), calibrated=True, risk=None)
    assert f"temperature {known.temperature:.3f}" in file.with_suffix(".md").read_text()


def test_a_file_made_of_a_checkpoint_has_the_facts_and_the_temperature_of_its_run(exported, tmp_path):
    run, file = exported
    copy = tmp_path / "above" / "1-0"
    shutil.copytree(run, copy)
    expected = load_trained(file)
    for number, named in enumerate((copy / "checkpoints" / "best.ckpt", copy.parent)):
        path = tmp_path / f"{number}.safetensors"
        write_model_file(named, path)
        found = load_trained(path)
        assert found.facts == expected.facts
        assert found.facts.result
        assert found.calibration.temperature == expected.calibration.temperature is not None
    kept = json.loads((copy / "calibration.json").read_text())
    (copy / "calibration.json").write_text(json.dumps(kept | {"epoch": kept["epoch"] + 1}))
    write_model_file(copy / "checkpoints" / "best.ckpt", path)
    assert load_trained(path).calibration is None, "it is of another epoch's weights"


def test_what_cannot_be_exported_is_said(exported, tmp_path, capsys):
    run, _ = exported
    assert main(["export", str(run), str(tmp_path / "model.ckpt")]) == 2
    assert "expected the name of a file that ends in .safetensors" in capsys.readouterr().err
    assert main(["export", "nowhere", str(tmp_path / "model.safetensors")]) == 2
    assert "no run or checkpoint nowhere" in capsys.readouterr().err
    assert list(tmp_path.glob("model*")) == []
