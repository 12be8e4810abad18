"""What the features and the attention that a run keeps say, for the columns of tables that are about them."""

import numpy as np

from fer_lightning.evaluation.clip_outputs import ClipOutputs
from fer_lightning.evaluation.features import silhouette
from fer_lightning.evaluation.localization import peak_localization
from fer_lightning.evaluation.predictions import PredictionTable
from fer_lightning.runs.folder import RunFolder


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
