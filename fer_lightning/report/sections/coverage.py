"""The section about the share of frames with a face and the clips without a prediction."""

from collections import Counter

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from data_modules.utils.text import counted
from fer_lightning.evaluation.predictions import PredictionTable
from fer_lightning.report.elements import EvaluatedRun, Picture, Section, Table
from fer_lightning.report.figures.style import BLUE, styled

BINS = 20
MAX_LISTED = 500  # clips without a prediction that are listed by name


@styled
def coverage_figure(coverage: NDArray[np.float64]) -> Figure:
    """Draws the distribution over clips of the share of frames with a face; `coverage` has the shape (N,)."""
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
    """Shows in how many frames a face was found, if any was, and lists the clips without a prediction."""
    table = run.table
    values, missing = table.coverage, table.missing
    texts, pictures = ["In no clip was a face looked for, or none was found."], tuple[Picture, ...]()
    if values.any():
        texts = [
            f"A face was found in {100 * values.mean():.1f} % of a clip's frames on average (median "
            f"{100 * np.median(values):.1f} %). In {int((values < 0.5).sum())} of {counted(len(table), 'clip')} it was "
            "found in less than half of the frames."
        ]
        alt = "Distribution of the share of frames with a face"
        pictures = (run.gallery.add("coverage", coverage_figure(values), alt),)
    tables: tuple[Table, ...] = ()
    if missing.any():
        texts.append(f"Without a prediction: {counted(int(missing.sum()), 'clip')}.")
        reasons = Counter(table.reason[missing].tolist()).most_common()
        tables = (
            Table("Why there is no prediction", ("reason", "clips"), tuple((r, str(n)) for r, n in reasons)),
            _missing_clips(table.select(missing)),
        )
    return Section("coverage", "Coverage", tuple(texts), pictures=pictures, tables=tables)


def _missing_clips(table: PredictionTable) -> Table:
    """Lists the clips of a table with the reason why there is no prediction."""
    rows = zip(table.clip_id.tolist(), table.emotion.tolist(), table.reason.tolist(), strict=True)
    caption = "Clips without a prediction" + (f", the first {MAX_LISTED}" if len(table) > MAX_LISTED else "")
    return Table(caption, ("clip", "true class", "reason"), tuple(rows)[:MAX_LISTED], numbers=False, collapsed=True)
