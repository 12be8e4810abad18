"""Lightning's own commands on the run of an experiment: they evaluate its model, and destroy nothing that it left."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from fer_lightning.cli.main import main
from fer_lightning.evaluation.predictions import PredictionTable
from fer_lightning.experiments.request import ExperimentRequest
from fer_lightning.runs.folder import RunFolder
from tests.small_runs import TINY, train_on_dfew


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A folder with DFEW in small and a finished run without the report's figures."""
    return train_on_dfew(tmp_path_factory.mktemp("trained"), epochs=2)


@pytest.fixture
def run(trained, tmp_path, monkeypatch) -> RunFolder:
    """A copy of the run."""
    shutil.copytree(trained / "runs", tmp_path / "runs")
    monkeypatch.setenv("FER_DATA", str(trained / "data"))
    return ExperimentRequest("ceflnet_dfew").run


def contents(run: RunFolder) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}


@pytest.mark.parametrize("further", [(), ("--seed_everything", "7")])
def test_a_run_is_tested_with_its_own_model(run, further):
    """Another seed would draw other weights; the run's are taken, and its own tables stay beside the new ones."""
    before = contents(run)
    assert main(["test", "ceflnet_dfew", *TINY, *further]) == 0
    assert {path: content for path, content in contents(run).items() if path in before} == before
    own, found = (PredictionTable.read(each.predictions("test")) for each in (run, RunFolder(run.path / "test")))
    assert found.clip_id.tolist() == own.clip_id.tolist()
    np.testing.assert_allclose(found.probabilities, own.probabilities, atol=1e-6)


def test_a_run_is_validated_with_its_own_model(run):
    before = contents(run)
    assert main(["validate", "ceflnet_dfew", *TINY]) == 0
    assert {path: content for path, content in contents(run).items() if path in before} == before
    rows = (run.path / "validate" / "metrics.csv").read_text().splitlines()
    found = dict(zip(rows[0].split(","), rows[-1].split(","), strict=True))
    own = PredictionTable.read(run.predictions("inner")).correct.mean()
    assert float(found["inner/war"]) == pytest.approx(own)


def test_another_checkpoint_is_tested_beside_the_run(run, tmp_path):
    shutil.copytree(run.path, tmp_path / "other")
    before, other = contents(run), tmp_path / "other" / "checkpoints" / "last.ckpt"
    for name in (str(other), "last"):
        assert main(["test", "ceflnet_dfew", *TINY, "--ckpt_path", name]) == 0
        assert {path: content for path, content in contents(run).items() if path in before} == before
        assert RunFolder(run.path / "test").predictions("test").is_file()


@pytest.mark.parametrize("command", ["test", "validate"])
def test_a_model_that_is_not_trained_is_not_tested(trained, command, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FER_DATA", str(trained / "data"))
    assert main([command, "ceflnet_dfew", *TINY]) == 2
    said = capsys.readouterr().err
    assert f"{tmp_path / 'runs' / 'ceflnet_dfew' / '1-0' / 'checkpoints' / 'best.ckpt'}: there is no such file" in said
    assert "--ckpt_path" in said
    assert not (tmp_path / "runs").exists()


def test_a_run_that_has_begun_is_not_fitted_over(run, capsys):
    before = contents(run)
    assert main(["fit", "ceflnet_dfew", *TINY, "--trainer.max_epochs", "1"]) == 2
    assert f"{run.path} has begun" in capsys.readouterr().err
    run.report.unlink()
    before.pop(run.report)
    assert main(["fit", "ceflnet_dfew", *TINY, "--trainer.max_epochs", "1"]) == 2
    assert "`fer train` goes on with it" in capsys.readouterr().err
    assert contents(run) == before


def test_a_fit_leaves_what_the_other_commands_evaluate(trained, tmp_path, monkeypatch):
    monkeypatch.setenv("FER_DATA", str(trained / "data"))
    folder = ("--trainer.default_root_dir", str(tmp_path / "mine"))
    assert main(["fit", "ceflnet_dfew", *TINY, *folder, "--trainer.max_epochs", "1"]) == 0
    assert main(["test", "ceflnet_dfew", *TINY, *folder]) == 0
    assert RunFolder(tmp_path / "mine" / "test").predictions("test").is_file()
