"""Whether a run may go on with the data that is there: what the data is counts, not where it lies."""

import csv
import shutil
from pathlib import Path

import pytest
import yaml

from data_modules.utils.files import atomic_write
from fer_lightning.cli.main import main
from fer_lightning.experiments import fit
from fer_lightning.experiments.request import ExperimentRequest
from fer_lightning.runs.folder import RunFolder
from fer_lightning.tables import cross_validation as protocol
from tests.small_runs import experiment, train_on_dfew

ONE_EPOCH = experiment("--trainer.max_epochs", "1")
ROOT = "--data.dataset.init_args.root"


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A folder with DFEW in small, its faces, and a finished run without the report's figures."""
    return train_on_dfew(tmp_path_factory.mktemp("trained"), epochs=1)


@pytest.fixture
def run(trained, tmp_path, monkeypatch) -> RunFolder:
    """A copy of the run, and a copy of its data in `elsewhere`."""
    shutil.copytree(trained / "runs", tmp_path / "runs")
    shutil.copytree(trained / "data" / "dfew", tmp_path / "elsewhere" / "dfew")
    monkeypatch.setenv("FER_DATA", str(trained / "data"))
    monkeypatch.setenv("FER_STORE", str(trained / "data" / "store"))
    monkeypatch.setattr(fit, "write_report", lambda run: atomic_write(run.report, b"report"))
    return ExperimentRequest("ceflnet_dfew").run


@pytest.fixture
def labels(tmp_path) -> Path:
    """The table of the copy's training clips."""
    (path,) = (tmp_path / "elsewhere" / "dfew").rglob("train*/set_1.csv")
    return path


def asked_elsewhere(tmp_path, *further: str) -> list[str]:
    return [*ONE_EPOCH, ROOT, str(tmp_path / "elsewhere" / "dfew"), *further]


def rows_of(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


def write_rows(path: Path, rows: list[list[str]]) -> None:
    path.write_text("".join(",".join(row) + "\n" for row in rows))


def test_a_run_keeps_its_clips_without_their_paths(run):
    rows = rows_of(run.clips)
    kept = [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]
    assert [row["clip_id"] for row in kept] == [f"{number:05d}" for number in range(1, 22)]
    assert [row["split"] for row in kept] == ["train"] * 14 + ["test"] * 7
    assert {row["path"] for row in kept} == {""}
    assert "elsewhere" not in run.clips.read_text()


def test_the_same_clips_in_another_place_are_the_same_data(run, tmp_path, capsys):
    assert main(asked_elsewhere(tmp_path)) == 0
    assert f"{run.path} is finished" in capsys.readouterr().out
    run.report.unlink()
    assert main(asked_elsewhere(tmp_path)) == 0
    assert "goes on after epoch 1" in capsys.readouterr().out


@pytest.mark.parametrize("finished", [True, False])
def test_fewer_clips_are_refused(run, tmp_path, labels, capsys, finished):
    if not finished:
        run.report.unlink()
    rows = rows_of(labels)
    write_rows(labels, rows[:-4])
    assert main(asked_elsewhere(tmp_path)) == 2
    said = capsys.readouterr().err
    assert "begun with other data: 21 clips there, 17 now in" in said
    assert "only there: 4 clips, such as 00011, 00012, 00013\n" in said
    assert "--name" in said
    assert "Traceback" not in said


def test_another_label_is_refused(run, tmp_path, labels, capsys):
    rows = rows_of(labels)
    assert rows[1] == ["00001", "2"]
    rows[1] = ["00001", "4"]
    write_rows(labels, rows)
    assert main(asked_elsewhere(tmp_path)) == 2
    assert "another emotion: 1 clip, such as 00001 (sadness there, anger now)" in capsys.readouterr().err


def test_a_clip_on_the_other_side_is_refused(run, tmp_path, labels, capsys):
    (tested,) = (tmp_path / "elsewhere" / "dfew").rglob("test*/set_1.csv")
    rows = rows_of(labels)
    write_rows(tested, [*rows_of(tested), rows[2]])
    write_rows(labels, [*rows[:2], *rows[3:]])
    assert main(asked_elsewhere(tmp_path)) == 2
    assert "another split: 1 clip, such as 00002 (train there, test now)" in capsys.readouterr().err


def test_cross_validation_does_not_pool_runs_of_other_data(run, tmp_path, labels, monkeypatch, capsys):
    monkeypatch.setattr(protocol, "train_all", lambda requests: pytest.fail("something was trained"))
    write_rows(labels, rows_of(labels)[:-1])
    command = ["cv", *asked_elsewhere(tmp_path)[1:], "--folds", "1"]
    assert main(command) == 2
    assert "only there: 1 clip, such as 00014" in capsys.readouterr().err


def test_a_run_of_a_version_that_kept_no_list_is_taken_as_it_is(run, tmp_path, labels, capsys):
    run.clips.unlink()
    write_rows(labels, rows_of(labels)[:-1])
    assert main(asked_elsewhere(tmp_path)) == 0
    assert "is finished" in capsys.readouterr().out


def test_settings_of_a_part_that_a_run_did_not_know_are_its_defaults(run, tmp_path, capsys):
    config = yaml.safe_load(run.config.read_text())
    del config["data"]["dataset"]["init_args"]["faces"]["tracking"]
    run.config.write_text(yaml.safe_dump(config))
    assert main(asked_elsewhere(tmp_path)) == 0
    assert "is finished" in capsys.readouterr().out
    assert main(asked_elsewhere(tmp_path, "--data.dataset.init_args.faces.tracking.k", "3")) == 2
    assert "tracking" in capsys.readouterr().err


def test_a_finished_run_needs_no_data(run, tmp_path, capsys):
    shutil.rmtree(tmp_path / "elsewhere")
    assert main(asked_elsewhere(tmp_path)) == 0
    run.report.unlink()
    assert main(asked_elsewhere(tmp_path)) == 2
    assert "looked for" in capsys.readouterr().err


def test_data_may_change_before_the_first_checkpoint(run, tmp_path, labels):
    run.report.unlink()
    shutil.rmtree(run.checkpoints)
    write_rows(labels, rows_of(labels)[:-1])
    assert main(asked_elsewhere(tmp_path)) == 0
    assert len(rows_of(run.clips)) == 21
