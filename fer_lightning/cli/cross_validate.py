"""`fer cv`: cross-validation. All folds and seeds of an experiment, and what they come to together."""

import argparse
import json
import os
import queue
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from data_modules.utils.files import atomic_write
from fer_lightning.cli.train import add_experiment_arguments, request_from_options
from fer_lightning.ensemble.experiment import model_requests
from fer_lightning.ensemble.training import refuse_models_data, resolved
from fer_lightning.evaluation.bootstrap import Intervals, bootstrap
from fer_lightning.evaluation.metrics import METRICS, Metric, Scores, scores
from fer_lightning.evaluation.predictions import PredictionTable
from fer_lightning.experiments.fit import prepare_data_and_weights
from fer_lightning.experiments.lightning_cli import FerCLI
from fer_lightning.experiments.request import ExperimentRequest
from fer_lightning.experiments.resume import print_on_rank_zero, refuse_other_settings, train_in_subprocess
from fer_lightning.report.figures.style import png
from fer_lightning.report.sections.confusion import confusion_figure


@dataclass(frozen=True)
class RunScores:
    """The reported split of one run."""

    fold: str
    seed: int
    scores: Scores


@dataclass(frozen=True)
class Summary:
    """What the runs of a cross-validation come to."""

    runs: tuple[RunScores, ...]
    selection: str
    pooled: Scores  # over all clips of all runs
    intervals: Intervals  # of the pooled scores

    def mean(self, metric: Metric) -> float:
        """The mean of the runs' values."""
        return float(np.mean([run.scores[metric] for run in self.runs]))

    def std(self, metric: Metric) -> float:
        """The sample deviation of the runs' values; 0 for a single run."""
        return float(np.std([run.scores[metric] for run in self.runs], ddof=1)) if len(self.runs) > 1 else 0.0

    @property
    def content(self) -> dict[str, object]:
        """What `summary.json` holds; null where a value is undefined."""
        content: dict[str, object] = {
            "runs": [
                {"fold": run.fold, "seed": run.seed, "clips": run.scores.clips}
                | {metric.name: _known(run.scores[metric]) for metric in METRICS}
                for run in self.runs
            ],
            "selection": self.selection,
        }
        for metric in METRICS:
            content[f"{metric.name}_mean"] = _known(self.mean(metric))
            content[f"{metric.name}_std"] = _known(self.std(metric))
            content[f"pooled_{metric.name}"] = _known(self.pooled[metric])
            if metric.has_interval:
                interval = self.intervals[metric]
                content[f"pooled_{metric.name}_interval"] = [_known(interval.low), _known(interval.high)]
        return content


def _known(value: float) -> float | None:
    """A value as JSON has it, which knows no NaN."""
    return None if np.isnan(value) else value


def main(arguments: list[str]) -> int:
    """`fer cv EXPERIMENT`: 0 when all runs are finished, 1 when some failed."""
    parser = argparse.ArgumentParser("fer cv", description=__doc__)
    add_experiment_arguments(parser)
    parser.add_argument("--folds", nargs="+", help="names of folds (all of the data set's protocol)")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="(0)")
    known, others = parser.parse_known_args(arguments[1:])
    request = replace(request_from_options(known, others), fold=known.folds[0] if known.folds else "1")
    models = list(model_requests(request))  # of an ensemble those of its members
    folds = known.folds or fold_names(models[0])
    requests = [replace(request, fold=fold, seed=seed) for seed in known.seeds for fold in folds]
    finished = [each for each in requests if each.run.finished]
    for each in finished:  # they are pooled with what is trained now
        refuse_other_settings(each.run, resolved(each))
        refuse_models_data(each)
    for model in models:  # once, not in every run at the same time
        prepare_data_and_weights(FerCLI(model.command_line(), run=False))
    failed = train_all([each for each in requests if each not in finished])
    for each in failed:
        print_on_rank_zero(f"fold {each.fold}, seed {each.seed} did not finish; its messages stand above")
    done = [each for each in requests if each.run.finished]
    if done:
        write_summary(request.run.path.parent / "cv", done)
    return 1 if failed else 0


def fold_names(request: ExperimentRequest) -> tuple[str, ...]:
    """All folds of the protocol of a model's data set."""
    return tuple(FerCLI(request.command_line(), run=False).datamodule.dataset.fold_names)


def train_all(requests: list[ExperimentRequest]) -> list[ExperimentRequest]:
    """Trains runs in processes of their own, one after another or one per GPU; returns those that failed."""
    gpus = torch.cuda.device_count()
    if not gpus:
        return [request for request in requests if _train(request, os.environ.copy())]
    free: queue.SimpleQueue[int] = queue.SimpleQueue()
    for gpu in range(gpus):
        free.put(gpu)

    def on_a_gpu(request: ExperimentRequest) -> int:
        gpu = free.get()
        try:
            return _train(request, os.environ | {"CUDA_VISIBLE_DEVICES": str(gpu)})
        finally:
            free.put(gpu)

    with ThreadPoolExecutor(gpus) as pool:
        statuses = list(pool.map(on_a_gpu, requests))
    return [request for request, status in zip(requests, statuses, strict=True) if status]


def _train(request: ExperimentRequest, environment: dict[str, str]) -> int:
    return train_in_subprocess(request, environment)


def write_summary(folder: Path, requests: list[ExperimentRequest]) -> Summary:
    """Writes `summary.json` and the pooled confusion matrix of finished runs, and prints them as a table."""
    tables = [PredictionTable.read(request.run.predictions("test")) for request in requests]
    selections = {request.run.read_info().selection for request in requests}
    summary = summarise(tables, requests, " and ".join(sorted(selections)))
    atomic_write(folder / "summary.json", json.dumps(summary.content, indent=2).encode())
    atomic_write(folder / "confusion.png", png(confusion_figure(summary.pooled.confusion, tables[0].class_names)))
    print_summary(summary)
    print(f"summary and pooled confusion matrix: {folder}")
    return summary


def summarise(tables: list[PredictionTable], requests: list[ExperimentRequest], selection: str) -> Summary:
    """Scores of each table and of all clips together."""
    pairs = zip(tables, requests, strict=True)
    runs = tuple(RunScores(request.fold, request.seed, scores(table)) for table, request in pairs)
    pooled = PredictionTable.concat(tables)
    return Summary(runs, selection, scores(pooled), bootstrap(pooled))


def print_summary(summary: Summary) -> None:
    """A row a run, then the mean, then all clips together with the intervals below."""
    table = Table(title=f"reported split, selection: {summary.selection}")
    for column in ("fold", "seed", "clips", *(metric.short for metric in METRICS)):
        table.add_column(column, justify="right")
    for run in summary.runs:
        values = (metric.write(run.scores[metric]) for metric in METRICS)
        table.add_row(run.fold, str(run.seed), str(run.scores.clips), *values)
    table.add_section()
    means = (f"{metric.write(summary.mean(metric))} ± {metric.write(summary.std(metric))}" for metric in METRICS)
    table.add_row("mean", "", "", *means)
    pooled = (metric.write(summary.pooled[metric]) for metric in METRICS)
    table.add_row("pooled", "", str(summary.pooled.clips), *pooled)
    intervals = (summary.intervals[metric].written(metric) for metric in METRICS)
    table.add_row(f"{100 * summary.intervals.level:.0f} %", "", "", *intervals)
    Console(width=120).print(table)
    if "best_on_test" in summary.selection:
        print("best_on_test: the epochs were chosen on the very splits that are reported here")
