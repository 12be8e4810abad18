"""How well the clips of each subject are recognised."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fer_lightning.evaluation.predictions import PredictionTable


@dataclass(frozen=True, eq=False)
class SubjectScores:
    """The S subjects of a table, best first, and how many clips have none."""

    subject: NDArray[np.str_]  # (S,)
    clips: NDArray[np.int64]  # (S,)
    correct: NDArray[np.int64]  # (S,)
    without_subject: int

    @property
    def accuracy(self) -> NDArray[np.float64]:
        """(S,) share of right clips."""
        return self.correct / self.clips


def subject_scores(table: PredictionTable) -> SubjectScores:
    """Right clips of each subject, the best subject first; ties by name."""
    known = table.subject != ""
    names, cluster = np.unique(table.subject[known], return_inverse=True)
    clips = np.bincount(cluster, minlength=len(names))
    correct = np.bincount(cluster, weights=table.correct[known], minlength=len(names)).astype(np.int64)
    order = np.argsort(-correct / np.maximum(clips, 1), kind="stable")
    return SubjectScores(names[order], clips[order], correct[order], int((~known).sum()))
