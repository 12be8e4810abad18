"""The section with recall, precision and F1 of each class."""

from collections.abc import Sequence

from fer_lightning.evaluation.metrics import Scores
from fer_lightning.report.elements import EvaluatedRun, Section, Table

HEADER = ("class", "N", "recall", "precision", "F1")


def section(run: EvaluatedRun) -> Section:
    """Shows recall, precision and F1 of each class."""
    caption = "Recall is the class accuracy. A dash marks a class that does not occur in this split."
    table = Table(caption, HEADER, class_rows(run.table.class_names, run.scores))
    return Section("classes", "Classes", tables=(table,))


def class_rows(class_names: Sequence[str], scores: Scores) -> tuple[tuple[str, ...], ...]:
    """Returns the cells of a row for each class, with the columns of `HEADER`; dashes for one that does not occur."""
    rows = []
    for i, name in enumerate(class_names):
        values = (scores.class_accuracy[i], scores.precision[i], scores.f1[i])
        cells = tuple(f"{value:.3f}" for value in values) if scores.support[i] else ("–",) * 3
        rows.append((name, str(scores.support[i]), *cells))
    return tuple(rows)
