import statistics
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binom, norm, t
from sklearn import metrics as reference

from fer_lightning.evaluation.bootstrap import Interval, bootstrap
from fer_lightning.evaluation.clip_outputs import ClipOutputs
from fer_lightning.evaluation.comparison import (
    difference_line,
    difference_lines,
    difference_over_seeds,
    paired_difference,
)
from fer_lightning.evaluation.features import silhouette
from fer_lightning.evaluation.localization import apex_substitution, peak_localization
from fer_lightning.evaluation.metrics import (
    MACRO_F1,
    METRICS,
    STD_ACCURACY,
    UAR,
    WAR,
    WEIGHTED_F1,
    Metric,
    Scores,
    confusion_matrix,
    scores,
)
from fer_lightning.evaluation.predictions import PredictionTable
from fer_lightning.evaluation.subjects import subject_scores
from tests.evaluation.published_matrices import AFEW, MATRICES, Published
from tests.evaluation.test_coverage import table_of as predictions_of

SEVEN = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")


def table_of(
    true: NDArray[np.int64], chosen: NDArray[np.int64], names: tuple[str, ...], subject: list[str] | None = None
) -> PredictionTable:
    """A table whose predictions are `chosen`; the position one past the last class is none."""
    n = len(true)
    p = np.vstack([np.eye(len(names)), np.full(len(names), np.nan)])[chosen]
    return PredictionTable(
        names,
        clip_id=np.array([f"clip{i:05d}" for i in range(n)], dtype=np.str_),
        subject=np.array(subject if subject is not None else [f"s{i % 5}" for i in range(n)], dtype=np.str_),
        group=np.array([""] * n, dtype=np.str_),
        split=np.array(["test"] * n, dtype=np.str_),
        fold=np.array(["1"] * n, dtype=np.str_),
        seed=np.zeros(n, np.int64),
        emotion=np.array(names)[true] if n else np.zeros(0, np.str_),
        probabilities=p.reshape(n, len(names)),
        coverage=np.ones(n),
        reason=np.where(chosen == len(names), "no face", ""),
    )


def random_table(n: int, seed: int, classes: int = 7) -> PredictionTable:
    generator = np.random.default_rng(seed)
    true = generator.integers(classes - 1, size=n)  # the last class never occurs, but is predicted
    chosen = np.where(generator.random(n) < 0.5, true, generator.integers(classes + 1, size=n))
    return table_of(true, chosen, SEVEN[:classes])


@pytest.mark.parametrize(("n", "seed", "classes"), [(400, 0, 7), (37, 1, 4), (11, 2, 7), (1, 3, 3)])
def test_against_scikit_learn(n: int, seed: int, classes: int) -> None:
    table = random_table(n, seed, classes)
    true, predicted, names = table.emotion, table.predicted, list(table.class_names)
    occurring = [name for name in names if name in set(true.tolist())]
    ours = scores(table)
    assert ours[WAR] == pytest.approx(reference.accuracy_score(true, predicted))
    recalls = reference.recall_score(true, predicted, labels=occurring, average=None, zero_division=0)
    assert ours[UAR] == pytest.approx(recalls.mean())
    averaged = {"labels": occurring, "average": "macro", "zero_division": 0}
    assert ours[UAR] == pytest.approx(reference.recall_score(true, predicted, **averaged))
    deviation = statistics.stdev(recalls.tolist()) if len(occurring) > 1 else float("nan")
    assert ours[STD_ACCURACY] == pytest.approx(deviation, nan_ok=True)
    assert ours[MACRO_F1] == pytest.approx(reference.f1_score(true, predicted, **averaged))
    labelled = {"labels": names, "zero_division": 0}
    assert ours[WEIGHTED_F1] == pytest.approx(reference.f1_score(true, predicted, average="weighted", **labelled))
    np.testing.assert_allclose(ours.f1, reference.f1_score(true, predicted, average=None, **labelled))
    np.testing.assert_allclose(ours.precision, reference.precision_score(true, predicted, average=None, **labelled))
    confusion = reference.confusion_matrix(true, predicted, labels=[*names, "none"])
    np.testing.assert_array_equal(ours.confusion, confusion[:-1])
    normalised = np.diag(confusion[:-1] / np.maximum(confusion[:-1].sum(axis=1, keepdims=True), 1))
    np.testing.assert_allclose(ours.class_accuracy[ours.support > 0], normalised[ours.support > 0])
    assert np.isnan(ours.class_accuracy[ours.support == 0]).all()
    if n > 1 and (table.choice < classes).all():
        assert ours[UAR] == pytest.approx(reference.balanced_accuracy_score(true, predicted))


@pytest.mark.parametrize("published", MATRICES, ids=lambda published: f"model {published.model}")
def test_the_figures_beside_published_matrices_are_right(published: Published) -> None:
    assert published.counts.sum(axis=1).tolist() == list(AFEW)
    ours = Scores(published.counts)
    found = [round(100 * ours[metric], 2) for metric in (WAR, WEIGHTED_F1, UAR, STD_ACCURACY)]
    assert found == [published.accuracy, published.f1, published.mean, published.std]


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_every_metric_is_a_property_of_the_matrix_alone(metric: Metric) -> None:
    tables = [random_table(60, seed) for seed in range(6)]
    matrices = np.stack([confusion_matrix(table) for table in tables])
    values = [scores(table)[metric] for table in tables]
    np.testing.assert_allclose(metric.of(matrices), values)
    np.testing.assert_allclose(metric.of(matrices.reshape(2, 3, 7, 8)), np.reshape(values, (2, 3)))
    np.testing.assert_allclose(metric.of(3 * matrices), values, err_msg="each clip thrice")
    order = np.random.default_rng(0).permutation(7)
    np.testing.assert_allclose(
        metric.of(matrices[:, order][:, :, [*order, 7]]), values, err_msg="classes in other order"
    )
    assert np.isnan(metric.of(np.zeros((7, 8)))), "no clips"
    perfect = np.eye(7, 8) * np.arange(1, 8)[:, None]
    assert metric.of(perfect) == (1.0 if metric.higher_is_better else 0.0)


def test_metrics_have_names_and_are_written_as_declared() -> None:
    assert len({metric.name for metric in METRICS}) == len({metric.short for metric in METRICS}) == len(METRICS)
    ours = Scores(np.array([[1, 0, 1], [0, 3, 0]]))
    assert [ours.written(metric) for metric in (WAR, UAR, STD_ACCURACY)] == ["0.800", "0.750", "0.750 ± 0.354"]
    assert replace(WAR, spec=".1%").write(ours[WAR]) == "80.0%"
    assert Interval(0.25, 0.5).written(replace(WAR, spec=".1%")) == "[25.0%, 50.0%]"
    assert Scores(np.array([[1, 0, 1], [0, 0, 0]])).written(STD_ACCURACY) == "0.500 ± –"


def test_guessing_the_most_frequent_class() -> None:
    guess = Scores(np.array([[1, 1, 0, 0], [2, 3, 1, 0], [0, 0, 0, 2]])).most_frequent_class
    assert guess.confusion.tolist() == [[0, 2, 0, 0], [0, 6, 0, 0], [0, 2, 0, 0]]
    assert (guess[WAR], guess[UAR]) == (pytest.approx(0.6), pytest.approx(1 / 3))


def test_a_clip_without_prediction_is_an_error_everywhere() -> None:
    # Two clips of each class; one of anger has no prediction, one of fear is taken for anger.
    table = table_of(np.array([0, 0, 1, 1]), np.array([0, 2, 1, 0]), ("anger", "fear"))
    ours = scores(table)
    assert ours.confusion.tolist() == [[1, 0, 1], [1, 1, 0]]
    assert (ours[WAR], ours[UAR], ours[STD_ACCURACY]) == (0.5, 0.5, 0.0)
    assert ours.f1.tolist() == pytest.approx([2 / 4, 2 / 3])
    assert ours[WEIGHTED_F1] == pytest.approx((2 / 4 + 2 / 3) / 2)
    assert subject_scores(table).correct.sum() == 2
    nothing = scores(table_of(np.array([0, 1]), np.array([2, 2]), ("anger", "fear")))
    assert (nothing[WAR], nothing[UAR], nothing[WEIGHTED_F1]) == (0.0, 0.0, 0.0)


def test_mean_and_sample_deviation_of_class_accuracies() -> None:
    ours = scores(table_of(np.array([0, 0, 1]), np.array([0, 0, 0]), ("anger", "fear", "sadness")))
    assert ours[UAR] == 0.5  # sadness does not occur
    assert ours[STD_ACCURACY] == pytest.approx(np.sqrt(0.5**2 + 0.5**2))
    assert ours[WAR] == pytest.approx(2 / 3)


def test_an_empty_table_is_refused() -> None:
    empty = table_of(np.zeros(0, np.int64), np.zeros(0, np.int64), SEVEN)
    for measure in (scores, bootstrap):
        with pytest.raises(ValueError, match="empty"):
            measure(empty)


def test_bootstrap_of_one_clip_per_subject_is_binomial() -> None:
    n, right = 200, 150
    chosen = np.zeros(n, np.int64)
    chosen[right:] = 1
    table = table_of(np.zeros(n, np.int64), chosen, ("anger", "fear"), [f"s{i}" for i in range(n)])
    found = bootstrap(table, draws=20_000)
    assert found.clusters == n
    expected = binom.ppf([0.025, 0.975], n, right / n) / n
    np.testing.assert_allclose([found[WAR].low, found[WAR].high], expected, atol=0.0051)  # one clip
    nameless = bootstrap(table_of(np.zeros(n, np.int64), chosen, ("anger", "fear"), [""] * n), draws=20_000)
    assert nameless.clusters == n, "a clip without a subject is a cluster of its own"
    np.testing.assert_allclose([nameless[WAR].low, nameless[WAR].high], expected, atol=0.0051)
    assert (found.unit, nameless.unit) == ("subject", "clip")


def test_films_stand_in_for_subjects_that_are_not_known() -> None:
    people = table_of(
        np.zeros(60, np.int64), np.arange(60) // 20 % 2, ("anger", "fear"), [f"x{i // 6}" for i in range(60)]
    )
    films = replace(people, subject=np.full(60, ""), group=people.subject)
    by_person, by_film = bootstrap(people), bootstrap(films)
    assert (by_film.unit, by_film.clusters, by_film[WAR]) == ("film", 10, by_person[WAR])
    both = replace(people, group=np.array([f"f{i // 30}" for i in range(60)]))
    assert bootstrap(both) == by_person, "a known person comes first"
    assert paired_difference(films, films).unit == "film"


def widened(
    values: NDArray[np.float64], whole: NDArray[np.float64], clusters: int, level: float
) -> list[NDArray[np.float64]]:
    """The percentiles of all resamples about the value, wider by sqrt(K / (K - 1)) and for Student's t."""
    stretch = np.sqrt(clusters / (clusters - 1)) * t.ppf((1 + level) / 2, clusters - 1) / norm.ppf((1 + level) / 2)
    ends = np.quantile(values, [(1 - level) / 2, (1 + level) / 2], axis=0, method="inverted_cdf")
    return [whole + stretch * (end - values.mean(axis=0)) for end in ends]


def test_bootstrap_against_every_resample() -> None:
    # Three subjects with different numbers of clips: all 27 equally likely resamples, one by one.
    true = np.array([0, 1, 0, 1, 1, 2, 0, 2])
    chosen = np.array([0, 1, 1, 1, 0, 2, 3, 0])
    subject = ["a", "a", "b", "b", "b", "c", "c", "c"]
    table = table_of(true, chosen, SEVEN[:3], subject)
    rows = {name: np.flatnonzero(table.subject == name) for name in "abc"}
    values = []
    for drawn in product("abc", repeat=3):
        index = np.concatenate([rows[name] for name in drawn])
        true_names, p = table.emotion[index], table.predicted[index]
        labels = sorted(set(true_names.tolist()))
        recalls = reference.recall_score(true_names, p, labels=labels, average=None, zero_division=0)
        f1 = reference.f1_score(true_names, p, labels=SEVEN[:3], average="weighted", zero_division=0)
        values.append((np.mean(true_names == p), recalls.mean(), f1))
    found = bootstrap(table, draws=40_000, level=0.7)
    whole = [reference.accuracy_score(table.emotion, table.predicted)]
    whole += [reference.recall_score(table.emotion, table.predicted, labels=SEVEN[:3], average="macro")]
    whole += [reference.f1_score(table.emotion, table.predicted, labels=SEVEN[:3], average="weighted")]
    low, high = widened(np.array(values), np.array(whole), clusters=3, level=0.7)
    intervals = (found[WAR], found[UAR], found[WEIGHTED_F1])
    np.testing.assert_allclose([i.low for i in intervals], np.clip(low, 0, 1), atol=0.01)
    np.testing.assert_allclose([i.high for i in intervals], np.clip(high, 0, 1), atol=0.01)


def test_bootstrap_is_seeded_and_widens_with_dependence() -> None:
    generator = np.random.default_rng(0)
    true = generator.integers(7, size=10_000)
    chosen = np.where(generator.random(10_000) < 0.6, true, generator.integers(8, size=10_000))
    alone = table_of(true, chosen, SEVEN, [f"s{i}" for i in range(10_000)])
    first = bootstrap(alone)
    assert first == bootstrap(alone)
    assert first != bootstrap(alone, seed=1)
    # The same accuracy, but each person is either always right or always wrong.
    right = np.repeat(np.arange(20) < 12, 50)
    together = table_of(
        np.zeros(1000, np.int64), (~right).astype(np.int64), SEVEN, [f"s{i // 50}" for i in range(1000)]
    )
    apart = table_of(np.zeros(1000, np.int64), (~right).astype(np.int64), SEVEN, [f"s{i}" for i in range(1000)])
    wide, narrow = bootstrap(together)[WAR], bootstrap(apart)[WAR]
    ratio = (wide.high - wide.low) / (narrow.high - narrow.low)
    assert ratio == pytest.approx(np.sqrt(50), rel=0.2)


def test_trainings_are_drawn_beside_people() -> None:
    """Two trainings that differ by much: with other seeds, their mean might be anything; people hardly matter."""
    person = [f"s{i // 10}" for i in range(1000)]
    wrong = [np.arange(1000) % 10 < number for number in (4, 2)]
    tables = [table_of(np.zeros(1000, np.int64), each.astype(np.int64), SEVEN, person) for each in wrong]
    tables[1] = replace(tables[1], seed=np.ones(1000, np.int64))
    alone, both = bootstrap(tables[0]), bootstrap(PredictionTable.concat(tables))
    assert (alone.seeds, both.seeds, both.clusters) == (1, 2, 100)
    assert (alone[WAR].low, alone[WAR].high) == pytest.approx((0.6, 0.6)), "each person has six of ten right"
    half = t.ppf(0.975, 1) * np.std([0.6, 0.8], ddof=1) / np.sqrt(2)
    assert half > 0.3
    assert (both[WAR].low, both[WAR].high) == (0, 1), f"0.7 ± {half}, within what is possible"
    assert (alone.drawn, both.drawn) == ("subjects", "subjects and seeds")


def test_the_interval_of_one_subject_is_unknown() -> None:
    found = bootstrap(table_of(np.array([0, 1]), np.array([0, 0]), SEVEN, ["a", "a"]))
    assert np.isnan(found[WAR].low)
    assert np.isnan(found[UAR].high)


def test_subjects_are_sorted_and_clips_without_one_counted() -> None:
    table = table_of(np.zeros(6, np.int64), np.array([0, 1, 0, 0, 7, 0]), SEVEN, ["b", "b", "a", "", "c", "d"])
    found = subject_scores(table)
    assert found.subject.tolist() == ["a", "d", "b", "c"]
    assert found.accuracy.tolist() == [1.0, 1.0, 0.5, 0.0]
    assert found.clips.tolist() == [1, 1, 2, 1]
    assert found.without_subject == 1


def test_paired_difference_and_mcnemar() -> None:
    n = 40
    true = np.zeros(n, np.int64)
    first, second = np.zeros(n, np.int64), np.zeros(n, np.int64)
    second[:9] = 1  # only the first is right
    first[9:11] = 7  # only the second is right
    first[11:15] = second[11:15] = 2
    subject = [f"s{i % 20}" for i in range(n)]
    a, b = table_of(true, first, SEVEN, subject), table_of(true, second, SEVEN, subject)
    found = paired_difference(a, b.select(np.random.default_rng(0).permutation(n)))
    assert (found.only_first, found.only_second, found.clips) == (9, 2, n)
    assert found[WAR].value == pytest.approx(7 / n)
    assert found.p_value == pytest.approx(2 * binom.cdf(2, 11, 0.5))
    assert found[WAR].interval.low < found[WAR].value < found[WAR].interval.high
    back = paired_difference(b, a)
    assert back[WAR].value == -found[WAR].value
    assert back[WAR].interval.low == pytest.approx(-found[WAR].interval.high, abs=0.026)
    same = paired_difference(a, a)
    assert {same[metric].value for metric in METRICS if metric.has_interval} == {0.0}
    assert (same.p_value, same[WAR].interval.low, same[WAR].interval.high) == (1.0, 0.0, 0.0)


def test_paired_differences_are_of_every_metric_and_resample() -> None:
    true = np.array([0, 1, 0, 1, 1, 2, 0, 2])
    subject = ["a", "a", "b", "b", "b", "c", "c", "c"]
    first = table_of(true, np.array([0, 1, 1, 1, 0, 2, 3, 0]), SEVEN[:3], subject)
    second = table_of(true, np.array([0, 0, 0, 1, 2, 1, 0, 2]), SEVEN[:3], subject)

    def differences(index: NDArray[np.int64]) -> list[float]:
        values = []
        for table in (first, second):
            shown, p = table.emotion[index], table.predicted[index]
            labels = sorted(set(shown.tolist()))
            options = {"labels": labels, "zero_division": 0}
            recalls = reference.recall_score(shown, p, average=None, **options)
            f1 = [reference.f1_score(shown, p, average=average, **options) for average in ("weighted", "macro")]
            deviation = statistics.stdev(recalls.tolist()) if len(labels) > 1 else float("nan")
            values.append([np.mean(shown == p), recalls.mean(), *f1, deviation])
        return list(np.subtract(*values))

    found = paired_difference(first, second, draws=40_000, level=0.7)
    order = (WAR, UAR, WEIGHTED_F1, MACRO_F1, STD_ACCURACY)
    np.testing.assert_allclose([found[metric].value for metric in order], differences(np.arange(8)))
    rows = {name: np.flatnonzero(first.subject == name) for name in "abc"}
    drawn = [differences(np.concatenate([rows[name] for name in names])) for names in product("abc", repeat=3)]
    low, high = widened(np.array(drawn)[:, :4], np.array(differences(np.arange(8)))[:4], clusters=3, level=0.7)
    np.testing.assert_allclose([found[metric].interval.low for metric in order[:4]], low, atol=0.01)
    np.testing.assert_allclose([found[metric].interval.high for metric in order[:4]], high, atol=0.01)
    assert not found[STD_ACCURACY].interval.is_known, "its bootstrap would be biased"


def test_a_comparison_in_words_says_what_is_subtracted_from_what() -> None:
    subject = [f"s{i // 2}" for i in range(8)]
    first = table_of(np.array([0, 1] * 4), np.array([0, 1, 0, 1, 0, 1, 1, 2]), ("anger", "fear"), subject)
    second = table_of(np.array([0, 1] * 4), np.array([0, 0] * 4), ("anger", "fear"), subject)
    found = paired_difference(first, second)
    assert (found.only_first, found.only_second) == (3, 1)
    ends = f"[{found[UAR].interval.low:+.3f}, {found[UAR].interval.high:+.3f}]"
    line = difference_line(found, "a", "b")
    assert line.startswith(
        f"a minus b: WAR +0.250 {ends}, UAR +0.250 {ends} (95 % paired bootstrap over subjects), N = 8; "
    )
    assert line.endswith("right alone: a in 3 clips, b in 1 (McNemar p = 0.62 over subjects)")
    head, *rows, last = difference_lines(found, "a", "b")
    assert head == "a minus b, N = 8 (95 % paired bootstrap over subjects):"
    assert [row.split()[:-3] for row in rows[:2]] == [["WAR"], ["UAR"]]
    assert [row.strip().startswith(f"{metric.short} ") for row, metric in zip(rows, METRICS, strict=True)] == [True] * 5
    assert rows[-1] == "  StdAcc -0.707 (lower is better)", "accuracies of 1 and 0 against 3 / 4 both"
    assert last == "right alone: a in 3 clips, b in 1 (McNemar p = 0.62 over subjects)"
    alone = paired_difference(first.select(np.arange(2)), second.select(np.arange(2)))
    assert "WAR +0.500, UAR +0.500 (no interval: one subject, or the same difference in all)" in difference_line(
        alone, "a", "b"
    )


def test_tables_that_cannot_be_compared_are_refused() -> None:
    table = random_table(20, 0)
    with pytest.raises(ValueError, match="different classes"):
        paired_difference(table, random_table(20, 0, 6))
    with pytest.raises(ValueError, match="5 clips in one table only, such as 'clip00000'"):
        paired_difference(table, table.select(np.arange(5, 20)))
    other = table_of((table.label + 1) % 7, table.choice, SEVEN)
    with pytest.raises(ValueError, match=r"'clip00000'.*differ in its emotion"):
        paired_difference(table, other)
    with pytest.raises(ValueError, match="differ in its subject"):
        paired_difference(table, table_of(table.label, table.choice, SEVEN, ["x"] * 20))
    with pytest.raises(ValueError, match=r"empty|each clip exactly once"):
        paired_difference(table.select(np.arange(0)), table.select(np.arange(0)))


def outputs_of(attention: list[list[float]], intensity: list[list[float]], index: object = None) -> ClipOutputs:
    n, frames = np.shape(intensity)
    frame_index = np.tile(np.arange(frames), (n, 1)) if index is None else np.asarray(index)
    return ClipOutputs(
        tuple(f"c{i}" for i in range(n)),
        np.zeros((n, 2), np.float32),
        frame_index,
        np.asarray(attention, np.float32),
        np.asarray(intensity, np.float32),
    )


def test_peak_localization_by_hand() -> None:
    nan = float("nan")
    outputs = outputs_of(
        attention=[[0.1, 0.9, 0.0], [0.8, 0.1, 0.1], [0.3, 0.3, 0.4], [0.5, 0.5, 0.0], [1.0, 0.0, 0.0]],
        intensity=[
            [0.0, 0.2, 0.9, 1.0, 0.96, 0.0],  # groups 2 and 3 are right; found
            [0.0, 0.2, 0.9, 1.0, 0.90, 0.0],  # only group 2 is right; missed
            [0.0, 0.0, 0.0, 0.1, 0.0, 0.0],  # never rises: left out
            [nan] * 6,  # unknown: left out
            [0.5, 0.5, 0.5, 0.5, nan, nan],  # two groups known, both right; found
        ],
    )
    found = peak_localization(outputs)
    assert (found.clips, found.flat, found.unknown) == (3, 1, 1)
    assert found.hit_rate == pytest.approx(2 / 3)
    assert found.chance == pytest.approx((2 / 3 + 1 / 3 + 1) / 3)
    assert peak_localization(outputs, tolerance=0.12).hit_rate == pytest.approx(2 / 3)
    assert peak_localization(outputs, tolerance=0.9).hit_rate == 1.0
    assert peak_localization(outputs, threshold=0.05).clips == 4


def test_peak_localization_passes_over_frames_that_are_padding() -> None:
    outputs = outputs_of([[0.2, 0.8]], [[0.5, 1.0]], index=[[3, -1]])
    found = peak_localization(outputs)
    assert (found.hit_rate, found.chance) == (0.0, 1.0)


def test_the_apex_in_replaced_frames_by_hand() -> None:
    nan = float("nan")
    intensity = [
        [0.0, 0.2, 1.0, 0.97],  # the apex is in frames 2 and 3; frame 0 becomes 2, and 3 becomes 1
        [0.9, 0.9, 0.9, 0.0],  # in frames 0 to 2; frame 3 becomes 0
        [0.5, nan, 0.0, 0.8],  # in frame 0: the last one is padding; the unknown frame becomes 0
        [0.0, 0.1, 0.0, 0.0],  # never rises: left out
        [nan, nan, nan, nan],  # unknown: left out
    ]
    source = np.array([[2, 1, 2, 1], [0, 1, 2, 0], [0, 0, 2, 3], [1, 1, 1, 1], [1, 1, 1, 1]], np.int32)
    index = [[0, 1, 2, 3]] * 2 + [[0, 1, 2, -1]] + [[0, 1, 2, 3]] * 2
    outputs = replace(outputs_of([[1.0]] * 5, intensity, index), frame_source=source)
    found = apex_substitution(outputs)
    assert (found.clips, found.left_out) == (3, 2)
    assert found.replaced == pytest.approx(1 / 4), "frames 0 and 3, 3, and 1"
    assert found.replacements == pytest.approx(3 / 4), "frames 2 and 1, 0, and 0"
    assert found.before == pytest.approx((2 + 3 + 1) / 11)
    assert found.after == pytest.approx((2 + 4 + 2) / 11)
    none = apex_substitution(replace(outputs, frame_source=np.tile(np.arange(4), (5, 1))))
    assert np.isnan([none.replaced, none.replacements]).all()
    assert none.before == none.after == found.before
    with pytest.raises(ValueError, match="no substituted frames"):
        apex_substitution(replace(outputs, frame_source=None))
    with pytest.raises(ValueError, match="no intensity"):
        apex_substitution(replace(outputs, intensity=None))


def test_random_attention_locates_at_chance() -> None:
    generator = np.random.default_rng(0)
    apex = generator.integers(35, size=(4000, 1))
    intensity = np.clip(1 - np.abs(np.arange(35) - apex) / 40, 0, 1)
    found = peak_localization(outputs_of(generator.random((4000, 7)).tolist(), intensity.tolist()))
    assert found.hit_rate == pytest.approx(found.chance, abs=0.025)
    assert 1 / 7 < found.chance < 2 / 7


def test_peak_localization_without_attention_says_so() -> None:
    outputs = outputs_of([[1.0]], [[1.0]])
    with pytest.raises(ValueError, match="no attention"):
        peak_localization(ClipOutputs(outputs.clip_id, outputs.feature, outputs.frame_index, None, None))


def test_silhouette() -> None:
    generator = np.random.default_rng(0)
    emotion = np.array(["anger", "fear"] * 30)
    apart = generator.normal(size=(60, 4)) + 50.0 * (emotion == "fear")[:, None]
    assert silhouette(apart.astype(np.float32), emotion) > 0.9
    assert abs(silhouette(generator.normal(size=(60, 4)).astype(np.float32), emotion)) < 0.1
    assert np.isnan(silhouette(np.zeros((3, 2), np.float32), np.array(["anger"] * 3)))


def test_people_who_differ_alike_say_nothing_of_others():
    """Three people, of each of whom one of two clips is right with the first system alone: no order by a sign test."""
    person, right = np.repeat(np.arange(3), 2), np.ones(6, np.bool_)
    difference = difference_over_seeds(
        predictions_of(person, right), predictions_of(person, np.arange(6) % 2 == 0), WAR
    )
    assert difference.value == 0.5
    assert not difference.interval.is_known
    assert np.isnan(difference.p_value)
    assert not bootstrap(predictions_of(person, right))[WAR].is_known, "all are right"
    same = difference_over_seeds(predictions_of(person, right), predictions_of(person, right), WAR)
    assert (same.value, same.interval, same.p_value) == (0, Interval(0, 0), 1)
