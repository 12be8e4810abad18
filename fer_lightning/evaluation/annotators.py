"""How far annotators agree with each other and with the label: what a model's accuracy may be compared with.

The share of votes for the label is what Cao et al. (2014, https://doi.org/10.1109/TAFFC.2014.2336244) call the human
recognition of the intended emotion. That each annotator is compared with the others alone is this suite's choice: an
annotator's own vote would be part of the majority.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_modules.labels import parse_votes
from data_modules.manifest import read_manifest
from fer_lightning.evaluation.bootstrap import DRAWS, LEVEL, Interval, Resamples, cluster_unit, clusters_of, resampled
from fer_lightning.evaluation.predictions import PredictionTable
from fer_lightning.runs.folder import RunFolder


@dataclass(frozen=True, eq=False)
class Agreement:
    """The agreement of annotators over the M clips that at least two of them gave one of the classes.

    Args:
        table: the predictions for these clips.
        votes: number of votes for the classes.
        other_votes: number of votes for anything else, such as an emotion that is no class; they are left out.
        without_votes: number of other clips in the split.
        annotator: how often an annotator's vote is the majority of the other votes for the clip, mean over clips.
        annotator_interval: of `annotator`.
        label: share of the votes that are the clip's label, mean over clips.
        label_interval: of `label`.
        unit: what the bootstrap draws: `subject`, `film` or `clip`.
    """

    table: PredictionTable
    votes: int
    other_votes: int
    without_votes: int
    annotator: float
    annotator_interval: Interval
    label: float
    label_interval: Interval
    unit: str


def run_agreement(run: RunFolder, table: PredictionTable, draws: int = DRAWS) -> Agreement | None:
    """Measures the agreement of annotators over the clips of a run; None if it knows of no votes.

    Args:
        run: the run, whose list of clips holds the votes.
        table: its predictions.
        draws: number of bootstrap samples.

    Raises:
        ValueError: the list of clips is damaged.
    """
    if not run.clips.exists():
        return None
    return agreement(table, {record.clip_id: record.votes for record in read_manifest(run.clips)}, draws)


def agreement(
    table: PredictionTable, votes: Mapping[str, str], draws: int = DRAWS, seed: int = 0, level: float = LEVEL
) -> Agreement | None:
    """Measures the agreement of annotators, with intervals of a bootstrap over subjects, films or clips.

    Args:
        table: the predictions of one training, whose clips, labels and classes are used.
        votes: the votes of each clip as in a manifest, by clip id.
        draws: number of bootstrap samples.
        seed: of the random generator.
        level: of the intervals, between 0 and 1.

    Returns:
        None if no clip has two votes for the classes.
    """
    counted = [parse_votes(votes.get(clip_id, "")) for clip_id in table.clip_id.tolist()]
    counts = np.array([[each.get(name, 0) for name in table.class_names] for each in counted], np.int64)
    kept = counts.sum(axis=1) >= 2 if len(counts) else np.zeros(0, bool)
    if not kept.any():
        return None
    total = sum(sum(each.values()) for each, used in zip(counted, kept, strict=True) if used)
    table, counts = table.select(kept), counts[kept]
    values = np.stack([leave_one_out(counts), label_share(counts, table.label), np.ones(len(counts))], axis=1)
    cluster, clusters = clusters_of(table)
    sums = np.zeros((clusters, 3))
    np.add.at(sums, cluster, values)
    drawn, means = _means(resampled(sums, draws, seed)), _means(sums.sum(axis=0))
    (annotator, annotator_interval), (label, label_interval) = (
        (value, Resamples.of(column[:, None], np.array([value]), clusters).interval(value, level, 0, 1))
        for value, column in zip(means.tolist(), drawn.T, strict=True)
    )
    return Agreement(
        table,
        votes=int(counts.sum()),
        other_votes=total - int(counts.sum()),
        without_votes=int((~kept).sum()),
        annotator=annotator,
        annotator_interval=annotator_interval,
        label=label,
        label_interval=label_interval,
        unit=cluster_unit(table),
    )


def _means(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the means (..., 2) of sums (..., 3) over clips, whose last column is the number of clips."""
    return sums[..., :2] / sums[..., 2:]


def leave_one_out(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Returns how often an annotator's vote is the most frequent one among the other votes for the clip, (N,).

    Where k classes share the most votes of the others, a vote for one of them agrees by 1 / k.

    Args:
        counts: (N, C) votes for each class, at least two for each clip.
    """
    classes = counts.shape[1]
    others = counts[:, None] - np.eye(classes, dtype=np.int64)  # (N, C, C), in row c without a vote for class c
    most = others == others.max(axis=2, keepdims=True)
    agrees = np.diagonal(most, axis1=1, axis2=2) / most.sum(axis=2)
    return np.asarray((counts * agrees).sum(axis=1) / counts.sum(axis=1))


def label_share(counts: NDArray[np.int64], label: NDArray[np.int64]) -> NDArray[np.float64]:
    """Returns the share of the votes that are a clip's label, (N,).

    Args:
        counts: (N, C) votes for each class, at least one for each clip.
        label: (N,) the labels as indices.
    """
    return np.asarray(counts[np.arange(len(counts)), label] / counts.sum(axis=1))
