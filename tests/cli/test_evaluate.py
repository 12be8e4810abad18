"""A trained model on other data: class names decide, and what is left out is said."""

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss

from data_modules.labels import SEVEN
from fer_lightning.cli.main import main
from fer_lightning.cli.test import parse_renaming
from fer_lightning.evaluation.answers import Answers
from fer_lightning.evaluation.calibration import Calibration
from fer_lightning.evaluation.calibration_file import write_calibration
from fer_lightning.evaluation.outputs import ClipPredictions
from fer_lightning.evaluation.predictions import PredictionTable
from fer_lightning.experiments import other_data as evaluate
from fer_lightning.experiments.lightning_cli import FerCLI
from fer_lightning.experiments.other_data import ClassMapping
from fer_lightning.experiments.request import ExperimentRequest
from fer_lightning.runs.folder import RunFolder
from fer_lightning.training.classifier import balancing_weights
from fer_lightning.training.loading import load_trained
from tests.fakes import write_dfew
from tests.models import random_batch, small_backbone
from tests.small_runs import TINY

MODEL = ("anger", "contempt", "fear", "neutral")


def test_the_classes_that_both_know_are_compared():
    mapping = ClassMapping({"calm": "neutral"}, MODEL, ("anger", "calm", "fear", "surprise"))
    assert mapping.common == ("anger", "fear", "neutral")
    assert [mapping.name(name) for name in ("anger", "calm", "surprise")] == ["anger", "neutral", None]
    part = ClipPredictions(("a",), torch.tensor([[0.1, 0.5, 0.3, 0.1]]), torch.zeros(1, 2), torch.zeros(1, 3))
    assert mapping.predictions(part).probabilities[0].tolist() == pytest.approx([0.2, 0.6, 0.2])


def test_a_model_certain_of_an_absent_class_still_answers():
    part = ClipPredictions(("a",), torch.tensor([[0.0, 1.0, 0.0, 0.0]]), torch.zeros(1, 2), torch.zeros(1, 3))
    shares = ClassMapping({}, MODEL, ("anger", "fear")).predictions(part).probabilities
    assert shares.sum().item() == pytest.approx(1)
    assert shares.isfinite().all()


@pytest.fixture
def trained_without_surprise(tmp_path):
    """A checkpoint of a model that knows contempt instead of surprise."""
    write_dfew(tmp_path / "data", train=14, test=14)
    cli = FerCLI(ExperimentRequest("ceflnet_dfew", arguments=TINY).command_line(), run=False)
    names = tuple(sorted({*SEVEN, "contempt"} - {"surprise"}))
    cli.model.class_names, cli.model.configuration = names, cli.plain_config()
    content = {"state_dict": cli.model.state_dict(), "epoch": 0, "global_step": 0}
    cli.model.on_save_checkpoint(content)
    path = tmp_path / "run" / "checkpoints" / "last.ckpt"
    path.parent.mkdir(parents=True)
    torch.save(content, path)
    return path.parent.parent


def test_an_option_and_its_value_may_be_one_word(tmp_path, monkeypatch):
    (tmp_path / "run").mkdir()
    asked = []
    monkeypatch.setattr(evaluate, "evaluate_on_other_data", asked.append)
    for checkpoint in (["--checkpoint", f"{tmp_path}/run"], [f"--checkpoint={tmp_path}/run"]):
        assert main(["test", *checkpoint, "--data", "dfew"]) == 0
    assert [request.checkpoint for request in asked] == [tmp_path / "run"] * 2


def test_another_data_set_is_evaluated(trained_without_surprise, capsys):
    arguments = ["--checkpoint", str(trained_without_surprise), "--data", "dfew", "--workers", "0"]
    assert main(["test", *arguments]) == 0
    said = capsys.readouterr().out
    assert "left out: 2 clips of surprise" in said
    table = PredictionTable.read(trained_without_surprise / "on" / "dfew-1.csv")
    assert table.class_names == tuple(name for name in SEVEN if name != "surprise")
    assert len(table) == 12
    assert not table.missing.any()
    assert said.count("warning: this result rests on very little, 12 clips") == 1
    folder = RunFolder(trained_without_surprise / "on" / "dfew-1")
    assert f"report: {folder.report}" in said
    page = folder.report.read_text()
    for expected in (
        "CEFLNet on dfew",
        "evaluated by fer test",
        "left out: 2 clips of surprise",
        "t-SNE of the clip",
    ):
        assert expected in page
    assert page.count('role="alert"') == 1
    assert "Learning curves" not in page
    assert PredictionTable.read(folder.predictions("test")).clip_id.tolist() == table.clip_id.tolist()
    assert main(["report", str(folder.path)]) == 0, "it can be written again"


def test_streams_answer_over_the_common_classes_too():
    streams = torch.tensor([[[0.1, 0.5, 0.3, 0.1], [float("nan")] * 4]])
    part = ClipPredictions(("a",), streams[:, 0], torch.zeros(1, 2), torch.zeros(1, 3), streams=streams)
    found = ClassMapping({"calm": "neutral"}, MODEL, ("anger", "calm", "fear")).predictions(part).streams[0]
    assert found[0].tolist() == pytest.approx([0.2, 0.6, 0.2])
    assert found[1].isnan().all()


def test_the_temperature_of_the_run_is_applied_on_other_data(trained_without_surprise, capsys):
    """Over the classes that both know, the logits are divided by it; prediction tables stay as they are."""
    command = ["test", "--checkpoint", str(trained_without_surprise), "--data", "dfew", "--workers", "0"]
    assert main(command) == 0
    assert "confidence: not calibrated: there is no calibration.json in" in capsys.readouterr().out
    names = load_trained(trained_without_surprise).class_names
    calibration = Calibration(names, 0, 0.25, "", Answers(np.array([0.9, 0.4]), np.array([True, False])))
    write_calibration(calibration, {}, RunFolder(trained_without_surprise))
    assert main(command) == 0
    said = capsys.readouterr().out
    table = PredictionTable.read(trained_without_surprise / "on" / "dfew-1.csv")
    plain, sharpened = (
        power / power.sum(axis=1, keepdims=True) for power in (table.probabilities, table.probabilities**4)
    )
    before, after = (log_loss(table.label, each, labels=range(6)) for each in (plain, sharpened))
    assert "confidence: temperature 0.250, fitted on 2 clips of the inner split; ECE" in said
    assert f"; NLL {before:.3f} -> {after:.3f}" in said
    assert f"{before:.3f}" != f"{after:.3f}"


def test_too_little_in_common_is_an_error():
    with pytest.raises(ValueError, match="fewer than two in common"):
        evaluate.evaluate(None, None, ClassMapping({}, ("anger",), ("fear", "joy")))
    with pytest.raises(ValueError, match="expected DATA=MODEL"):
        parse_renaming(["calm"])


def test_class_weights_make_all_classes_weigh_the_same():
    labels = torch.tensor([0] * 6 + [1] * 3 + [3])
    weights = balancing_weights(labels, 4)
    assert [float(weights[c] * (labels == c).sum()) for c in (0, 1, 3)] == pytest.approx([10 / 3] * 3)
    assert weights[labels].mean() == pytest.approx(1)


def test_class_weights_weigh_the_loss_as_its_definition_says():
    from fer_lightning import ImageClassifier

    model = ImageClassifier(SEVEN, small_backbone(), class_weights=True).eval()
    model.weights.copy_(torch.arange(1.0, 8.0))
    batch = random_batch(5, frames=1)
    output = model(batch)
    log_p = output.logits.double().log_softmax(dim=1).detach().numpy()
    label = batch.label.numpy()
    expected = np.mean([-(label[i] + 1) * log_p[i, label[i]] for i in range(5)])
    assert model.loss(output, batch).item() == pytest.approx(expected, rel=1e-5)
    halves = [
        model.loss(*half).item() for half in ((_rows(output, rows), _rows(batch, rows)) for rows in ([0, 1], [2, 3]))
    ]
    whole = model.loss(_rows(output, [0, 1, 2, 3]), _rows(batch, [0, 1, 2, 3])).item()
    assert np.mean(halves) == pytest.approx(whole), "the mean over processes is the mean over clips"


def _rows(value, rows):
    """Some rows of an output or a batch."""
    from dataclasses import fields, replace

    return replace(
        value,
        **{f.name: getattr(value, f.name)[rows] for f in fields(value) if torch.is_tensor(getattr(value, f.name))},
    )
