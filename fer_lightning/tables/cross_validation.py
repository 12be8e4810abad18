"""Cross-validation: trains all folds and seeds of an experiment, and summarises the scores of its runs."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from data_modules.utils.csv_tables import csv_bytes
from data_modules.utils.files import atomic_write
from fer_lightning.ensemble.experiment import model_requests
from fer_lightning.ensemble.order import Train, steps, train_in_order
from fer_lightning.ensemble.training import is_current, refuse_models_data, resolved
from fer_lightning.evaluation.bootstrap import Intervals, bootstrap
from fer_lightning.evaluation.calibration_file import calibration_values
from fer_lightning.evaluation.confidence import ECE, MEASURES, NLL
from fer_lightning.evaluation.metrics import METRICS, Metric, Scores, scores
from fer_lightning.evaluation.predictions import NONE, PredictionTable
from fer_lightning.experiments.configuration import read_model
from fer_lightning.experiments.fit import prepare_data_and_weights, refuse_unfit_weights
from fer_lightning.experiments.jobs import train_all
from fer_lightning.experiments.labels import labels_of
from fer_lightning.experiments.lightning_cli import FerCLI
from fer_lightning.experiments.request import ExperimentRequest
from fer_lightning.experiments.resume import print_on_rank_zero, refuse_other_settings
from fer_lightning.report.figures.style import png
from fer_lightning.report.sections.confusion import confusion_figure
from fer_lightning.runs.labels import RunLabels
from fer_lightning.tables.plan import places_of, same_folds
from fer_lightning.training.wandb_summary import summary_logger
from fer_lightning.training.wandb_tables import ShownTable, confusion_table, score_values, spread_values

CONFIDENCE = tuple(f"test/{measure.name}{state}" for measure in MEASURES for state in ("", "_calibrated"))
"""The measures of confidence whose means over runs a summary holds."""


@dataclass(frozen=True)
class RunScores:
    """The scores of one run on the reported split."""

    fold: str
    seed: int
    scores: Scores
    confidence: Mapping[str, float]  # temperature and measures by name, see `calibration_values`


@dataclass(frozen=True)
class Summary:
    """The scores of a cross-validation: of each run, and pooled over all clips of all runs."""

    runs: tuple[RunScores, ...]
    selection: str
    pooled: Scores
    intervals: Intervals  # of the pooled scores
    class_names: tuple[str, ...]
    classes_from_stills: tuple[str, ...] = ()

    def mean(self, metric: Metric) -> float:
        """Returns the mean of the runs' values."""
        return float(np.mean([run.scores[metric] for run in self.runs]))

    def std(self, metric: Metric) -> float:
        """Returns the sample standard deviation (n - 1) of the runs' values; 0 for a single run."""
        return float(np.std([run.scores[metric] for run in self.runs], ddof=1)) if len(self.runs) > 1 else 0.0

    def pooled_value(self, metric: Metric) -> float:
        """Returns a metric over the clips of all folds: the mean of the seeds' values, which the intervals are of."""
        by_seed: dict[int, list[NDArray[np.int64]]] = {}
        for run in self.runs:
            by_seed.setdefault(run.seed, []).append(run.scores.confusion)
        return float(np.mean([Scores(np.sum(each, axis=0))[metric] for each in by_seed.values()]))

    def parts(self) -> dict[str, Scores]:
        """Returns the pooled scores over parts of the clips that are reported beside those over all clips."""
        parts = {"answered": self.pooled.answered} if self.pooled.confusion[:, -1].any() else {}
        if self.classes_from_stills:
            name = f"without_{'_and_'.join(self.classes_from_stills)}"
            parts[name] = self.pooled.without_classes(self.class_names, self.classes_from_stills)
        return parts

    def class_accuracies(self) -> dict[str, dict[str, object]]:
        """Returns for each class its clips and accuracy, pooled and as mean and deviation over runs."""
        runs = np.array([run.scores.class_accuracy for run in self.runs])  # (R, C), NaN where a class does not occur
        content: dict[str, dict[str, object]] = {}
        for column, name in enumerate(self.class_names):
            values = runs[~np.isnan(runs[:, column]), column]
            content[name] = {
                "clips": int(self.pooled.support[column]),
                "pooled": _number_or_none(float(self.pooled.class_accuracy[column])),
                "mean": float(values.mean()) if len(values) else None,
                "std": float(values.std(ddof=1)) if len(values) > 1 else 0.0,
            }
        return content

    def confusion_csv(self) -> bytes:
        """Returns the pooled confusion matrix as a CSV table: a row for each true class, with numbers of clips."""
        rows = self.pooled.confusion.tolist()
        return csv_bytes(
            ("true", *self.class_names, NONE), [(n, *row) for n, row in zip(self.class_names, rows, strict=True)]
        )

    def mean_confidence(self, name: str) -> float | None:
        """Returns the mean of the runs' values of `calibration_values`; None unless all runs have it."""
        values = [run.confidence[name] for run in self.runs if name in run.confidence]
        return float(np.mean(values)) if len(values) == len(self.runs) else None

    @property
    def content(self) -> dict[str, object]:
        """The content of `summary.json`; undefined values are null."""
        content: dict[str, object] = {
            "runs": [
                {"fold": run.fold, "seed": run.seed, "clips": run.scores.clips}
                | {metric.name: _number_or_none(run.scores[metric]) for metric in METRICS}
                | {"confusion": run.scores.confusion.tolist()}
                | {"confidence": dict(run.confidence)}
                for run in self.runs
            ],
            "selection": self.selection,
            "class_names": self.class_names,
            "class_accuracy": self.class_accuracies(),
            "pooled_confusion": self.pooled.confusion.tolist(),  # true classes in rows; the last column is `none`
        }
        for name, part in self.parts().items():
            content[f"pooled_{name}"] = {"clips": part.clips} | {
                metric.name: _number_or_none(part[metric]) for metric in METRICS
            }
        content["confidence_mean"] = {name: self.mean_confidence(name) for name in CONFIDENCE}
        for metric in METRICS:
            content[f"{metric.name}_mean"] = _number_or_none(self.mean(metric))
            content[f"{metric.name}_std"] = _number_or_none(self.std(metric))
            content[f"pooled_{metric.name}"] = _number_or_none(self.pooled_value(metric))
            if metric.has_interval:
                interval = self.intervals[metric]
                content[f"pooled_{metric.name}_interval"] = [
                    _number_or_none(interval.low),
                    _number_or_none(interval.high),
                ]
        return content


def _number_or_none(value: float) -> float | None:
    """Replaces NaN, which JSON cannot hold, by None."""
    return None if np.isnan(value) else value


def cross_validate(
    request: ExperimentRequest, folds: Sequence[str], seeds: Sequence[int], train: Train | None = None
) -> int:
    """Trains all folds and seeds that are not finished, and summarises the seeds of which most folds are finished.

    Args:
        request: the experiment, of any fold and seed.
        folds: names of folds; empty for all of the data set's protocol.
        seeds: of the runs.
        train: trains several runs at once, such as in jobs of a cluster; None for one after another.

    Returns:
        0 if all runs are finished and 1 if some failed.

    Raises:
        ValueError: a setting is not valid, would make the runs others, or differs from that of a finished run.
    """
    request = replace(request, fold=folds[0] if folds else "1")
    models = list(model_requests(request))  # for an ensemble, those of its members
    for model in models:
        read_model(model)  # refuses the fold, the seed or the folder of another run before anything is built
    folds = folds or fold_names(models[0])
    requests = [replace(request, fold=fold, seed=seed) for seed in seeds for fold in folds]
    finished = [each for each in requests if each.run.finished]
    for each in finished:  # they are pooled with the runs that are trained now
        refuse_other_settings(each.run, resolved(each))
        refuse_models_data(each)
    missing = [each for each in requests if not is_current(each)]
    failed = (train_together(missing, train) if train else train_here(missing)) if missing else []
    for each in failed:
        name = f"fold {each.fold}, seed {each.seed}" if each in requests else each.run.path
        print_on_rank_zero(f"{name} did not finish; see its messages above")
    finished = [each for each in requests if is_current(each)]
    pooled = same_folds(places_of(finished))
    for each in requests if pooled else ():
        if each not in pooled:
            why = "other folds of its seed are missing" if each in finished else "it is not finished"
            print_on_rank_zero(f"fold {each.fold}, seed {each.seed} is not in the summary: {why}")
    if pooled:
        write_summary(request.run.path.parent / "cv", list(pooled))
    return 1 if failed else 0


def train_here(requests: list[ExperimentRequest]) -> list[ExperimentRequest]:
    """Trains runs in processes of this machine, and before them what the first one needs; returns those that failed."""
    for model in models_to_train(requests[0]):
        prepare_data_and_weights(FerCLI(model.command_line(), run=False), model)
    return train_all(requests)


def train_together(requests: list[ExperimentRequest], train: Train) -> list[ExperimentRequest]:
    """Trains runs, and before them what they start from, at once; the data are prepared here; see `train_here`."""
    for model in models_to_train(requests[0]):
        cli = FerCLI(model.command_line(), run=False)
        refuse_unfit_weights(cli.plain_config())
        cli.datamodule.prepare_data()
    return train_in_order(steps(requests), train)


def models_to_train(request: ExperimentRequest) -> list[ExperimentRequest]:
    """Returns the models of which a run consists that are not finished: itself, or the members of an ensemble."""
    return [model for model in model_requests(request) if not model.run.finished]


def fold_names(request: ExperimentRequest) -> tuple[str, ...]:
    """Returns the names of all folds of the data set of a model's request."""
    return tuple(FerCLI(request.command_line(), run=False).datamodule.dataset.fold_names)


def write_summary(folder: Path, requests: list[ExperimentRequest]) -> Summary:
    """Writes the summary and the pooled confusion matrix (CSV, PNG) of finished runs, and prints their scores."""
    tables = [PredictionTable.read(request.run.predictions("test")) for request in requests]
    infos = [request.run.read_info() for request in requests]
    selection = " and ".join(sorted({info.selection for info in infos}))
    summary = replace(summarise(tables, requests, selection), classes_from_stills=infos[0].classes_from_stills)
    atomic_write(folder / "summary.json", json.dumps(summary.content, indent=2).encode())
    atomic_write(folder / "confusion.csv", summary.confusion_csv())
    atomic_write(folder / "confusion.png", png(confusion_figure(summary.pooled.confusion, tables[0].class_names)))
    print_summary(summary)
    send_summary(folder, requests, summary, tables[0].class_names)
    print(f"summary and pooled confusion matrix: {folder}")
    return summary


def send_summary(
    folder: Path, requests: list[ExperimentRequest], summary: Summary, class_names: tuple[str, ...]
) -> None:
    """Makes a run of Weights & Biases for a cross-validation, in the group of the runs that it sums up."""
    runs = {f"fold {request.fold}, seed {request.seed}": request.run for request in requests}
    labels = RunLabels.shared(RunLabels.read(request.run) or labels_of(request) for request in requests)
    group = labels.group or requests[0].group or requests[0].experiment
    logger = summary_logger(folder, replace(labels, job_type="cv", group=group, selection=summary.selection), runs)
    if logger is None:
        return
    logger.log_hyperparams({"experiment": requests[0].experiment, "runs": list(runs)})
    results = [run.scores for run in summary.runs]
    values = spread_values(results, "cv") | score_values(summary.pooled, summary.intervals, "pooled")
    rows = [[run.fold, run.seed, run.scores.clips, *(run.scores[metric] for metric in METRICS)] for run in summary.runs]
    columns = ("fold", "seed", "clips", *(metric.name for metric in METRICS))
    logger.log_results(values, [ShownTable("report/runs", columns, rows), confusion_table(class_names, summary.pooled)])
    logger.close()


def summarise(tables: list[PredictionTable], requests: list[ExperimentRequest], selection: str) -> Summary:
    """Computes the scores of each table and of all clips together."""
    pairs = zip(tables, requests, strict=True)
    runs = tuple(
        RunScores(request.fold, request.seed, scores(table), calibration_values(request.run))
        for table, request in pairs
    )
    pooled = PredictionTable.concat(tables)
    return Summary(runs, selection, scores(pooled), bootstrap(pooled), pooled.class_names)


def describe_confidence(summary: Summary) -> str:
    """Says in a line how well calibrated the runs are, on average before and after each one's temperature."""
    calibrated = sum("calibration/temperature" in run.confidence for run in summary.runs)
    line = f"confidence, mean over runs: {calibrated} of {len(summary.runs)} calibrated on their inner splits"
    for measure in (ECE, NLL):
        names = (f"test/{measure.name}", f"test/{measure.name}_calibrated")
        values = [value for value in map(summary.mean_confidence, names) if value is not None]
        line += f"; {measure.short} " * bool(values) + " -> ".join(f"{value:.3f}" for value in values)
    return line


def print_summary(summary: Summary) -> None:
    """Prints a row for each run, then the mean over the runs, then the pooled scores with their intervals."""
    table = Table(title=f"reported split, selection: {summary.selection}")
    for column in ("fold", "seed", "clips", *(metric.short for metric in METRICS)):
        table.add_column(column, justify="right")
    for run in summary.runs:
        values = (metric.write(run.scores[metric]) for metric in METRICS)
        table.add_row(run.fold, str(run.seed), str(run.scores.clips), *values)
    table.add_section()
    means = (f"{metric.write(summary.mean(metric))} ± {metric.write(summary.std(metric))}" for metric in METRICS)
    table.add_row("mean", "", "", *means)
    pooled = (metric.write(summary.pooled_value(metric)) for metric in METRICS)
    table.add_row("pooled", "", str(summary.pooled.clips), *pooled)
    intervals = (summary.intervals[metric].written(metric) for metric in METRICS)
    table.add_row(f"{100 * summary.intervals.level:.0f} %", "", "", *intervals)
    for name, part in summary.parts().items():
        table.add_row(name.replace("_", " "), "", str(part.clips), *(metric.write(part[metric]) for metric in METRICS))
    Console(width=120).print(table)
    print_classes(summary)
    print(describe_confidence(summary))
    if "best_on_test" in summary.selection:
        print("best_on_test: the epochs were chosen on the very splits that are reported here")


def print_classes(summary: Summary) -> None:
    """Prints the accuracy of each class: pooled, and as mean and deviation over the runs."""
    table = Table("class", title="class accuracies")
    for column in ("clips", "pooled", "mean over runs"):
        table.add_column(column, justify="right")
    for name, values in summary.class_accuracies().items():
        pooled, mean, std = (
            f"{values[key]:.3f}" if values[key] is not None else "–" for key in ("pooled", "mean", "std")
        )
        table.add_row(name, str(values["clips"]), pooled, f"{mean} ± {std}")
    Console(width=120).print(table)
