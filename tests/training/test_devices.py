"""The number of processes and of accumulated batches changes no result of a training, resumed or not."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from pytorch_lightning.cli import LightningCLI
from timm.models.densenet import densenet121
from torch.multiprocessing.spawn import ProcessRaisedException
from torch.nn import SyncBatchNorm

from fer_lightning import LandmarkMLP
from fer_lightning.cli.main import main
from fer_lightning.evaluation.other_epochs import watched_file
from fer_lightning.evaluation.predictions import PredictionTable
from fer_lightning.experiments import fit, lightning_cli
from fer_lightning.experiments.configuration import read_model
from fer_lightning.experiments.lightning_cli import FerCLI
from fer_lightning.experiments.request import ExperimentRequest
from fer_lightning.experiments.resume import refuse_other_settings
from fer_lightning.runs.folder import RunFolder
from fer_lightning.training.batch_norm import SynchronizedBatchNorm, statistics_note, trained_layers
from fer_lightning.training.checkpoints import AtomicCheckpointIO
from tests.experiments.test_experiments import MADE
from tests.small_runs import read_rows, table_epochs

TOLERANCE = 1e-4
"""Of probabilities after nine steps: sums of gradients in another order differ in their last digits, which grow."""


class FrozenNorms(LandmarkMLP):
    """The network without statistics of batches: on processors, each process would have its own."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.freeze(*(layer for _, layer in trained_layers(self)))


COMMAND = (
    *("train", "lmed_synthetic", "--data.dataset", MADE),
    *("--data.num_workers", "0", "--data.batch_size", "4", "--data.augmentation.rotation", "10"),
    *("--model", "tests.training.test_devices.FrozenNorms", "--model.init_args.dropout", "0"),
    *("--trainer.max_epochs", "3", "--trainer.accelerator", "cpu"),
    *("--trainer.logger", '[{"class_path": "fer_lightning.CurvesLogger", "init_args": {"save_dir": "."}}]'),
)
FULL = ("--trainer.precision", "32-true")
SAVE = AtomicCheckpointIO.save_checkpoint


def on(processes: int, accumulated: int = 1) -> tuple[str, ...]:
    strategy = "ddp_fork" if processes > 1 else "auto"
    return (
        *("--trainer.devices", str(processes), "--trainer.strategy", strategy),
        *("--trainer.accumulate_grad_batches", str(accumulated)),
    )


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> RunFolder:
    """A run in one process, whose data the other runs share."""
    folder = tmp_path_factory.mktemp("alone")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FER_DATA", str(folder / "data"))
        patch.setenv("FER_RUNS", str(folder / "runs"))
        patch.setattr(fit, "write_results", lambda *_: None)
        assert main([*COMMAND, *FULL, *on(1)]) == 0
        return ExperimentRequest("lmed_synthetic").run


@pytest.fixture(autouse=True)
def data(alone, monkeypatch):
    monkeypatch.setenv("FER_DATA", str(alone.path.parents[2] / "data"))
    monkeypatch.setattr(fit, "write_results", lambda *_: None)  # the report's figures take longer than the trainings


def own_run() -> RunFolder:
    return RunFolder(Path(os.environ["FER_RUNS"], "lmed_synthetic", "1-0"))


def refuse_differences(run: RunFolder, expected: RunFolder):
    refuse_other_results(run, expected)
    for epoch in range(3):  # what other epochs would have given is watched on all processes
        ours, theirs = (np.load(watched_file(each, epoch)) for each in (run, expected))
        np.testing.assert_allclose(ours, theirs, atol=TOLERANCE)
        assert np.isnan(ours).any(axis=1).sum() == 1


def refuse_other_results(run: RunFolder, expected: RunFolder):
    for split, count in (("inner", 7), ("test", 7)):  # of the seven to report, one has no face
        ours, theirs = (PredictionTable.read(each.predictions(split)) for each in (run, expected))
        assert len(ours) == count
        assert ours.clip_id.tolist() == theirs.clip_id.tolist()
        assert ours.reason.tolist() == theirs.reason.tolist()
        np.testing.assert_allclose(ours.probabilities, theirs.probabilities, atol=TOLERANCE)
    for curve in ("train/loss", "inner/loss", "train/war", "inner/war"):
        found, there = (table_epochs(read_rows(each.path), curve) for each in (run, expected))
        assert found == pytest.approx(there, abs=TOLERANCE)
        assert found.keys() == {0, 1, 2}


FOUR = (
    pytest.param(4, 1, marks=pytest.mark.slow),
    pytest.param(1, 4, marks=pytest.mark.slow),
    pytest.param(2, 2, marks=pytest.mark.slow),
)


@pytest.mark.parametrize(("processes", "accumulated"), [(2, 1), (1, 2), *FOUR])
def test_devices_and_accumulation_change_no_result(alone, processes, accumulated):
    assert main([*COMMAND, *FULL, *on(processes, accumulated)]) == 0
    refuse_differences(own_run(), alone)


@pytest.mark.parametrize(
    ("first", "then"),
    [((2, 1), (1, 1)), pytest.param((1, 1), (2, 1)), pytest.param((1, 2), (4, 1), marks=pytest.mark.slow)],
)
def test_a_run_goes_on_with_another_number_of_devices(alone, monkeypatch, capsys, first, then):
    def stops(self, checkpoint, path, storage_options=None):
        SAVE(self, checkpoint, path, storage_options)
        if Path(path).name == "last.ckpt" and checkpoint["epoch"] == 1:
            raise OSError("the machine is switched off")

    with monkeypatch.context() as patch:
        patch.setattr(AtomicCheckpointIO, "save_checkpoint", stops)
        with pytest.raises((OSError, ProcessRaisedException)):
            main([*COMMAND, *FULL, *on(*first)])
    assert not own_run().predictions("test").exists()
    assert main([*COMMAND, *FULL, *on(*then)]) == 0
    assert "goes on after epoch 2" in capsys.readouterr().out
    refuse_differences(own_run(), alone)


def begun(*arguments: str) -> RunFolder:
    """A run that has its first checkpoint."""
    cli = FerCLI([*ExperimentRequest("lmed_synthetic", arguments=(*COMMAND[2:], *arguments)).command_line()], run=False)
    run = own_run()
    run.checkpoints.mkdir(parents=True)
    (run.checkpoints / "last.ckpt").touch()
    run.config.write_text(yaml.safe_dump(cli.plain_config()))
    return run


def test_a_remainder_is_refused_before_anything_is_prepared(monkeypatch, capsys):
    monkeypatch.setenv("FER_DATA", str(own_run().path))
    assert main([*COMMAND, *FULL, *on(2), "--data.batch_size", "5"]) == 2
    assert "data.batch_size = 5 is the batch of all devices together" in capsys.readouterr().err
    assert not own_run().path.exists()


def test_with_a_batch_of_each_device_their_number_decides_the_result(capsys):
    each = ("--data.per_device_batch_size", "2")
    run = begun(*FULL, *on(2), *each)
    assert run.read_config()["data"]["batch_size"] == 4
    assert main([*COMMAND, *FULL, *on(1), *each]) == 2
    assert "data.batch_size: 4 there, 2 now" in capsys.readouterr().err
    assert main([*COMMAND, *FULL, *on(2), "--data.batch_size", "4"]) == 2
    assert "data.per_device_batch_size: 2 there, None now" in capsys.readouterr().err
    refuse_other_settings(run, read_model(ExperimentRequest("lmed_synthetic", arguments=(*COMMAND[2:], *FULL, *each))))


@pytest.mark.parametrize("stated", [(), FULL])
def test_another_precision_is_another_run_also_where_the_machine_chooses_it(monkeypatch, capsys, stated):
    run = begun("--trainer.precision", "bf16-mixed")
    monkeypatch.setattr(lightning_cli, "fastest_precision", lambda: "32-true")
    assert main([*COMMAND, *stated]) == 2
    said = capsys.readouterr().err
    assert "trainer.precision: bf16-mixed there, 32-true now" in said
    assert "Go on with --trainer.precision bf16-mixed, or" in said

    monkeypatch.setattr(fit, "print_result", lambda run: None)
    run.report.parent.mkdir()
    run.report.touch()  # a finished run is as it is asked for if any precision will do
    assert main([*COMMAND, *stated]) == (2 if stated else 0)
    asked = read_model(ExperimentRequest("lmed_synthetic", arguments=(*COMMAND[2:], *stated)))
    assert asked["trainer"]["precision"] == (stated[1] if stated else None)


def test_where_crops_are_transformed_is_recorded_and_decides_the_result(capsys):
    """The machine chooses; without a GPU, the workers do it, as those of earlier versions did."""
    run = begun(*FULL)
    now = run.read_config()
    assert now["data"]["transform_on"] == "workers"
    earlier = {**now, "data": {key: value for key, value in now["data"].items() if key != "transform_on"}}
    run.config.write_text(yaml.safe_dump(earlier))
    refuse_other_settings(run, now)
    assert main([*COMMAND, *FULL, "--data.transform_on", "device"]) == 2
    said = capsys.readouterr().err
    assert "data.transform_on: workers there, device now" in said
    assert "Go on with --data.transform_on workers, or" in said
    asked = read_model(ExperimentRequest("lmed_synthetic", arguments=(*COMMAND[2:], *FULL)))
    assert asked["data"]["transform_on"] is None
    refuse_other_settings(run, asked)


def test_the_precision_is_compared_as_it_is_computed():
    assert begun("--trainer.precision", "16-mixed").read_config()["trainer"]["precision"] == "bf16-mixed", "on a CPU"


def test_runs_of_versions_with_a_batch_for_each_process_keep_theirs():
    """Four accumulated batches of 4 on two devices were 32 clips."""
    run = begun(*FULL)
    now = run.read_config()
    before = {**now, "data": {k: v for k, v in now["data"].items() if k != "per_device_batch_size"}}
    before["trainer"] = now["trainer"] | {"devices": "2", "accumulate_grad_batches": 4}
    run.config.write_text(yaml.safe_dump(before))
    with pytest.raises(ValueError, match=r"data.batch_size: 32 there, 4 now"):
        refuse_other_settings(run, now)
    refuse_other_settings(run, {**now, "data": now["data"] | {"batch_size": 32}})


def test_synchronised_layers_compute_what_the_layers_did():
    """timm's layers hold their activation, which torch's conversion and Lightning's would lose."""
    torch.manual_seed(0)
    model, images = densenet121(num_classes=3, growth_rate=4, block_config=(2, 2)), torch.randn(4, 3, 32, 32)
    frozen = model.features.norm0.requires_grad_(False)
    expected, names = model(images), set(model.state_dict())
    plugin = SynchronizedBatchNorm()
    assert plugin.revert(plugin.apply(model)) is model
    torch.testing.assert_close(model(images), expected)
    assert set(model.state_dict()) == names
    assert model.features.norm0 is frozen
    assert len(trained_layers(model)) == len([each for each in model.modules() if isinstance(each, SyncBatchNorm)]) > 5


def test_synchronisation_is_for_gpus_and_the_statistics_of_parts_are_said(monkeypatch, capsys):
    def cli(*arguments: str) -> FerCLI:
        return FerCLI(
            ExperimentRequest("lmed_synthetic", arguments=(*COMMAND[2:], *arguments)).command_line(), run=False
        )

    assert not cli().own_config.trainer.sync_batchnorm
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(lightning_cli, "fastest_precision", lambda: "32-true")
    made: list[object] = []
    monkeypatch.setattr(LightningCLI, "instantiate_trainer", lambda self, plugins: made.extend(plugins))
    with suppress(AttributeError):  # there is no trainer
        cli("--trainer.accelerator", "auto")
    assert any(isinstance(each, SynchronizedBatchNorm) for each in made)

    network = torch.nn.Sequential(torch.nn.BatchNorm1d(2), torch.nn.BatchNorm1d(2))
    assert statistics_note(network, 8, 4, 1, synchronized=True) == ""
    assert "2 trained layers have statistics over 2 of the 8 clips" in statistics_note(network, 8, 4, 1, False)
    assert "over 4 of the 8 clips" in statistics_note(network, 8, 4, 2, synchronized=True)
    assert statistics_note(network.requires_grad_(False), 8, 4, 1, False) == ""
