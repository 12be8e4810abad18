"""The section with the confusion matrix."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from fer_lightning.evaluation.predictions import NONE
from fer_lightning.report.elements import EvaluatedRun, Section, Table
from fer_lightning.report.figures.style import GREY, INK, plain, styled


@styled
def confusion_figure(confusion: NDArray[np.int64], class_names: Sequence[str]) -> Figure:
    """Draws a confusion matrix (C, C + 1): each row in per cent of its class, with the number of clips below.

    The column `none` is drawn only if there are clips without a prediction.
    """
    classes = len(class_names)
    names = [plain(name, 16) for name in class_names]
    columns = classes + int(confusion[:, classes].any())
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    figure = Figure(figsize=(1.9 + 0.66 * columns, 1.35 + 0.56 * classes), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(shares[:, :columns], cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for row in range(classes):
        for column in range(columns):
            share, count = shares[row, column], confusion[row, column]
            ink = "white" if share > 0.55 else INK
            if count:
                axes.text(column, row - 0.12, f"{100 * share:.0f}", ha="center", va="center", color=ink, fontsize=10)
                axes.text(column, row + 0.26, f"{count}", ha="center", va="center", color=ink, fontsize=8)
            else:
                axes.text(column, row, "·", ha="center", va="center", color=GREY)
    axes.set_xticks(range(columns), [*names, NONE][:columns], rotation=35, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(classes), names)
    axes.set_xticks(np.arange(columns + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(classes + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1.5)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    if columns > classes:
        axes.axvline(classes - 0.5, color=INK, linewidth=1)
    axes.set_xlabel("predicted (per cent of the class, number of clips below)")
    axes.set_ylabel("true")
    return figure


def section(run: EvaluatedRun) -> Section:
    """Shows the confusion matrix, and its counts as a table."""
    table, confusion = run.table, run.scores.confusion
    figure = confusion_figure(confusion, table.class_names)
    alt = f"Confusion matrix of {len(table.class_names)} classes; the table below holds the same counts"
    names = (*table.class_names, NONE)[: len(table.class_names) + int(table.missing.any())]
    rows = [(name, *map(str, row[: len(names)])) for name, row in zip(table.class_names, confusion, strict=True)]
    counts = Table("Number of clips", ("true", *names), tuple(rows), collapsed=True)
    caption = "Rows are the true classes and add up to 100 per cent."
    if table.missing.any():
        caption += " The last column holds the clips without a prediction."
    return Section(
        "confusion",
        "Confusion matrix",
        pictures=(run.gallery.add("confusion", figure, alt, caption),),
        tables=(counts,),
    )
