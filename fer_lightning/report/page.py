"""A run's report: one HTML page that needs nothing beside it, and its figures as PNG files."""

from dataclasses import dataclass
from pathlib import Path

import jinja2

from data_modules.utils.files import atomic_write
from fer_lightning.evaluation.bootstrap import Intervals, bootstrap
from fer_lightning.evaluation.clip_outputs import ClipOutputs
from fer_lightning.evaluation.metrics import METRICS, Metric, Scores, scores
from fer_lightning.evaluation.predictions import PredictionTable
from fer_lightning.report.contents import CONTENTS
from fer_lightning.report.elements import EvaluatedRun, Gallery, Section
from fer_lightning.report.summary import interval_method, sample_size, summary_line
from fer_lightning.runs.folder import RunFolder, RunInfo

SELECTIONS = {
    "inner": "epoch chosen on an inner split of the training data",
    "last": "last epoch, nothing chosen",
    "best_on_test": "epoch chosen on the reported split itself",
}
OPTIMISTIC = (
    "selection is best_on_test: the epoch was chosen on the very split that is reported here. These numbers are better "
    "than what new data will give, and not comparable with those of runs that chose on an inner split."
)


@dataclass(frozen=True)
class Tile:
    """One headline number."""

    label: str
    value: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Page:
    """What the template shows."""

    title: str
    lead: str
    warnings: tuple[str, ...]
    tiles: tuple[Tile, ...]
    notes: tuple[str, ...]
    sections: tuple[Section, ...]


def write_report(run: RunFolder) -> Path:
    """Writes a run's page and figures; the page comes last, so that where it is, all of it is.

    Raises:
        FileNotFoundError: the run has no `run.json` or no prediction table of the reported split.
        ValueError: one of these is damaged.
    """
    info, table = run.read_info(), PredictionTable.read(run.predictions("test"))
    if info.class_names != table.class_names:
        raise ValueError(f"{run.path}: run.json has the classes {info.class_names}, its table {table.class_names}")
    found, intervals = scores(table), bootstrap(table)
    outputs, missing = _outputs(run, table)
    gallery = Gallery(run.report.parent / "figures")
    evaluated = EvaluatedRun(run, info, table, found, outputs, missing, gallery)
    shown = [section(evaluated) for section in CONTENTS]
    page = Page(
        f"{info.model} on {info.dataset}",
        f"experiment {info.experiment}, fold {info.fold}, seed {info.seed}; {_chosen(info)}",
        (OPTIMISTIC,) if info.selection == "best_on_test" else (),
        _tiles(found, intervals),
        _notes(run, table, found, intervals),
        tuple(section for section in shown if section is not None),
    )
    gallery.tidy()
    atomic_write(run.report, _render(page).encode())
    return run.report


def _chosen(info: RunInfo) -> str:
    """How the epoch was chosen, and which; ensembles have none."""
    how = SELECTIONS.get(info.selection, info.selection)
    return f"{how} (epoch {info.epoch}, counted from 0)" if info.epoch >= 0 else how


def _render(page: Page) -> str:
    """The page as HTML; whatever comes from files is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html").render(page=page)


def _outputs(run: RunFolder, table: PredictionTable) -> tuple[ClipOutputs | None, str]:
    """What there is to look at, or why there is nothing."""
    try:
        outputs = ClipOutputs.read(run.outputs("test"))
    except (FileNotFoundError, ValueError) as error:
        return None, str(error)
    unknown = sorted(set(outputs.clip_id) - set(table.clip_id.tolist()))
    if unknown:
        return None, f"{run.outputs('test')}: {len(unknown)} clips are not in the table, such as {unknown[0]!r}"
    if outputs.streams is not None and outputs.streams.shape[2] != len(table.class_names):
        classes = outputs.streams.shape[2]
        return None, f"{run.outputs('test')}: streams of {classes} classes, the table has {len(table.class_names)}"
    return outputs, ""


def _tiles(found: Scores, intervals: Intervals) -> tuple[Tile, ...]:
    """The headline: a tile for each metric, with its interval, what guessing would give, and what it is."""
    return tuple(Tile(metric.title, found.written(metric), _tile_notes(metric, found, intervals)) for metric in METRICS)


def _tile_notes(metric: Metric, found: Scores, intervals: Intervals) -> tuple[str, ...]:
    notes = []
    if metric.has_interval:
        interval = intervals[metric]
        level = f"{100 * intervals.level:.0f} %"
        notes.append(
            f"{level}: {interval.written(metric)}" if interval.is_known else f"no interval: one {intervals.unit}"
        )
    if metric.baseline:
        notes.append(f"{metric.baseline}: {found.most_frequent_class.written(metric)}")
    return (*notes, metric.meaning)


def _notes(run: RunFolder, table: PredictionTable, found: Scores, intervals: Intervals) -> tuple[str, ...]:
    """What the headline is counted over, and the inner split beside it."""
    missing = int(table.missing.sum())
    notes = [f"Reported split: {sample_size(table)}; {interval_method(intervals)}."]
    if missing:
        notes.append(f"{missing} of {found.clips} clips have no prediction; each counts as an error in every number.")
    try:
        notes.append(f"Inner split, for comparison: {summary_line(PredictionTable.read(run.predictions('inner')))}.")
    except FileNotFoundError:
        notes.append("There is no table of an inner split.")
    except ValueError as error:
        notes.append(f"The inner split's table cannot be used: {error}")
    return tuple(notes)
