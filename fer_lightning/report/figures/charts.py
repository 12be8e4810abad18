"""Charts of what a prediction table says: the confusion matrix, the subjects, the coverage."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from fer_lightning.evaluation.predictions import NONE
from fer_lightning.evaluation.subjects import SubjectScores
from fer_lightning.report.figures.style import BLUE, FAINT, GREY, INK, RED, plain, share_axis, styled

NAMED_SUBJECTS = 45  # more names than this cannot be read on one axis
BINS = 20


@styled
def confusion_figure(confusion: NDArray[np.int64], class_names: Sequence[str]) -> Figure:
    """The confusion matrix (C, C + 1), each row in per cent of its class with the counts below.

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
                axes.text(column, row + 0.26, f"{count}", ha="center", va="center", color=ink, fontsize=6.5)
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


@styled
def subjects_figure(subjects: SubjectScores, war: float) -> Figure:
    """The accuracy of each subject, best first, with the number of its clips, beside the accuracy of all clips."""
    count = len(subjects.subject)
    named = count <= NAMED_SUBJECTS
    figure = Figure(figsize=(min(10.0, max(5.0, 1.6 + 0.3 * count)), 3.0), layout="constrained")
    axes = figure.add_subplot()
    share_axis(axes, "share of right clips")
    position = np.arange(count)
    if named:
        axes.vlines(position, 0, subjects.accuracy, color=FAINT, linewidth=3)
        axes.set_xticks(position, [plain(str(name), 14) for name in subjects.subject], rotation=60, ha="right")
        axes.tick_params(axis="x", labelsize=7)
    else:
        axes.set_xticks([])
        axes.set_xlabel(f"{count} subjects, best first")
    sizes = np.clip(10 + 50 * subjects.clips / max(subjects.clips.max(initial=1), 1), 10, 60)
    axes.scatter(position, subjects.accuracy, s=sizes, color=BLUE, zorder=3, clip_on=False)
    axes.axhline(war, color=RED, linewidth=1, linestyle="--", label=f"all clips: {war:.3f}")
    axes.set_xlim(-0.7, count - 0.3)
    axes.set_title("area of a point: number of clips", fontsize=8, color=GREY)
    axes.legend(loc="lower left")
    return figure


@styled
def coverage_figure(coverage: NDArray[np.float64]) -> Figure:
    """How many clips (N,) have a face in which share of their frames."""
    figure = Figure(figsize=(5.0, 2.4), layout="constrained")
    axes = figure.add_subplot()
    axes.hist(coverage, bins=BINS, range=(0, 1), color=BLUE, edgecolor="white", linewidth=0.8)
    axes.set_xlim(0, 1)
    axes.set_xlabel("share of a clip's frames with a face")
    axes.set_ylabel("clips")
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    return figure
