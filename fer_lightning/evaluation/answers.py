"""The confidences of predictions, and whether the predictions are correct."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fer_lightning.evaluation.predictions import PredictionTable


@dataclass(frozen=True, eq=False)
class Answers:
    """The confidences of N clips with a prediction, and whether those predictions are correct.

    Raises:
        ValueError: the columns differ in length, or a confidence is not between 0 and 1.
    """

    confidence: NDArray[np.float64]  # (N,) the probability of the predicted class
    correct: NDArray[np.bool_]  # (N,)

    def __post_init__(self) -> None:
        if self.confidence.shape != (len(self),) or self.correct.shape != (len(self),):
            raise ValueError(f"{self.confidence.shape} confidences of {self.correct.shape} answers; expected one each")
        if not ((self.confidence >= 0) & (self.confidence <= 1)).all():
            raise ValueError("a confidence is not between 0 and 1")

    def __len__(self) -> int:
        return len(self.confidence)

    @classmethod
    def of(cls, table: PredictionTable) -> "Answers":
        """Returns the answers of a table; clips without a prediction have none."""
        found = ~table.missing
        return cls(np.minimum(table.probabilities[found].max(axis=1), 1.0), table.correct[found])
