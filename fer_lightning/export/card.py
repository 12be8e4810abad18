"""The card of a model to take away (Mitchell et al., 2019, https://doi.org/10.1145/3287560.3287596), from its run."""

from collections.abc import Iterator
from pathlib import Path

from data_modules.utils.checksum import file_sha256
from fer_lightning.evaluation.bootstrap import bootstrap
from fer_lightning.evaluation.calibration_file import calibration_line
from fer_lightning.evaluation.metrics import METRICS, scores
from fer_lightning.evaluation.predictions import NONE, PredictionTable
from fer_lightning.experiments.request import data_class
from fer_lightning.report.model_label import limits_of, world_of
from fer_lightning.report.sections.classes import HEADER, class_rows
from fer_lightning.report.summary import interval_method, sample_size
from fer_lightning.runs.folder import RunFolder, RunInfo
from fer_lightning.tables.grid import markdown_table
from fer_lightning.zoo.hub import HubModel
from fer_lightning.zoo.model_file import STATED


def model_card(run: RunFolder, model: Path, name: str = "") -> str:
    """Returns the card of a model file as Markdown: what it was trained on, how good it is, and what it cannot do.

    Args:
        run: the finished run that the file was made from.
        model: the file.
        name: by which `--checkpoint` finds the model; by default the file's.

    Raises:
        FileNotFoundError: the run is not finished.
    """
    info, table = run.read_info(), PredictionTable.read(run.predictions("test"))
    sections = [
        _title(info, model, name or model.name),
        _data(run, info),
        _results(run, table),
        _classes(table),
        _confusion(table),
        _limits(info),
    ]
    return "\n\n".join("\n".join(section) for section in sections) + "\n"


def _title(info: RunInfo, model: Path, name: str) -> Iterator[str]:
    fetch = f"`fer pull {name}`, then " if HubModel.is_named_by(name) else ""
    yield f"# {name.removesuffix(model.suffix).rpartition('/')[2]}"
    yield ""
    yield (
        f"`{info.model}` with {info.parameters:,} parameters that tells {', '.join(info.class_names[:-1])} and "
        f"{info.class_names[-1]}: {fetch}`fer predict FILE --checkpoint {name}`."
    )
    yield f"The file has {model.stat().st_size / 1e6:.1f} MB; {STATED.format(file_sha256(model))}."


def _data(run: RunFolder, info: RunInfo) -> Iterator[str]:
    dataset = data_class(info.dataset)
    inner = run.predictions("inner")
    chosen = f" on {len(PredictionTable.read(inner))} clips of the inner split" if inner.exists() else ""
    yield "## Where it comes from"
    yield f"- Trained on {info.dataset}, {world_of(dataset)}; licence of the data: {dataset.licence}."
    yield "- For research: whether weights may be used for more than the data is not settled."
    commit = info.commit or "unknown"
    yield f"- Experiment `{info.experiment}`, fold {info.fold}, seed {info.seed}, from commit {commit}."
    yield f"- Epoch {info.epoch + 1}, chosen by `selection: {info.selection}`{chosen}."
    yield f"- {', '.join(f'{name} {version}' for name, version in info.versions)}."


def _results(run: RunFolder, table: PredictionTable) -> Iterator[str]:
    result, intervals = scores(table), bootstrap(table)
    known = intervals.by_name
    yield f"## How good it is: the reported split, {sample_size(table)}"
    yield from markdown_table(
        ("metric", "value", "95 % interval"),
        [
            (each.title, result.written(each), known[each.name].written(each) if each.name in known else "")
            for each in METRICS
        ],
    )
    yield ""
    yield f"Interval: {interval_method(intervals)}. One training; another seed gives other figures."
    calibrated = calibration_line(run)
    if calibrated:
        yield ""
        yield f"{calibrated[0].upper()}{calibrated[1:]}."


def _classes(table: PredictionTable) -> Iterator[str]:
    yield "## Each class"
    yield from markdown_table(HEADER, class_rows(table.class_names, scores(table)))


def _confusion(table: PredictionTable) -> Iterator[str]:
    yield "## What is taken for what: rows are the true classes"
    confusion = scores(table).confusion.astype(int).astype(str).tolist()
    rows = [(name, *row) for name, row in zip(table.class_names, confusion, strict=True)]
    yield from markdown_table(("", *table.class_names, NONE), rows)


def _limits(info: RunInfo) -> Iterator[str]:
    yield "## What it cannot do"
    for limit in limits_of([data_class(info.dataset)]):
        yield f"- {limit}"
