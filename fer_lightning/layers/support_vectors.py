"""A support vector machine whose fit is tensors: it travels in checkpoints, and scikit-learn only fits it."""

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
ABSENT = -1.0  # of a class that was not fitted: below all decision values
LOG_TEMPERATURES = (-4.0, 4.0)


class SupportVectorMachine(nn.Module):
    """Scikit-learn's SVC, its arrays in buffers, and scores that a softmax makes probabilities of.

    [our choice] The kernel; cost and width of the kernel are those with the highest accuracy
    in cross-validation over folds that share no subject, of equal ones the smallest cost, then the smallest width; the
    scores are the one-vs-rest decision values divided by a temperature with which the clips left out of these folds are
    likeliest.

    Args:
        num_classes: of the scores.
        costs: C, to choose from.
        widths: gamma as a multiple of 1 / (features x variance), to choose from.
        kernel: exp(-gamma |x - y|^2), or gamma x y, of which C and gamma are one choice: it takes one width.

    Raises:
        ValueError: no such kernel, nothing to choose from, or several widths of a linear kernel.
    """

    classes: Tensor  # (K,) those that were fitted
    support: Tensor  # (S, D) support vectors, scaled
    coefficients: Tensor  # (K (K - 1) / 2, S) of each pair of classes
    intercepts: Tensor  # (K (K - 1) / 2,)
    gamma: Tensor  # of the kernel
    temperature: Tensor

    def __init__(
        self,
        num_classes: int,
        costs: Sequence[float] = COSTS,
        widths: Sequence[float] = WIDTHS,
        kernel: Kernel = "gaussian",
    ) -> None:
        super().__init__()
        if kernel not in get_args(Kernel):
            raise ValueError(f"the kernel is {' or '.join(get_args(Kernel))}; found {kernel!r}")
        if not costs or not widths:
            raise ValueError(f"expected at least one C and one width; found costs {costs} and widths {widths}")
        if kernel == "linear" and len(widths) > 1:
            raise ValueError(f"a linear kernel has one width, [1]: its C does the same; found widths {list(widths)}")
        self.kernel = kernel
        self.num_classes = num_classes
        self.costs, self.widths = tuple(sorted(costs)), tuple(sorted(widths))
        self.scaler = RangeScaler(0)
        self.register_buffer("classes", torch.zeros(0, dtype=torch.int64))
        # float64: sums over many support vectors lose digits that decide between classes.
        for name, shape in (("support", (0, 0)), ("coefficients", (0, 0)), ("intercepts", (0,))):
            self.register_buffer(name, torch.zeros(shape, dtype=torch.float64))
        for name in ("gamma", "temperature"):
            self.register_buffer(name, torch.ones((), dtype=torch.float64))

    def fit(self, x: Tensor, y: Tensor, groups: Sequence[str], balanced: bool = False) -> None:
        """Fits scaler, machine and temperature; the same data gives the same fit.

        Args:
            x: (M, D), unscaled.
            y: (M,) places in the class list.
            groups: M names of subjects or films that no two folds share.
            balanced: weigh classes by how rare they are.

        Raises:
            ValueError: less than two classes, or less than two groups.
        """
        labels = y.cpu().numpy()
        counts = Counter(labels.tolist())
        parts = min(FOLDS, len(set(groups)), max(counts.values(), default=0))
        if len(counts) < 2 or parts < 2:
            raise ValueError(
                f"a support vector machine needs clips of two classes and of two subjects; found {len(labels)} clips "
                f"of {len(counts)} classes and {len(set(groups))} subjects"
            )
        self.scaler.fit(x)
        scaled = self.scaler(x.to(self.scaler.low)).double().cpu().numpy()
        folds = _folds(labels, groups, parts)
        settings = list(product(self.costs, self.widths))
        best = (-1.0, settings[0], np.zeros(0))
        with progress("choosing C and gamma", len(settings), transient=True) as advance:
            for done, setting in enumerate(settings):
                left_out = self._left_out(scaled, labels, folds, setting, balanced)  # (M, C)
                accuracy = float((left_out.argmax(axis=1) == labels).mean())
                best = max(best, (accuracy, setting, left_out), key=lambda found: found[0])  # the first of equal ones
                advance(done + 1)
        self._take(self._machine(best[1], balanced, scaled).fit(scaled, labels))
        self.temperature.fill_(_temperature(best[2], labels))

    def _left_out(
        self,
        x: NDArray[np.float64],
        y: NDArray[np.int64],
        folds: Sequence[NDArray[np.int64]],
        setting: tuple[float, float],
        balanced: bool,
    ) -> NDArray[np.float64]:
        """(M, C) decision values of each vector by a machine that was fitted to the other folds."""
        values = np.full((len(y), self.num_classes), ABSENT)
        for held in folds:
            rest = np.setdiff1d(np.arange(len(y)), held)
            if len(np.unique(y[rest])) > 1:
                self._take(self._machine(setting, balanced, x[rest]).fit(x[rest], y[rest]))
                values[held] = self._decide(torch.from_numpy(x[held]).to(self.support)).cpu().numpy()
        return values

    def _machine(self, setting: tuple[float, float], balanced: bool, x: NDArray[np.float64]) -> SVC:
        cost, width = setting
        gamma = width / (x.shape[1] * (x.var() or 1.0))
        kernel = "rbf" if self.kernel == "gaussian" else "poly"  # of degree 1: linear, but with gamma
        weights = "balanced" if balanced else None
        return SVC(C=cost, kernel=kernel, degree=1, gamma=gamma, class_weight=weights, cache_size=500)

    def _take(self, machine: SVC) -> None:
        """Keeps what scikit-learn fitted, its pairs of classes spread over rows."""
        classes: NDArray[np.int64] = machine.classes_
        pairs = list(combinations(range(len(classes)), 2))
        owner = np.repeat(np.arange(len(classes)), machine.n_support_)  # (S,) the class of each support vector
        coefficients = np.zeros((len(pairs), len(owner)))
        for row, (first, second) in enumerate(pairs):  # row k of dual_coef_ is against the k-th of the other classes
            coefficients[row, owner == first] = machine.dual_coef_[second - 1, owner == first]
            coefficients[row, owner == second] = machine.dual_coef_[first, owner == second]
        sign = -1 if len(pairs) == 1 else 1  # of two classes, scikit-learn gives them for the second
        device = self.support.device
        self.classes = torch.tensor(classes, device=device)
        self.support = torch.tensor(machine.support_vectors_, device=device)
        self.coefficients = torch.tensor(sign * coefficients, device=device)
        self.intercepts = torch.tensor(sign * machine.intercept_, device=device)
        self.gamma.fill_(machine.gamma)

    def _decide(self, x: Tensor) -> Tensor:
        """Scaled vectors (B, D) -> decision values (B, C), as `SVC.decision_function` combines those of the pairs."""
        pairs = self._similarity(x) @ self.coefficients.T + self.intercepts  # (B, pairs), > 0: the first
        count = len(self.classes)
        first, second = torch.triu_indices(count, count, offset=1, device=x.device)
        won = (pairs >= 0).to(pairs.dtype)
        zeros = pairs.new_zeros(len(x), count)
        votes = zeros.index_add(1, first, won).index_add(1, second, 1 - won)
        confidence = zeros.index_add(1, first, pairs).index_add(1, second, -pairs)
        values = pairs.new_full((len(x), self.num_classes), ABSENT)
        values[:, self.classes] = votes + confidence / (3 * (confidence.abs() + 1))  # never a vote's worth
        return values

    def _similarity(self, x: Tensor) -> Tensor:
        """Scaled vectors (B, D) -> the kernel's values (B, S)."""
        products = x @ self.support.T
        if self.kernel == "linear":
            return self.gamma * products
        squares = x.square().sum(dim=1, keepdim=True) + self.support.square().sum(dim=1)
        return (-self.gamma * (squares - 2 * products).clamp_min(0)).exp()

    def decision_values(self, x: Tensor) -> Tensor:
        """(B, D), unscaled -> one-vs-rest decision values (B, C) in float64; -1 for classes that were not fitted.

        Raises:
            ValueError: nothing was fitted yet.
        """
        if not len(self.support):
            raise ValueError("the support vector machine is not fitted: train it, or load a run's checkpoint")
        with torch.autocast(x.device.type, enabled=False):
            return self._decide(self.scaler(x.to(self.scaler.low)).to(self.support))

    def forward(self, x: Tensor) -> Tensor:
        """(B, D), unscaled -> scores (B, C) in float32."""
        return (self.decision_values(x) / self.temperature).float()

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Makes room first: the number of support vectors is the fit's."""
        for name, buffer in self.named_buffers():
            if prefix + name in state_dict:
                buffer.resize_(state_dict[prefix + name].shape)
        super()._load_from_state_dict(state_dict, prefix, *args)


def _folds(y: NDArray[np.int64], groups: Sequence[str], parts: int) -> list[NDArray[np.int64]]:
    """Places of the vectors that each fold leaves out, classes spread evenly, no group in two folds."""
    splitter = StratifiedGroupKFold(parts, shuffle=True, random_state=0)
    with warnings.catch_warnings():  # a class of fewer vectors than parts is in some of them only
        warnings.filterwarnings("ignore", message="The least populated class")
        return [held for _, held in splitter.split(y, y, list(groups)) if len(held)]


def _temperature(values: NDArray[np.float64], y: NDArray[np.int64]) -> float:
    """What decision values (M, C) are to be divided by for the softmax that makes the labels likeliest."""

    def surprise(log_temperature: float) -> float:
        scores = values / np.exp(log_temperature)
        scores = scores - scores.max(axis=1, keepdims=True)
        return float(np.mean(np.log(np.exp(scores).sum(axis=1)) - scores[np.arange(len(y)), y]))

    return float(np.exp(minimize_scalar(surprise, bounds=LOG_TEMPERATURES, method="bounded").x))
