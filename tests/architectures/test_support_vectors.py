"""The support vector machine against scikit-learn, and its way through training, checkpoints and reports."""

from itertools import combinations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from sklearn.model_selection import PredefinedSplit, cross_val_predict
from sklearn.svm import SVC

from data_modules.labels import SEVEN
from fer_lightning import LandmarkSVM
from fer_lightning.layers import lmed
from fer_lightning.layers.support_vectors import SupportVectorMachine, _folds, _winners, couple
from tests.architectures.test_landmark_mlp import clips_of
from tests.layers.test_landmark_descriptors import faces

ONE = {"costs": (1.0,), "widths": (1.0,)}


def clouds(classes=7, each=12, size=5, spread=1.0, seed=0):
    """(M, D) vectors of overlapping classes, their labels, and subjects that have a vector of each class."""
    rng = np.random.default_rng(seed)
    y = np.tile(np.arange(classes), each)
    x = rng.normal(size=(classes, size))[y] + spread * rng.normal(size=(len(y), size))
    groups = [f"s{i}" for i in np.repeat(np.arange(each), classes)]
    return torch.tensor(x * np.array([1, 10, 100] + [1] * (size - 3))), torch.tensor(y), groups


def fitted(x, y, groups, classes=7, balanced=False, **options):
    machine = SupportVectorMachine(classes, **(ONE | options))
    machine.fit(x, y, groups, balanced)
    return machine


def scaled(machine, x):
    return machine.scaler(x.float()).double().numpy()


def pair_values(svc, x):
    """scikit-learn's decision values of pairs (M, pairs), positive for the first class also with two classes."""
    values = svc.set_params(decision_function_shape="ovo").decision_function(x)
    return -values[:, None] if values.ndim == 1 else values


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("classes", [2, 3, 7])
def test_pair_values_are_scikit_learns(classes, balanced):
    x, y, groups = clouds(classes)
    keep = torch.ones(len(y), dtype=torch.bool)
    keep[:: 2 * classes] = False  # classes of different sizes
    x, y, groups = x[keep], y[keep], [g for g, k in zip(groups, keep, strict=True) if k]
    machine = fitted(x, y, groups, classes, balanced)
    reference = SVC(gamma=float(machine.gamma), class_weight="balanced" if balanced else None)
    reference.fit(scaled(machine, x), y)
    assert float(machine.gamma) == pytest.approx(1 / (5 * scaled(machine, x).var()))
    new = clouds(classes, seed=1)[0]
    for vectors in (x, new):
        expected = pair_values(reference, scaled(machine, vectors))
        np.testing.assert_allclose(machine.pair_values(vectors), expected, atol=1e-6)
        np.testing.assert_array_equal(
            _winners(expected, reference.classes_), reference.predict(scaled(machine, vectors))
        )


def coupled(pairs, classes):
    """Least sum of (r_ji p_i - r_ij p_j)² by a general solver, from probabilities of pairs (pairs,)."""
    names = list(combinations(range(classes), 2))

    def cost(p):
        return sum(((1 - r) * p[i] - r * p[j]) ** 2 for (i, j), r in zip(names, pairs, strict=True))

    total = {"type": "eq", "fun": lambda p: p.sum() - 1}
    start = np.full(classes, 1 / classes)
    return minimize(cost, start, bounds=[(0, 1)] * classes, constraints=total, options={"ftol": 1e-15}).x


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_coupled_probabilities_are_nearest_to_the_pairs(classes):
    pairs = torch.rand(
        20, classes * (classes - 1) // 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    )
    found = couple(pairs, classes)
    np.testing.assert_allclose(found, np.stack([coupled(row, classes) for row in pairs.numpy()]), atol=1e-5)
    np.testing.assert_allclose(found.sum(dim=1), 1)


def test_pairs_of_a_distribution_give_that_distribution():
    p = torch.rand(50, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) ** 8
    p = p / p.sum(dim=1, keepdim=True)
    first, second = torch.triu_indices(7, 7, offset=1)
    pairs = p[:, first] / (p[:, first] + p[:, second])
    np.testing.assert_allclose(couple(pairs, 7), p, atol=1e-9)
    certain = couple(torch.tensor([[1 - 1e-7] * 2 + [1e-7]], dtype=torch.float64), 3)  # 0 wins, 2 beats 1
    assert certain[0].tolist() == pytest.approx([1, 0, 0], abs=1e-5)


def cross_validated(machine, x, y, groups, cost, width, weights=None):
    """Pair values of left-out vectors by scikit-learn's own tools."""
    place = np.empty(len(y), dtype=int)
    for number, held in enumerate(_folds(y.numpy(), groups, 5)):
        place[held] = number

    class Wide(SVC):
        def fit(self, x, y):
            self.set_params(gamma=width / (x.shape[1] * x.var()))
            return super().fit(x, y)

    svc = Wide(C=cost, decision_function_shape="ovo", class_weight=weights)
    folds = PredefinedSplit(place)
    return cross_val_predict(svc, scaled(machine, x), y.numpy(), cv=folds, method="decision_function"), place


def platt(values, is_first, balanced):
    """Slope and offset of the most likely sigmoid with Platt's targets."""
    counts = np.where(is_first, is_first.sum(), (~is_first).sum())
    targets = np.where(is_first, (counts + 1) / (counts + 2), 1 / (counts + 2))
    weights = 1 / counts if balanced else 1 / len(counts)

    def surprise(sigmoid):
        z = sigmoid[0] * values + sigmoid[1]
        return (weights * (np.logaddexp(0, z) - targets * z)).sum()

    return minimize(surprise, [1, 0], tol=1e-12).x


@pytest.mark.parametrize("balanced", [False, True])
def test_cost_width_and_sigmoids_are_best_on_other_subjects(balanced):
    x, y, groups = clouds(4, each=20, spread=1.5)
    keep = torch.arange(len(y)) % 8 != 0  # half of the first class
    x, y, groups = x[keep], y[keep], list(np.array(groups)[keep])
    weights = "balanced" if balanced else None
    costs, widths = (0.01, 1.0, 100.0), (0.01, 1.0, 30.0)
    machine = fitted(x, y, groups, 4, balanced, costs=costs, widths=widths)
    values = {(c, w): cross_validated(machine, x, y, groups, c, w, weights)[0] for c in costs for w in widths}
    accuracy = {setting: (_winners(found, np.arange(4)) == y.numpy()).mean() for setting, found in values.items()}
    assert max(accuracy.values()) > min(accuracy.values()) + 0.2
    cost, width = max(accuracy, key=accuracy.get)
    gamma = width / (5 * scaled(machine, x).var())
    reference = SVC(C=cost, gamma=gamma, class_weight=weights).fit(scaled(machine, x), y)
    expected = pair_values(reference, scaled(machine, x))
    np.testing.assert_allclose(machine.pair_values(x), expected, atol=1e-6)
    for column, pair in enumerate(combinations(range(4), 2)):
        of_pair = np.isin(y, pair)
        slope, offset = platt(values[cost, width][of_pair, column], y.numpy()[of_pair] == pair[0], balanced)
        assert float(machine.slopes[column]) == pytest.approx(slope, rel=1e-3)
        assert float(machine.offsets[column]) == pytest.approx(offset, abs=1e-3)
    pairs = 1 / (1 + np.exp(-machine.slopes.numpy() * expected - machine.offsets.numpy()))
    probabilities = np.stack([coupled(row, 4) for row in pairs])
    np.testing.assert_allclose(machine(x).exp(), probabilities, atol=1e-4)


def test_a_pair_that_cannot_be_left_out_keeps_its_plain_sigmoid():
    x, y, groups = clouds(3)
    rare = torch.arange(len(y)) == 2  # the third class has one vector, and is missing where that is left out
    keep = (y != 2) | rare
    x, y, groups = x[keep], y[keep], list(np.array(groups)[keep])
    machine = fitted(x, y, groups, 3)
    assert (machine.slopes[0], machine.offsets[0]) != (1, 0)
    assert machine.slopes[1:].tolist() == [1, 1]
    assert machine.offsets[1:].tolist() == [0, 0]


def half_shown(each, seed):
    """(M, 5, D) windows of clips, their classes and subjects. Three windows of each clip say nothing of its class."""
    rng = np.random.default_rng(seed)
    label = np.tile(np.arange(7), each)
    windows = rng.normal(size=(len(label), 5, 6))
    windows[:, :2] += 2.5 * np.random.default_rng(0).normal(size=(7, 6))[label][:, None]
    return torch.tensor(windows), torch.tensor(label), [f"s{i}" for i in np.repeat(np.arange(each), 7)]


def test_windows_that_say_nothing_leave_the_others_the_word():
    """The mean over a clip's windows finds its class; votes of pairs, as sure in every window, would find half."""
    x, y, groups = half_shown(24, 1)
    machine = fitted(x.flatten(0, 1), y.repeat_interleave(5), list(np.repeat(groups, 5)))
    x, y, _ = half_shown(40, 2)
    probabilities = machine(x.flatten(0, 1)).softmax(dim=1).unflatten(0, (-1, 5))
    assert (probabilities.argmax(dim=2) == y[:, None]).double().mean() < 0.5
    assert (probabilities.mean(dim=1).argmax(dim=1) == y).double().mean() > 0.9


def test_classes_that_do_not_occur_are_never_chosen():
    x, y, groups = clouds(3)
    names = torch.tensor([1, 4, 5])
    machine, plain = fitted(x, names[y], groups), fitted(x, y, groups, 3)
    probabilities = machine(x).softmax(dim=1)
    torch.testing.assert_close(probabilities[:, names], plain(x).exp(), atol=1e-5, rtol=0)
    others = [place for place in range(7) if place not in names]
    assert (probabilities[:, others] < 1e-6).all()
    assert machine(x).isfinite().all()


def test_no_subject_is_in_two_folds():
    _, y, groups = clouds(each=13)
    folds = _folds(y.numpy(), groups, 5)
    people = [{groups[place] for place in held} for held in folds]
    assert len(folds) == 5
    assert sum(map(len, people)) == len(set().union(*people)) == 13
    assert sorted(np.concatenate(folds)) == list(range(len(y)))


def test_the_same_data_gives_the_same_fit():
    x, y, groups = clouds()
    first, second = fitted(x, y, groups, widths=(0.3, 1)), fitted(x, y, groups, widths=(1, 0.3))
    assert all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )


def test_a_fit_travels_into_machines_of_other_sizes(tmp_path):
    x, y, groups = clouds()
    machine = fitted(x, y, groups)
    torch.save({"a." + name: value for name, value in machine.state_dict().items()}, tmp_path / "fit.pt")
    state = torch.load(tmp_path / "fit.pt", weights_only=True)
    for other in (SupportVectorMachine(7), fitted(*clouds(3, 5), classes=7)):
        holder = torch.nn.ModuleDict({"a": other})
        holder.load_state_dict(state)
        assert torch.equal(other(x), machine(x))
    incomplete = {name: value for name, value in state.items() if "support" not in name}
    with pytest.raises(RuntimeError, match=r"Missing key.*support"):
        torch.nn.ModuleDict({"a": SupportVectorMachine(7)}).load_state_dict(incomplete)


def test_half_precision_around_it_changes_nothing():
    x, y, groups = clouds()
    machine = fitted(x, y, groups)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(machine(x), machine(x.float()))
        assert machine(x).dtype == torch.float32


def test_what_cannot_be_fitted_is_refused_with_a_reason():
    x, y, groups = clouds()
    with pytest.raises(ValueError, match="not fitted"):
        SupportVectorMachine(7)(x)
    with pytest.raises(ValueError, match="of two subjects; found 84 clips of 7 classes and 1 subjects"):
        fitted(x, y, ["one"] * len(y))
    with pytest.raises(ValueError, match="of two classes"):
        fitted(x, torch.zeros_like(y), groups)


def test_kernels_that_mean_nothing_are_refused():
    with pytest.raises(ValueError, match="gaussian or linear; found 'cubic'"):
        SupportVectorMachine(7, kernel="cubic")
    with pytest.raises(ValueError, match=r"one width, \[1\]: its C does the same; found widths \[0.1, 1\]"):
        SupportVectorMachine(7, widths=[0.1, 1], kernel="linear")
    for options in ({"costs": []}, {"widths": []}):
        with pytest.raises(ValueError, match="at least one C and one width"):
            SupportVectorMachine(7, **options)


@pytest.mark.parametrize("kernel", ["gaussian", "linear"])
def test_a_kernel_is_as_scikit_learns_in_a_choice_of_costs(kernel):
    x, y, groups = clouds(4)
    machine = fitted(x, y, groups, 4, costs=(0.01, 10.0), kernel=kernel)
    normal, gamma = scaled(machine, x), float(machine.gamma)
    assert gamma == pytest.approx(1 / (5 * normal.var()))
    candidates = [
        SVC(C=cost, gamma=gamma).fit(normal, y)
        if kernel == "gaussian"
        else SVC(C=cost * gamma, kernel="linear", tol=1e-6).fit(normal, y)
        for cost in (0.01, 10.0)
    ]
    new = clouds(4, seed=1)[0]
    found = machine.pair_values(new).numpy()
    apart = [abs(found - pair_values(one, scaled(machine, new))).max() for one in candidates]
    assert min(apart) < 0.01 < max(apart)


def test_samples_without_landmarks_take_no_part():
    model = LandmarkSVM(SEVEN, costs=(1,), widths=(1,))
    landmarks = faces(28, dtype=torch.float32)
    landmarks[3] = float("nan")
    batch = clips_of(landmarks)
    x, present = model.describe_clips(batch)
    model.machine.fit(x[present], batch.label[present], [f"s{i // 7}" for i in range(28) if i != 3])
    output = model(batch)
    assert output.logits[3].tolist() == [0] * 7
    assert output.feature[3].tolist() == [0] * 222
    assert output.feature[present].abs().max() == 1
    assert output.logits.isfinite().all()
    assert not list(model.parameters())


def test_raw_descriptors_are_the_machines_vectors():
    """The support vectors are distances in pixels, those of scikit-learn's machine on the same distances."""
    model = LandmarkSVM(SEVEN, "lmed", descriptor_scaling="raw", **ONE)
    batch = clips_of(faces(21, 16, seed=5))
    x = lmed(batch.landmarks, relative=False)
    assert torch.equal(model.describe_clips(batch)[0], x)
    model.machine.fit(x, batch.label, [f"s{i % 3}" for i in range(21)])
    plain = x.float().double().numpy()
    reference = SVC(gamma=1 / (102 * plain.var())).fit(plain, batch.label)
    np.testing.assert_allclose(model.machine.pair_values(x), pair_values(reference, plain), atol=1e-6)
    assert model(batch).feature.max() > 20, "pixels"
