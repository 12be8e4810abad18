"""Measures how well the clips of each subject are recognised."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fer_lightning.evaluation.predictions import PredictionTable


@dataclass(frozen=True, eq=False)
class SubjectScores:
    """The results of the S subjects of a table, most accurate first."""

    subject: NDArray[np.str_]  # (S,)
    clips: NDArray[np.int64]  # (S,) number of clips
    correct: NDArray[np.int64]  # (S,) number of correct clips
    without_subject: int  # clips whose subject is unknown

    @property
    def accuracy(self) -> NDArray[np.float64]:
        """(S,) share of clips classified correctly."""
        return self.correct / self.clips


def subject_scores(table: PredictionTable) -> SubjectScores:
    """Counts the correct clips of each subject and sorts the subjects by accuracy, then by name."""
    known = table.subject != ""
    names, cluster = np.unique(table.subject[known], return_inverse=True)
    clips = np.bincount(cluster, minlength=len(names))
    correct = np.bincount(cluster, weights=table.correct[known], minlength=len(names)).astype(np.int64)
    order = np.argsort(-correct / np.maximum(clips, 1), kind="stable")
    return SubjectScores(names[order], clips[order], correct[order], int((~known).sum()))
