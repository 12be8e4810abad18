"""What an ensemble is made of, with the published figures beside ours."""

from fer_lightning.evaluation.comparison import difference_line, paired_difference
from fer_lightning.evaluation.predictions import PredictionTable
from fer_lightning.report.elements import EvaluatedRun, Section, Table
from fer_lightning.report.summary import metric_cells, metric_header
from fer_lightning.runs.ensemble_record import Record, per_cent


def section(run: EvaluatedRun) -> Section | None:
    """A row for each member and the fusion; None for what is no ensemble."""
    table, outputs = run.table, run.outputs
    name, title = "members", "Members"
    try:
        record = Record.read(run.folder)
    except ValueError as error:
        return Section(name, title, missing=(str(error),))
    if record is None:
        return None
    if outputs is None:
        return Section(name, title, missing=("Without outputs, what the members say is not known.",))
    said = [(part, outputs.stream_table(part.name, table)) for part in record.parts]
    rows = [
        _row(f"{part.name} alone", part.share, part.published, found, _left_out(found, table)) for part, found in said
    ]
    rows.append(_row("fusion", "", record.published, table, ""))
    best, other = max(((part, found) for part, found in said if part.run), key=lambda pair: int(pair[1].correct.sum()))
    gain = paired_difference(table, other)
    header = ("model", "weight", "published %", *metric_header(), "left out in")
    texts = (
        f"{record.method[:1].upper()}{record.method[1:]}. The inner table: {record.inner}.",
        f"The best member here is {best.name}; {difference_line(gain, 'the fusion', best.name)}.",
    )
    caption = (
        f"All rows are over the same {len(table)} clips. Where a member has no prediction, such as one that listens in "
        "a clip without sound, it is left out and the weights of the others are scaled up; alone, it has that clip "
        f"wrong. Intervals: bootstrap over {gain.unit}s. Published: accuracy in the paper, on its own data."
    )
    return Section(name, title, texts, tables=(Table(caption, header, tuple(rows)),))


def _left_out(found: PredictionTable, whole: PredictionTable) -> str:
    """In how many of the clips that the whole answers a member has no say."""
    return f"{int((found.missing & ~whole.missing).sum())} of {int((~whole.missing).sum())}"


def _row(name: str, share: str, published: float | None, found: PredictionTable, left_out: str) -> tuple[str, ...]:
    return (name, share, per_cent(published), *metric_cells(found), left_out)
