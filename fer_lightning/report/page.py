"""Writes the report of a run: one self-contained HTML page, and its figures as PNG files."""

from dataclasses import dataclass
from pathlib import Path

from data_modules.utils.files import atomic_write
from data_modules.utils.text import counted
from fer_lightning.evaluation.bootstrap import Intervals, bootstrap
from fer_lightning.evaluation.calibration import calibrate, effects_of
from fer_lightning.evaluation.calibration_file import write_calibration
from fer_lightning.evaluation.clip_outputs import ClipOutputs
from fer_lightning.evaluation.metrics import HEADLINE, METRICS, Metric, Scores, scores
from fer_lightning.evaluation.predictions import PredictionTable
from fer_lightning.report.contents import CONTENTS
from fer_lightning.report.elements import EvaluatedRun, Gallery, Section
from fer_lightning.report.html import render
from fer_lightning.report.summary import OPTIMISTIC, few_note, interval_method, sample_size, summary_line
from fer_lightning.runs.folder import RunFolder, RunInfo

TEMPLATE = Path(__file__).parent / "templates" / "report.html"
OTHER_DATA = "other_data"
"""The selection of an evaluation by `fer test --checkpoint`, of which nothing is chosen."""
SELECTIONS = {
    "inner": "epoch chosen on the inner split, which is no part of the reported one",
    "last": "last epoch, nothing chosen",
    "best_on_test": "epoch chosen on the reported split itself",
    OTHER_DATA: "a trained model, evaluated by fer test",
}


@dataclass(frozen=True)
class Tile:
    """One of the values at the top of the page."""

    label: str
    value: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Page:
    """The content of the page, as the template reads it."""

    title: str
    lead: str
    warnings: tuple[str, ...]
    tiles: tuple[Tile, ...]
    notes: tuple[str, ...]
    sections: tuple[Section, ...]


def write_report(run: RunFolder) -> Path:
    """Writes the page, the figures and `calibration.json` of a run, and returns the page's path.

    The page is written last, so that an existing page means a complete report.

    Raises:
        FileNotFoundError: the run has no `run.json` or no prediction table of the reported split.
        ValueError: one of these files is damaged.
    """
    info, table = run.read_info(), PredictionTable.read(run.predictions("test"))
    if info.class_names != table.class_names:
        raise ValueError(
            f"{run.path}: run.json has the classes {info.class_names}, but the prediction table has "
            f"{table.class_names}; evaluate the run again"
        )
    result, intervals = scores(table), bootstrap(table)
    outputs, no_outputs = _read_outputs(run, table)
    calibration = calibrate(run, info)
    effects = effects_of(calibration, run)
    write_calibration(calibration, effects, run)
    gallery = Gallery(run.report.parent / "figures")
    evaluated = EvaluatedRun(run, info, table, result, outputs, no_outputs, gallery, calibration, effects)
    sections = [section(evaluated) for section in CONTENTS]
    page = Page(
        f"{info.model} on {info.dataset}",
        f"experiment {info.experiment}, fold {info.fold}, seed {info.seed}; {_selection(info)}",
        tuple(filter(None, (OPTIMISTIC * (info.selection == "best_on_test"), few_note(table)))),
        _tiles(result, intervals),
        _notes(evaluated, intervals),
        tuple(section for section in sections if section is not None),
    )
    gallery.delete_others()
    atomic_write(run.report, render(TEMPLATE, page=page).encode())
    return run.report


def _selection(info: RunInfo) -> str:
    """Describes how the epoch was chosen, with its number, counted from 1; ensembles have no epochs."""
    selection = SELECTIONS.get(info.selection, info.selection)
    return f"{selection} (epoch {info.epoch + 1})" if info.epoch >= 0 else selection


def _read_outputs(run: RunFolder, table: PredictionTable) -> tuple[ClipOutputs | None, str]:
    """Reads the clips' outputs, or returns None and the reason why they cannot be used."""
    try:
        outputs = ClipOutputs.read(run.outputs("test"))
    except (FileNotFoundError, ValueError) as error:
        return None, str(error)
    unknown = sorted(set(outputs.clip_id) - set(table.clip_id.tolist()))
    if unknown:
        missing = f"{counted(len(unknown), 'clip')} missing from the prediction table, such as {unknown[0]!r}"
        return None, f"{run.outputs('test')}: {missing}"
    if outputs.streams is not None and outputs.streams.shape[2] != len(table.class_names):
        classes = outputs.streams.shape[2]
        return None, f"{run.outputs('test')}: streams of {classes} classes, the table has {len(table.class_names)}"
    return outputs, ""


def _tiles(result: Scores, intervals: Intervals) -> tuple[Tile, ...]:
    """Returns one tile per metric."""
    return tuple(
        Tile(metric.title, result.written(metric), _tile_notes(metric, result, intervals)) for metric in METRICS
    )


def _tile_notes(metric: Metric, result: Scores, intervals: Intervals) -> tuple[str, ...]:
    """Returns a metric's interval, its value for always predicting the most frequent class, and its definition."""
    notes = []
    if metric.has_interval:
        interval = intervals[metric]
        level = f"{100 * intervals.level:.0f} %"
        notes.append(
            f"{level}: {interval.written(metric)}"
            if interval.is_known
            else f"no interval: one {intervals.unit}, or all alike"
        )
    if metric.baseline:
        notes.append(f"{metric.baseline}: {result.most_frequent_class.written(metric)}")
    return (*notes, metric.meaning)


def _notes(run: EvaluatedRun, intervals: Intervals) -> tuple[str, ...]:
    """Describes the sample behind the tiles, accuracy over parts of it, the inner split, and the run's faces."""
    table, missing = run.table, int(run.table.missing.sum())
    notes = [*run.info.split_faults, f"Reported split: {sample_size(table)}; {interval_method(intervals)}."]
    if missing:
        text = f"Without a prediction: {missing} of {counted(len(table), 'clip')}; each counts as an error."
        notes.append(f"{text} Over the others: {_accuracy(run.scores.answered)}")
    if run.info.classes_from_stills:
        others = run.scores.without_classes(table.class_names, run.info.classes_from_stills)
        names = " and ".join(run.info.classes_from_stills)
        notes.append(f"Clips of {names} are single frames of other clips. Without them: {_accuracy(others)}")
    try:
        inner = summary_line(PredictionTable.read(run.folder.predictions("inner")))
        notes.append(f"Inner split, for comparison: {inner}.{_exclusive(run.info)}")
    except FileNotFoundError:
        notes.append("There is no prediction table of an inner split.")
    except ValueError as error:
        notes.append(f"The prediction table of the inner split cannot be read: {error}")
    return (*notes, run.info.faces) if run.info.faces else tuple(notes)


def _accuracy(result: Scores) -> str:
    """Writes the headline metrics with the number of clips."""
    return f"{', '.join(f'{metric.short} {result.written(metric)}' for metric in HEADLINE)} (N = {result.clips})."


def _exclusive(info: RunInfo) -> str:
    """Says what the inner split does not share with the clips that are trained on; runs of old versions do not know."""
    if info.exclusive_in == "clips":
        return (
            " It is exclusive in clips only, as the data set names neither films nor people: people may be both in it "
            "and in the training clips, which makes its values too high."
        )
    return f" It shares no {info.exclusive_in} with the training clips." if info.exclusive_in else ""
