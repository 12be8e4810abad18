"""The interface of whatever recognises expressions in the rows of a video: one model, or an ensemble of several."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fer_lightning.predict.faces import VideoFaces
from fer_lightning.predict.settings import ModelFacts
from fer_lightning.predict.timeline import TimelineRows

Advance = Callable[[float], None]
"""A function that receives the number of rows that are done."""


@dataclass(frozen=True, eq=False)
class RowPredictions:
    """Predictions for the K rows of a video."""

    probabilities: NDArray[np.float64]  # (K, C); NaN in rows without an expression
    members: "tuple[tuple[str, RowPredictions], ...]" = ()  # of an ensemble, by name

    @classmethod
    def joined(cls, parts: "Sequence[RowPredictions]") -> "RowPredictions":
        """Returns the predictions of successive parts of a video as one."""
        members = zip(*(part.members for part in parts), strict=True)
        return cls(
            np.concatenate([part.probabilities for part in parts]),
            tuple((each[0][0], cls.joined([part for _, part in each])) for each in members),
        )

    @property
    def has_expression(self) -> NDArray[np.bool_]:
        """Whether each row, (K,), has an expression."""
        return np.asarray(np.isfinite(self.probabilities).all(axis=1), dtype=np.bool_)

    def left_out(self) -> tuple[tuple[str, int], ...]:
        """Counts, for each member of an ensemble, the rows with an expression to which it did not contribute.

        Members that contributed to all of them are not listed.
        """
        counts = ((name, int((self.has_expression & ~member.has_expression).sum())) for name, member in self.members)
        return tuple((name, count) for name, count in counts if count)


class RowClassifier(ABC):
    """Recognises expressions in any number of videos with models that are loaded once."""

    class_names: tuple[str, ...]
    facts: ModelFacts

    @abstractmethod
    def predict(self, faces: VideoFaces, rows: TimelineRows, advance: Advance) -> RowPredictions:
        """Predicts the expression of each row of a video.

        Args:
            faces: of the video.
            rows: of its timeline.
            advance: receives the number of rows that are done.
        """
