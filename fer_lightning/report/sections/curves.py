"""The section with the learning curves, read from the table of the CSV logger."""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from fer_lightning.evaluation.metrics import HEADLINE
from fer_lightning.report.elements import EvaluatedRun, Section, Table
from fer_lightning.report.figures.style import BLUE, FAINT, GREY, ORANGE, PALETTE, plain, share_axis, styled

MAX_BYTES = 1 << 28
NOT_CURVES = ("epoch", "step")
TITLES = {"loss": "loss", "accuracy": "share of correct clips", "rate": "learning rate"}
LINES = dict(zip((metric.name for metric in HEADLINE), ("-", "--", ":", "-."), strict=False))


@dataclass(frozen=True, eq=False)
class Curve:
    """One logged column, with the last value of each epoch in which it was logged."""

    name: str
    epoch: NDArray[np.int64]  # (E,) ascending
    value: NDArray[np.float64]  # (E,) infinite or NaN where the training diverged


def read_curves(path: Path) -> tuple[Curve, ...]:
    """Reads the columns of a CSVLogger's table; a row leaves the columns empty that it does not log.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is not such a table; the message names file and line.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: no curves were logged")
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path}: {path.stat().st_size} bytes; a table of curves has at most {MAX_BYTES}")
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        try:
            names = [name for name in reader.fieldnames or () if name not in NOT_CURVES]
            values: list[dict[int, float]] = [{} for _ in names]
            if "epoch" not in (reader.fieldnames or ()):
                raise ValueError("no column 'epoch'")
            for row in reader:
                for name, column in zip(names, values, strict=True):
                    if row[name] and row["epoch"]:
                        column[int(float(row["epoch"]))] = float(row[name])
        except (ValueError, OverflowError, csv.Error) as error:
            raise ValueError(f"{path}, line {max(reader.line_num, 1)}: not a table of curves: {error}") from error
    return tuple(_curve(name, column) for name, column in zip(names, values, strict=True) if column)


def _curve(name: str, column: dict[int, float]) -> Curve:
    epochs = sorted(column)
    return Curve(name, np.array(epochs, np.int64), np.array([column[epoch] for epoch in epochs]))


@styled
def curves_figure(curves: Sequence[Curve], chosen: int | None = None) -> Figure:
    """Draws loss, accuracies and learning rate over epochs; `chosen` marks the epoch that is reported.

    Tables and `chosen` count epochs from 0; the axis counts from 1, as people do.

    Raises:
        ValueError: none of these was logged.
    """
    by_name = {curve.name: curve for curve in curves}
    accuracy_names = (f"train/{HEADLINE[0].name}", *(f"inner/{metric.name}" for metric in HEADLINE))
    groups = {
        "loss": [by_name[name] for name in ("train/loss", "inner/loss") if name in by_name],
        "accuracy": [by_name[name] for name in accuracy_names if name in by_name],
        "rate": [curve for curve in curves if curve.name.startswith("lr")],
    }
    panels = [(name, group) for name, group in groups.items() if group]
    if not panels:
        logged = ", ".join(by_name) or "none"
        raise ValueError(f"no curve to draw; logged columns: {logged}; expected train/loss, inner/loss, inner/war ...")
    ratios = [0.7 if name == "rate" else 1.0 for name, _ in panels]
    figure = Figure(figsize=(1 + 3.3 * sum(ratios), 2.9), layout="constrained")
    subplots = figure.subplots(1, len(panels), width_ratios=ratios, squeeze=False)[0]
    for (name, group), axes in zip(panels, subplots, strict=True):
        _lines(axes, group, rates=name == "rate")
        axes.set_title(TITLES[name])
        if name == "accuracy":
            share_axis(axes, "")
        if chosen is not None:
            axes.axvline(chosen + 1, color=GREY, linewidth=0.9, linestyle=":", zorder=1)
    return figure


def _lines(axes: Axes, curves: Iterable[Curve], rates: bool) -> None:
    """Draws curves with a legend; those of the training are blue, those of the inner split orange."""
    for number, curve in enumerate(curves):
        colour = PALETTE[number % len(PALETTE)]
        if not rates:
            colour = BLUE if curve.name.startswith("train") else ORANGE
        line = LINES.get(curve.name.rpartition("/")[2], "-")
        marker = "." if len(curve.epoch) < 30 else ""
        epoch, name = curve.epoch + 1, plain(curve.name)
        axes.plot(epoch, curve.value, line, color=colour, marker=marker, linewidth=1.4, label=name)
        if rates and (curve.value > 0).all():
            axes.set_yscale("log")
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))  # one epoch is one tick
    axes.grid(axis="y", color=FAINT)
    axes.legend(loc="best")


def section(run: EvaluatedRun) -> Section | None:
    """Shows the learning curves, and their values as a table; None for ensembles, which have no epochs."""
    if run.info.epoch < 0:
        return None
    try:
        curves = read_curves(run.folder.curves)
        figure = curves_figure(curves, run.info.epoch)
    except (FileNotFoundError, ValueError) as error:
        return Section("curves", "Learning curves", missing=(str(error),))
    diverged = [curve.name for curve in curves if not np.isfinite(curve.value).all()]
    missing = (f"Not finite in some epochs: {', '.join(diverged)}.",) if diverged else ()
    caption = "The dotted line marks the epoch that is reported; epochs are counted from 1."
    alt = "Loss, accuracies and learning rate by epoch; the table below holds the same numbers"
    picture = run.gallery.add("curves", figure, alt, caption)
    return Section("curves", "Learning curves", missing=missing, pictures=(picture,), tables=(_values(curves),))


def _values(curves: Sequence[Curve]) -> Table:
    """Lists the values of all curves, one row per epoch."""
    columns = [dict(zip(curve.epoch.tolist(), curve.value.tolist(), strict=True)) for curve in curves]
    epochs = sorted({epoch for column in columns for epoch in column})
    rows = (
        (str(epoch + 1), *(f"{column[epoch]:.4g}" if epoch in column else "" for column in columns)) for epoch in epochs
    )
    return Table("Values of each epoch", ("epoch", *(curve.name for curve in curves)), tuple(rows), collapsed=True)
