"""Figures of reports and curves: each function takes data and returns a matplotlib `Figure`, without global state."""

from fer_lightning.figures.activation import ActivationExample, activation_figure, choose_examples, load_example
from fer_lightning.figures.charts import confusion_figure, coverage_figure, subjects_figure
from fer_lightning.figures.curves import Curve, curves_figure, read_curves
from fer_lightning.figures.embedding import embedding_figure, tsne
from fer_lightning.figures.style import png

__all__ = [
    "ActivationExample",
    "Curve",
    "activation_figure",
    "choose_examples",
    "confusion_figure",
    "coverage_figure",
    "curves_figure",
    "embedding_figure",
    "load_example",
    "png",
    "read_curves",
    "subjects_figure",
    "tsne",
]
