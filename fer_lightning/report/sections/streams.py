"""The section that compares each stream of a model with their fusion."""

from data_modules.utils.text import counted
from fer_lightning.evaluation.comparison import difference_line, paired_difference
from fer_lightning.evaluation.metrics import WAR, scores
from fer_lightning.evaluation.predictions import PredictionTable
from fer_lightning.report.elements import EvaluatedRun, Section, Table
from fer_lightning.report.summary import metric_cells, metric_header
from fer_lightning.runs.ensemble_record import path_of


def section(run: EvaluatedRun) -> Section | None:
    """Shows the scores of each stream and of the fusion; None for models of one stream and for ensembles."""
    table, outputs = run.table, run.outputs
    if outputs is None or path_of(run.folder).exists() or not outputs.stream_names:
        return None
    streams = [(name, outputs.stream_table(name, table)) for name in outputs.stream_names]
    rows = [_stream_row(f"{name} alone", stream) for name, stream in streams] + [_stream_row("fusion", table)]
    best, best_table = max(streams, key=lambda pair: scores(pair[1])[WAR])
    difference = paired_difference(table, best_table)
    text = f"The best stream here is {best}; {difference_line(difference, 'the fusion', best)}."
    caption = (
        f"All rows are for the same {counted(len(table), 'clip')}. A clip without the input of a stream, such as "
        "landmarks, counts as an error of that stream; the last column counts these clips. Intervals: 95 % bootstrap "
        f"over {difference.unit}s."
    )
    header = ("scores of", *metric_header(), "clips without")
    return Section("streams", "Streams", (text,), tables=(Table(caption, header, tuple(rows)),))


def _stream_row(name: str, table: PredictionTable) -> tuple[str, ...]:
    return (name, *metric_cells(table), str(int(table.missing.sum())))
