"""`fer train` and `fer cv`: fold, seed and folder of a run are those of its name, however its settings are stated."""

import pytest
import yaml

from fer_lightning.cli.main import main
from fer_lightning.experiments import fit
from fer_lightning.tables import cross_validation

FOLD, SEED, FOLDER = "--fold", "--seed", "FER_RUNS"


@pytest.fixture(autouse=True)
def nothing_is_trained(monkeypatch):
    for module in (fit, cross_validation):
        monkeypatch.setattr(module, "prepare_data_and_weights", lambda *_: pytest.fail("it was begun"))


@pytest.mark.parametrize("command", ["train", "cv"])
@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (["--data.dataset.init_args.fold", "2"], FOLD),
        (["--data.dataset.fold=2"], FOLD),
        (["--data.dataset.init_args", '{"fold": "2"}'], FOLD),
        (["--seed_everything", "5"], SEED),
        (["--data.seed", "5"], "seed"),
        (["--trainer.default_root_dir", "elsewhere"], FOLDER),
    ],
)
def test_settings_that_would_make_it_another_run_are_refused(command, arguments, advice, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([command, "ceflnet_ravdess", *arguments]) == 2
    said = capsys.readouterr().err
    assert advice in said
    assert "Traceback" not in said
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_settings_makes_it_no_other_run_either(tmp_path, monkeypatch, capsys):
    """Such as the configuration of another run."""
    monkeypatch.chdir(tmp_path)
    for settings, advice in (
        ({"data": {"dataset": {"init_args": {"fold": "2"}}}}, FOLD),
        ({"seed_everything": 5}, SEED),
        ({"trainer": {"default_root_dir": "elsewhere"}}, FOLDER),
    ):
        (tmp_path / "mine.yaml").write_text(yaml.safe_dump(settings))
        assert main(["train", "ceflnet_ravdess", "--config", "mine.yaml"]) == 2
        assert advice in capsys.readouterr().err


def test_members_of_an_ensemble_are_no_other_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "voices_fusion_ravdess", "--seed_everything", "5"]) == 2
    assert SEED in capsys.readouterr().err
