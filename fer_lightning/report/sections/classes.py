"""Recall, precision and F1 of each class."""

from fer_lightning.report.elements import EvaluatedRun, Section, Table


def section(run: EvaluatedRun) -> Section:
    """Recall, precision and F1 of each class."""
    found, rows = run.scores, []
    for i, name in enumerate(run.table.class_names):
        values = (found.class_accuracy[i], found.precision[i], found.f1[i])
        shown = tuple(f"{value:.3f}" for value in values) if found.support[i] else ("–",) * 3
        rows.append((name, str(found.support[i]), *shown))
    caption = "Recall is the class accuracy. A dash: the class does not occur in this split."
    return Section(
        "classes", "Classes", tables=(Table(caption, ("class", "N", "recall", "precision", "F1"), tuple(rows)),)
    )
