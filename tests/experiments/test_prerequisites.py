"""What a run starts from on the same data has the run's clips and folds, and has seen nobody who is tested."""

import shutil
from pathlib import Path

import pytest

from data_modules.datasets import RAVDESS, RAVDESSAudio
from data_modules.manifest import write_manifest
from fer_lightning.cli.main import main
from fer_lightning.cli.train import parse
from fer_lightning.ensemble.order import steps
from fer_lightning.experiments import fit
from fer_lightning.experiments.lightning_cli import VideoDataModule
from fer_lightning.experiments.request import ExperimentRequest

RUN = ("bimodal_resnet18_ravdess", "--size", "small", "--fold", "2")
STILLS = "bimodal_resnet18_frames_ravdess"
CONSECUTIVE = ("--data.dataset.init_args.protocol", "consecutive")


class BegunError(Exception):
    """The run itself would be trained."""


@pytest.fixture
def recordings(tmp_path, monkeypatch) -> Path:
    """The names of RAVDESS's videos: eight of each actor. Nothing is prepared, and training is only noted."""
    for actor in range(1, 25):
        folder = tmp_path / "data" / "ravdess" / f"Actor_{actor:02d}"
        folder.mkdir(parents=True)
        for emotion in range(1, 9):
            (folder / f"01-01-{emotion:02d}-01-01-01-{actor:02d}.mp4").write_bytes(b"x")
    monkeypatch.setattr(VideoDataModule, "prepare_data", lambda self: None)
    return tmp_path / "data" / "ravdess"


@pytest.fixture
def trained(monkeypatch) -> list[list[str]]:
    """The command lines that would train what is needed; then the run itself is stopped."""
    commands: list[list[str]] = []
    monkeypatch.setattr(fit.subprocess, "run", lambda command, **_: commands.append(command[4:]))

    def stop(run):
        raise BegunError

    monkeypatch.setattr(fit, "run_lock", stop)
    return commands


def begin(*arguments: str) -> None:
    """Trains what a run needs, until the run itself would be trained."""
    with pytest.raises(BegunError):
        fit.fit_experiment(parse(list(arguments)))


def finish(request: ExperimentRequest, dataset: RAVDESS) -> None:
    """Has a run be finished that was trained on some data."""
    request.run.report.parent.mkdir(parents=True)
    write_manifest(request.run.clips, dataset.records())
    request.run.report.touch()


def needed() -> ExperimentRequest:
    return ExperimentRequest(STILLS, size="small", fold="2")


def test_what_is_trained_first_gets_the_arguments_of_clips_and_folds(recordings, trained, tmp_path):
    moved = shutil.move(recordings, tmp_path / "elsewhere")
    own = (*CONSECUTIVE, "--data.dataset.folds", "4", "--data.dataset.faces.margin", "0.4", "--data.num_workers", "0")
    begin(*RUN, "--root", str(moved), *own)
    (command,) = trained
    asked = parse(command)
    assert (asked.experiment, asked.fold) == (STILLS, "2")
    stated = dict(zip(asked.arguments[::2], asked.arguments[1::2], strict=True))
    start = "--data.dataset.init_args."
    assert stated == {f"{start}root": str(moved), f"{start}protocol": "consecutive", f"{start}folds": "4"}


def test_on_the_datas_own_folds_nothing_is_added(recordings, trained):
    begin(*RUN)
    assert trained == [[STILLS, "--size", "small", "--fold", "2", "--seed", "0"]]


def test_on_a_cluster_they_are_the_same():
    """Runs on other data get none."""
    plan = steps([parse([*RUN, *CONSECUTIVE])])
    found = plan[needed().run.path].request
    assert found.arguments == CONSECUTIVE
    others = [step.request for step in plan.values() if step.request.dataset != "ravdess"]
    assert others
    assert not any(request.arguments for request in others)


def test_a_finished_run_of_other_folds_is_refused(recordings, trained, capsys):
    """The data set's own folds have tested people of other folds among those that are trained on."""
    finish(needed(), RAVDESS(fold="2"))
    assert main(["train", *RUN, *CONSECUTIVE]) == 2
    said = capsys.readouterr().err
    assert f"cannot start from {needed().run.path}" in said
    assert "Traceback" not in said
    assert trained == []
    begin(*RUN)


def test_a_finished_run_of_the_same_folds_in_another_place_is_taken(recordings, trained, tmp_path):
    finish(needed(), RAVDESS(fold="2"))
    moved = shutil.move(recordings, tmp_path / "elsewhere")
    begin(*RUN, "--root", str(moved))


def test_another_fold_that_is_named_is_refused_before_it_is_trained(recordings, trained, capsys):
    weights = ("--model.init_args.start_from", f"run:{STILLS}/1-0")
    assert main(["train", STILLS, "--fold", "2", "--name", "mine", *weights]) == 2
    assert f"cannot start from {ExperimentRequest(STILLS).run.path}" in capsys.readouterr().err
    assert trained == []


def test_a_variant_is_told_what_it_must_share(recordings, trained, capsys):
    weights = ("--model.init_args.start_from", f"run:{STILLS}.mine")
    assert main(["train", STILLS, "--fold", "2", "--name", "again", *CONSECUTIVE, *weights]) == 2
    said = capsys.readouterr().err
    assert f"fer train {STILLS} --name mine --fold 2 --seed 0 {' '.join(CONSECUTIVE)} and what it changes" in said


def test_a_finished_run_that_has_heard_the_tested_people_is_refused(recordings, trained, tmp_path, capsys):
    """The folds of RAVDESS's sound alone are those of its videos, but in tables it has others."""
    for actor in range(1, 25):
        for emotion in range(1, 9):
            name = f"03-01-{emotion:02d}-01-01-01-{actor:02d}.wav"
            path = tmp_path / "data" / "ravdess_audio" / f"Actor_{actor:02d}" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")
    voices = ExperimentRequest("log_mel_cnn_ravdess_audio", fold="2")
    start = ("log_mel_cnn_ravdess", "--fold", "2", "--name", "a")
    weights = ("--model.init_args.start_from", f"run:{voices.experiment}")
    finish(voices, RAVDESSAudio(fold="2", protocol="consecutive"))
    assert main(["train", *start, *weights]) == 2
    assert f"cannot start from {voices.run.path}" in capsys.readouterr().err
    write_manifest(voices.run.clips, RAVDESSAudio(fold="2").records())
    begin(*start, *weights)
