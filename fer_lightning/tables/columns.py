"""The columns that tables may have, each declared once: their names and headings."""

from data_modules.labels import CONTEMPT, SEVEN
from fer_lightning.evaluation.confidence import MEASURES
from fer_lightning.evaluation.metrics import METRICS

BY_NAME = {metric.name: metric for metric in METRICS}
CONFIDENCE = {measure.name: measure for measure in MEASURES}
COSTS = ("parameters", "multiply_adds", "ms_per_clip", "train_ms_per_clip", "clips_per_second")
"""Columns about a model's cost: numbers, milliseconds for a clip, and the speed of `fer bench models`."""
OTHER_EPOCHS = ("last_epoch", "best_on_test", "inflation")
"""Columns about other epochs than the chosen one, in WAR: the last, the papers' best on test, and what that adds."""
INTERVAL, ANSWERED = "interval.", "answered_only."
"""Before the name of a metric: its 95 % interval, and its value over the clips with a prediction."""
FROM_ORDERS = ("shuffled_drop",)
"""Columns about the order of frames: the WAR that a model loses when the frames of a clip are shuffled."""
FROM_VOTES = ("human",)
"""Columns about the annotators: how often one of them agrees with the majority of the others, see `leave_one_out`."""
FROM_OUTPUTS = ("silhouette", "hit_rate")
"""Columns that are computed from what a run keeps beside its predictions: features, attention."""
SHARES = (*BY_NAME, "hit_rate")
"""Columns that hold shares, which papers print in per cent; so do those of single classes, `recall.<class>`."""
FROM_PROBABILITIES = tuple(CONFIDENCE)
"""Columns about confidence: of the probabilities as the model gives them, over the clips with a prediction."""
CALIBRATED = "_calibrated"
"""After the name of such a measure: that of the probabilities with the temperature of the inner split."""
COLUMNS = (
    *BY_NAME,
    *(f"{part}{name}" for part in (INTERVAL, ANSWERED) for name in BY_NAME),
    *OTHER_EPOCHS,
    *(f"recall.{emotion}" for emotion in (*SEVEN, CONTEMPT)),
    *FROM_OUTPUTS,
    *FROM_PROBABILITIES,
    *(f"{name}{CALIBRATED}" for name in FROM_PROBABILITIES),
    *FROM_ORDERS,
    *FROM_VOTES,
    *COSTS,
    "clips",
    "seeds",
    "value",
)
"""Every column that a table may have; `value` is that of a setting."""
HEADINGS = {
    "shuffled_drop": "drop under shuffled frames",
    "human": "single annotator",
    "clips": "N",
    **{f"{name}{CALIBRATED}": f"calibrated {measure.short}" for name, measure in CONFIDENCE.items()},
    **{f"{ANSWERED}{name}": f"{metric.short}, answered only" for name, metric in BY_NAME.items()},
    **{f"{INTERVAL}{name}": f"95 % of {metric.short}" for name, metric in BY_NAME.items()},
    **{name: metric.short for name, metric in BY_NAME.items()},
    **{name: measure.short for name, measure in CONFIDENCE.items()},
}
"""The headings of columns that are not their names."""


def title(column: str) -> str:
    """Returns a column's heading."""
    return HEADINGS.get(column, column.removeprefix("recall.").replace("_", " "))
