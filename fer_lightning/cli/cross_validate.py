"""`fer cv`: cross-validation. All folds and seeds of an experiment, and what they come to together."""

import argparse
import json
import os
import queue
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from data_modules.utils.files import write_whole
from fer_lightning.cli.train import add_experiment_arguments, make_ready, request_of
from fer_lightning.ensemble.experiment import model_requests
from fer_lightning.ensemble.training import refuse_models_data, resolved
from fer_lightning.evaluation.bootstrap import bootstrap
from fer_lightning.evaluation.metrics import scores
from fer_lightning.evaluation.predictions import PredictionTable
from fer_lightning.experiments.lightning_cli import FerCLI
from fer_lightning.experiments.request import Request
from fer_lightning.experiments.resume import refuse_other_settings, say, train_apart
from fer_lightning.report.figures import confusion_figure, png


@dataclass(frozen=True)
class RunScores:
    """The reported split of one run."""

    fold: str
    seed: int
    clips: int
    war: float
    uar: float


@dataclass(frozen=True)
class Summary:
    """What the runs of a cross-validation come to; deviations are those of the sample."""

    runs: tuple[RunScores, ...]
    selection: str
    war_mean: float
    war_std: float
    uar_mean: float
    uar_std: float
    pooled_war: float  # over all clips of all runs
    pooled_war_interval: tuple[float, float]  # 95 %, see `bootstrap`
    pooled_uar: float
    pooled_uar_interval: tuple[float, float]


def main(arguments: list[str]) -> int:
    """`fer cv EXPERIMENT`: 0 when all runs are finished, 1 when some failed."""
    parser = argparse.ArgumentParser("fer cv", description=__doc__)
    add_experiment_arguments(parser)
    parser.add_argument("--folds", nargs="+", help="names of folds (all of the data set's protocol)")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="(0)")
    known, others = parser.parse_known_args(arguments[1:])
    request = replace(request_of(known, others), fold=known.folds[0] if known.folds else "1")
    models = list(model_requests(request))  # of an ensemble those of its members
    folds = known.folds or fold_names(models[0])
    requests = [replace(request, fold=fold, seed=seed) for seed in known.seeds for fold in folds]
    finished = [each for each in requests if each.run.finished]
    for each in finished:  # they are pooled with what is trained now
        refuse_other_settings(each.run, resolved(each))
        refuse_models_data(each)
    for model in models:  # once, not in every run at the same time
        make_ready(FerCLI(model.command_line(), run=False))
    failed = train_all([each for each in requests if each not in finished])
    for each in failed:
        say(f"fold {each.fold}, seed {each.seed} did not finish; its messages stand above")
    done = [each for each in requests if each.run.finished]
    if done:
        write_summary(request.run.path.parent / "cv", done)
    return 1 if failed else 0


def fold_names(request: Request) -> tuple[str, ...]:
    """All folds of the protocol of a model's data set."""
    return tuple(FerCLI(request.command_line(), run=False).datamodule.dataset.fold_names)


def train_all(requests: list[Request]) -> list[Request]:
    """Trains runs in processes of their own, one after another or one per GPU; returns those that failed."""
    gpus = torch.cuda.device_count()
    if not gpus:
        return [request for request in requests if _train(request, os.environ.copy())]
    free: queue.SimpleQueue[int] = queue.SimpleQueue()
    for gpu in range(gpus):
        free.put(gpu)

    def on_a_gpu(request: Request) -> int:
        gpu = free.get()
        try:
            return _train(request, os.environ | {"CUDA_VISIBLE_DEVICES": str(gpu)})
        finally:
            free.put(gpu)

    with ThreadPoolExecutor(gpus) as pool:
        statuses = list(pool.map(on_a_gpu, requests))
    return [request for request, status in zip(requests, statuses, strict=True) if status]


def _train(request: Request, environment: dict[str, str]) -> int:
    return train_apart(request, environment)


def write_summary(folder: Path, requests: list[Request]) -> Summary:
    """Writes `summary.json` and the pooled confusion matrix of finished runs, and prints them as a table."""
    tables = [PredictionTable.read(request.run.predictions("test")) for request in requests]
    selections = {request.run.read_info().selection for request in requests}
    summary = summarise(tables, requests, " and ".join(sorted(selections)))
    write_whole(folder / "summary.json", json.dumps(asdict(summary), indent=2).encode())
    pooled = PredictionTable.concat(tables)
    write_whole(folder / "confusion.png", png(confusion_figure(scores(pooled).confusion, pooled.class_names)))
    print_summary(summary)
    print(f"summary and pooled confusion matrix: {folder}")
    return summary


def summarise(tables: list[PredictionTable], requests: list[Request], selection: str) -> Summary:
    """Scores of each table, of their mean, and of all clips together."""
    runs = []
    for table, request in zip(tables, requests, strict=True):
        found = scores(table)
        runs.append(RunScores(request.fold, request.seed, len(table), found.war, found.uar))
    war, uar = np.array([run.war for run in runs]), np.array([run.uar for run in runs])
    pooled = PredictionTable.concat(tables)
    together, intervals = scores(pooled), bootstrap(pooled)
    return Summary(
        runs=tuple(runs),
        selection=selection,
        war_mean=float(war.mean()),
        war_std=float(war.std(ddof=1)) if len(runs) > 1 else 0.0,
        uar_mean=float(uar.mean()),
        uar_std=float(uar.std(ddof=1)) if len(runs) > 1 else 0.0,
        pooled_war=together.war,
        pooled_war_interval=(intervals.war.low, intervals.war.high),
        pooled_uar=together.uar,
        pooled_uar_interval=(intervals.uar.low, intervals.uar.high),
    )


def print_summary(summary: Summary) -> None:
    """A row a run, then the mean, then all clips together."""
    table = Table(title=f"reported split, selection: {summary.selection}")
    for column in ("fold", "seed", "clips", "WAR", "UAR"):
        table.add_column(column, justify="right")
    for run in summary.runs:
        table.add_row(run.fold, str(run.seed), str(run.clips), f"{run.war:.3f}", f"{run.uar:.3f}")
    table.add_section()
    mean = (f"{summary.war_mean:.3f} ± {summary.war_std:.3f}", f"{summary.uar_mean:.3f} ± {summary.uar_std:.3f}")
    table.add_row("mean", "", "", *mean)
    low, high = summary.pooled_war_interval
    uar_low, uar_high = summary.pooled_uar_interval
    pooled_war = f"{summary.pooled_war:.3f} [{low:.3f}, {high:.3f}]"
    pooled_uar = f"{summary.pooled_uar:.3f} [{uar_low:.3f}, {uar_high:.3f}]"
    table.add_row("pooled", "", str(sum(run.clips for run in summary.runs)), pooled_war, pooled_uar)
    Console(width=90).print(table)
    if "best_on_test" in summary.selection:
        print("best_on_test: the epochs were chosen on the very splits that are reported here")
