"""Figures of reports and curves: each function takes data and returns a matplotlib `Figure`, without global state."""

from fer_lightning.report.figures.activation import ActivationExample, activation_figure, load_example
from fer_lightning.report.figures.charts import confusion_figure, coverage_figure, subjects_figure
from fer_lightning.report.figures.curves import Curve, curves_figure, read_curves
from fer_lightning.report.figures.embedding import embedding_figure, tsne
from fer_lightning.report.figures.examples import choose_examples
from fer_lightning.report.figures.relations import RelationExample, load_relation, relation_figure
from fer_lightning.report.figures.style import png

__all__ = [
    "ActivationExample",
    "Curve",
    "RelationExample",
    "activation_figure",
    "choose_examples",
    "confusion_figure",
    "coverage_figure",
    "curves_figure",
    "embedding_figure",
    "load_example",
    "load_relation",
    "png",
    "read_curves",
    "relation_figure",
    "subjects_figure",
    "tsne",
]
