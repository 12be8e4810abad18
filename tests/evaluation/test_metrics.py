from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import binom
from sklearn import metrics as reference

from fer_lightning.evaluation.bootstrap import bootstrap
from fer_lightning.evaluation.clip_outputs import ClipOutputs
from fer_lightning.evaluation.comparison import paired_difference
from fer_lightning.evaluation.features import silhouette
from fer_lightning.evaluation.localization import located_share
from fer_lightning.evaluation.metrics import confusion_uar, confusion_war, scores
from fer_lightning.evaluation.predictions import PredictionTable
from fer_lightning.evaluation.subjects import subject_scores

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
    assert ours.war == pytest.approx(reference.accuracy_score(true, predicted))
    recalls = reference.recall_score(true, predicted, labels=occurring, average=None, zero_division=0)
    assert ours.uar == pytest.approx(recalls.mean())
    assert ours.mean_accuracy == ours.uar
    assert ours.std_accuracy == pytest.approx(recalls.std())
    labelled = {"labels": names, "zero_division": 0}
    assert ours.weighted_f1 == pytest.approx(reference.f1_score(true, predicted, average="weighted", **labelled))
    np.testing.assert_allclose(ours.f1, reference.f1_score(true, predicted, average=None, **labelled))
    np.testing.assert_allclose(ours.precision, reference.precision_score(true, predicted, average=None, **labelled))
    confusion = reference.confusion_matrix(true, predicted, labels=[*names, "none"])
    np.testing.assert_array_equal(ours.confusion, confusion[:-1])
    normalised = np.diag(confusion[:-1] / np.maximum(confusion[:-1].sum(axis=1, keepdims=True), 1))
    np.testing.assert_allclose(ours.class_accuracy[ours.support > 0], normalised[ours.support > 0])
    assert np.isnan(ours.class_accuracy[ours.support == 0]).all()
    assert confusion_war(torch.from_numpy(ours.confusion)).item() == pytest.approx(ours.war)
    assert confusion_uar(torch.from_numpy(ours.confusion)).item() == pytest.approx(ours.uar)


def test_a_clip_without_prediction_is_an_error_everywhere() -> None:
    # Two clips of each class; one of anger has no prediction, one of fear is taken for anger.
    table = table_of(np.array([0, 0, 1, 1]), np.array([0, 2, 1, 0]), ("anger", "fear"))
    ours = scores(table)
    assert ours.confusion.tolist() == [[1, 0, 1], [1, 1, 0]]
    assert (ours.war, ours.uar, ours.std_accuracy) == (0.5, 0.5, 0.0)
    assert ours.f1.tolist() == pytest.approx([2 / 4, 2 / 3])
    assert ours.weighted_f1 == pytest.approx((2 / 4 + 2 / 3) / 2)
    assert subject_scores(table).correct.sum() == 2
    nothing = scores(table_of(np.array([0, 1]), np.array([2, 2]), ("anger", "fear")))
    assert (nothing.war, nothing.uar, nothing.weighted_f1) == (0.0, 0.0, 0.0)


def test_mean_and_population_deviation_of_class_accuracies() -> None:
    ours = scores(table_of(np.array([0, 0, 1]), np.array([0, 0, 0]), ("anger", "fear", "sadness")))
    assert (ours.mean_accuracy, ours.std_accuracy) == (0.5, 0.5)  # sadness does not occur
    assert ours.war == pytest.approx(2 / 3)


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
    np.testing.assert_allclose([found.war.low, found.war.high], expected, atol=0.0051)  # one clip
    nameless = bootstrap(table_of(np.zeros(n, np.int64), chosen, ("anger", "fear"), [""] * n), draws=20_000)
    assert nameless.clusters == n, "a clip without a subject is a cluster of its own"
    np.testing.assert_allclose([nameless.war.low, nameless.war.high], expected, atol=0.0051)
    assert (found.unit, nameless.unit) == ("subject", "clip")


def test_films_stand_in_for_subjects_that_are_not_known() -> None:
    people = table_of(
        np.zeros(60, np.int64), np.arange(60) // 20 % 2, ("anger", "fear"), [f"x{i // 6}" for i in range(60)]
    )
    films = replace(people, subject=np.full(60, ""), group=people.subject)
    by_person, by_film = bootstrap(people), bootstrap(films)
    assert (by_film.unit, by_film.clusters, by_film.war) == ("film", 10, by_person.war)
    both = replace(people, group=np.array([f"f{i // 30}" for i in range(60)]))
    assert bootstrap(both) == by_person, "a known person comes first"
    assert paired_difference(films, films).unit == "film"


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
        t, p = table.emotion[index], table.predicted[index]
        recalls = reference.recall_score(t, p, labels=sorted(set(t.tolist())), average=None, zero_division=0)
        f1 = reference.f1_score(t, p, labels=SEVEN[:3], average="weighted", zero_division=0)
        values.append((np.mean(t == p), recalls.mean(), f1))
    found = bootstrap(table, draws=40_000, level=0.7)
    low, high = np.quantile(np.array(values), [0.15, 0.85], axis=0, method="inverted_cdf")
    intervals = (found.war, found.uar, found.weighted_f1)
    np.testing.assert_allclose([i.low for i in intervals], low)
    np.testing.assert_allclose([i.high for i in intervals], high)


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
    wide, narrow = bootstrap(together).war, bootstrap(apart).war
    ratio = (wide.high - wide.low) / (narrow.high - narrow.low)
    assert ratio == pytest.approx(np.sqrt(50), rel=0.2)


def test_the_interval_of_one_subject_is_unknown() -> None:
    found = bootstrap(table_of(np.array([0, 1]), np.array([0, 0]), SEVEN, ["a", "a"]))
    assert np.isnan(found.war.low)
    assert np.isnan(found.uar.high)


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
    assert found.difference == pytest.approx(7 / n)
    assert found.p_value == pytest.approx(2 * binom.cdf(2, 11, 0.5))
    assert found.interval.low < found.difference < found.interval.high
    back = paired_difference(b, a)
    assert back.difference == -found.difference
    assert back.interval.low == pytest.approx(-found.interval.high, abs=0.026)
    same = paired_difference(a, a)
    assert (same.p_value, same.interval.low, same.interval.high) == (1.0, 0.0, 0.0)


def test_tables_that_cannot_be_compared_are_refused() -> None:
    table = random_table(20, 0)
    with pytest.raises(ValueError, match="different classes"):
        paired_difference(table, random_table(20, 0, 6))
    with pytest.raises(ValueError, match="5 clips stand in one table only, such as 'clip00000'"):
        paired_difference(table, table.select(np.arange(5, 20)))
    other = table_of((table.label + 1) % 7, table.choice, SEVEN)
    with pytest.raises(ValueError, match=r"'clip00000'.*differ in its emotion"):
        paired_difference(table, other)
    with pytest.raises(ValueError, match="differ in its subject"):
        paired_difference(table, table_of(table.label, table.choice, SEVEN, ["x"] * 20))
    with pytest.raises(ValueError, match=r"empty|each clip once"):
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


def test_located_share_by_hand() -> None:
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
    found = located_share(outputs)
    assert (found.clips, found.flat, found.unknown) == (3, 1, 1)
    assert found.share == pytest.approx(2 / 3)
    assert found.chance == pytest.approx((2 / 3 + 1 / 3 + 1) / 3)
    assert located_share(outputs, tolerance=0.12).share == pytest.approx(2 / 3)
    assert located_share(outputs, tolerance=0.9).share == 1.0
    assert located_share(outputs, threshold=0.05).clips == 4


def test_located_share_passes_over_frames_that_are_padding() -> None:
    outputs = outputs_of([[0.2, 0.8]], [[0.5, 1.0]], index=[[3, -1]])
    found = located_share(outputs)
    assert (found.share, found.chance) == (0.0, 1.0)


def test_random_attention_locates_at_chance() -> None:
    generator = np.random.default_rng(0)
    apex = generator.integers(35, size=(4000, 1))
    intensity = np.clip(1 - np.abs(np.arange(35) - apex) / 40, 0, 1)
    found = located_share(outputs_of(generator.random((4000, 7)).tolist(), intensity.tolist()))
    assert found.share == pytest.approx(found.chance, abs=0.025)
    assert 1 / 7 < found.chance < 2 / 7


def test_located_share_without_attention_says_so() -> None:
    outputs = outputs_of([[1.0]], [[1.0]])
    with pytest.raises(ValueError, match="no attention"):
        located_share(ClipOutputs(outputs.clip_id, outputs.feature, outputs.frame_index, None, None))


def test_silhouette() -> None:
    generator = np.random.default_rng(0)
    emotion = np.array(["anger", "fear"] * 30)
    apart = generator.normal(size=(60, 4)) + 50.0 * (emotion == "fear")[:, None]
    assert silhouette(apart.astype(np.float32), emotion) > 0.9
    assert abs(silhouette(generator.normal(size=(60, 4)).astype(np.float32), emotion)) < 0.1
    assert np.isnan(silhouette(np.zeros((3, 2), np.float32), np.array(["anger"] * 3)))
