"""What recognises expressions in the rows of a video, be it one model or an ensemble of several."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fer_lightning.predict.faces import VideoFaces
from fer_lightning.predict.settings import ModelFacts
from fer_lightning.predict.timeline import Rows

Advance = Callable[[float], None]
"""Is told how many rows are done."""


@dataclass(frozen=True, eq=False)
class Answers:
    """What is said of K rows."""

    probabilities: NDArray[np.float64]  # (K, C); rows of NaN without an answer
    members: "tuple[tuple[str, Answers], ...]" = ()  # of an ensemble, by name

    @property
    def answered(self) -> NDArray[np.bool_]:
        """(K,) whether there is an answer."""
        return np.asarray(np.isfinite(self.probabilities).all(axis=1), dtype=np.bool_)

    def left_out(self) -> tuple[tuple[str, int], ...]:
        """Of an ensemble, in how many of its answers a member has no say, for each member with such rows."""
        counts = ((name, int((self.answered & ~member.answered).sum())) for name, member in self.members)
        return tuple((name, count) for name, count in counts if count)


class RowClassifier(ABC):
    """Recognises expressions in any video; its models are loaded once."""

    class_names: tuple[str, ...]
    facts: ModelFacts

    @abstractmethod
    def answer(self, faces: VideoFaces, rows: Rows, advance: Advance) -> Answers:
        """What is said of each row of a video."""
