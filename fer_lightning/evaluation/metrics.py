"""What a prediction table is worth: accuracies, their intervals, paired comparisons, located expressions.

Plain functions on NumPy arrays. Everything that is counted is counted from the confusion matrix, whose last column is
`none`: a clip without a prediction is an error of its class and never drops out of a mean.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest
from sklearn.metrics import silhouette_score
from torch import Tensor

from fer_lightning.evaluation.clip_outputs import ClipOutputs
from fer_lightning.evaluation.predictions import PredictionTable

DRAWS = 2000
LEVEL = 0.95
CHUNK = 1 << 22  # counts held at once while resampling: 32 MB


@dataclass(frozen=True)
class Interval:
    """A confidence interval; NaN where it cannot be known, as with one subject."""

    low: float
    high: float

    @property
    def known(self) -> bool:
        """Whether there is an interval at all."""
        return not math.isnan(self.low)

    def __str__(self) -> str:
        return f"[{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True, eq=False)
class Scores:
    """The measures of one table. Classes that do not occur are NaN in arrays and left out of means."""

    war: float  # weighted average recall: the share of right clips
    uar: float  # unweighted average recall: the mean of the class accuracies
    weighted_f1: float  # F1 of the classes, weighted by their clips
    std_accuracy: float  # population standard deviation of the class accuracies
    class_accuracy: NDArray[np.float64]  # (C,) recall: the diagonal of the normalised confusion matrix
    precision: NDArray[np.float64]  # (C,) 0 for a class that is never predicted
    f1: NDArray[np.float64]  # (C,)
    confusion: NDArray[np.int64]  # (C, C + 1) true classes by predicted ones; the last column is `none`

    @property
    def mean_accuracy(self) -> float:
        """The mean of the class accuracies, MeanAcc of the papers; the same number as UAR."""
        return self.uar

    @property
    def support(self) -> NDArray[np.int64]:
        """(C,) clips of each class."""
        return np.asarray(self.confusion.sum(axis=1))

    @property
    def clips(self) -> int:
        """Rows of the table."""
        return int(self.confusion.sum())


@dataclass(frozen=True)
class Intervals:
    """Bootstrap intervals of the three headline measures; MeanAcc's is UAR's."""

    war: Interval
    uar: Interval
    weighted_f1: Interval
    level: float
    clusters: int  # what is drawn: subjects, films, or clips of which neither is known
    unit: str  # what those of most clips are: `subject`, `film` or `clip`


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


@dataclass(frozen=True)
class PairedDifference:
    """How two tables of the same clips differ in accuracy."""

    difference: float  # WAR of the first minus WAR of the second
    interval: Interval  # paired bootstrap
    unit: str  # over what, see `Intervals`
    only_first: int  # clips that only the first has right
    only_second: int
    p_value: float  # McNemar's exact test; it takes clips as independent, the interval does not
    clips: int


@dataclass(frozen=True)
class Located:
    """How often the most attended group of frames holds the clip's peak."""

    share: float  # NaN without such clips
    chance: float  # of a group drawn at random
    clips: int
    flat: int  # clips left out: their expression never rises, such as neutral ones
    unknown: int  # clips left out: their intensity or attention is not known


def confusion_matrix(table: PredictionTable) -> NDArray[np.int64]:
    """(C, C + 1) clips by true class (row) and predicted class (column); the last column is `none`."""
    whole = _cluster_confusions(table, np.zeros(len(table), np.int64), 1)
    return np.asarray(whole[0], dtype=np.int64)


def confusion_war(confusion: Tensor) -> Tensor:
    """The share of right clips, a scalar on the matrix's device, of a confusion matrix (C, C + 1); NaN if empty."""
    return confusion.diagonal().sum() / confusion.sum()


def confusion_uar(confusion: Tensor) -> Tensor:
    """The mean recall of the classes that occur in a confusion matrix (C, C + 1), likewise."""
    support = confusion.sum(dim=1)
    return (confusion.diagonal() / support)[support > 0].mean()


def scores(table: PredictionTable) -> Scores:
    """The measures of a table.

    Raises:
        ValueError: the table is empty.
    """
    if not len(table):
        raise ValueError("the prediction table is empty: there is nothing to measure")
    confusion = confusion_matrix(table)
    recall, precision, f1 = _per_class(confusion.astype(np.float64))
    war, uar, weighted_f1 = _headline(confusion[None].astype(np.float64))[:, 0].tolist()
    return Scores(war, uar, weighted_f1, float(np.nanstd(recall)), recall, precision, f1, confusion)


def bootstrap(table: PredictionTable, draws: int = DRAWS, seed: int = 0, level: float = LEVEL) -> Intervals:
    """Percentile intervals over subjects: they are drawn with replacement, each with all of its clips.

    Clips of one person are not independent, nor are those of one film, which stands in where the person is not known;
    a clip of which neither is known is a cluster of its own. With few clusters (under about twenty) percentile
    intervals are somewhat too narrow.

    Raises:
        ValueError: the table is empty.
    """
    if not len(table):
        raise ValueError("the prediction table is empty: there is nothing to resample")
    cluster, clusters = _clusters(table)
    counts = _cluster_confusions(table, cluster, clusters)
    shape = counts.shape[1:]
    values = [
        _headline((weights @ counts.reshape(clusters, -1)).reshape(-1, *shape))
        for weights in _resampled(clusters, draws, seed)
    ]
    war, uar, f1 = (_interval(row, level, clusters) for row in np.concatenate(values, axis=1))
    return Intervals(war, uar, f1, level, clusters, _unit(table))


def subject_scores(table: PredictionTable) -> SubjectScores:
    """Right clips of each subject, the best subject first; ties by name."""
    known = table.subject != ""
    names, cluster = np.unique(table.subject[known], return_inverse=True)
    clips = np.bincount(cluster, minlength=len(names))
    correct = np.bincount(cluster, weights=table.correct[known], minlength=len(names)).astype(np.int64)
    order = np.argsort(-correct / np.maximum(clips, 1), kind="stable")
    return SubjectScores(names[order], clips[order], correct[order], int((~known).sum()))


def paired_difference(
    first: PredictionTable, second: PredictionTable, draws: int = DRAWS, seed: int = 0, level: float = LEVEL
) -> PairedDifference:
    """Compares two systems on the same clips.

    Raises:
        ValueError: the tables are empty, hold a clip under several seeds, or differ in classes, clips, true names,
            subjects or films.
    """
    second = _matching(first, second)
    right, other = first.correct, second.correct
    cluster, clusters = _clusters(first)
    gain = np.bincount(cluster, weights=right.astype(np.float64) - other, minlength=clusters)
    size = np.bincount(cluster, minlength=clusters)
    drawn = np.concatenate([(w @ gain) / (w @ size) for w in _resampled(clusters, draws, seed)])
    only_first, only_second = int((right & ~other).sum()), int((other & ~right).sum())
    unequal = only_first + only_second
    p_value = float(binomtest(only_first, unequal, 0.5).pvalue) if unequal else 1.0
    difference = float(right.mean() - other.mean())
    interval = _interval(drawn, level, clusters)
    return PairedDifference(difference, interval, _unit(first), only_first, only_second, p_value, len(first))


def difference_line(found: PairedDifference) -> str:
    """A paired comparison in one line."""
    low, high = found.interval.low, found.interval.high
    interval = f"(no interval: one {found.unit})"
    if found.interval.known:
        interval = f"[{low:+.3f}, {high:+.3f}] (95 %, paired bootstrap over {found.unit}s)"
    return (
        f"WAR {found.difference:+.3f} {interval}, "
        f"N = {found.clips}; right alone: {found.only_first} and {found.only_second} clips, "
        f"McNemar p = {found.p_value:.2g}"
    )


def located_share(outputs: ClipOutputs, tolerance: float = 0.05, threshold: float = 0.1) -> Located:
    """How often attention finds the expression, the measure of CEFLNet's table 7.

    A group of frames is right when its largest intensity is within `tolerance` of the clip's largest [our choice: the
    paper has people judge]. Clips whose intensity never rises above `threshold` have no expression to find.

    Raises:
        ValueError: the outputs hold no attention or no intensity.
    """
    if outputs.attention is None or outputs.intensity is None:
        missing = "attention" if outputs.attention is None else "intensity"
        raise ValueError(f"the outputs hold no {missing}; what is located cannot be told without it")
    clips, groups = outputs.attention.shape
    seen = np.where(outputs.frame_index >= 0, outputs.intensity, np.nan)
    known = np.isfinite(seen)
    peaks = np.where(known, seen, -np.inf).reshape(clips, groups, -1).max(axis=2)  # (N, A)
    peak = peaks.max(axis=1, initial=-np.inf)
    unknown = ~np.isfinite(peak) | ~np.isfinite(outputs.attention).all(axis=1)
    flat = ~unknown & (peak <= threshold)
    used = ~unknown & ~flat
    right = peaks[used] >= peak[used, None] - tolerance
    chosen = outputs.attention[used].argmax(axis=1)
    hit = right[np.arange(len(right)), chosen]
    chance = right.sum(axis=1) / np.isfinite(peaks[used]).sum(axis=1)
    share, expected = (float(x.mean()) if len(x) else float("nan") for x in (hit, chance))
    return Located(share, expected, int(used.sum()), int(flat.sum()), int(unknown.sum()))


def silhouette(feature: NDArray[np.float32], emotion: NDArray[np.str_]) -> float:
    """The mean silhouette, -1 to 1, of clip features (N, D) grouped by their true emotion; NaN where undefined.

    It is undefined with fewer than two classes, or with as many classes as clips.
    """
    classes = len(np.unique(emotion))
    return float(silhouette_score(feature, emotion)) if 2 <= classes < len(emotion) else float("nan")


def _per_class(confusion: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Recall, precision and F1 (..., C) of confusion matrices (..., C, C + 1); recall is NaN without clips."""
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    support, claimed = confusion.sum(axis=-1), confusion[..., :-1].sum(axis=-2)
    recall = np.where(support > 0, hits / np.maximum(support, 1), np.nan)
    precision = hits / np.maximum(claimed, 1)
    return recall, precision, 2 * hits / np.maximum(support + claimed, 1)


def _headline(confusion: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3, B): WAR, UAR and weighted F1 of (B, C, C + 1) confusion matrices."""
    recall, _, f1 = _per_class(confusion)
    support = confusion.sum(axis=-1)
    total = support.sum(axis=-1)
    war = np.diagonal(confusion, axis1=-2, axis2=-1).sum(axis=-1) / total
    return np.stack([war, np.nanmean(recall, axis=-1), (f1 * support).sum(axis=-1) / total])


def _clusters(table: PredictionTable) -> tuple[NDArray[np.int64], int]:
    """(N,) the cluster of each row, and their number: its subject, its film where there is none, or else its clip."""
    # The first letter keeps a subject apart from a film or a clip of the same name.
    names = np.where(table.group != "", np.char.add("f", table.group), np.char.add("c", table.clip_id))
    names = np.where(table.subject != "", np.char.add("s", table.subject), names)
    unique, cluster = np.unique(names, return_inverse=True)
    return cluster, len(unique)


def _unit(table: PredictionTable) -> str:
    """What the clusters of most clips are."""
    named = {"subject": table.subject != "", "film": (table.subject == "") & (table.group != "")}
    share = {unit: int(rows.sum()) for unit, rows in named.items()} | {"clip": 0}
    share["clip"] = len(table) - sum(share.values())
    return max(share, key=lambda unit: share[unit])


def _cluster_confusions(table: PredictionTable, cluster: NDArray[np.int64], clusters: int) -> NDArray[np.float64]:
    """(K, C, C + 1) the confusion matrix of each cluster's clips."""
    counts = np.zeros((clusters, len(table.class_names), len(table.class_names) + 1))
    np.add.at(counts, (cluster, table.label, table.choice), 1)
    return counts


def _resampled(clusters: int, draws: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """(draws, K) in chunks: how often each cluster is drawn when K are drawn with replacement."""
    generator = np.random.default_rng(seed)
    size = max(1, CHUNK // clusters)
    for start in range(0, draws, size):
        rows = min(size, draws - start)
        drawn = generator.integers(clusters, size=(rows, clusters)) + np.arange(rows)[:, None] * clusters
        yield np.bincount(drawn.ravel(), minlength=rows * clusters).reshape(rows, clusters).astype(np.float64)


def _interval(values: NDArray[np.float64], level: float, clusters: int) -> Interval:
    """The middle `level` of resampled values; unknown with a single cluster, which always gives the same value."""
    if clusters < 2:
        return Interval(float("nan"), float("nan"))
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def _matching(first: PredictionTable, second: PredictionTable) -> PredictionTable:
    """The second table in the order of the first, if they are comparable."""
    if first.class_names != second.class_names:
        raise ValueError(f"the tables have different classes: {first.class_names} and {second.class_names}")
    for table in (first, second):
        if not len(table) or len(set(table.clip_id.tolist())) != len(table):
            raise ValueError(f"a paired comparison needs each clip once; found {len(table)} rows: compare seed by seed")
    position = {name: row for row, name in enumerate(second.clip_id.tolist())}
    unmatched = sorted(set(position) ^ set(first.clip_id.tolist()))
    if unmatched:
        raise ValueError(f"{len(unmatched)} clips stand in one table only, such as {unmatched[0]!r}")
    second = second.select(np.array([position[name] for name in first.clip_id.tolist()]))
    for name in ("emotion", "subject", "group"):
        differing = np.flatnonzero(getattr(first, name) != getattr(second, name))
        if len(differing):
            row = differing[0]
            found = (str(getattr(first, name)[row]), str(getattr(second, name)[row]))
            raise ValueError(f"clip {str(first.clip_id[row])!r}: the tables differ in its {name}: {found}")
    return second
