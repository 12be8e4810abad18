"""Ensembles: the mathematics against plain loops and hand-made cases, the command on made runs."""

import itertools
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from sklearn.metrics import f1_score

from data_modules.labels import SEVEN
from data_modules.manifest import VideoRecord, write_manifest
from fer_lightning.cli.main import main
from fer_lightning.ensemble import (
    JointLateFusion,
    average,
    best_selection,
    result,
    search,
    search_weights,
    weighted_sum,
)
from fer_lightning.ensemble.members import short_names
from fer_lightning.ensemble.methods import Average, BestSelection, Fitted, SearchedWeights, cross_fitted
from fer_lightning.ensemble.weight_intervals import weight_intervals
from fer_lightning.evaluation.annotators import run_agreement
from fer_lightning.evaluation.calibration import fit_temperature
from fer_lightning.evaluation.calibration_file import read_calibration
from fer_lightning.evaluation.clip_outputs import ClipOutputs
from fer_lightning.evaluation.comparison import paired_difference
from fer_lightning.evaluation.metrics import WAR, scores
from fer_lightning.evaluation.predictions import PredictionTable
from fer_lightning.runs.ensemble_record import Record
from fer_lightning.runs.folder import RunFolder, RunInfo

NAN = float("nan")


def some_models(models=4, clips=60, classes=5, none=0.0, seed=0):
    """Models of different strength, and labels."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(classes, size=clips)
    p = {}
    for model in range(models):
        logits = generator.normal(size=(clips, classes))
        logits[np.arange(clips), labels] += 0.4 + 0.25 * model
        values = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        values[generator.random(clips) < none] = np.nan
        p[f"m{model}"] = values
    return p, labels


def plain_sum(p, weights):
    """Clip by clip, model by model."""
    first = next(iter(p.values()))
    found = np.full(first.shape, np.nan)
    for clip in range(len(first)):
        row, mass = np.zeros(first.shape[1]), 0.0
        for name, values in p.items():
            if not np.isnan(values[clip]).any():
                row, mass = row + weights[name] * values[clip], mass + weights[name]
        if mass > 0:
            found[clip] = row / mass * sum(weights.values())
    return found


def plain_right(p, weights, labels):
    """How many clips a weighted sum has right, its ties settled as in the tables."""
    values = np.round(plain_sum(p, weights), 12)
    return sum(not np.isnan(row).any() and int(row.argmax()) == label for row, label in zip(values, labels))  # noqa: B905


def shuffled(p, seed=0):
    names = list(p)
    return {names[i]: p[names[i]] for i in np.random.default_rng(seed).permutation(len(names))}


# Sums


@pytest.mark.parametrize("none", [0.0, 0.4])
def test_sums_are_those_of_a_plain_loop(none):
    p, _ = some_models(none=none)
    weights = {"m0": 0.88, "m1": 0.0, "m2": 0.22, "m3": 0.3}
    np.testing.assert_allclose(weighted_sum(p, weights), plain_sum(p, weights), atol=1e-11)
    np.testing.assert_allclose(average(p), plain_sum(p, dict.fromkeys(p, 0.25)), atol=1e-11)
    assert np.isnan(weighted_sum(p, weights)).any() == (none > 0)
    np.testing.assert_array_equal(average(shuffled(p)), average(p))
    np.testing.assert_array_equal(weighted_sum(shuffled(p), weights), weighted_sum(p, weights))


def test_a_member_without_a_prediction_leaves_it_to_the_others():
    p = {
        "a": np.array([[1.0, 0.0], [NAN, NAN], [NAN, NAN], [NAN, NAN]]),
        "b": np.array([[0.0, 1.0], [0.2, 0.8], [NAN, NAN], [NAN, NAN]]),
        "c": np.array([[0.0, 1.0], [0.6, 0.4], [NAN, NAN], [0.5, 0.5]]),
    }
    none = [NAN, NAN]
    np.testing.assert_allclose(average(p), [[1 / 3, 2 / 3], [0.4, 0.6], none, [0.5, 0.5]])
    weights = {"a": 0.5, "b": 0.5, "c": 0.0}
    np.testing.assert_allclose(weighted_sum(p, weights), [[0.5, 0.5], [0.2, 0.8], none, none])
    weights = {"a": 0.5, "b": 0.3, "c": 0.2}
    np.testing.assert_allclose(weighted_sum(p, weights)[1], [0.6 * 0.2 + 0.4 * 0.6, 0.6 * 0.8 + 0.4 * 0.4])


def test_classes_that_tie_on_paper_tie():
    p = {"a": np.array([[0.1, 0.3]]), "b": np.array([[0.2, 0.3]]), "c": np.array([[0.6, 0.3]])}
    total = weighted_sum(p, {"a": 1.0, "b": 1.0, "c": 1.0})
    assert 0.1 + 0.2 + 0.6 != 0.3 + 0.3 + 0.3, "as numbers of a computer they do not"
    assert total[0, 0] == total[0, 1] == 0.9


@pytest.mark.parametrize(
    ("p", "message"),
    [
        ({}, "no models"),
        ({"a": np.ones((2, 3)), "b": np.ones((3, 3))}, "'b' has probabilities of shape"),
        ({"a": np.ones(3)}, "expected .clips, classes."),
        ({"a": np.array([[0.5, 0.5], [NAN, 1.0]])}, "'a', row 1"),
        ({"a": np.array([[np.inf, 0.5]])}, "'a', row 0"),
    ],
)
def test_what_is_no_probabilities_is_refused(p, message):
    with pytest.raises(ValueError, match=message):
        average(p)
    with pytest.raises(ValueError, match=message):
        search_weights(p, np.zeros(2, int))


@pytest.mark.parametrize("weights", [{"a": 1.0}, {"a": 0.0, "b": 0.0}, {"a": -1.0, "b": 2.0}, {"a": NAN, "b": 1.0}])
def test_weights_that_are_none_are_refused(weights):
    with pytest.raises(ValueError, match="weights"):
        weighted_sum({"a": np.ones((1, 2)) / 2, "b": np.ones((1, 2)) / 2}, weights)


# The search


@pytest.mark.parametrize(("total", "members"), [(0, 1), (5, 1), (4, 2), (6, 4)])
def test_compositions_are_all_there_are_in_order(total, members):
    expected = [c for c in itertools.product(range(total + 1), repeat=members) if sum(c) == total]
    for rows in (1, 7, 1000):
        parts = list(search.compositions(total, members, rows))
        assert all(len(part) <= rows for part in parts)
        assert [tuple(row) for part in parts for row in part.tolist()] == expected


@pytest.mark.parametrize("none", [0.0, 0.3])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_search_finds_what_a_plain_loop_finds(none, seed):
    p, labels = some_models(3, 40, 4, none, seed)
    found = search_weights(p, labels, step=0.1)
    alone = {name: plain_right(p, {n: float(n == name) for n in p}, labels) for name in p}
    order = sorted(p, key=lambda name: (-alone[name], name))
    best = max(
        (plain_right(p, dict(zip(order, np.array(parts) / 10)), labels), -sum(k * k for k in parts), parts)  # noqa: B905
        for parts in itertools.product(range(11), repeat=3)
        if sum(parts) == 10
    )
    assert found == {name: best[2][order.index(name)] / 10 for name in p}
    assert list(found) == list(p)


def test_the_search_depends_on_neither_blocks_nor_order(monkeypatch):
    p, labels = some_models(4, 50, 5, none=0.1)
    found = search_weights(p, labels, step=0.05)
    assert search_weights(shuffled(p), labels, step=0.05) == found
    rows = np.random.default_rng(1).permutation(50)
    assert search_weights({name: values[rows] for name, values in p.items()}, labels[rows], step=0.05) == found
    monkeypatch.setattr(search, "CELLS", 100)
    assert search_weights(p, labels, step=0.05) == found


def test_of_equally_right_weights_the_most_even_are_taken():
    right, wrong = [0.9, 0.1], [0.1, 0.9]
    p = {"b": np.array([right, right]), "a": np.array([right, right])}
    assert search_weights(p, np.zeros(2, int), 0.1) == {"b": 0.5, "a": 0.5}, "both are always right"
    assert search_weights(p, np.zeros(2, int), 0.2) == {"b": 0.4, "a": 0.6}, "an odd number of parts: by name"
    p = {"a": np.array([right, right, [0.45, 0.55]]), "b": np.array([right, right, right])}
    assert search_weights(p, np.zeros(3, int), 0.2) == {"a": 0.4, "b": 0.6}, "any of the two may have more: the better"
    p = {"a": np.array([right, right, wrong]), "b": np.array([right, right, right])}
    assert search_weights(p, np.zeros(3, int), 0.25) == {"a": 0.5, "b": 0.5}, "a tie, which the first class wins"
    # 0.5 and 0.5 tie between the classes; the first is predicted, so label 1 is missed and label 0 is met
    assert search_weights({"a": np.array([right]), "b": np.array([wrong])}, np.array([0]), 0.5) == {"a": 0.5, "b": 0.5}
    assert search_weights({"a": np.array([right]), "b": np.array([wrong])}, np.array([1]), 0.5) == {"a": 0.0, "b": 1.0}


def test_a_clip_that_no_model_with_a_weight_answers_is_an_error():
    """Model b is wrong in its two clips; with any weight for c the third is right."""
    p = {
        "b": np.array([[0.9, 0.1], [0.9, 0.1], [NAN, NAN]]),
        "c": np.array([[NAN, NAN], [NAN, NAN], [0.6, 0.4]]),
    }
    found = search_weights(p, np.array([0, 0, 0]), 0.5)
    assert found == {"b": 0.5, "c": 0.5}
    p["b"][0], p["c"][0] = [0.9, 0.1], [0.05, 0.95]  # right with b alone, but then the third has no prediction
    kept = {name: values[[0, 2]] for name, values in p.items()}
    assert search_weights(kept, np.array([0, 0]), 0.5) == {"b": 0.5, "c": 0.5}
    p["c"][0] = NAN
    p["c"][2] = NAN
    assert search_weights(p, np.array([0, 0, 0]), 0.5) == {"b": 0.5, "c": 0.5}, "b alone answers, with any weight"
    assert search_weights({"a": np.full((2, 3), NAN)}, np.array([0, 1])) == {"a": 1.0}


def test_one_model_gets_all():
    p, labels = some_models(1)
    assert search_weights(p, labels) == {"m0": 1.0}
    assert best_selection(p, labels) == ["m0"]
    np.testing.assert_allclose(average(p), p["m0"], atol=1e-12)


def test_the_coordinate_search_is_exact_for_three_models(monkeypatch):
    three, labels = some_models(3, 80, 7)
    exact = search_weights(three, labels, 0.05)
    six, six_labels = some_models(6, 80, 7, none=0.1, seed=3)
    best = search_weights(six, six_labels, 0.1)  # 3003 combinations
    monkeypatch.setattr(search, "MAX_EXHAUSTIVE", 10)
    assert search_weights(three, labels, 0.05) == exact
    found = search_weights(six, six_labels, 0.1)
    assert sum(found.values()) == pytest.approx(1)
    reached, most = (plain_right(six, weights, six_labels) for weights in (found, best))
    alone = max(plain_right(six, {n: float(n == name) for n in six}, six_labels) for name in six)
    assert alone < reached <= most
    assert reached >= plain_right(six, dict.fromkeys(six, 1 / 6), six_labels)
    assert search_weights(shuffled(six), six_labels, 0.1) == found


@pytest.mark.parametrize("step", [0.0, 0.03, 2.0, -0.5, NAN])
def test_steps_that_do_not_make_one_are_refused(step):
    with pytest.raises(ValueError, match="step"):
        search_weights({"a": np.ones((1, 2))}, np.zeros(1, int), step)


@pytest.mark.parametrize("labels", [[0], [0, 2], [0, -1], [0.0, 1.0], []])
def test_labels_that_do_not_fit_are_refused(labels):
    p = {"a": np.full((2, 2), 0.5)}
    for function in (search_weights, best_selection, JointLateFusion([["a"]], 2).fit):
        with pytest.raises(ValueError, match="labels"):
            function(p, np.array(labels))


# Best selection


def plain_selection(p, labels, most):
    """The paper's steps, one by one."""

    def right(names):
        return plain_right({n: p[n] for n in names}, dict.fromkeys(names, 1 / len(names)), labels)

    models = sorted(p, key=lambda name: (-right([name]), name))
    select = []
    for first in models:
        closed = [first]
        going = True
        while going:
            going = False
            for model in models:
                if model not in closed and len(closed) < most and right([*closed, model]) > right(closed):
                    closed.append(model)
                    going = True
                    break
        select.append(closed)
    top = max(right(closed) for closed in select)
    smallest = min(len(closed) for closed in select if right(closed) == top)
    return next(closed for closed in select if right(closed) == top and len(closed) == smallest)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("none", [0.0, 0.2])
def test_best_selection_takes_the_papers_steps(seed, none):
    p, labels = some_models(6, 50, 5, none, seed)
    found = best_selection(p, labels)
    assert found == plain_selection(p, labels, 5)
    assert best_selection(shuffled(p, seed), labels) == found
    assert len(best_selection(p, labels, max_models=2)) <= 2
    assert best_selection(p, labels, max_models=2) == plain_selection(p, labels, 2)


def test_the_first_that_helps_is_taken_not_the_best():
    """To a, which has 3 right, b adds a clip and c two; b comes first, and all three are worse than a and b.

    So a's list is a, b with 4 right, and so is b's. The list that begins with c takes a: 5 right.
    """
    first_class = {
        "a": [0.9, 0.9, 0.9, 0.4, 0.4, 0.1],  # 3 right
        "b": [0.9, 0.9, 0.2, 0.7, 0.2, 0.1],  # 3
        "c": [0.2, 0.2, 0.2, 0.7, 0.7, 0.1],  # 2
    }
    p = {name: np.stack([values, 1 - np.array(values)], axis=1) for name, values in first_class.items()}
    labels = np.zeros(6, int)
    assert best_selection(p, labels) == ["c", "a"], "that which helps most would make it a, c"
    assert best_selection({name: p[name] for name in "ab"}, labels) == ["a", "b"]
    assert best_selection(p, labels, max_models=1) == ["a"]


def test_of_equally_accurate_lists_the_smallest_is_kept():
    right, wrong = [0.9, 0.1], [0.1, 0.9]
    p = {"a": np.array([right, right]), "b": np.array([right, wrong]), "c": np.array([wrong, right])}
    assert best_selection(p, np.zeros(2, int)) == ["a"]
    with pytest.raises(ValueError, match="max_models"):
        best_selection(p, np.zeros(2, int), max_models=0)


# Joint late fusion

GROUPS = (("m0", "m1"), ("m2", "m3"))


def test_joint_late_fusion_begins_at_the_average_and_learns():
    p, labels = some_models(clips=300)
    fusion = JointLateFusion(GROUPS, 5)
    np.testing.assert_array_equal(fusion.predict(p).argmax(axis=1), average(p).argmax(axis=1))
    swapped = {name: values if name in GROUPS[1] else values[:, [1, 0, 2, 3, 4]] for name, values in p.items()}
    before = (JointLateFusion(GROUPS, 5).predict(swapped).argmax(axis=1) == labels).mean()
    fitted = fusion.fit(swapped, labels).predict(swapped)
    assert (fitted.argmax(axis=1) == labels).mean() > before + 0.05, (
        "it has learnt that one group has two classes swapped"
    )
    np.testing.assert_allclose(fitted.sum(axis=1), 1)


def test_joint_late_fusion_is_the_minimum_of_its_loss():
    p, labels = some_models(clips=80)
    torch.manual_seed(1)
    first = JointLateFusion(GROUPS, 5).fit(p, labels)
    torch.manual_seed(2)
    second = JointLateFusion(GROUPS, 5).fit(p, labels)
    np.testing.assert_array_equal(first.predict(p), second.predict(p))
    np.testing.assert_array_equal(first.fit(p, labels).predict(p), second.predict(p), "a fit begins anew")
    for group, said in zip(GROUPS, first.predict_branches(p), strict=True):
        own = {name: p[name] for name in group}
        expected = JointLateFusion([group], 5).fit(own, labels).predict(own)
        np.testing.assert_allclose(said, expected, atol=1e-4, err_msg="a branch is a fusion of its group alone")
    other = JointLateFusion(tuple(group[::-1] for group in GROUPS[::-1]), 5).fit(shuffled(p), labels)
    np.testing.assert_allclose(other.predict(p), first.predict(p), atol=1e-5)
    # At the minimum of a convex loss the residuals balance the penalty: sum of (softmax - one-hot) + 2 · 0.5 · bias = 0
    residual = (first.predict(p) - np.eye(5)[labels]).sum(axis=0)
    np.testing.assert_allclose(residual + first.joint.bias.detach().numpy(), 0, atol=1e-3)


def test_joint_late_fusion_without_some_predictions():
    p, labels = some_models(clips=100, none=0.5)
    nothing = np.isnan(average(p)).any(axis=1)
    assert nothing.any()
    fusion = JointLateFusion(GROUPS, 5).fit(p, labels)
    found = fusion.predict(p)
    np.testing.assert_array_equal(np.isnan(found), np.repeat(nothing[:, None], 5, axis=1))
    for group, said in zip(GROUPS, fusion.predict_branches(p), strict=True):
        alone = JointLateFusion([group], 5).fit({name: p[name] for name in group}, labels)
        expected = alone.predict({name: p[name] for name in group})
        silent = np.isnan(expected).any(axis=1)
        assert nothing.sum() < silent.sum()
        np.testing.assert_array_equal(np.isnan(said).any(axis=1), silent)
    weights, bias = fusion.joint.weight.detach().numpy(), fusion.joint.bias.detach().numpy()
    groups = [average({name: p[name] for name in group}) for group in GROUPS]
    for clip in np.flatnonzero(~nothing):
        parts = [weights[:, 5 * g : 5 * g + 5] @ groups[g][clip] for g in range(2) if not np.isnan(groups[g][clip, 0])]
        logits = bias + 2 / len(parts) * sum(parts)
        expected = np.exp(logits) / np.exp(logits).sum()
        np.testing.assert_allclose(found[clip], expected, err_msg="a group that says nothing is left out")
    kept = {name: values[~nothing] for name, values in p.items()}
    without = JointLateFusion(GROUPS, 5).fit(kept, labels[~nothing]).predict(kept)
    np.testing.assert_allclose(found[~nothing], without, atol=1e-9)


def test_joint_late_fusion_begins_at_the_average_of_groups():
    p, _ = some_models(clips=60, none=0.5)
    groups = [average({name: p[name] for name in group}) for group in GROUPS]
    logits = 5 * average({"first": groups[0], "second": groups[1]})
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(JointLateFusion(GROUPS, 5).predict(p), expected)


def test_groups_that_do_not_fit_are_refused():
    for groups in ([], [["a"], []], [["a"], ["a"]]):
        with pytest.raises(ValueError, match="groups"):
            JointLateFusion(groups, 3)
    with pytest.raises(ValueError, match="models a, b; expected those of the groups, a"):
        JointLateFusion([["a"]], 2).predict({"a": np.ones((1, 2)), "b": np.ones((1, 2))})
    with pytest.raises(ValueError, match="of 2 classes; expected 3"):
        JointLateFusion([["a"]], 3).predict({"a": np.ones((1, 2))})


# Runs


def made_table(split, strength, seed, clips=56, none=(), names=SEVEN, fold="1"):
    generator = np.random.default_rng([seed, split == "test"])
    label = np.arange(clips) % len(names)
    logits = generator.normal(size=(clips, len(names)))
    logits[np.arange(clips), label] += strength
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    p[list(none)] = np.nan
    return PredictionTable(
        names,
        clip_id=np.array([f"{split}/{i}" for i in range(clips)]),
        subject=np.array([f"{split}{i // 7}" for i in range(clips)]),
        group=np.full(clips, ""),
        split=np.full(clips, split),
        fold=np.full(clips, fold),
        seed=np.full(clips, seed),
        emotion=np.array(names)[label],
        probabilities=p,
        coverage=np.where(np.isin(np.arange(clips), none), 0.0, 0.8),
        reason=np.where(np.isin(np.arange(clips), none), f"nothing for {seed}", ""),
    )


def made_run(tmp_path, name, strength=1.0, seed=0, selection="inner", none=(), test=None, inner=None):
    """A run's folder; its inner table is what such a selection leaves."""
    run = RunFolder(tmp_path / "runs" / name / "1-0")
    test = made_table("test", strength, seed, none=none) if test is None else test
    own = {"inner": made_table("inner", strength, seed), "last": made_table("train", 9.0, seed), "best_on_test": test}
    test.write(run.predictions("test"))
    (own[selection] if inner is None else inner).write(run.predictions("inner"))
    run.write_info(
        RunInfo(name, "Model", "made_up", test.class_names, "1", seed, selection, 3, "store", 10, 100, 0.5, 4, "cpu")
    )
    return str(run.path)


@pytest.fixture
def three(tmp_path):
    return [
        made_run(tmp_path, "audio", 0.5, 1, none=(3, 4)),
        made_run(tmp_path, "face", 1.5, 2, none=(4,)),
        made_run(tmp_path, "scene", 1.0, 3, none=(4, 5)),
    ]


def tables_of(runs, split="test"):
    return [PredictionTable.read(RunFolder(Path(run)).predictions(split)) for run in runs]


@pytest.fixture
def no_report(monkeypatch):
    """Pages take most of the time, and most tests do not look at them."""
    monkeypatch.setattr(result, "write_report", lambda run: run.report)


METHODS = {
    "average": [],
    "fixed": ["--weights", "0.88", "0.34", "0.22"],
    "weighted": ["--method", "weighted", "--step", "0.1"],
    "best": ["--method", "best"],
    "joint": ["--groups", "audio/face,3"],
}


@pytest.mark.parametrize("method", METHODS)
def test_an_ensemble_is_a_run_like_any_other(method, three, tmp_path, capsys):
    out = tmp_path / "runs" / "ens" / "1-0"
    assert main(["ensemble", *three, *METHODS[method], "--out", str(out)]) == 0, capsys.readouterr().err
    said = capsys.readouterr().out
    members, run = tables_of(three), RunFolder(out)
    table, inner = tables_of([out])[0], tables_of([out], "inner")[0]
    assert table.clip_id.tolist() == members[0].clip_id.tolist()
    assert set(inner.split.tolist()) == {"inner"}
    assert table.missing.tolist() == [i == 4 for i in range(56)]
    assert table.reason[4] == "nothing for 1; nothing for 2; nothing for 3"
    best = max(members, key=lambda each: scores(each)[WAR])
    gain = paired_difference(table, best)
    ends = gain[WAR].interval
    assert f"WAR {gain[WAR].value:+.3f} [{ends.low:+.3f}, {ends.high:+.3f}]" in said.replace("\n", " ")
    assert f"McNemar p = {gain.p_value:.2g}" in said
    assert f"the ensemble in {gain.only_first} clips, " in said
    (row,) = [line for line in said.splitlines() if re.findall(r"[\w.]+", line)[:1] == ["ensemble"] and "inner" in line]
    for averaging in ("weighted", "macro"):
        expected = f1_score(table.emotion, table.predicted, labels=SEVEN, average=averaging, zero_division=0)
        assert f"{expected:.3f}" in row
    assert all(name in said for name in ("audio", "face", "scene", "confusion matrix"))
    for name, counts in zip(SEVEN, scores(table).confusion, strict=True):
        cells = [name, "8", *(f"{12.5 * count:.2f}" for count in counts)]
        assert any(re.findall(r"[\w.]+", line) == cells for line in said.splitlines()), "as in the papers: per cent"
    assert "best_on_test" not in said
    kept = inner.select(~inner.missing)
    temperature = fit_temperature(kept.probabilities, kept.label)
    assert read_calibration(run.path / "calibration.json").temperature == temperature
    assert f"confidence: temperature {temperature:.3f}, fitted on {len(kept)} clips of the inner split; ECE 0." in said
    info = run.read_info()
    assert (info.selection, info.class_names, info.experiment) == ("inner", SEVEN, "ens")
    if method in ("average", "joint"):
        assert (info.parameters, info.multiply_adds, info.seconds_per_clip) == (30, 300, 1.5)
    assert ("branch of group 2" in said) == (method == "joint")
    content = yaml.safe_load(run.config.read_text())["ensemble"]
    assert content["members"] == three
    record = Record.read(run)
    members_of = [part.name for part in record.parts if part.run]
    assert members_of == ["audio", "face", "scene"]
    for name, count in (("audio", 1), ("scene", 1)):  # clip 4 has no answer from anybody
        assert f"{name}: left out in {count} of 56 clips" in said
        assert f"{count} of 55" in run.report.read_text()
    assert "face: left out" not in said
    page = run.report.read_text()
    assert all(text in page for text in ("face alone", "fusion", "McNemar", content["method"].split()[0]))
    assert main(["compare", str(out), three[0]]) == 0
    assert main(["ensemble", str(out), three[1], "--method", "weighted", "--step", "0.5"]) == 0


def test_the_tables_hold_what_the_functions_say(three, tmp_path, no_report):
    out = tmp_path / "runs" / "ens" / "1-0"
    p = {name: table.probabilities for name, table in zip(("a", "f", "s"), tables_of(three), strict=True)}
    main(["ensemble", *three, "--out", str(out)])
    np.testing.assert_array_equal(tables_of([out])[0].probabilities, average(p))
    main(["ensemble", *three, "--weights", "0.88", "0.34", "0.22", "--out", str(out)])
    expected = weighted_sum(p, {"a": 0.88, "f": 0.34, "s": 0.22}) / 1.44
    np.testing.assert_allclose(tables_of([out])[0].probabilities, expected, atol=1e-11)
    main(["ensemble", *three, "--method", "weighted", "--step", "0.1", "--out", str(out)])
    inner = tables_of(three, "inner")
    q = {name: table.probabilities for name, table in zip(("a", "f", "s"), inner, strict=True)}
    weights = search_weights(q, inner[0].label, 0.1)
    np.testing.assert_allclose(tables_of([out])[0].probabilities, weighted_sum(p, weights), atol=1e-11)
    assert [part.weight for part in Record.read(RunFolder(out)).parts] == pytest.approx(list(weights.values()))
    streams = ClipOutputs.read(RunFolder(out).outputs("test"))
    assert streams.stream_names == ("audio", "face", "scene")
    np.testing.assert_allclose(streams.streams[:3, 1], p["f"][:3], atol=1e-6)


@pytest.mark.parametrize("method", ["average", "weighted", "best"])
def test_the_order_of_runs_changes_nothing(method, three, tmp_path, no_report):
    found = []
    for number, runs in enumerate((three, three[::-1])):
        out = tmp_path / "runs" / f"ens{number}" / "1-0"
        assert main(["ensemble", *runs, *METHODS[method], "--out", str(out)]) == 0
        found.append([*tables_of([out]), *tables_of([out], "inner")])
    for first, second in zip(*found, strict=True):
        np.testing.assert_array_equal(first.probabilities, second.probabilities)
        assert first.reason.tolist() == second.reason.tolist()


def test_rows_of_another_order_are_matched(tmp_path, no_report):
    table = made_table("test", 1.0, 5)
    a = made_run(tmp_path, "a", test=made_table("test", 1.0, 0))
    b = made_run(tmp_path, "b", test=table)
    c = made_run(tmp_path, "c", test=table.select(np.arange(56)[::-1]))
    out = [tmp_path / "runs" / name / "1-0" for name in ("x", "y")]
    main(["ensemble", a, b, "--out", str(out[0])])
    main(["ensemble", a, c, "--out", str(out[1])])
    np.testing.assert_array_equal(*(table.probabilities for table in tables_of(out)))


def test_a_searchs_inner_figure_is_of_subjects_it_did_not_see():
    """A method that learns the labels of its clips by heart knows nothing of other subjects."""

    class ByHeart(SearchedWeights):
        def fit(self, p, table):
            seen = {row.tobytes(): label for row, label in zip(p["a"], table.label.tolist(), strict=True)}
            subjects.append(set(table.subject.tolist()))
            return Fitted(lambda q: np.eye(7)[[seen.get(row.tobytes(), 0) for row in q["a"]]], None)

    subjects: list[set[str]] = []
    table = made_table("inner", 1.0, 0)
    found = cross_fitted(ByHeart(), {"a": table.probabilities}, table)
    np.testing.assert_array_equal(found.argmax(axis=1), 0)
    assert len(subjects) == 5
    tested = [set(table.subject.tolist()) - seen for seen in subjects]
    assert sorted(name for part in tested for name in part) == sorted(set(table.subject.tolist())), "each once"
    again = table.select(np.arange(56)[::-1])
    other = cross_fitted(SearchedWeights(0.5), {"a": again.probabilities, "b": again.probabilities}, again)
    first = cross_fitted(SearchedWeights(0.5), {"a": table.probabilities, "b": table.probabilities}, table)
    np.testing.assert_array_equal(first[::-1], other)
    assert cross_fitted(ByHeart(), {"a": table.probabilities[:7]}, table.select(np.arange(7))) is None


def test_clips_of_one_film_are_never_on_both_sides_of_a_search():
    class Watching(SearchedWeights):
        def fit(self, p, table):
            films.append(set(table.group.tolist()))
            return Fitted(lambda q: np.full((len(q["a"]), 7), 1 / 7), None)

    films: list[set[str]] = []
    film = np.array([f"film{i // 14}" for i in range(56)])
    table = replace(made_table("inner", 1.0, 0), subject=np.full(56, ""), group=film)
    assert cross_fitted(Watching(), {"a": table.probabilities}, table) is not None
    assert len(films) == 4
    assert sorted(name for seen in films for name in set(film) - seen) == sorted(set(film)), "each held out once"
    one = replace(table, group=np.full(56, "film"))
    assert cross_fitted(Watching(), {"a": one.probabilities}, one) is None


SEARCHES = ["weighted", "best", "joint"]


@pytest.mark.parametrize("method", SEARCHES)
@pytest.mark.parametrize(
    ("selection", "message"), [("last", "trained on the inner split too"), ("best_on_test", "--selection best_on_test")]
)
def test_a_search_refuses_members_that_know_its_clips(method, selection, message, tmp_path, capsys):
    runs = [made_run(tmp_path, "audio"), made_run(tmp_path, "face", selection=selection), made_run(tmp_path, "c")]
    assert main(["ensemble", *runs, *METHODS[method]]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert "face" in said


def test_what_says_inner_and_holds_training_clips_is_refused(tmp_path, capsys):
    runs = [made_run(tmp_path, name, seed=n, inner=made_table("train", 1.0, n)) for n, name in enumerate("ab")]
    assert main(["ensemble", *runs, "--method", "best"]) == 2
    assert "holds clips of the split 'train'" in capsys.readouterr().err


@pytest.mark.parametrize("method", SEARCHES)
def test_a_search_on_the_reported_split_says_so_everywhere(method, three, tmp_path, capsys):
    out = tmp_path / "runs" / "ens" / "1-0"
    command = ["ensemble", *three, *METHODS[method], "--selection", "best_on_test", "--out", str(out)]
    assert main(command) == 0
    lines = capsys.readouterr().out.splitlines()
    for start in ("reported split:", "gain over"):
        line = next(line for line in lines if line.startswith(start))
        assert "best_on_test: the ensemble was chosen on these very clips" in line
    assert RunFolder(out).read_info().selection == "best_on_test"
    assert "best_on_test" in RunFolder(out).report.read_text()
    assert "best_on_test" in yaml.safe_load(RunFolder(out).config.read_text())["ensemble"]["selection"]
    tests, inner = tables_of([out]), tables_of([out], "inner")
    np.testing.assert_array_equal(tests[0].probabilities, inner[0].probabilities)
    assert main(["ensemble", str(out), three[0], "--method", "best"]) == 2, "nor may another search have it"


def test_what_searches_nothing_takes_any_member(tmp_path, capsys, no_report):
    out = tmp_path / "runs" / "ens" / "1-0"
    chosen = made_run(tmp_path, "chosen", selection="best_on_test")
    runs = {s: [made_run(tmp_path, f"{s}{n}", seed=n, selection=s) for n in (1, 2)] for s in ("inner", "last")}
    assert main(["ensemble", *runs["last"], "--out", str(out)]) == 0
    assert RunFolder(out).read_info().selection == "last"
    assert set(tables_of([out], "inner")[0].split.tolist()) == {"train"}
    assert main(["ensemble", str(out), runs["inner"][0], "--method", "best"]) == 2, "a search through the back door"
    capsys.readouterr()
    assert main(["ensemble", *runs["inner"], runs["last"][0], "--out", str(out)]) == 0
    assert "no inner table: the members' selections differ (inner, last)" in capsys.readouterr().out
    assert not RunFolder(out).predictions("inner").exists(), "that of the earlier ensemble is gone"
    assert RunFolder(out).read_info().selection == "last"
    assert main(["ensemble", *runs["inner"], chosen, "--out", str(out)]) == 0
    assert "a member was chosen on these very clips" in capsys.readouterr().out
    assert RunFolder(out).read_info().selection == "best_on_test"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"test": made_table("test", 1.0, 0, clips=49)},
            "7 clips in the table of first but not in that of other",
        ),
        ({"test": made_table("test", 1.0, 0, clips=63)}, "test/56, test/57, test/58, test/59, test/60, ..."),
        ({"test": made_table("test", 1.0, 0, names=SEVEN[:6])}, "other has the classes anger"),
        (
            {"test": made_table("test", 1.0, 0, fold="2")},
            "fold differs in 56 clips, such as 'test/0': '2' in other, '1' in first",
        ),
        ({"inner": made_table("inner", 1.0, 0, clips=49)}, "7 clips in the table of first"),
    ],
)
def test_runs_that_do_not_fit_together_are_named(changes, message, tmp_path, capsys):
    runs = [made_run(tmp_path, "first"), made_run(tmp_path, "other", **changes)]
    assert main(["ensemble", *runs, "--method", "best"]) == 2
    assert message in capsys.readouterr().err
    assert main(["ensemble", *runs]) == (0 if "inner" in changes else 2), "an average needs no inner table"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--weights", "1", "2"], "2 weights for 3 members"),
        (["--weights", "1", "-2", "3"], "from 0 up"),
        (["--weights", "0", "0", "0"], "above 0"),
        (["--method", "best", "--weights", "1", "1", "1"], "--weights needs method weighted"),
        (["--method", "joint"], "needs --groups"),
        (["--groups", "audio/face"], "each of audio, face, scene in one group"),
        (["--groups", "audio/face,4"], "no member '4'"),
        (["--groups", "audio,1/face,scene"], "each of"),
        (["--method", "weighted", "--step", "0.3"], "step 0.3"),
    ],
)
def test_options_that_do_not_fit_are_one_message(arguments, message, three, capsys):
    assert main(["ensemble", *three, *arguments]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert "Traceback" not in said


def test_nothing_else_is_written_over(three, tmp_path, capsys):
    assert main(["ensemble", *three, "--out", three[0]]) == 2
    assert "one of the members" in capsys.readouterr().err
    other = made_run(tmp_path, "other")
    assert main(["ensemble", *three, "--out", other]) == 2
    assert "something other than an ensemble" in capsys.readouterr().err
    assert main(["ensemble", *three, three[0]]) == 2
    assert "given twice" in capsys.readouterr().err
    assert main(["ensemble", three[0], str(tmp_path / "nothing")]) == 2
    assert "no run or checkpoint" in capsys.readouterr().err


def test_one_run_is_an_ensemble_too(three, tmp_path, capsys, no_report):
    out = tmp_path / "runs" / "ens" / "1-0"
    for arguments in ([], ["--method", "weighted"], ["--method", "best"], ["--groups", "1"]):
        assert main(["ensemble", three[1], *arguments, "--out", str(out)]) == 0
        if arguments != ["--groups", "1"]:
            assert "gain over the best member, the ensemble minus face: WAR +0.000" in capsys.readouterr().out


def test_an_ensemble_has_the_votes_that_its_members_agree_on(three, tmp_path, no_report):
    out, table = RunFolder(tmp_path / "runs" / "ens" / "1-0"), tables_of(three)[0]

    def agreement_of(votes):
        for member, text in zip(three, votes, strict=True):
            records = [VideoRecord(clip_id, "", "fear", votes=text) for clip_id in table.clip_id.tolist()]
            write_manifest(RunFolder(Path(member)).clips, records)
        assert main(["ensemble", *three, "--out", str(out.path)]) == 0
        return run_agreement(out, PredictionTable.read(out.predictions("test")))

    found = agreement_of(["anger=6 fear=4"] * 3)
    assert (found.annotator, found.votes) == (pytest.approx(0.6), 560)
    assert agreement_of(["anger=6 fear=4", "anger=6 fear=4", "anger=5 fear=5"]) is None


def test_a_weight_of_nothing_leaves_clips_unanswered(three, tmp_path, no_report):
    out = tmp_path / "runs" / "ens" / "1-0"
    assert main(["ensemble", *three, "--weights", "1", "0", "0", "--out", str(out)]) == 0
    table = tables_of([out])[0]
    assert np.flatnonzero(table.missing).tolist() == [3, 4]
    assert table.reason[3] == "nothing for 1; the members with a prediction have weight 0"
    assert json.loads((out / "run.json").read_text())["parameters"] == 10, "of the member that has a say"


def test_names_are_as_short_as_they_can_be(tmp_path):
    places = [tmp_path / "runs" / "a" / "1-0", tmp_path / "runs" / "b" / "1-0", tmp_path / "runs" / "b" / "2-0"]
    assert short_names(places) == ["a", "b@1-0", "b@2-0"]
    assert short_names([*places, tmp_path / "old" / "b" / "1-0"])[1::2] == [str(places[1]), str(tmp_path / "old/b/1-0")]


def members_of(strengths, clips=56):
    tables = {f"m{k}": made_table("inner", strength, k, clips=clips) for k, strength in enumerate(strengths)}
    return {name: table.probabilities for name, table in tables.items()}, tables["m0"]


def test_intervals_of_weights_are_searches_on_resampled_people(monkeypatch):
    p, table = members_of((0.5, 1.5, 1.0))
    intervals = weight_intervals(SearchedWeights(0.1), p, table, draws=40, seed=5)
    generator, found = np.random.default_rng(5), []
    people = sorted(set(table.subject))
    for _ in range(40):
        drawn = [people[i] for i in generator.integers(len(people), size=len(people))]
        rows = [row for name in drawn for row in np.flatnonzero(table.subject == name)]
        found.append(search_weights({name: values[rows] for name, values in p.items()}, table.label[rows], 0.1))
    for name, interval in intervals.items():
        ends = np.quantile([weights[name] for weights in found], [0.025, 0.975])
        assert (interval.low, interval.high) == pytest.approx(tuple(ends))


def test_weights_that_clips_do_not_determine_have_wide_intervals():
    p, table = members_of((0.5, 1.5))
    p["m1"] = p["m0"] + 0.0
    p["sure"] = np.eye(7)[table.label]
    intervals = weight_intervals(BestSelection(), p, table, draws=20)
    assert (intervals["sure"].low, intervals["sure"].high) == (1, 1), "always correct, and alone"
    assert weight_intervals(Average(), p, table) == {}
    assert weight_intervals(SearchedWeights(0.1), p, replace(table, subject=np.full(len(table), "one"))) == {}


def test_intervals_of_searched_weights_are_kept_and_shown(three, tmp_path, capsys):
    out = tmp_path / "runs" / "ens" / "1-0"
    assert main(["ensemble", *three, "--method", "weighted", "--step", "0.1", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    record = Record.read(RunFolder(out))
    page = (out / "report" / "index.html").read_text()
    for part in record.members:
        low, high = part.weight_interval
        assert 0 <= low <= high <= 1
        assert f"{part.weight:.3g} [{low:.2f}, {high:.2f}]" in page
        assert f"[{low:.2f}, {high:.2f}]" in said
    assert main(["ensemble", *three, "--out", str(out)]) == 0
    assert all(part.weight_interval is None for part in Record.read(RunFolder(out)).members)
