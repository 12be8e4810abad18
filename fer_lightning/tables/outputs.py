"""What the outputs of a run beside its predictions say, for the columns of tables that are about them."""

import numpy as np

from fer_lightning.evaluation.annotators import run_agreement
from fer_lightning.evaluation.calibration_file import calibration_values
from fer_lightning.evaluation.clip_outputs import ClipOutputs
from fer_lightning.evaluation.confidence import confidence_scores
from fer_lightning.evaluation.features import silhouette
from fer_lightning.evaluation.localization import peak_localization
from fer_lightning.evaluation.metrics import WAR, scores
from fer_lightning.evaluation.predictions import PredictionTable
from fer_lightning.runs.folder import RunFolder
from fer_lightning.tables.columns import CALIBRATED, COLUMNS


def run_values(run: RunFolder, table: PredictionTable) -> dict[str, float]:
    """Returns what a finished run says beside its metrics, by the names of columns, without what it did not keep.

    Args:
        run: the run.
        table: its predictions for the reported split.

    Raises:
        ValueError: a file of the run is damaged.
    """
    confidence = confidence_scores(table, draws=1)
    values = output_values(run, table) | order_values(run, table) | calibrated_values(run)
    values |= human_values(run, table)
    return values | (confidence.values if confidence else {})


def calibrated_values(run: RunFolder) -> dict[str, float]:
    """Returns the measures of a run's calibrated probabilities; nothing if it has no temperature."""
    found = calibration_values(run)
    names = {name: f"test/{name}" for name in COLUMNS if name.endswith(CALIBRATED)}
    return {name: found[logged] for name, logged in names.items() if logged in found}


def order_values(run: RunFolder, table: PredictionTable) -> dict[str, float]:
    """Returns the WAR that a run loses when the frames of a clip are shuffled; nothing if that was not tried."""
    path = run.order_predictions("shuffled")
    if not path.exists():
        return {}
    return {"shuffled_drop": scores(table)[WAR] - scores(PredictionTable.read(path))[WAR]}


def human_values(run: RunFolder, table: PredictionTable) -> dict[str, float]:
    """Returns how often an annotator agrees with the others on a run's clips; nothing if it knows of no votes."""
    found = run_agreement(run, table, draws=1)
    return {"human": found.annotator} if found else {}


def output_values(run: RunFolder, table: PredictionTable) -> dict[str, float]:
    """Returns the silhouette of a run's clip features, and how often its attention finds the expression's peak.

    Args:
        run: a finished run.
        table: its predictions for the reported split.

    Returns:
        `silhouette` between -1 and 1 and `hit_rate` between 0 and 1, without those that are undefined or whose
        outputs the run did not keep.

    Raises:
        ValueError: the file of outputs is damaged.
    """
    if not run.outputs("test").exists():
        return {}
    outputs = ClipOutputs.read(run.outputs("test"))
    emotion = dict(zip(table.clip_id.tolist(), table.emotion.tolist(), strict=True))
    values = {}
    if outputs.feature.shape[1]:
        values["silhouette"] = silhouette(outputs.feature, np.array([emotion[clip] for clip in outputs.clip_id]))
    if outputs.attention is not None and outputs.intensity is not None:
        values["hit_rate"] = peak_localization(outputs).hit_rate
    return {name: value for name, value in values.items() if not np.isnan(value)}
