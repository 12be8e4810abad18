"""The support vector machine against scikit-learn, and its way through training, checkpoints and reports."""

import numpy as np
import pytest
import torch
from sklearn.model_selection import PredefinedSplit, cross_val_predict
from sklearn.svm import SVC

from data_modules.labels import SEVEN
from fer_lightning import LandmarkSVM
from fer_lightning.layers import lmed
from fer_lightning.layers.support_vectors import SupportVectorMachine, _folds
from tests.architectures.test_landmark_mlp import clips_of
from tests.layers.test_landmark_descriptors import faces

ONE = {"costs": (1.0,), "widths": (1.0,)}


def clouds(classes=7, each=12, size=5, spread=1.0, seed=0):
    """(M, D) vectors of overlapping classes, their labels, and subjects that have a vector of each class."""
    rng = np.random.default_rng(seed)
    y = np.tile(np.arange(classes), each)
    x = rng.normal(size=(classes, size))[y] + spread * rng.normal(size=(len(y), size))
    groups = [f"s{i}" for i in np.repeat(np.arange(each), classes)]
    return torch.tensor(x * [1, 10, 100, 1, 1]), torch.tensor(y), groups


def fitted(x, y, groups, classes=7, balanced=False, **options):
    machine = SupportVectorMachine(classes, **(ONE | options))
    machine.fit(x, y, groups, balanced)
    return machine


def scaled(machine, x):
    return machine.scaler(x.float()).double().numpy()


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("classes", [3, 7])
def test_decision_values_are_scikit_learns(classes, balanced):
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
        expected = reference.decision_function(scaled(machine, vectors))
        np.testing.assert_allclose(machine.decision_values(vectors), expected, atol=1e-6)
    # ... and the classes, where no two have as many votes
    votes = np.round(machine.decision_values(new).numpy())
    untied = (votes == votes.max(axis=1, keepdims=True)).sum(axis=1) == 1
    assert untied.mean() > 0.5
    chosen = machine(new).argmax(dim=1).numpy()
    np.testing.assert_array_equal(chosen[untied], reference.predict(scaled(machine, new))[untied])


def test_two_classes():
    x, y, groups = clouds(2)
    machine = fitted(x, y, groups, 2)
    reference = SVC(gamma=float(machine.gamma)).fit(scaled(machine, x), y)
    expected = reference.decision_function(scaled(machine, x))
    values = machine.decision_values(x).numpy()
    np.testing.assert_allclose(
        values[:, 1] - values[:, 0], 2 * expected / (3 * (abs(expected) + 1)) + np.sign(expected)
    )
    np.testing.assert_array_equal(values.argmax(axis=1), reference.predict(scaled(machine, x)))


def test_classes_that_do_not_occur_are_never_chosen():
    x, y, groups = clouds(3)
    names = torch.tensor([1, 4, 5])
    machine = fitted(x, names[y], groups)
    reference = SVC(gamma=float(machine.gamma)).fit(scaled(machine, x), y)
    values = machine.decision_values(x)
    np.testing.assert_allclose(values[:, names], reference.decision_function(scaled(machine, x)), atol=1e-6)
    others = [place for place in range(7) if place not in names]
    assert (values[:, others] < values[:, names].min()).all()


def cross_validated(machine, x, y, groups, cost, width):
    """Decision values of left-out vectors by scikit-learn's own tools."""
    place = np.empty(len(y), dtype=int)
    for number, held in enumerate(_folds(y.numpy(), groups, 5)):
        place[held] = number

    class Wide(SVC):
        def fit(self, x, y):
            self.set_params(gamma=width / (x.shape[1] * x.var()))
            return super().fit(x, y)

    values = cross_val_predict(
        Wide(C=cost), scaled(machine, x), y.numpy(), cv=PredefinedSplit(place), method="decision_function"
    )
    return np.asarray(values)


def test_cost_width_and_temperature_are_best_on_other_subjects():
    x, y, groups = clouds(4, each=20, spread=1.5)
    costs, widths = (0.01, 1.0, 100.0), (0.01, 1.0, 30.0)
    machine = fitted(x, y, groups, 4, costs=costs, widths=widths)
    values = {(c, w): cross_validated(machine, x, y, groups, c, w) for c in costs for w in widths}
    accuracy = {setting: (found.argmax(axis=1) == y.numpy()).mean() for setting, found in values.items()}
    assert max(accuracy.values()) > min(accuracy.values()) + 0.2
    cost, width = max(accuracy, key=accuracy.get)
    reference = SVC(C=cost, gamma=width / (5 * scaled(machine, x).var())).fit(scaled(machine, x), y)
    expected = reference.decision_function(scaled(machine, x))
    np.testing.assert_allclose(machine.decision_values(x), expected, atol=1e-6)
    left_out = torch.tensor(values[cost, width])

    def surprise(temperature):
        return float(torch.nn.functional.cross_entropy(left_out / temperature, y))

    best = min(np.geomspace(0.02, 50, 4000), key=surprise)
    assert float(machine.temperature) == pytest.approx(best, rel=0.01)
    torch.testing.assert_close(machine(x), (machine.decision_values(x) / best).float(), rtol=0.01, atol=1e-3)


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
    found = machine.decision_values(new).numpy()
    apart = [abs(found - one.decision_function(scaled(machine, new))).max() for one in candidates]
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
    np.testing.assert_allclose(model.machine.decision_values(x), reference.decision_function(plain), atol=1e-6)
    assert model(batch).feature.max() > 20, "pixels"
