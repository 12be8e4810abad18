"""The section that compares the members of an ensemble with the ensemble and with published accuracies."""

from data_modules.utils.text import counted
from fer_lightning.evaluation.comparison import difference_line, paired_difference
from fer_lightning.evaluation.predictions import PredictionTable
from fer_lightning.report.elements import EvaluatedRun, Section, Table
from fer_lightning.report.summary import metric_cells, metric_header
from fer_lightning.runs.ensemble_record import Record, per_cent


def section(run: EvaluatedRun) -> Section | None:
    """Shows the scores of each member and of the fusion; None if the run is not an ensemble."""
    table, outputs = run.table, run.outputs
    name, title = "members", "Members"
    try:
        record = Record.read(run.folder)
    except ValueError as error:
        return Section(name, title, missing=(str(error),))
    if record is None:
        return None
    if outputs is None:
        return Section(name, title, missing=("The members' predictions are not available without the outputs.",))
    parts = [(part, outputs.stream_table(part.name, table)) for part in record.parts]
    rows = [
        _row(f"{part.name} alone", part.share_with_interval, part.published, alone, _left_out(alone, table))
        for part, alone in parts
    ]
    rows.append(_row("fusion", "", record.published, table, ""))
    members = [(part, alone) for part, alone in parts if part.run]
    best, best_table = max(members, key=lambda pair: int(pair[1].correct.sum()))
    gain = paired_difference(table, best_table)
    header = ("model", "weight", "published %", *metric_header(), "left out in")
    texts = (
        f"{record.method[:1].upper()}{record.method[1:]}. Inner split: {record.inner}.",
        f"The best member here is {best.name}; {difference_line(gain, 'the fusion', best.name)}.",
    )
    caption = (
        f"All rows are for the same {counted(len(table), 'clip')}. A member without a prediction, such as an audio "
        "model on a clip without audio, is left out of the fusion, and the weights of the others are scaled up; in its "
        f"own row the clip counts as an error. Intervals: bootstrap over {gain.unit}s; those of searched "
        "weights say how far the clips of the search determine them. Published: accuracy in the paper, on the paper's "
        "data."
    )
    return Section(name, title, texts, tables=(Table(caption, header, tuple(rows)),))


def _left_out(member: PredictionTable, fusion: PredictionTable) -> str:
    """Counts the clips predicted by the fusion without this member."""
    return f"{int((member.missing & ~fusion.missing).sum())} of {int((~fusion.missing).sum())}"


def _row(name: str, share: str, published: float | None, table: PredictionTable, left_out: str) -> tuple[str, ...]:
    return (name, share, per_cent(published), *metric_cells(table), left_out)
