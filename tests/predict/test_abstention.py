"""Calibrated confidence in `fer predict`, and rows that get no expression because it is too low."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from data_modules.labels import SEVEN
from fer_lightning.cli import main as cli
from fer_lightning.evaluation.answers import Answers
from fer_lightning.evaluation.calibration import Calibration
from fer_lightning.evaluation.calibration_file import write_calibration
from fer_lightning.predict.annotated_video import TimelineOverlay
from fer_lightning.predict.timeline import Timeline
from fer_lightning.runs.folder import RunFolder
from tests.predict.test_predict import SquareFinder, fer_predict, table, write_checkpoint, write_video

TEMPERATURE = 0.1


@pytest.fixture(autouse=True)
def fake_detector(monkeypatch):
    monkeypatch.setattr("data_modules.faces.models.make_detector", lambda name, device: SquareFinder())


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Path:
    """A folder with a run without calibration, and a video of two seconds with a face, and one without."""
    folder = tmp_path_factory.mktemp("shared")
    write_checkpoint(folder / "1-0")
    write_video(folder / "film.mp4", [True] * 20 + [False] * 10)
    return folder


@pytest.fixture
def run(shared, tmp_path) -> Path:
    return Path(shutil.copytree(shared / "1-0", tmp_path / "1-0"))


def calibrated(folder: Path, threshold: float = 0.5, **changes: object) -> Path:
    """Writes a calibration whose threshold for 10 % is that confidence: right from there on, wrong below."""
    confidence = np.repeat([threshold, 0.5 * threshold], 100)
    calibration = Calibration(SEVEN, 0, TEMPERATURE, "", Answers(confidence, confidence == threshold))
    write_calibration(replace(calibration, **changes), {}, RunFolder(folder))
    return folder


def command(shared: Path, run: Path) -> list[str]:
    """A prediction that reads the film in this process: another one imports for seconds before anything is refused."""
    film = str(shared / "film.mp4")
    return ["predict", film, "--checkpoint", str(run), "--device", "cpu", "--workers", "0"]


def probabilities(rows: list[dict[str, str]]) -> np.ndarray:
    """(K, 7) of the rows that have any."""
    return np.array([[float(row[f"p_{name}"]) for name in SEVEN] for row in rows if row["confidence"]])


@pytest.fixture
def predicted(shared, tmp_path, capsys):
    """Predicts the film with a checkpoint; returns table, content of the JSON file, and what was said."""

    def predict(checkpoint: Path, *arguments: object) -> tuple[list[dict[str, str]], dict, str]:
        out = tmp_path / "out"
        assert fer_predict(shared / "film.mp4", "--checkpoint", checkpoint, "--out", out, *arguments) == 0
        content = json.loads((out / "film" / "expressions.json").read_text())
        return table(out / "film"), content, capsys.readouterr().out

    return predict


def test_probabilities_have_the_temperature_of_the_run(predicted, run):
    plain, content, said = predicted(run, "--no-video")
    assert content["settings"]["confidence"]["temperature"] is None
    assert "Confidence: not calibrated: there is no calibration.json in" in said
    calibrated(run)
    rows, content, said = predicted(run, "--no-video")
    assert len(probabilities(rows)) == 4
    logits = torch.from_numpy(probabilities(plain)).log()
    assert probabilities(rows) == pytest.approx((logits / TEMPERATURE).softmax(dim=1).numpy(), abs=2e-3)  # 5 digits
    assert [row["expression"] for row in rows] == [row["expression"] for row in plain]
    assert content["settings"]["confidence"]["temperature"] == TEMPERATURE
    assert "Confidence: temperature 0.100, fitted on 200 clips of the inner split." in said
    off, content, said = predicted(run, "--no-video", "--no-calibration")
    assert off == plain
    assert "Confidence: not calibrated, as asked for." in said


def test_rows_below_the_threshold_have_no_expression_but_a_reason(predicted, run):
    confidence = np.sort(probabilities(predicted(calibrated(run), "--no-video")[0]).max(axis=1))
    threshold = float(confidence[1:3].mean())  # two rows reach it
    rows, content, said = predicted(calibrated(run, threshold), "--abstain", "0.1")
    assert [row["expression"] for row in rows].count("unsure") == 2
    for row, same in zip(rows, content["rows"], strict=True):
        assert same["expression"] == row["expression"]
        assert (same["reason"] or "") == row["reason"]
        if not row["confidence"]:
            assert (row["expression"], row["reason"]) == ("no face", "no face")
        elif float(row["confidence"]) < threshold:
            assert row["expression"] == "unsure"
            assert row["reason"] == f"confidence {row['confidence']} is below {threshold:.5f}"
            assert same["probabilities"] is not None
        else:
            assert (row["expression"] in SEVEN, row["reason"]) == (True, "")
    abstention = content["settings"]["confidence"]["abstention"]
    assert 0 < abstention.pop("bound") <= 0.1
    expected = {"risk": 0.1, "level": 0.95, "threshold": threshold, "clips": 200, "answered": 100, "errors": 0}
    assert abstention == expected
    assert {entry["expression"]: entry["share"] for entry in content["summary"]}["unsure"] == pytest.approx(1 / 3, 1e-3)
    assert "unsure 33 %" in said
    assert f"confidences below {threshold:.3f} are unsure: 100 of 200 clips of the inner split reach it" in said


def test_a_video_of_which_nothing_is_sure(predicted, run, tmp_path):
    rows, _, said = predicted(calibrated(run, 0.999999), "--abstain", "0.1")
    assert {row["expression"] for row in rows} == {"unsure", "no face"}
    assert "unsure 67 %, no face 33 % of the time" in said
    with av.open(str(tmp_path / "out" / "film" / "annotated.mp4")) as file:
        assert sum(1 for _ in file.decode(video=0)) == 30
    with Image.open(tmp_path / "out" / "film" / "timeline.png") as picture:
        assert picture.width > 1000


def test_an_unsure_row_is_drawn_in_grey_with_its_reason():
    p = np.array([[0.7, 0.3], [0.55, 0.45]])
    rows = (np.array([0.0, 1]), np.array([1.0, 2]), np.ones(2), np.zeros(2, bool))
    timeline = Timeline(("anger", "happiness"), *rows, p, threshold=0.6)
    assert timeline.label.tolist() == [0, -2]
    overlay, box = TimelineOverlay(timeline, 640, 480, right=True), np.array([200, 100, 300, 200], np.float32)
    frames = [np.zeros((480, 640, 3), np.uint8) for _ in range(2)]
    for frame, seconds in zip(frames, (0.5, 1.5), strict=True):
        overlay.draw(frame, seconds, box)
    sure, unsure = (frame[150, 200].astype(int) for frame in frames)  # the left side of the box
    assert np.ptp(sure) > 50
    assert np.ptp(unsure) < 10
    assert unsure.min() > 100
    heights = [int((frame[:, 500:].max(axis=(1, 2)) > 0).sum()) for frame in frames]
    assert heights[1] > heights[0]  # the panel has a line more, with the reason


def test_a_confidence_at_the_threshold_is_high_enough():
    """As on the inner split."""
    rows = (np.array([0.0]), np.array([1.0]), np.ones(1), np.zeros(1, bool))
    assert Timeline(("anger", "fear"), *rows, np.array([[0.6, 0.4]]), threshold=0.6).label.tolist() == [0]


def test_a_checkpoint_that_was_taken_away_brings_its_calibration(predicted, run, tmp_path):
    (tmp_path / "taken").mkdir()
    away = Path(shutil.copy(run / "checkpoints" / "last.ckpt", tmp_path / "taken" / "model.ckpt"))
    calibrated(tmp_path / "taken")
    assert predicted(away, "--no-video")[1]["settings"]["confidence"]["temperature"] == TEMPERATURE
    calibrated(run)
    inside = run / "checkpoints" / "last.ckpt"
    assert predicted(inside, "--no-video")[1]["settings"]["confidence"]["temperature"] == TEMPERATURE


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"epoch": 4}, "of the model after epoch 5, the checkpoint of epoch 1"),
        ({"class_names": ("anger", "fear")}, "of a model with the classes anger, fear, this one has anger, disgust"),
        ({"temperature": None, "problem": "there is no inner split"}, "there is no inner split"),
    ],
)
def test_a_temperature_of_another_model_is_not_used(predicted, run, shared, changes, reason, capsys):
    calibrated(run, **changes)
    _, content, said = predicted(run, "--no-video")
    assert content["settings"]["confidence"]["temperature"] is None
    assert reason in content["settings"]["confidence"]["about"]
    assert reason in said
    assert cli.main([*command(shared, run), "--abstain", "0.1"]) == 2
    assert f"--abstain 0.1 needs an inner split, on which a threshold is chosen: {reason}" in " ".join(
        capsys.readouterr().err.replace(f"{run}/calibration.json is ", "").split()
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--abstain", "1.5"], "--abstain 1.5: expected a share of errors between 0 and 1"),
        (["--abstain", "0.1", "--no-calibration"], "--abstain with --no-calibration"),
        (["--abstain", "0.01"], "200 clips of the inner split are too few for an error of at most 1 %"),
        (["--abstain", "0.0349"], "Choose a higher risk, or train with a larger inner split"),
    ],
)
def test_risks_that_cannot_be_met_are_refused_before_any_work(run, shared, arguments, message, capsys):
    assert cli.main([*command(shared, calibrated(run)), *arguments]) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_a_damaged_calibration_is_named(run, shared, capsys):
    (run / "calibration.json").write_text("{")
    assert cli.main(command(shared, run)) == 2
    assert "calibration.json is damaged" in capsys.readouterr().err
