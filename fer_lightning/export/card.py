"""The card of a model to take away (Mitchell et al., 2019, https://doi.org/10.1145/3287560.3287596), from its run."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data_modules.utils.checksum import file_sha256
from fer_lightning.evaluation.bootstrap import bootstrap
from fer_lightning.evaluation.calibration_file import calibration_line
from fer_lightning.evaluation.metrics import METRICS, scores
from fer_lightning.evaluation.predictions import NONE, PredictionTable
from fer_lightning.experiments.request import data_class
from fer_lightning.paths import RUN
from fer_lightning.report.model_label import limits_of, world_of
from fer_lightning.report.sections.classes import HEADER, class_rows
from fer_lightning.report.summary import OPTIMISTIC, interval_method, sample_size
from fer_lightning.runs.folder import RunFolder, RunInfo
from fer_lightning.tables.grid import markdown_table
from fer_lightning.weights import RANDOM
from fer_lightning.zoo.entries import ZOO, zoo
from fer_lightning.zoo.hub import HubModel
from fer_lightning.zoo.model_file import STATED


def model_card(run: RunFolder, model: Path, name: str = "") -> str:
    """Returns the card of a model file as Markdown: what it was trained on, how good it is, and what it cannot do.

    Args:
        run: the finished run that the file was made from.
        model: the file.
        name: by which `--checkpoint` finds the model; by default that in `zoo.yaml`, or the file's.

    Raises:
        FileNotFoundError: the run is not finished.
        ValueError: a file of the run is damaged.
    """
    info, table = run.read_info(), PredictionTable.read(run.predictions("test"))
    sections = [
        _title(info, model, name or _name_of(model)),
        _data(run, info),
        _results(run, info, table),
        _classes(table),
        _confusion(table),
        _limits(info),
    ]
    return "\n\n".join("\n".join(section) for section in sections) + "\n"


def _name_of(model: Path) -> str:
    """Returns the name of a model of the suite, whose file `--checkpoint` finds by that alone; else the file's."""
    names = {ZOO.parent / each.file: name for name, each in zoo().items()}
    return names.get(model.resolve(), model.name)


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
    began = ", ".join(dict.fromkeys(_weights(run.read_config()["model"])))
    yield "## Where it comes from"
    yield f"- Trained on {info.dataset}, {world_of(dataset)}; licence of the data: {dataset.licence}."
    yield f"- Began {f'with the weights {began}' if began else 'without trained weights'}."
    yield "- For research: whether weights may be used for more than the data is not settled."
    commit = info.commit or "unknown"
    yield f"- Experiment `{info.experiment}`, fold {info.fold}, seed {info.seed}, from commit {commit}."
    yield f"- Epoch {info.epoch + 1}{_choice(run, info)}"
    yield f"- {', '.join(f'{name} {version}' for name, version in info.versions)}."


def _weights(settings: dict[str, Any]) -> Iterator[str]:
    """Yields the weights that a model's settings name; those of `start_from` take the place of all others."""
    whole = settings.get("start_from", RANDOM)
    named = {key: value for key, value in settings.items() if key.endswith("weights") and isinstance(value, str)}
    for source in [whole] if whole != RANDOM else named.values():
        if source != RANDOM:
            network = f" ({settings['name']})" if "name" in settings and not source.startswith(RUN) else ""
            yield (source if source.startswith(RUN) else Path(source).name) + network  # no folders of this machine
    for value in settings.values() if whole == RANDOM else ():
        if isinstance(value, dict):
            yield from _weights(value)


def _choice(run: RunFolder, info: RunInfo) -> str:
    """Says how the epoch was chosen; only with `inner` are the predictions of `inner` those of an inner split."""
    if info.selection == "last":
        return ", the last epoch; nothing was chosen."
    if info.selection == "best_on_test":
        return f"; {OPTIMISTIC}"
    inner = run.predictions("inner")
    clips = f" on {len(PredictionTable.read(inner))} clips of the inner split" if inner.exists() else ""
    return f", chosen by `selection: {info.selection}`{clips}."


def _results(run: RunFolder, info: RunInfo, table: PredictionTable) -> Iterator[str]:
    result, intervals = scores(table), bootstrap(table)
    known = intervals.by_name
    yield f"## How good it is: the reported split, {sample_size(table)}"
    if info.split_faults:
        yield from (f"- {fault}" for fault in info.split_faults)
        yield ""
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
