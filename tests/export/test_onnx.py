"""A model as an ONNX file answers as the run does: on noise, on a video, and through the commands."""

import copy
import csv
import importlib.util
import itertools
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from fer_lightning import Recogniser, RecognitionOptions
from fer_lightning.cli.main import main
from fer_lightning.export import onnx_file
from fer_lightning.report.model_label import label_of
from fer_lightning.training.loading import load_trained
from fer_lightning.training.random_batch import random_batch
from tests.predict.test_predict import fake_detector, fer_predict, write_checkpoint, write_video  # noqa: F401

needs_exporter = pytest.mark.skipif(not importlib.util.find_spec("onnxscript"), reason="needs the extra onnx")


def with_dataset(run: Path) -> Path:
    """Adds to a checkpoint made by hand the data set that every training records."""
    path = run / "checkpoints" / "last.ckpt"
    content = torch.load(path, weights_only=True)
    content["fer_lightning"]["configuration"]["data"]["dataset"]["class_path"] = "data_modules.datasets.FER2013"
    torch.save(content, path)
    return run


@needs_exporter
def test_a_video_is_recognised_as_by_the_run(tmp_path, fake_detector):  # noqa: F811
    """CEFLNet, whose clips are three sub-videos of four frames."""
    run, file = with_dataset(write_checkpoint(tmp_path / "1-0")), tmp_path / "cefl.onnx"
    onnx_file.write_onnx_file(run, file)
    video = write_video(tmp_path / "talk.mp4", [True] * 30)
    options = RecognitionOptions(device="cpu", every=2)
    expected, found = (Recogniser(path, options).video(video) for path in (run, file))
    assert len(expected.timeline.start) > 3
    np.testing.assert_allclose(
        *([[*window.probabilities.values()] for window in each] for each in (found, expected)), atol=1e-4
    )
    assert fer_predict(video, "--checkpoint", file, "--out", tmp_path / "out", "--no-video", "--every", "2") == 0
    with (tmp_path / "out" / "talk" / "expressions.csv").open(newline="") as table:
        assert [row["expression"] for row in csv.DictReader(table)] == [window.expression for window in expected]


@needs_exporter
def test_the_command_writes_a_file_that_answers_as_the_run(exported, tmp_path, capsys):
    run, file = exported[0], tmp_path / "faces.onnx"
    assert main(["export", str(run), str(file)]) == 0
    assert "it takes any number of frames" in capsys.readouterr().out
    assert file.with_suffix(".md").read_text().startswith("# faces\n")
    whole, written = load_trained(run), load_trained(file)
    for clips, frames in itertools.product((1, 8), (1, 5)):
        batch = random_batch(clips=clips, frames=frames, size=64, seed=1)
        batch.mask[:, 1:2] = False
        with torch.no_grad():
            found, expected = written.model(batch), whole.model(batch)
        torch.testing.assert_close(found.logits, expected.logits, atol=1e-4, rtol=0)
        torch.testing.assert_close(found.feature, expected.feature, atol=1e-4, rtol=0)
    assert (written.sampler, written.faces, written.size, written.augmentation, written.class_names) == (
        *(whole.sampler, whole.faces, whole.size, whole.augmentation, whole.class_names),
    )
    assert written.calibration is not None
    assert label_of(written.models).result == label_of(whole.models).result


@needs_exporter
def test_a_file_that_answers_otherwise_is_not_written(exported, tmp_path, monkeypatch):
    program = onnx_file._program

    def other(graph):
        graph = copy.deepcopy(graph)
        graph.model.head[1].bias.data += 0.01
        return program(graph)

    monkeypatch.setattr(onnx_file, "_program", other)
    with pytest.raises(ValueError, match="ImageClassifier as ONNX differs from the model by"):
        onnx_file.write_onnx_file(exported[0], tmp_path / "faces.onnx")
    assert list(tmp_path.iterdir()) == []


@needs_exporter
def test_a_model_without_an_equal_is_refused(exported, tmp_path, monkeypatch):
    def forward(self, *tensors):
        return torch.linalg.eigvals(tensors[-1].float()[:, 0, 0]).real, tensors[0]

    monkeypatch.setattr(onnx_file._Graph, "forward", forward)
    with pytest.raises(ValueError, match=r"ImageClassifier cannot be written as ONNX: No ONNX .*linalg_eig.*"):
        onnx_file.write_onnx_file(exported[0], tmp_path / "faces.onnx")
    assert list(tmp_path.iterdir()) == []


def test_the_missing_package_is_named(exported, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(onnx_file, "find_spec", lambda name: None)
    assert main(["export", str(exported[0]), str(tmp_path / "faces.onnx")]) == 2
    assert "pip install 'fer_lightning[onnx]'" in capsys.readouterr().err


def test_another_onnx_file_is_refused(tmp_path, capsys):
    one = helper.make_tensor_value_info("a", TensorProto.FLOAT, [1])
    two = helper.make_tensor_value_info("b", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Relu", ["a"], ["b"])], "other", [one], [two])
    onnx.save(helper.make_model(graph), tmp_path / "other.onnx")
    (tmp_path / "damaged.onnx").write_bytes(b"x")
    (tmp_path / "a.mp4").touch()
    for name in ("other.onnx", "damaged.onnx"):
        assert main(["predict", str(tmp_path / "a.mp4"), "--checkpoint", str(tmp_path / name)]) == 2
        said = capsys.readouterr().err
        assert f"{name} cannot be read safely as a checkpoint" in said
