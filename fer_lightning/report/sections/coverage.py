"""In how much of the clips a face was found, and what was not predicted."""

from collections import Counter

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from fer_lightning.evaluation.predictions import PredictionTable
from fer_lightning.report.elements import EvaluatedRun, Section, Table
from fer_lightning.report.figures.style import BLUE, styled

BINS = 20
LISTED = 500  # clips without prediction that are listed one by one


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


def section(run: EvaluatedRun) -> Section:
    """In how much of the clips a face was found, and what was not predicted."""
    table = run.table
    values, missing = table.coverage, table.missing
    texts = [
        f"A face was found in {100 * values.mean():.1f} % of a clip's frames on average (median "
        f"{100 * np.median(values):.1f} %). In {int((values < 0.5).sum())} of {len(table)} clips it was found in less "
        "than half of the frames."
    ]
    tables: tuple[Table, ...] = ()
    if missing.any():
        texts.append(f"{int(missing.sum())} clips have no prediction.")
        reasons = Counter(table.reason[missing].tolist()).most_common()
        tables = (
            Table("Why there is no prediction", ("reason", "clips"), tuple((r, str(n)) for r, n in reasons)),
            _unanswered(table.select(missing)),
        )
    alt = "Distribution of the share of frames with a face"
    picture = run.gallery.add("coverage", coverage_figure(values), alt)
    return Section("coverage", "Coverage", tuple(texts), pictures=(picture,), tables=tables)


def _unanswered(table: PredictionTable) -> Table:
    rows = zip(table.clip_id.tolist(), table.emotion.tolist(), table.reason.tolist(), strict=True)
    caption = "Clips without a prediction" + (f", the first {LISTED}" if len(table) > LISTED else "")
    return Table(caption, ("clip", "true class", "reason"), tuple(rows)[:LISTED], numbers=False, collapsed=True)
