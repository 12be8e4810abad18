"""Two processes on the CPU against one: the same clips, counted once each."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as L
import torch

from data_modules.labels import SEVEN
from data_modules.loading.datamodule import EVALUATED
from fer_lightning import CEFLNet
from fer_lightning.evaluation.clip_outputs import ClipOutputs
from fer_lightning.evaluation.metrics import METRICS, scores
from fer_lightning.evaluation.predictions import PredictionTable
from fer_lightning.experiments.lightning_cli import FerCLI
from fer_lightning.experiments.request import ExperimentRequest
from fer_lightning.runs.folder import RunFolder
from tests.fakes import write_dfew
from tests.models import small_backbone
from tests.small_runs import TINY, MadeFaces, made_data, read_rows, table_epochs

SPY = """
import json, os, sys
from fer_lightning.training.classifier import VideoClassifier
from fer_lightning.cli.main import main

step = VideoClassifier.training_step

def training_step(self, batch, batch_idx):
    with open(f"{os.environ['SEEN']}-{self.global_rank}", "a") as file:
        row = [self.current_epoch, batch_idx, list(batch.clip_id), batch.label.tolist()]
        file.write(json.dumps(row) + "\\n")
    return step(self, batch, batch_idx)

VideoClassifier.training_step = training_step
if __name__ == "__main__":
    sys.exit(main())
"""
TWO = ("--trainer.devices", "2", "--trainer.strategy", "ddp", "--trainer.max_epochs", "2", "--data.batch_size", "14")


def run_two(start: list[str], arguments: tuple[str, ...], **variables: str) -> str:
    """Runs the command line in two processes; both are ended if they hang."""
    command = [sys.executable, *start, "train", "ceflnet_dfew", *TINY, *TWO, *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])} | variables
    process = subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        said, _ = process.communicate(timeout=180)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        pytest.fail(f"two processes hang: {process.communicate()[0]}")
    assert process.returncode == 0, said
    return said


def evaluated_alone(run: RunFolder, checkpoint: str, folder: Path) -> RunFolder:
    """The tables that one process makes of a run's checkpoint."""
    arguments = (*TINY, "--data.balanced", "true", "--data.batch_size", "4")
    cli = FerCLI(
        ExperimentRequest(
            "ceflnet_dfew", arguments=(*arguments, "--trainer.default_root_dir", str(folder))
        ).command_line(),
        run=False,
    )
    path = str(run.checkpoints / checkpoint)
    cli.trainer.test(cli.model, cli.datamodule, ckpt_path=path, weights_only=True, verbose=False)
    return RunFolder(folder)


def test_two_processes_count_every_clip_once(tmp_path):
    """Neither split has a multiple of two or of the batch size; two clips have nothing to see."""
    dataset = MadeFaces(faceless=("s0-anger", "s0-fear"))
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    options = {"use_distributed_sampler": False, "default_root_dir": tmp_path, **quiet}
    torch.manual_seed(0)
    model, found = CEFLNet(SEVEN, small_backbone(), num_clips=2), []
    for devices, strategy in ((2, "ddp_fork"), (1, "auto")):
        trainer, data = L.Trainer(devices=devices, strategy=strategy, **options), made_data(dataset, batch_size=4)
        trainer.test(model, data, verbose=False)
        found.append({name: float(value) for name, value in trainer.callback_metrics.items()})
    assert all(len([clip for clip in data.split(split) if clip.usable]) % 2 for split in EVALUATED)
    assert len(data.without_input("test")) == 2
    assert found[0] == pytest.approx(found[1], abs=1e-6)
    assert {"test/loss", "chosen/loss", *(f"test/{metric.name}" for metric in METRICS)} <= found[0].keys()


@pytest.mark.slow
def test_two_processes_make_the_tables_of_one(tmp_path):
    """26 clips with a face of 27 to train on and to choose with, 11 to report: no split is a multiple of two."""
    write_dfew(tmp_path / "data", train=27, test=11)
    (tmp_path / "spy.py").write_text(SPY)
    said = run_two(
        [str(tmp_path / "spy.py")],
        ("--data.balanced", "true"),
        SEEN=str(tmp_path / "seen"),
        WANDB_MODE="offline",
    )
    run = RunFolder(tmp_path / "runs" / "ceflnet_dfew" / "1-0")
    assert run.finished
    for once in ("report:", "\nWAR ", "CEFLNet on dfew"):
        assert said.count(once) == 1, said
    assert "sync_dist" not in said
    assert len(list((run.path / "wandb").glob("offline-run-*"))) == 1

    alone = evaluated_alone(run, "best.ckpt", tmp_path / "best")
    last_row = read_rows(run.path)[-1]
    for split, column in (("inner", "chosen"), ("test", "test")):
        ours, theirs = (PredictionTable.read(folder.predictions(split)) for folder in (run, alone))
        assert len(ours) % 2 == 1
        assert ours.clip_id.tolist() == theirs.clip_id.tolist()
        np.testing.assert_allclose(ours.probabilities, theirs.probabilities, atol=1e-5)
        assert ours.reason.tolist() == theirs.reason.tolist()
        for metric in METRICS:
            assert float(last_row[f"{column}/{metric.name}"]) == pytest.approx(scores(ours)[metric], abs=1e-6)
        seen = [ClipOutputs.read(folder.outputs(split)) for folder in (run, alone)]
        assert seen[0].clip_id == seen[1].clip_id
        np.testing.assert_allclose(seen[0].feature, seen[1].feature, atol=1e-4)

    # What was counted over both processes within the training is what one process counts at its end.
    final = evaluated_alone(run, "last.ckpt", tmp_path / "last")
    inner = scores(PredictionTable.read(final.predictions("inner")))
    rows = read_rows(run.path)
    for metric in METRICS:
        assert table_epochs(rows, f"inner/{metric.name}")[1] == pytest.approx(inner[metric], abs=1e-6)
    labels = PredictionTable.read(final.predictions("inner"))
    known = ~labels.missing
    loss = -np.log(labels.probabilities[known, labels.label[known]]).mean()
    assert table_epochs(rows, "inner/loss")[1] == pytest.approx(loss, rel=1e-4)

    # Two steps' worth of clips at once, every class alike over both processes.
    parts = [[json.loads(line) for line in Path(f"{tmp_path}/seen-{rank}").read_text().splitlines()] for rank in (0, 1)]
    assert len(parts[0]) == len(parts[1]) == 2  # an epoch is one global batch of 14
    for first, second in zip(*parts, strict=True):
        assert first[:2] == second[:2]
        assert sorted(first[3] + second[3]) == sorted([*range(7)] * 2)


@pytest.mark.slow
def test_the_module_starts_its_second_process_itself(tmp_path):
    write_dfew(tmp_path / "data", train=27, test=11)
    run_two(["-m", "fer_lightning"], ("--data.selection", "last"))
    run = RunFolder(tmp_path / "runs" / "ceflnet_dfew" / "1-0")
    assert run.finished
    assert len(PredictionTable.read(run.predictions("inner"))) == 27
