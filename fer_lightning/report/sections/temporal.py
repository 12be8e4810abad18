"""The section that says what the order of the frames is worth to a model."""

from fer_lightning.evaluation.comparison import paired_difference
from fer_lightning.evaluation.frame_order import ORDERS
from fer_lightning.evaluation.metrics import HEADLINE, scores
from fer_lightning.evaluation.predictions import PredictionTable
from fer_lightning.report.elements import EvaluatedRun, Section, Table

NAMES = {
    "shuffled": "frames shuffled",
    "reversed": "clip reversed",
    "middle": "all frames the middle one",
    "apex": "all frames the apex",
}


def section(run: EvaluatedRun) -> Section | None:
    """Shows by how much each metric changes if the frames are seen in another order; None where that was not tried."""
    paths = {name: run.folder.order_predictions(name) for name in ORDERS}
    tables = {name: PredictionTable.read(path) for name, path in paths.items() if path.exists()}
    if not tables:
        return None
    rows, unit = [("as they are", *_values(run.table), *("" for _ in HEADLINE))], ""
    for name, table in tables.items():
        difference = paired_difference(table, run.table)
        unit = difference.unit
        changes = (difference[metric].written(metric) for metric in HEADLINE)
        rows.append((NAMES[name], *_values(table), *changes))
    text = (
        "A model that reads the course of an expression loses accuracy when the frames that it sees are shuffled, "
        "reversed, or all the same one. One that loses nothing recognises faces in single frames. Sound stays as it is."
    )
    header = ("frames", *(metric.short for metric in HEADLINE), *(f"change of {metric.short}" for metric in HEADLINE))
    caption = f"The same clips in each row; changes with 95 % paired bootstrap over {unit}s."
    return Section("temporal", "Is it temporal?", (text,), tables=(Table(caption, header, tuple(rows)),))


def _values(table: PredictionTable) -> tuple[str, ...]:
    result = scores(table)
    return tuple(result.written(metric) for metric in HEADLINE)
