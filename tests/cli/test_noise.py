"""Runs of landmark systems through the command line: an SVM from fit to report, and recognition under noise."""

import csv
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml
from sklearn.metrics import f1_score
from torch import nn

from fer_lightning.cli.main import main
from fer_lightning.evaluation.bootstrap import Interval, Intervals
from fer_lightning.evaluation.metrics import Scores
from fer_lightning.evaluation.predictions import PredictionTable
from fer_lightning.experiments.noise import Noise, NoisyScore, add_noise, build_data, noise_figure, noisy_tables
from fer_lightning.runs.folder import RunFolder
from fer_lightning.training.loading import load_trained
from tests.architectures.test_landmark_mlp import clips_of
from tests.experiments.test_experiments import MADE
from tests.layers.test_landmark_descriptors import faces
from tests.small_runs import read_rows

TINY = (
    *("--data.dataset", MADE),
    *("--data.num_workers", "0", "--data.batch_size", "4"),
    *("--trainer.precision", "32-true", "--trainer.accelerator", "cpu", "--trainer.devices", "1"),
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A finished run of an SVM and one of an MLP, on made faces of four people."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FER_DATA", str(folder / "data"))
        patch.setenv("FER_RUNS", str(folder / "runs"))
        assert main(["train", "lmed_cf_svm_synthetic", *TINY]) == 0
        assert main(["train", "lmed_synthetic", *TINY, "--trainer.max_epochs", "1"]) == 0
    return folder


@pytest.fixture
def data(runs, monkeypatch):
    monkeypatch.setenv("FER_DATA", str(runs / "data"))


def svm(runs) -> RunFolder:
    return RunFolder(runs / "runs" / "lmed_cf_svm_synthetic" / "1-0")


def mlp(runs) -> RunFolder:
    return RunFolder(runs / "runs" / "lmed_synthetic" / "1-0")


@pytest.mark.slow
def test_a_support_vector_machine_leaves_a_complete_run(runs):
    run = svm(runs)
    assert run.finished
    assert {path.name for path in run.checkpoints.iterdir()} == {"best.ckpt", "last.ckpt"}
    page = run.report.read_text()
    assert "Learning curves" in page
    assert "LandmarkSVM" in page
    rows = read_rows(run.path)
    assert not any("lr" in row for row in rows)  # nothing is learnt by steps
    assert [row["train/war"] for row in rows if row.get("train/war")]
    for split in ("inner", "test"):
        table = PredictionTable.read(run.predictions(split))
        assert len(table) in (7, 14)
        np.testing.assert_allclose(table.probabilities[~table.missing].sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("run_of", [svm, mlp])
def test_a_loaded_model_predicts_what_its_run_predicted(runs, data, run_of):
    table = PredictionTable.read(run_of(runs).predictions("test"))
    ((_, again),) = noisy_tables(run_of(runs), [Noise(0, 0)], 0)
    np.testing.assert_allclose(again.probabilities, table.probabilities, atol=1e-6)
    assert again.clip_id.tolist() == table.clip_id.tolist()


def test_the_cost_of_a_clip_is_that_of_all_its_views(runs):
    info, model = mlp(runs).read_info(), load_trained(mlp(runs).path).model
    of_a_view = sum(part.in_features * part.out_features for part in model.modules() if isinstance(part, nn.Linear))
    assert info.multiply_adds == 5 * of_a_view
    assert info.batch_size == 4, "clips, not views"


def test_the_support_vectors_travel_in_the_checkpoint(runs):
    machine = load_trained(svm(runs).path).model.machine
    assert 14 < len(machine.support) <= 14 * 5, "it is fitted to five windows of each training clip"
    assert machine.scaler.low.shape == (222,)


def test_noise_takes_the_place_of_that_with_which_a_run_was_evaluated(runs, tmp_path):
    config = mlp(runs).read_config()
    config["data"]["augmentation"] |= {"landmark_noise": 1.0, "noisy_evaluation": True}
    copy = RunFolder(tmp_path)
    copy.config.write_text(yaml.safe_dump(config))
    assert build_data(copy, 0).augmentation.evaluation(96) is None


def test_several_processes_are_refused_before_the_fit(data, monkeypatch, capsys):
    monkeypatch.setattr("pytorch_lightning.Trainer.world_size", 2)
    assert main(["train", "lmed_cf_svm_synthetic", *TINY, "--name", "two"]) == 2
    assert "fitted in one process, not in 2" in capsys.readouterr().err


def test_a_finished_support_vector_machine_is_not_fitted_again(runs, data, monkeypatch, capsys):
    monkeypatch.setenv("FER_RUNS", str(runs / "runs"))
    assert main(["train", "lmed_cf_svm_synthetic", *TINY]) == 0
    assert "is finished" in capsys.readouterr().out


def test_the_curve_is_written_as_table_and_figure(runs, data, tmp_path, capsys):
    command = ["noise", str(svm(runs).path), str(mlp(runs).path), "--sigmas", "0", "2", "--draws", "3"]
    assert main([*command, "--workers", "0", "--out", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "noise.png").read_bytes().startswith(b"\x89PNG")
    with (tmp_path / "out" / "noise.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["experiment"], row["sigma"], row["draws"]) for row in rows] == [
        (name, sigma, draws)
        for name in ("lmed_cf_svm_synthetic", "lmed_synthetic")
        for sigma, draws in (("0.0", "1"), ("2.0", "3"))
    ]
    for row, run in zip(rows[::2], (svm(runs), mlp(runs)), strict=True):
        table = PredictionTable.read(run.predictions("test"))
        assert float(row["war"]) == pytest.approx(table.correct.mean())
        assert int(row["clips"]) == len(table)
        macro = f1_score(table.emotion, table.predicted, labels=sorted(set(table.emotion)), average="macro")
        assert float(row["macro_f1"]) == pytest.approx(macro)
        assert {"macro_f1_low", "macro_f1_high", "std_accuracy"} <= row.keys()
        assert "std_accuracy_low" not in row, "a metric without intervals has no columns of them"
    tables = noisy_tables(mlp(runs), [Noise(2, seed) for seed in range(3)], 0)
    expected = np.mean([table.correct.mean() for _, table in tables])
    assert float(rows[3]["war"]) == pytest.approx(expected)
    said = capsys.readouterr().out
    assert "sigma 2" in said
    assert "N = 7" in said


def test_models_that_see_no_landmarks_are_refused(runs, data, capsys, monkeypatch):
    monkeypatch.setattr("fer_lightning.LandmarkSVM.inputs", frozenset({"face"}))
    assert main(["noise", str(svm(runs).path)]) == 2
    assert "expected a model of landmarks; LandmarkSVM reads face" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--draws", "0"], ["--sigmas", "-1"]])
def test_noise_that_cannot_be_is_refused(runs, arguments, capsys):
    assert main(["noise", str(svm(runs).path), *arguments]) == 2
    assert "expected at least 1 draw and no negative sigma" in capsys.readouterr().err


def test_a_folder_that_is_no_run_is_refused(tmp_path, capsys):
    assert main(["noise", str(tmp_path)]) == 2
    assert "not evaluated yet" in capsys.readouterr().err


def noise_of(batch, noise, size=224):
    return add_noise(batch, noise, size).landmarks - batch.landmarks


def test_noise_has_its_strength_in_pixels_of_a_crop_of_224():
    batch = clips_of(faces(40))
    drawn = noise_of(batch, Noise(2.0, 0))
    assert float(drawn.mean()) == pytest.approx(0, abs=0.02)
    for axis in range(3):
        assert float(drawn[..., axis].std()) == pytest.approx(2, rel=0.02)
    small = noise_of(batch, Noise(2.0, 0), size=56)
    torch.testing.assert_close(4 * small, drawn)
    torch.testing.assert_close(noise_of(batch, Noise(0.5, 0)), drawn / 4)
    assert add_noise(batch, Noise(0.0, 3)) is batch


def test_noise_depends_on_seed_clip_and_frame_alone():
    batch = clips_of(faces(4))
    drawn = noise_of(batch, Noise(1.0, 0))
    turned = replace(
        batch,
        clip_id=batch.clip_id[::-1],
        landmarks=batch.landmarks.flip(0),
        frame_index=batch.frame_index.flip(0),
    )
    torch.testing.assert_close(noise_of(turned, Noise(1.0, 0)).flip(0), drawn)
    assert not torch.allclose(noise_of(batch, Noise(1.0, 1)), drawn)
    assert not torch.allclose(drawn[0], drawn[1])
    twice = replace(batch, frame_index=batch.frame_index // 2)
    repeated = noise_of(twice, Noise(1.0, 0))
    torch.testing.assert_close(repeated[:, ::2], repeated[:, 1::2])
    assert not torch.allclose(repeated[:, 0], repeated[:, 2])


def test_frames_without_landmarks_stay_without():
    batch = clips_of(faces(2))
    batch.landmarks[0, 3] = float("nan")
    assert add_noise(batch, Noise(1.0, 0)).landmarks.isnan().all(dim=-1).all(dim=-1).nonzero().tolist() == [[0, 3]]


def right_of_1000(right):
    return Scores(np.array([[round(right), 1000 - round(right)]]))


def with_war(low, high):
    return Intervals({"war": Interval(low, high)}, 0.95, 10, "subject")


def test_the_figure_has_a_curve_for_each_experiment():
    scores = [
        NoisyScore(name, 0, 10, sigma, 5, 309, right_of_1000(1000 * war - 50 * sigma), with_war(war - 0.1, war))
        for name, war in (("lmed_cf_ckplus", 0.92), ("lmed_ckplus", 0.8))
        for sigma in (0.0, 1.5, 3.0)
    ]
    (axes,) = noise_figure(scores).axes
    assert [line.get_label() for line in axes.lines] == [
        "lmed_cf_ckplus, seed 0 (N = 309)",
        "lmed_ckplus, seed 0 (N = 309)",
    ]
    assert axes.lines[0].get_ydata().tolist() == pytest.approx([0.92, 0.845, 0.77])
    bands = [band.get_paths()[0].vertices[:, 1] for band in axes.collections]
    assert [(band.min(), band.max()) for band in bands] == [pytest.approx((0.82, 0.92)), pytest.approx((0.7, 0.8))]
    assert "pixels of a crop of 224" in axes.get_xlabel()
