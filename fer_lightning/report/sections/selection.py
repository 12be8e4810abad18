"""The section that compares the reported epoch with the last one and with the papers' best on test."""

import numpy as np

from data_modules.utils.text import counted
from fer_lightning.evaluation.comparison import difference_line
from fer_lightning.evaluation.other_epochs import Epoch, read_other_epochs
from fer_lightning.report.elements import EvaluatedRun, Section, Table
from fer_lightning.report.summary import metric_cells, metric_header

CHOSEN = {"inner": "chosen on the inner split", "last": "reported: the last"}


def section(run: EvaluatedRun) -> Section | None:
    """Shows what three epochs of the training give; None if the reported split was not watched."""
    others = read_other_epochs(run.folder)
    if others is None:
        return None
    inflation = others.inflation
    text = (
        f"Inflation by choosing the epoch on the reported split, as many papers do: "
        f"{difference_line(inflation, 'best on test', 'the reported epoch')}. Nothing of this run was chosen so: the "
        "predictions of the other epochs were read when the training was over. The interval is that of these two "
        "epochs on other people; the best epoch is not chosen again in each draw."
    )
    if not np.array_equal(others.chosen.table.choice, run.table.choice):
        text += (
            " All three are evaluated as epochs are, without the moved views that the reported figures average over."
        )
    rows = (
        _row(CHOSEN.get(run.info.selection, run.info.selection), others.chosen),
        _row("last", others.last),
        _row("best on test", others.best),
    )
    caption = (
        f"Three of {counted(others.count, 'epoch')} on the same {counted(len(run.table), 'clip')} of the reported "
        f"split. Intervals: 95 % bootstrap over {inflation.unit}s."
    )
    table = Table(caption, ("which epoch", "epoch", *metric_header()), rows)
    return Section("selection", "Choice of the epoch", (text,), tables=(table,))


def _row(name: str, epoch: Epoch) -> tuple[str, ...]:
    return (name, str(epoch.number + 1), *metric_cells(epoch.table))
