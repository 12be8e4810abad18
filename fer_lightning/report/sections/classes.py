"""The section with recall, precision and F1 of each class."""

from fer_lightning.report.elements import EvaluatedRun, Section, Table


def section(run: EvaluatedRun) -> Section:
    """Shows recall, precision and F1 of each class."""
    scores, rows = run.scores, []
    for i, name in enumerate(run.table.class_names):
        values = (scores.class_accuracy[i], scores.precision[i], scores.f1[i])
        cells = tuple(f"{value:.3f}" for value in values) if scores.support[i] else ("–",) * 3
        rows.append((name, str(scores.support[i]), *cells))
    caption = "Recall is the class accuracy. A dash marks a class that does not occur in this split."
    table = Table(caption, ("class", "N", "recall", "precision", "F1"), tuple(rows))
    return Section("classes", "Classes", tables=(table,))
