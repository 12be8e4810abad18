"""Collects the predictions of batches into a prediction table and the clips' outputs."""

from typing import Any

import numpy as np
import torch
import torch.distributed
from numpy.typing import NDArray

from data_modules.loading.clip_dataset import Clip
from fer_lightning.evaluation.clip_outputs import AXES, ClipOutputs, stacked
from fer_lightning.evaluation.outputs import ClipPredictions
from fer_lightning.evaluation.predictions import PredictionTable


def prediction_table(
    clips: list[Clip], parts: list[ClipPredictions], class_names: tuple[str, ...], seed: int
) -> PredictionTable:
    """Returns a table with one row per clip, including the clips for which there is no prediction."""
    records = [clip.record for clip in clips]
    return PredictionTable(
        class_names=class_names,
        clip_id=np.array([record.clip_id for record in records]),
        subject=np.array([record.subject for record in records]),
        group=np.array([record.group for record in records]),
        split=np.array([record.split for record in records]),
        fold=np.array([record.fold for record in records]),
        seed=np.full(len(records), seed),
        emotion=np.array([record.emotion for record in records]),
        probabilities=clip_probabilities(clips, parts, len(class_names)),
        coverage=np.array([clip.faces.coverage for clip in clips]),
        reason=np.array(["" if clip.usable else clip.reason or clip.faces.reason or "no face found" for clip in clips]),
    )


def clip_probabilities(clips: list[Clip], parts: list[ClipPredictions], num_classes: int) -> NDArray[np.float64]:
    """Returns (N, C) probabilities in the order of the clips, NaN for those without a prediction."""
    predicted = {
        clip: row for part in parts for clip, row in zip(part.clip_id, part.probabilities.double(), strict=True)
    }
    missing = torch.full((num_classes,), float("nan"), dtype=torch.float64)
    return np.asarray(torch.stack([predicted.get(clip.record.clip_id, missing) for clip in clips]).numpy())


def clip_outputs(clips: list[Clip], parts: list[ClipPredictions]) -> ClipOutputs:
    """Returns the outputs of the clips that have a prediction, in the manifest's order."""
    rows = {clip: (part, row) for part in parts for row, clip in enumerate(part.clip_id)}
    clip_ids = [clip.record.clip_id for clip in clips if clip.record.clip_id in rows]

    def column(name: str) -> Any:
        values = [getattr(part, name) for part, _ in map(rows.__getitem__, clip_ids)]
        if not values or values[0] is None:
            return None
        return stacked(name, [value[rows[clip][1]].numpy() for clip, value in zip(clip_ids, values, strict=True)])

    stream_names = parts[0].stream_names if clip_ids else ()
    return ClipOutputs(tuple(clip_ids), **{name: column(name) for name in AXES}, stream_names=stream_names)
