import math
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import softmax
from scipy.stats import binom, norm, t
from sklearn.metrics import log_loss
from torchmetrics.functional.classification import multiclass_calibration_error

from fer_lightning.evaluation.answers import Answers
from fer_lightning.evaluation.calibration import (
    CalibrationEffect,
    calibrate,
    effects_of,
    fit_temperature,
    scaled,
)
from fer_lightning.evaluation.calibration_file import (
    calibration_line,
    calibration_values,
    read_calibration,
    write_calibration,
)
from fer_lightning.evaluation.confidence import AURC, BINS, BRIER, ECE, NLL, confidence_scores, reliability
from fer_lightning.evaluation.predictions import PredictionTable
from fer_lightning.evaluation.selective import (
    RiskNotMetError,
    area_under_risk_coverage,
    choose_threshold,
    error_bound,
    risk_coverage,
)
from fer_lightning.runs.folder import RunFolder, RunInfo
from tests.predictions import plain_table

NAMES = ("anger", "fear", "happiness", "neutral")


def some_table(
    clips: int = 200, temperature: float = 1.0, seed: int = 0, split: str = "inner", none: tuple[int, ...] = ()
) -> PredictionTable:
    """Clips whose true classes are drawn from the softmax of logits; the table has that of the logits times T."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, (clips, len(NAMES)))
    label = (rng.random(clips)[:, None] > softmax(logits, axis=1).cumsum(axis=1)).sum(axis=1)
    probabilities = softmax(temperature * logits, axis=1)
    probabilities[list(none)] = np.nan
    return plain_table(NAMES, label, probabilities, split, none=none)


def some_run(folder: Path, selection: str = "inner", inner: PredictionTable | None = None) -> RunFolder:
    run = RunFolder(folder / "made" / "1-0")
    (some_table(temperature=3) if inner is None else inner).write(run.predictions("inner"))
    some_table(150, 3, seed=1, split="test").write(run.predictions("test"))
    run.write_info(RunInfo("made", "CEFLNet", "data", NAMES, "1", 0, selection, 2, "store", 1))
    return run


# Temperature


def test_a_temperature_that_was_put_in_is_found():
    table = some_table(20_000, temperature=3.0)
    assert fit_temperature(table.probabilities, table.label) == pytest.approx(3.0, rel=0.03)
    table = some_table(20_000, temperature=0.5)
    assert fit_temperature(table.probabilities, table.label) == pytest.approx(0.5, rel=0.03)


@pytest.mark.parametrize(("confidence", "right"), [(0.95, 70), (0.6, 90)])
def test_the_temperature_of_two_classes_by_hand(confidence, right):
    """Of 100 clips, all of one confidence, `right` are correct: sigmoid(logit(confidence) / T) = right / 100."""
    probabilities = np.tile([confidence, 1 - confidence], (100, 1))
    label = np.array([0] * right + [1] * (100 - right))
    logit = lambda share: math.log(share / (1 - share))  # noqa: E731
    assert fit_temperature(probabilities, label) == pytest.approx(logit(confidence) / logit(right / 100), rel=1e-5)


def test_the_temperature_is_the_best_of_a_grid():
    table = some_table(120, temperature=2.0)
    logits, label = np.log(table.probabilities), table.label
    grid = np.exp(np.linspace(-2, 2, 4001))
    losses = [-np.log(softmax(logits / t, axis=1)[np.arange(120), label]).mean() for t in grid]
    assert fit_temperature(table.probabilities, label) == pytest.approx(grid[int(np.argmin(losses))], rel=2e-3)


def test_scaled_probabilities_are_the_softmax_of_divided_logits():
    logits = np.random.default_rng(0).normal(0, 3, (50, 7))
    found = scaled(softmax(logits, axis=1), 2.5)
    assert found == pytest.approx(softmax(logits / 2.5, axis=1))
    assert (found.argmax(axis=1) == logits.argmax(axis=1)).all()
    assert np.isnan(scaled(np.full((1, 3), np.nan), 2.0)).all()


def test_a_split_without_an_error_has_no_temperature():
    with pytest.raises(ValueError, match="0 of 40 predictions are wrong"):
        fit_temperature(np.tile([0.8, 0.2], (40, 1)), np.zeros(40, np.int64))


# Measures


def loop_ece(table: PredictionTable) -> float:
    """Equation 3 of Guo et al. (2017): the bin m holds confidences in ((m - 1) / M, m / M]."""
    total = 0.0
    rows = [row for row in range(len(table)) if not table.missing[row]]
    for m in range(1, BINS + 1):
        inside = [row for row in rows if (m - 1) / BINS < table.probabilities[row].max() <= m / BINS]
        if inside:
            accuracy = sum(table.predicted[row] == table.emotion[row] for row in inside) / len(inside)
            confidence = sum(table.probabilities[row].max() for row in inside) / len(inside)
            total += len(inside) / len(rows) * abs(accuracy - confidence)
    return total


@pytest.mark.parametrize("none", [(), (0, 7, 8)])
def test_measures_are_those_of_plain_loops_and_libraries(none):
    table = some_table(temperature=3, none=none)
    found = confidence_scores(table)
    kept = ~table.missing
    p, label = table.probabilities[kept], table.label[kept]
    assert found.clips == len(p) == 200 - len(none)
    assert found[ECE] == pytest.approx(loop_ece(table))
    torch_ece = multiclass_calibration_error(torch.tensor(p), torch.tensor(label), len(NAMES), n_bins=BINS, norm="l1")
    assert found[ECE] == pytest.approx(float(torch_ece), abs=1e-6)
    assert found[NLL] == pytest.approx(log_loss(label, p, labels=range(len(NAMES))))
    squares = [sum((p[i, c] - (label[i] == c)) ** 2 for c in range(len(NAMES))) for i in range(len(p))]
    assert found[BRIER] == pytest.approx(sum(squares) / len(squares))


def test_intervals_are_those_of_a_bootstrap_over_subjects():
    """The reference draws whole subjects and measures what was drawn with plain numpy."""
    table = some_table(60, temperature=3)
    found, rng = confidence_scores(table, draws=20_000), np.random.default_rng(8)
    losses = -np.log(table.probabilities[np.arange(60), table.label]).reshape(12, 5)  # a row for each subject
    means = [losses[rng.integers(0, 12, 12)].mean() for _ in range(20_000)]
    interval = found.intervals["nll"]
    wider = math.sqrt(12 / 11) * t.ppf(0.975, 11) / norm.ppf(0.975)  # Student's t for twelve people
    expected = losses.mean() + wider * (np.quantile(means, [0.025, 0.975]) - np.mean(means))
    assert (interval.low, interval.high) == pytest.approx(expected, rel=0.03)
    for measure in (ECE, BRIER, AURC):
        interval = found.intervals[measure.name]
        assert 0 < interval.low < interval.high
    assert not confidence_scores(some_table(5)).intervals["nll"].is_known  # a single subject


def test_measures_of_several_folds_and_trainings_are_means_over_models():
    """Each fold has a model of its own: their errors of calibration do not cancel each other."""
    tables = []
    for seed, fold, clips in ((0, "1", 40), (0, "2", 80), (1, "1", 40), (1, "2", 80)):
        table = some_table(clips, temperature=3, seed=10 * seed + int(fold), split=f"fold{fold}-")
        tables.append(replace(table, seed=np.full(clips, seed), fold=np.full(clips, fold)))
    found = confidence_scores(PredictionTable.concat(tables))
    by_model = [loop_ece(table) for table in tables]
    assert found[ECE] == pytest.approx((by_model[0] + 2 * by_model[1] + by_model[2] + 2 * by_model[3]) / 6)
    areas = [area_under_risk_coverage(Answers.of(table), np.ones((1, len(table)))).item() for table in tables]
    assert found[AURC] == pytest.approx((areas[0] + 2 * areas[1] + areas[2] + 2 * areas[3]) / 6)
    one = confidence_scores(PredictionTable.concat(tables[:2]))
    for measure in (NLL, ECE, BRIER, AURC):
        assert one.intervals[measure.name].low < one[measure] < one.intervals[measure.name].high


def test_a_clip_on_the_edge_of_a_bin_belongs_to_the_lower_one():
    found = reliability(Answers(np.array([1 / 15, 1 / 15 + 1e-9, 1.0, 0.0]), np.array([True, False, True, False])))
    assert found.clips.tolist() == [2, 1, *[0] * 12, 1]
    assert found.accuracy[[0, 1, 14]].tolist() == [0.5, 0, 1]
    assert np.isnan(found.accuracy[2])


def test_nothing_is_measured_where_nothing_is_predicted():
    assert confidence_scores(some_table(3, none=(0, 1, 2))) is None


# Selective classification


def test_the_risk_coverage_curve_by_hand():
    answers = Answers(np.array([0.5, 0.9, 0.7, 0.7, 0.6]), np.array([False, True, True, False, True]))
    curve = risk_coverage(answers)
    assert curve.threshold.tolist() == [0.9, 0.7, 0.6, 0.5]
    assert curve.coverage.tolist() == pytest.approx([0.2, 0.6, 0.8, 1.0])
    assert curve.risk.tolist() == pytest.approx([0, 1 / 3, 1 / 4, 2 / 5])
    times = np.array([[1, 1, 1, 1, 1], [2, 0, 1, 0, 2], [0, 0, 0, 0, 0]])
    whole, resample, none = area_under_risk_coverage(answers, times)
    assert whole == pytest.approx((0 + 1 / 3 + 1 / 3 + 1 / 4 + 2 / 5) / 5)
    assert resample == pytest.approx((0 + 0 + 0 + 2 / 5 + 2 / 5) / 5)
    assert np.isnan(none)


@pytest.mark.parametrize(("errors", "answered", "failure"), [(0, 20, 0.05), (3, 50, 0.01), (19, 20, 0.05)])
def test_the_bound_is_that_of_the_binomial_distribution(errors, answered, failure):
    bound = error_bound(errors, answered, failure)
    terms = [math.comb(answered, k) * bound**k * (1 - bound) ** (answered - k) for k in range(errors + 1)]
    assert sum(terms) == pytest.approx(failure)
    assert binom.cdf(errors, answered, bound) == pytest.approx(failure)
    assert error_bound(answered, answered, failure) == 1


def simulated(clips: int, rng: np.random.Generator) -> Answers:
    """Clips that are correct as often as their confidence says; it is 1 - u² / 2 for u uniform between 0 and 1."""
    confidence = 1 - rng.random(clips) ** 2 / 2
    return Answers(confidence, rng.random(clips) < confidence)


@pytest.mark.parametrize("risk", [0.05, 0.1])
def test_the_risk_on_new_clips_is_met_as_often_as_promised(risk):
    """The error above a threshold t is the mean of u² / 2 up to u = sqrt(2 - 2t), which is (1 - t) / 3."""
    rng, found = np.random.default_rng(0), []
    for _ in range(200):
        with suppress(RiskNotMetError):  # now and then the most confident clips happen to be wrong
            found.append(choose_threshold(simulated(2000, rng), risk))
    true = np.array([(1 - each.threshold) / 3 for each in found])
    assert len(found) > 150
    assert (true > risk).sum() <= 0.05 * 200
    assert np.median(true) > 0.4 * risk  # it does not promise too little either
    for each in found:
        assert each.errors / each.answered <= each.bound <= risk


def test_a_threshold_is_that_of_the_clips_it_counts():
    answers = simulated(500, np.random.default_rng(1))
    found = choose_threshold(answers, 0.05)
    kept = answers.confidence >= found.threshold
    assert (found.answered, found.errors) == (kept.sum(), (kept & ~answers.correct).sum())
    failure = 0.05 / math.ceil(math.log2(501))
    assert binom.cdf(found.errors, found.answered, found.bound) == pytest.approx(failure)
    wrong = np.cumsum(~answers.correct[np.argsort(-answers.confidence)])
    fits = [n for n in range(1, 501) if binom.cdf(wrong[n - 1], n, 0.05) <= failure]
    assert found.answered in fits
    assert found.answered + 1 not in fits


def test_all_clips_are_answered_where_that_is_safe():
    answers = Answers(np.linspace(0.3, 1, 300), np.ones(300, np.bool_))
    found = choose_threshold(answers, 0.1)
    assert (found.answered, found.errors, found.threshold) == (300, 0, 0.3)


def test_a_risk_that_cannot_be_met_is_refused():
    with pytest.raises(RiskNotMetError, match="20 clips of the inner split are too few"):
        choose_threshold(Answers(np.ones(20), np.ones(20, np.bool_)), 0.1)
    with pytest.raises(RiskNotMetError, match="no threshold keeps the error at or below 10 %"):
        choose_threshold(Answers(np.linspace(0, 1, 400), np.arange(400) % 2 == 0), 0.1)
    with pytest.raises(ValueError, match="between 0 and 1"):
        choose_threshold(Answers(np.ones(20), np.ones(20, np.bool_)), 1.0)


# Runs


def test_a_run_is_calibrated_on_its_inner_split(tmp_path):
    run = some_run(tmp_path, inner=some_table(temperature=3, none=(4,)))
    found = calibrate(run, run.read_info())
    inner = PredictionTable.read(run.predictions("inner"))
    kept = inner.select(~inner.missing)
    assert found.temperature == fit_temperature(kept.probabilities, kept.label)
    assert len(found.inner) == 199
    assert found.inner.confidence == pytest.approx(scaled(kept.probabilities, found.temperature).max(axis=1))
    effect = CalibrationEffect.on(found, PredictionTable.read(run.predictions("test")))
    assert effect.after[NLL] < effect.before[NLL]
    assert effect.after[ECE] < effect.before[ECE]


@pytest.mark.parametrize(
    ("selection", "inner", "problem"),
    [
        ("last", some_table(), "the model was trained on all training clips"),
        ("best_on_test", some_table(), "the inner split is the reported split itself"),
        ("inner", some_table(split="train"), "holds clips of the split 'train'"),
        ("inner", some_table(29), "has 29 clips with a prediction, expected 30"),
        (
            "inner",
            replace(some_table(), class_names=(*NAMES[:3], "zeal"), emotion=np.full(200, "fear")),
            "zeal, not those",
        ),
    ],
)
def test_why_a_run_has_no_temperature(tmp_path, selection, inner, problem):
    run = some_run(tmp_path, selection, inner)
    found = calibrate(run, run.read_info())
    assert found.temperature is None
    assert problem in found.problem
    write_calibration(found, effects_of(found, run), run)
    assert problem in calibration_line(run)
    assert calibration_values(run).keys() == {"calibration/clips", "test/nll", "test/ece", "test/brier", "test/aurc"}
    table = PredictionTable.read(run.predictions("test"))
    assert found.calibrated(table).probabilities.tolist() == table.probabilities.tolist()
    assert CalibrationEffect.on(found, table).after is None


def test_a_run_without_an_inner_table_says_so(tmp_path):
    run = some_run(tmp_path)
    run.predictions("inner").unlink()
    assert calibrate(run, run.read_info()).problem == "there is no prediction table of an inner split"


def test_the_file_comes_back_as_it_was(tmp_path):
    run = some_run(tmp_path)
    written = calibrate(run, run.read_info())
    assert (calibration_line(run), calibration_values(run)) == ("", {})
    effects = effects_of(written, run)
    write_calibration(written, effects, run)
    found = read_calibration(run.path / "calibration.json")
    assert (found.temperature, found.epoch, found.class_names) == (written.temperature, 2, NAMES)
    assert found.inner.confidence.tolist() == written.inner.confidence.tolist()
    assert found.inner.correct.tolist() == written.inner.correct.tolist()
    values = calibration_values(run)
    assert values["calibration/temperature"] == written.temperature
    assert values["calibration/clips"] == 200
    for split, name in (("test", "test"), ("inner", "chosen")):
        assert values[f"{name}/ece"] == effects[split].before[ECE]
        assert values[f"{name}/ece_calibrated"] == effects[split].after[ECE]
    assert f"fitted on 200 clips of the inner split; ECE {values['test/ece']:.3f} -> 0." in calibration_line(run)


@pytest.mark.parametrize("text", ["{", "[]", '{"format": "other"}', '{"format": "fer_lightning calibration 1"}'])
def test_a_damaged_file_is_named(tmp_path, text):
    (tmp_path / "calibration.json").write_text(text)
    with pytest.raises(ValueError, match=r"calibration\.json is damaged"):
        read_calibration(tmp_path / "calibration.json")
