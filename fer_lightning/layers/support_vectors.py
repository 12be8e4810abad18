"""A support vector machine that scikit-learn fits and torch evaluates, so that it is saved in checkpoints."""

import warnings
from collections import Counter
from collections.abc import Sequence
from itertools import combinations, product
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.svm import SVC
from torch import Tensor, nn

from data_modules.utils.progress import progress
from fer_lightning.layers.scaling import RangeScaler

Kernel = Literal["gaussian", "linear"]
COSTS = (0.1, 1.0, 10.0, 100.0)
WIDTHS = (0.1, 0.3, 1.0, 3.0)
FOLDS = 5
ABSENT = -1.0  # decision value of classes that were not fitted, below all others
LOG_TEMPERATURES = (-4.0, 4.0)


class SupportVectorMachine(nn.Module):
    """scikit-learn's SVC with its arrays in buffers, and with scores that a softmax turns into probabilities.

    [our choice] The default kernel is Gaussian. C and the kernel's width are those with the highest accuracy in
    cross-validation over folds that share no subject. Among equal ones the smallest C is taken, then the smallest
    width. The scores are the one-vs-rest decision values divided by a temperature that maximises the likelihood of the
    vectors left out in cross-validation.

    Args:
        num_classes: Number of classes C of the scores.
        costs: Candidates for the cost C.
        widths: Candidates for gamma, as multiples of 1 / (features x variance).
        kernel: `gaussian` for exp(-gamma |x - y|²), or `linear` for gamma x·y, where gamma and C have the same effect
            and only one width is accepted.

    Raises:
        ValueError: The kernel is unknown, there are no candidates, or a linear kernel has several widths.
    """

    classes: Tensor  # (K,) classes that were fitted
    support: Tensor  # (S, D) scaled support vectors
    coefficients: Tensor  # (K (K - 1) / 2, S) for each pair of classes
    intercepts: Tensor  # (K (K - 1) / 2,) for each pair of classes
    gamma: Tensor  # () factor of the kernel
    temperature: Tensor  # () divisor of the decision values

    def __init__(
        self,
        num_classes: int,
        costs: Sequence[float] = COSTS,
        widths: Sequence[float] = WIDTHS,
        kernel: Kernel = "gaussian",
    ) -> None:
        super().__init__()
        if kernel not in get_args(Kernel):
            raise ValueError(f"expected the kernel {' or '.join(get_args(Kernel))}; found {kernel!r}")
        if not costs or not widths:
            raise ValueError(f"expected at least one C and one width; found costs {costs} and widths {widths}")
        if kernel == "linear" and len(widths) > 1:
            raise ValueError(f"a linear kernel has one width, [1]: its C does the same; found widths {list(widths)}")
        self.kernel = kernel
        self.num_classes = num_classes
        self.costs, self.widths = tuple(sorted(costs)), tuple(sorted(widths))
        self.scaler = RangeScaler(0)
        self.register_buffer("classes", torch.zeros(0, dtype=torch.int64))
        # In float32, rounding errors of sums over many support vectors could change the predicted class.
        for name, shape in (("support", (0, 0)), ("coefficients", (0, 0)), ("intercepts", (0,))):
            self.register_buffer(name, torch.zeros(shape, dtype=torch.float64))
        for name in ("gamma", "temperature"):
            self.register_buffer(name, torch.ones((), dtype=torch.float64))

    def fit(self, x: Tensor, y: Tensor, groups: Sequence[str], balanced: bool = False) -> None:
        """Fit scaler, support vector machine and temperature. The fit is deterministic.

        Args:
            x: Unscaled vectors (M, D).
            y: Indices of their classes (M,).
            groups: Names of their subjects or films (M). Folds share no group.
            balanced: Weigh classes inversely to their frequency.

        Raises:
            ValueError: There are fewer than two classes or fewer than two groups.
        """
        labels = y.cpu().numpy()
        counts = Counter(labels.tolist())
        num_folds = min(FOLDS, len(set(groups)), max(counts.values(), default=0))
        if len(counts) < 2 or num_folds < 2:
            raise ValueError(
                f"a support vector machine needs clips of two classes and of two subjects; found {len(labels)} clips "
                f"of {len(counts)} classes and {len(set(groups))} subjects"
            )
        self.scaler.fit(x)
        scaled = self.scaler(x.to(self.scaler.low)).double().cpu().numpy()
        folds = _folds(labels, groups, num_folds)
        settings = list(product(self.costs, self.widths))
        best = (-1.0, settings[0], np.zeros(0))
        with progress("choosing C and gamma", len(settings), transient=True) as advance:
            for done, setting in enumerate(settings, start=1):
                values = self._cross_validate(scaled, labels, folds, setting, balanced)  # (M, C)
                accuracy = float((values.argmax(axis=1) == labels).mean())
                best = max(best, (accuracy, setting, values), key=lambda result: result[0])  # the first of equal ones
                advance(done)
        self._store(self._svc(best[1], balanced, scaled).fit(scaled, labels))
        self.temperature.fill_(_temperature(best[2], labels))

    def _cross_validate(
        self,
        x: NDArray[np.float64],
        y: NDArray[np.int64],
        folds: Sequence[NDArray[np.int64]],
        setting: tuple[float, float],
        balanced: bool,
    ) -> NDArray[np.float64]:
        """Return the decision values (M, C) of each vector by a machine that was fitted to the other folds."""
        values = np.full((len(y), self.num_classes), ABSENT)
        for test in folds:
            train = np.setdiff1d(np.arange(len(y)), test)
            if len(np.unique(y[train])) > 1:
                self._store(self._svc(setting, balanced, x[train]).fit(x[train], y[train]))
                values[test] = self._decision_values(torch.from_numpy(x[test]).to(self.support)).cpu().numpy()
        return values

    def _svc(self, setting: tuple[float, float], balanced: bool, x: NDArray[np.float64]) -> SVC:
        cost, width = setting
        gamma = width / (x.shape[1] * (x.var() or 1.0))
        kernel = "rbf" if self.kernel == "gaussian" else "poly"  # of degree 1, which is linear but has gamma
        weights = "balanced" if balanced else None
        return SVC(C=cost, kernel=kernel, degree=1, gamma=gamma, class_weight=weights, cache_size=500)

    def _store(self, svc: SVC) -> None:
        """Store what scikit-learn fitted in the buffers, with one row of coefficients for each pair of classes."""
        classes: NDArray[np.int64] = svc.classes_
        pairs = list(combinations(range(len(classes)), 2))
        owner = np.repeat(np.arange(len(classes)), svc.n_support_)  # (S,) class of each support vector
        coefficients = np.zeros((len(pairs), len(owner)))
        for row, (first, second) in enumerate(pairs):  # row k of dual_coef_ is against the k-th of the other classes
            coefficients[row, owner == first] = svc.dual_coef_[second - 1, owner == first]
            coefficients[row, owner == second] = svc.dual_coef_[first, owner == second]
        sign = -1 if len(pairs) == 1 else 1  # with two classes, scikit-learn's sign is that of the second
        device = self.support.device
        self.classes = torch.tensor(classes, device=device)
        self.support = torch.tensor(svc.support_vectors_, device=device)
        self.coefficients = torch.tensor(sign * coefficients, device=device)
        self.intercepts = torch.tensor(sign * svc.intercept_, device=device)
        self.gamma.fill_(svc.gamma)

    def _decision_values(self, x: Tensor) -> Tensor:
        """Compute decision values as `SVC.decision_function` does: scaled vectors (B, D) -> (B, C)."""
        pairs = self._kernel_values(x) @ self.coefficients.T + self.intercepts  # (B, pairs); >= 0 for the first class
        count = len(self.classes)
        first, second = torch.triu_indices(count, count, offset=1, device=x.device)
        wins = (pairs >= 0).to(pairs.dtype)
        zeros = pairs.new_zeros(len(x), count)
        votes = zeros.index_add(1, first, wins).index_add(1, second, 1 - wins)
        confidence = zeros.index_add(1, first, pairs).index_add(1, second, -pairs)
        values = pairs.new_full((len(x), self.num_classes), ABSENT)
        values[:, self.classes] = votes + confidence / (3 * (confidence.abs() + 1))  # always less than one vote
        return values

    def _kernel_values(self, x: Tensor) -> Tensor:
        """Compute the kernel between scaled vectors (B, D) and the support vectors: (B, S)."""
        products = x @ self.support.T
        if self.kernel == "linear":
            return self.gamma * products
        squares = x.square().sum(dim=1, keepdim=True) + self.support.square().sum(dim=1)
        return (-self.gamma * (squares - 2 * products).clamp_min(0)).exp()

    def decision_values(self, x: Tensor) -> Tensor:
        """Compute one-vs-rest decision values of unscaled vectors: (B, D) -> (B, C) in float64.

        They are -1 for classes that were not fitted.

        Raises:
            ValueError: The machine is not fitted yet.
        """
        if not len(self.support):
            raise ValueError("the support vector machine is not fitted: train it, or load a run's checkpoint")
        with torch.autocast(x.device.type, enabled=False):
            return self._decision_values(self.scaler(x.to(self.scaler.low)).to(self.support))

    def forward(self, x: Tensor) -> Tensor:
        """Compute the scores of unscaled vectors: (B, D) -> (B, C) in float32."""
        return (self.decision_values(x) / self.temperature).float()

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Resize the buffers to the number of support vectors in the state dict, then load it."""
        for name, buffer in self.named_buffers():
            if prefix + name in state_dict:
                buffer.resize_(state_dict[prefix + name].shape)
        super()._load_from_state_dict(state_dict, prefix, *args)


def _folds(y: NDArray[np.int64], groups: Sequence[str], num_folds: int) -> list[NDArray[np.int64]]:
    """Return the indices of each fold's test vectors, stratified by class, with no group in two folds."""
    splitter = StratifiedGroupKFold(num_folds, shuffle=True, random_state=0)
    with warnings.catch_warnings():  # a class with fewer vectors than folds is missing in some of them
        warnings.filterwarnings("ignore", message="The least populated class")
        return [test for _, test in splitter.split(y, y, list(groups)) if len(test)]


def _temperature(values: NDArray[np.float64], y: NDArray[np.int64]) -> float:
    """Return the divisor of decision values (M, C) whose softmax maximises the likelihood of the labels."""

    def negative_log_likelihood(log_temperature: float) -> float:
        scores = values / np.exp(log_temperature)
        scores = scores - scores.max(axis=1, keepdims=True)
        return float(np.mean(np.log(np.exp(scores).sum(axis=1)) - scores[np.arange(len(y)), y]))

    return float(np.exp(minimize_scalar(negative_log_likelihood, bounds=LOG_TEMPERATURES, method="bounded").x))
