"""`fer train`: what an experiment needs, fit, test, report. Run again, it resumes or says that it is done."""

import argparse
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from pytorch_lightning.utilities import rank_zero_only

from data_modules.loading.datamodule import VideoDataModule
from fer_lightning.ensemble.training import train_ensemble
from fer_lightning.experiments.lightning_cli import FerCLI
from fer_lightning.experiments.request import Request, data_names, experiment_names, needed_runs
from fer_lightning.experiments.resume import (
    keep_clips,
    refuse_other_data,
    refuse_other_settings,
    run_lock,
    say,
    say_result,
    settings,
)
from fer_lightning.report.page import write_report
from fer_lightning.runs.folder import RunFolder, RunInfo
from fer_lightning.training.checkpoints import BEST, LAST, PREVIOUS, latest_checkpoint
from fer_lightning.training.classifier import VideoClassifier
from fer_lightning.training.cost import measure_cost
from fer_lightning.training.loggers import RunWandbLogger, drop_rows_after
from fer_lightning.weights import read_checkpoint

__all__ = ["main", "refuse_other_settings", "settings", "train"]


def main(arguments: list[str]) -> None:
    """Parses the command line and trains."""
    train(parse(arguments[1:]))


def parse(arguments: list[str]) -> Request:
    """The request of a command line; what it does not know goes on to Lightning's, which is strict."""
    parser = argparse.ArgumentParser(
        "fer train",
        description="Trains an experiment, evaluates it on the inner and the reported split, and writes its report. An "
        "ensemble trains those of its members that are missing, and fuses them.",
        epilog="Further arguments are Lightning's, such as --trainer.max_epochs 5 or --model.init_args.sal false; "
        "`fer fit --help` lists them. Of an ensemble, --ensemble.method Average and the like are its own; the others "
        "go to its members, which then stand under --name too.",
    )
    add_experiment_arguments(parser)
    parser.add_argument("--fold", default="1", help="of the data set's protocol (1)")
    parser.add_argument("--seed", type=int, default=0, help="of everything random (0)")
    known, others = parser.parse_known_args(arguments)
    return replace(request_of(known, others), fold=known.fold, seed=known.seed)


def add_experiment_arguments(parser: argparse.ArgumentParser) -> None:
    """What says which experiment is meant."""
    parser.add_argument("experiment", help=f"one of {', '.join(experiment_names())}")
    parser.add_argument("--data", help=f"another data set: {', '.join(data_names())}")
    parser.add_argument("--size", choices=("small", "paper"), help="small crops and backbones, or the paper's")
    parser.add_argument("--name", default="", help="of a variant: a folder of its own, such as no_sal")


def request_of(known: argparse.Namespace, others: list[str]) -> Request:
    """The request for the arguments of `add_experiment_arguments`; `others` are Lightning's."""
    return Request(known.experiment, known.data or None, known.size or None, name=known.name, arguments=tuple(others))


def train(request: Request) -> RunFolder:
    """Brings a run to its report, from wherever it stands; of an ensemble, its members first."""
    if request.is_ensemble:
        return train_ensemble(request)
    run = request.run
    cli = FerCLI(request.command_line(), run=False)
    if not is_finished(run, cli):
        make_ready(cli)
        with run_lock(run):
            if not is_finished(run, cli):  # while this process waited for another one
                fit_and_test(cli, request)
    return run


def is_finished(run: RunFolder, cli: FerCLI) -> bool:
    """Whether there is nothing left to do, which is then said.

    Raises:
        ValueError: the run was begun with other settings or other data.
    """
    refuse_other_settings(run, cli.plain_config())
    refuse_other_data(run, cli.datamodule.dataset)
    if run.finished:
        say(f"{run.path} is finished")
        say_result(run)
    return run.finished


def fit_and_test(cli: FerCLI, request: Request) -> None:
    """Trains from wherever the run stands, evaluates the chosen epoch, and writes the report."""
    run, start = request.run, time.perf_counter()
    model, data, trainer = cli.model, cli.datamodule, cli.trainer
    assert isinstance(model, VideoClassifier)
    assert isinstance(data, VideoDataModule)
    found = latest_checkpoint(run.checkpoints)
    path, content = found or (None, {})
    if path:
        why = "" if path.name == LAST else f", from {path.name}: {LAST} is missing or damaged"
        say(f"{run.path}: goes on after epoch {int(str(content['epoch'])) + 1}{why}")
    if trainer.is_global_zero:
        keep_clips(run, data.dataset)
        drop_rows_after(run.curves, int(str(content.get("global_step", 0))))
    for logger in trainer.loggers:
        if isinstance(logger, RunWandbLogger):
            logger.log_hyperparams(cli.plain_config())
    where = f"{trainer.strategy.root_device}, {trainer.precision}"
    say(f"{run.path}: {type(model).__name__} on {data.dataset.name}, {where}")
    chosen = run.checkpoints / (LAST if data.selection == "last" else BEST)
    try:
        if not stopped_early(content):
            trainer.fit(model, data, ckpt_path=str(path) if path else None, weights_only=True)
        trainer.test(model, data, ckpt_path=str(chosen), weights_only=True, verbose=False)
    except SystemExit as exit:  # what Lightning makes of Ctrl-C
        raise KeyboardInterrupt from exit
    if trainer.is_global_zero:
        finish(cli, request, chosen, time.perf_counter() - start)


def stopped_early(checkpoint: dict[str, Any]) -> bool:
    """Whether an EarlyStopping ended the training at this checkpoint; Lightning would train one more epoch."""
    states = checkpoint.get("callbacks", {}).values()
    return any(state.get("stopped_epoch") or state.get("wait_count", 0) >= state.get("patience", 1) for state in states)


@rank_zero_only
def make_ready(cli: FerCLI) -> None:
    """Prepares the data and trains what the experiment takes weights from, in the first process of a training.

    The data comes first: whether it is there at all should be known before anything takes long.
    """
    cli.datamodule.prepare_data()
    for name in dict.fromkeys(needed_runs(cli.plain_config())):
        train_first(name)


def train_first(name: str) -> None:
    """Trains an experiment that another one takes its weights from, in a process of its own."""
    request = Request(name)
    if request.run.finished:
        return
    say(f"first: {name}, whose weights are needed")
    subprocess.run([sys.executable, "-m", "fer_lightning", "train", name], check=True)


def finish(cli: FerCLI, request: Request, chosen: Path, seconds: float) -> None:
    """Measures what the model costs, writes `run.json` and the report, and says where it is."""
    run, model, data, trainer = request.run, cli.model, cli.datamodule, cli.trainer
    cost = measure_cost(model, data, str(trainer.precision))
    run.write_info(
        RunInfo(
            experiment=run.path.parent.name,
            model=type(model).__name__,
            dataset=data.dataset.name,
            class_names=model.class_names,
            fold=request.fold,
            seed=request.seed,
            selection=data.selection,
            epoch=int(str(read_checkpoint(chosen)["epoch"])),
            store=str(data.store.folder.absolute()),
            parameters=cost.parameters,
            multiply_adds=cost.multiply_adds,
            seconds_per_clip=cost.seconds_per_clip,
            batch_size=cost.batch_size,
            device=cost.device,
            precision=str(trainer.precision),
            seconds=seconds,
        )
    )
    write_report(run)
    (run.checkpoints / PREVIOUS).unlink(missing_ok=True)  # nothing goes on from it any more
    for logger in trainer.loggers:
        if isinstance(logger, RunWandbLogger):
            logger.log_report(run)
    say_result(run)
