"""Prediction tables of which a test chooses the classes and probabilities alone."""

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from fer_lightning.evaluation.predictions import PredictionTable


def plain_table(
    names: Sequence[str],
    label: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    split: str = "inner",
    clips_per_subject: int = 5,
    none: Collection[int] = (),
) -> PredictionTable:
    """Clips of fold 1 and seed 0, some of each subject; those of `none` show no face."""
    clips = len(label)
    return PredictionTable(
        names,
        clip_id=np.array([f"{split}{i}" for i in range(clips)]),
        subject=np.array([f"s{i // clips_per_subject}" for i in range(clips)]),
        group=np.array([""] * clips),
        split=np.array([split] * clips),
        fold=np.array(["1"] * clips),
        seed=np.zeros(clips, np.int64),
        emotion=np.array(names)[label],
        probabilities=probabilities,
        coverage=np.ones(clips),
        reason=np.array(["no face" if i in none else "" for i in range(clips)]),
    )
