"""What each stream of a model says alone, beside their fusion."""

from fer_lightning.evaluation.comparison import difference_line, paired_difference
from fer_lightning.evaluation.metrics import WAR, scores
from fer_lightning.evaluation.predictions import PredictionTable
from fer_lightning.report.elements import EvaluatedRun, Section, Table
from fer_lightning.report.summary import metric_cells, metric_header
from fer_lightning.runs.ensemble_record import path_of


def section(run: EvaluatedRun) -> Section | None:
    """A row for each stream and the fusion; None for a model of one stream, and for an ensemble, which has members."""
    table, outputs = run.table, run.outputs
    if outputs is None or path_of(run.folder).exists() or not outputs.stream_names:
        return None
    alone = [(name, outputs.stream_table(name, table)) for name in outputs.stream_names]
    rows = [_stream_row(f"{name} alone", found) for name, found in alone] + [_stream_row("fusion", table)]
    best, other = max(alone, key=lambda pair: scores(pair[1])[WAR])
    found = paired_difference(table, other)
    text = f"The best stream here is {best}; {difference_line(found, 'the fusion', best)}."
    caption = (
        f"All rows are over the same {len(table)} clips. A clip that has nothing for a stream, such as one without "
        "landmarks, counts as that stream's error; the last column tells how many there are. Intervals: 95 % bootstrap "
        f"over {found.unit}s."
    )
    header = ("scores of", *metric_header(), "clips without")
    return Section("streams", "Streams", (text,), tables=(Table(caption, header, tuple(rows)),))


def _stream_row(name: str, table: PredictionTable) -> tuple[str, ...]:
    return (name, *metric_cells(table), str(int(table.missing.sum())))
